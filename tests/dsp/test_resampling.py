"""Resampling inside a network: against an interpolation by hand, sines, and its own layer."""

import keras
import numpy as np
import pytest

from kzoo.dsp.resampling import Resample, reach, resample, sinc_kernels

RATES = [(1, 2), (2, 1), (3, 2), (44100, 16000)]


def interpolated(signal, old, new, zeros=24, rolloff=0.945):
    """One output sample after the other, straight from the formula, in float64."""
    common = np.gcd(old, new)
    old, new = old // common, new // common
    cutoff = min(old, new) * rolloff
    width = int(np.ceil(zeros * old / cutoff))
    found = []
    for index in range(len(signal) * new // old):
        block, phase = divmod(index, new)
        at = np.arange(block * old - width, block * old + width + old)
        x = np.pi * np.clip((at / old - block - phase / new) * cutoff, -zeros, zeros)
        kernel = np.where(x == 0, 1, np.sin(x) / np.where(x == 0, 1, x))
        kernel = kernel * np.cos(x / zeros / 2) ** 2
        found.append(kernel @ signal[np.clip(at, 0, len(signal) - 1)] / kernel.sum())
    return np.array(found)


@pytest.mark.parametrize(("old", "new"), RATES)
@pytest.mark.parametrize("samples", [1, 5, 441])
def test_every_sample_is_the_windowed_sum_of_its_neighbours(rng, old, new, samples):
    signal = rng.standard_normal((2, samples))
    found = resample(signal.astype(np.float32), old, new)
    for row, expected in zip(np.asarray(found), signal, strict=True):
        np.testing.assert_allclose(row, interpolated(expected, old, new), atol=2e-6)


@pytest.mark.parametrize(("old", "new"), RATES)
def test_a_sine_stays_the_same_sine(old, new):
    frequency = 0.1 * min(old, new)
    signal = np.sin(2 * np.pi * frequency * np.arange(2000) / old).astype(np.float32)
    found = np.asarray(resample(signal, old, new))
    expected = np.sin(2 * np.pi * frequency * np.arange(len(found)) / new)
    edge = len(found) // 8
    np.testing.assert_allclose(found[edge:-edge], expected[edge:-edge], atol=2e-3)


def test_what_the_lower_rate_cannot_hold_is_removed():
    signal = np.sin(2 * np.pi * 0.35 * np.arange(2000)).astype(np.float32)
    assert np.abs(np.asarray(resample(signal, 2, 1))[100:-100]).max() < 2e-3


def test_a_constant_stays_itself_to_the_edges():
    np.testing.assert_allclose(resample(np.ones(50, np.float32), 2, 3), np.ones(75), atol=1e-6)


def test_equal_rates_change_nothing(rng):
    signal = rng.standard_normal(7).astype(np.float32)
    assert resample(signal, 5, 5) is signal


@pytest.mark.parametrize(("old", "new"), RATES)
def test_nothing_is_heard_beyond_the_reach(old, new):
    common = np.gcd(old, new)
    old, new = old // common, new // common
    signal = np.zeros(4 * reach(old, new) + old, np.float32)
    impulse = len(signal) // 2
    signal[impulse] = 1
    heard = np.flatnonzero(np.asarray(resample(signal, old, new))) * old / new
    assert np.abs(heard - impulse).max() <= reach(old, new)
    assert np.abs(heard - impulse).max() > 0.8 * reach(old, new) - 2 * old


@pytest.mark.parametrize("static", [True, False])
def test_the_layer_is_the_function_on_every_channel(rng, static):
    layer = Resample(2, 3, zeros=8, name="resample")
    x = keras.Input((31 if static else None, 2))
    model = keras.Model(x, Resample.from_config(layer.get_config())(x))
    signal = rng.standard_normal((3, 31, 2)).astype(np.float32)
    expected = resample(np.moveaxis(signal, 1, 2), 2, 3, zeros=8)
    np.testing.assert_allclose(model(signal), np.moveaxis(expected, 1, 2), atol=1e-6)
    assert model.output_shape == (None, 46 if static else None, 2)


@pytest.mark.parametrize(
    "wrong", [{"old_rate": 0}, {"new_rate": -1}, {"zeros": 0}, {"rolloff": 1.5}]
)
def test_what_makes_no_filter_is_refused(wrong):
    name, value = next(iter(wrong.items()))
    with pytest.raises(ValueError, match=f"{name}={value}"):
        sinc_kernels(**{"old_rate": 1, "new_rate": 2, **wrong})
    with pytest.raises(ValueError, match=f"{name}={value}"):
        Resample(**{"old_rate": 1, "new_rate": 2, **wrong})
