"""Filters of samples against SciPy's correlation and the largest value of each hop."""

import keras
import numpy as np
import pytest
from scipy import signal

from kzoo.layers.strided import LogPower, parallel_scales


def correlated(waveform, kernel, stride, hop):
    """The largest value of each hop, of a kernel whose middle is on the middle of each stride."""
    window = len(kernel)
    before = (window - stride) // 2
    padded = np.pad(waveform, (before, window))
    every = signal.correlate(padded, kernel, mode="valid")[: len(waveform) : stride]
    return np.maximum(every.reshape(-1, hop // stride).max(axis=1), 0)


def test_each_scale_is_a_correlation_whose_largest_value_of_a_hop_is_left(rng):
    waveform = keras.Input((None, 1))
    system = keras.Model(waveform, parallel_scales(waveform, 3, (8, 31), (5, 10), 20))
    sound = rng.normal(0, 1, (2, 100, 1)).astype(np.float32)
    found = np.asarray(system(sound))
    assert found.shape == (2, 5, 6)
    for scale, stride in enumerate((5, 10)):
        (kernel,) = system.get_layer(f"scale{scale + 1}").get_weights()
        for k in range(3):
            for b in range(2):
                expected = correlated(sound[b, :, 0], kernel[:, 0, k], stride, 20)
                np.testing.assert_allclose(found[b, :, 3 * scale + k], expected, atol=1e-5)


def test_all_scales_hear_a_click_in_the_same_frame():
    waveform = keras.Input((200, 1))
    system = keras.Model(waveform, parallel_scales(waveform, 1, (4, 20, 40), (4, 5, 10), 20))
    for scale in (1, 2, 3):
        layer = system.get_layer(f"scale{scale}")
        layer.set_weights([np.hanning(layer.kernel.shape[0] + 2)[1:-1, None, None]])
    for frame in range(1, 9):
        click = np.zeros((1, 200, 1), np.float32)
        click[0, 20 * frame + 10] = 1
        assert np.all(np.argmax(system(click)[0], axis=0) == frame)


def test_the_power_is_compressed_as_its_formula_has_it():
    x = np.array([[-1.0, 0.0, 0.01]], np.float32)
    expected = np.log(1 + 100 * x.astype(np.float64) ** 2)
    np.testing.assert_allclose(LogPower(100.0)(x), expected, rtol=1e-6)
    layer = LogPower.from_config(LogPower(5.0).get_config())
    np.testing.assert_allclose(layer(x), np.log(1 + 5 * x.astype(np.float64) ** 2), rtol=1e-6)


@pytest.mark.parametrize(("windows", "strides", "message"), [
    ((8, 31), (5,), "strides must be as many as windows; got 1 and 2"),
    ((), (), "strides must be as many as windows; got 0 and 0"),
    ((8, 31), (5, 7), "strides must divide hop_length=20; got 7"),
])  # fmt: skip
def test_scales_that_do_not_meet_are_refused(windows, strides, message):
    with pytest.raises(ValueError, match=message):
        parallel_scales(keras.Input((100, 1)), 3, windows, strides, 20)
