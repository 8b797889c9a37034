"""Deep Salience: the authors' salience of their own input, and of a waveform; levels; sizes."""

import functools

import keras
import librosa
import numpy as np
import pytest
from scipy.signal import correlate

from kzoo import models
from kzoo.convert import deep_salience as conversion
from kzoo.models import deep_salience
from kzoo.models.deep_salience import relative_levels


@functools.cache
def released(path):
    return conversion.from_weights(conversion.read(path))


@pytest.mark.parametrize("name", ["melody1", "multif0"])
def test_salience_is_that_of_the_released_network(name, vectors, shared):
    recorded = vectors("deep_salience")
    core = released(shared / "data" / "weights" / "deep_salience" / f"{name}.h5")
    levels = recorded["voice/hcqt_f16_45frames"].astype(np.float32).T[None]
    salience = np.asarray(core(levels))[0].T
    np.testing.assert_allclose(salience, recorded[f"voice/{name}/salience_45frames"], atol=2e-5)


def test_a_waveform_has_the_salience_that_librosa_and_the_released_network_gave_it(vectors, shared):
    recorded = vectors("deep_salience")
    system = models.build("deep_salience")
    core = released(shared / "data" / "weights" / "deep_salience" / "melody1.h5")
    system.get_layer("deep_salience_core").set_weights(core.get_weights())
    waveform = (recorded["guitar/audio_int16"] / 32768).astype(np.float32)
    salience = np.asarray(system(waveform[None, :, None]))[0].T
    expected = recorded["guitar/melody1/salience_full_f16"].astype(np.float32)
    assert salience.shape == expected.shape
    np.testing.assert_allclose(salience, expected, atol=0.03)
    voiced = expected.max(axis=0) >= 0.3
    assert 20 < voiced.sum() < len(voiced)
    np.testing.assert_array_equal(salience.argmax(axis=0)[voiced], expected.argmax(axis=0)[voiced])


def test_the_published_count_of_weights(unfilled):
    core = deep_salience.core()
    assert sum(np.prod(v.shape) for v in core.trainable_weights) == 406_253
    assert core.count_params() == 406_921


def test_a_small_core_is_its_definition_in_numpy(rng):
    size = deep_salience.VARIANTS["tiny"]
    core = deep_salience.core(size)
    for weight in core.weights:
        drawn = 0.3 * rng.standard_normal(weight.shape)
        weight.assign(1 + np.abs(drawn) if "variance" in weight.path else drawn)

    def normed(x, layer):
        scale = layer.gamma.numpy() / np.sqrt(layer.moving_variance.numpy() + 1e-3)
        return (x - layer.moving_mean.numpy()) * scale + layer.beta.numpy()

    levels = rng.random((1, 9, size.bins, 3)).astype(np.float32)
    x = normed(levels[0], core.get_layer("norm0"))
    for number in range(1, 6):
        layer = core.get_layer(f"convolution{number}")
        kernel = layer.kernel.numpy()
        around = [((n - 1) // 2, n // 2) for n in kernel.shape[:2]]  # "same": more after
        padded = np.pad(x, [*around, (0, 0)])
        x = np.stack(
            [correlate(padded, kernel[..., k], "valid")[..., 0] for k in range(kernel.shape[-1])],
            axis=-1,
        )
        x = normed(np.maximum(x + layer.bias.numpy(), 0), core.get_layer(f"norm{number}"))
    last = core.get_layer("salience")
    expected = 1 / (1 + np.exp(-(x @ last.kernel.numpy()[0, 0, :, 0] + last.bias.numpy()[0])))
    np.testing.assert_allclose(core(levels)[0], expected, atol=1e-5)


def test_levels_are_those_of_librosa_and_silence_is_none(rng):
    magnitudes = (10 ** rng.uniform(-7, 1, (2, 4, 5, 3))).astype(np.float32)
    magnitudes[1] = 0
    levels = np.asarray(relative_levels(magnitudes, magnitudes.max((1, 2, 3), keepdims=True)))
    expected = 1 + librosa.amplitude_to_db(magnitudes[0], ref=np.max) / 80
    np.testing.assert_allclose(levels[0], expected, atol=1e-5)
    np.testing.assert_array_equal(levels[1], 0)


def test_loudness_does_not_matter_and_frames_are_a_hop_apart(rng):
    keras.utils.set_random_seed(0)
    system = models.build("deep_salience", variant="tiny")
    waveform = rng.standard_normal((1, 1000, 1)).astype(np.float32)
    salience = np.asarray(system(waveform))
    assert salience.shape == (1, 1 + 1000 // 128, 36)
    np.testing.assert_allclose(system(0.01 * waveform), salience, atol=1e-4)


def test_bins_are_frequencies_and_lengths_whole_hops():
    size = models.sizes("deep_salience", variant="paper")
    np.testing.assert_allclose(
        size.frequencies_hz()[[0, 60, 359]], [32.7, 65.4, 2068.65], rtol=1e-4
    )
    assert size.whole(1000) == 1024
    assert size.block() == {"samples": size.grid().samples}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"filters": (1, 2)}, r"filters must be five numbers; got \(1, 2\)"),
        ({"harmonics": ()}, r"harmonics must be one or more above 0; got \(\)"),
        ({"harmonics": (0, 1)}, r"above 0; got \(0, 1\)"),
        ({"channels": 2}, "channels must be 1; got 2"),
        ({"span": 0}, "span must be above 0; got 0"),
        ({"sample_rate": 8000}, "4000 Hz; got bins=360"),
    ],
)
def test_sizes_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("deep_salience", **options)


def test_weights_that_do_not_fit_are_named():
    with pytest.raises(ValueError, match=r"missing: 0/gamma.*unused: 12/kernel"):
        conversion.from_weights({"12/kernel": np.zeros((3, 3))})
