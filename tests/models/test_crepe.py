"""CREPE: the reference's activations, and the same from a waveform of any length."""

import functools

import keras
import made_crepe as made
import numpy as np
import pytest

from kzoo import models
from kzoo.convert import crepe as conversion
from kzoo.models import crepe

NANO = (8, 4, 4, 4, 4, 8)


@functools.cache
def nano(**options):
    """A system of random weights, which no test changes."""
    keras.utils.set_random_seed(0)
    return models.build("crepe", filters=NANO, **options)


def test_tiny_gives_the_activations_of_torchcrepe(vectors):
    reference = vectors("crepe")
    found = np.asarray(made.published("tiny")(reference["frames"]))
    np.testing.assert_allclose(found, reference["tiny"], atol=2e-6)


@pytest.mark.slow
def test_full_gives_the_activations_of_torchcrepe(vectors):
    reference = vectors("crepe")
    found = np.asarray(made.published("full")(reference["frames"]))
    np.testing.assert_allclose(found, reference["full"], atol=2e-6)


def test_a_network_of_any_filters_equals_its_definition_in_numpy(rng):
    weights = made.weights(NANO)
    frames = rng.standard_normal((2, 1024)).astype(np.float32)
    found = np.asarray(conversion.from_weights(weights)(frames))
    np.testing.assert_allclose(found, made.numpy_crepe(weights, frames), atol=1e-5)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"conv3.bias": None}, "missing: conv3.bias"),
        ({"conv3.weight": None}, "missing: conv3.weight"),
        ({"conv7.weight": np.zeros(3)}, "unused: conv7.weight"),
        ({"classifier.weight": np.zeros((300, 32))}, "wrong shape: classifier.weight"),
        ({"conv2.weight": np.zeros((4, 8, 64, 2))}, "wrong shape: conv2.weight"),
    ],
)
def test_weights_that_do_not_fit_are_named(change, message):
    weights = {**made.weights(NANO), **change}
    weights = {name: value for name, value in weights.items() if value is not None}
    with pytest.raises(ValueError, match=message):
        conversion.from_weights(weights)


@pytest.mark.parametrize("samples", [1, 639, 640, 3000])
def test_frames_are_centred_on_their_times_and_normalised_each(samples, rng):
    system = nano(hop_length=64)
    waveform = (0.01 * rng.standard_normal((2, samples, 1)) + 0.3).astype(np.float32)
    found = np.asarray(system(waveform))
    assert found.shape == (2, 1 + samples // 64, 360)
    padded = np.pad(waveform[..., 0].astype(np.float64), ((0, 0), (512, 512)))
    frames = np.stack([padded[:, m * 64 : m * 64 + 1024] for m in range(found.shape[1])], axis=1)
    frames -= frames.mean(axis=-1, keepdims=True)
    frames /= frames.std(axis=-1, ddof=1, keepdims=True)
    expected = system.get_layer("crepe_core")(frames.reshape(-1, 1024).astype(np.float32))
    np.testing.assert_allclose(found.reshape(-1, 360), expected, atol=1e-5)


def test_valid_frames_are_those_that_lie_inside_the_signal(rng):
    keras.utils.set_random_seed(0)
    inside = models.build("crepe", filters=NANO, hop_length=100, padding="valid", samples=2000)
    around = models.build("crepe", filters=NANO, hop_length=100)
    around.set_weights(inside.get_weights())
    waveform = rng.standard_normal((1, 2000, 1)).astype(np.float32)
    silence = np.zeros((1, 512, 1), np.float32)
    found = np.asarray(inside(np.concatenate([silence, waveform, silence], axis=1)[:, :2000]))
    assert found.shape == (1, 10, 360)
    np.testing.assert_allclose(found, np.asarray(around(waveform))[:, :10], atol=1e-5)


def test_loudness_and_offset_do_not_matter(rng):
    system = nano(padding="valid")
    waveform = rng.standard_normal((1, 1024, 1)).astype(np.float32)
    np.testing.assert_allclose(system(1e-3 * waveform + 0.01), system(waveform), atol=1e-4)


def test_half_precision_stays_near(rng):
    whole = nano(padding="valid")
    keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        half = models.build("crepe", filters=NANO, padding="valid")
    finally:
        keras.mixed_precision.set_global_policy("float32")
    half.set_weights(whole.get_weights())
    waveform = (1e-4 * rng.standard_normal((1, 4000, 1))).astype(np.float32)
    assert half(waveform).dtype == "float32"
    np.testing.assert_allclose(half(waveform), whole(waveform), atol=5e-3)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"variant": "huge"}, "no variant of crepe is called 'huge'; there are: full, large"),
        ({"filters": (1, 2, 3)}, r"six numbers, one a convolution; got \(1, 2, 3\)"),
        ({"padding": "same"}, "got 'same'"),
        ({"hop_length": 0}, "at least 1 sample; got 0"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("crepe", **options)


def test_a_normalised_frame_has_mean_0_and_unbiased_deviation_1(rng):
    frames = (3 + 0.01 * rng.standard_normal((2, 1024))).astype(np.float32)
    found = np.asarray(crepe.normalised(frames), np.float64)
    np.testing.assert_allclose(found.mean(axis=1), 0, atol=1e-4)
    np.testing.assert_allclose(found.std(axis=1, ddof=1), 1, atol=1e-4)
    assert (np.asarray(crepe.normalised(np.zeros((1, 1024), np.float32))) == 0).all()


@pytest.mark.parametrize(("samples", "length"), [(1, 1024), (2000, 1984), (1984, 1984)])
def test_lengths_are_whole_frames_of_the_centre_of_their_sound(samples, length):
    size = models.sizes("crepe", variant="tiny")
    assert size.static(samples) == (size, length)
    assert size.segment(samples) == (size, {"samples": length, "padding": "valid"})


@pytest.mark.parametrize("option", [{"sample_rate": 8000}, {"channels": 2}])
def test_only_the_sound_for_which_the_bins_are_hertz_is_taken(option):
    [name] = option
    with pytest.raises(ValueError, match=f"{name} must be one of (16000|1); got"):
        crepe.CREPE(**option)
