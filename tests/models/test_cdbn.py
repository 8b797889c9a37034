"""CDBN: the paper's sizes, the chances of its pooled bases, and what its classifier takes."""

import functools

import keras
import librosa
import numpy as np
import pytest

from kzoo import models


@functools.cache
def tiny(**options):
    """The tiny model, which no test changes."""
    keras.utils.set_random_seed(0)
    return models.build("cdbn", variant="tiny", **options)


@pytest.mark.usefixtures("unfilled")
def test_the_layers_are_those_of_the_paper():
    model = models.build("cdbn")
    shapes = [model.get_layer(name).kernel.shape for name in ("conv1", "conv2")]
    assert shapes == [(6, 80, 300), (6, 300, 300)]
    assert model.get_layer("spectrum").output.shape == (None, 29, 160)
    assert model.get_layer("pool1").output.shape == (None, 8, 300)
    assert model.get_layer("pool2").output.shape == (None, 1, 300)
    assert model.get_layer("logits").kernel.shape == (9 * 300, 39)


def test_levels_are_librosas(rng):
    sound = rng.normal(0, 0.1, (1, 4000, 1)).astype(np.float32)
    model = tiny()
    found = keras.Model(model.input, model.get_layer("spectrum").output)(sound)[0]
    spectrum = np.abs(librosa.stft(sound[0, :, 0], n_fft=128, hop_length=64, center=False))
    expected = librosa.amplitude_to_db(spectrum, ref=1.0, amin=1e-5, top_db=None)
    np.testing.assert_allclose(found, expected[:64].T, atol=1e-3)


def test_a_pooled_base_is_on_where_one_of_its_moments_is(rng):
    model = tiny()
    sound = rng.normal(0, 0.1, (1, 4000, 1)).astype(np.float32)
    inner = [model.get_layer(name).output for name in ("conv1", "pool1")]
    drive, pooled = (np.float64(x[0]) for x in keras.Model(model.input, inner)(sound))
    likely = np.exp(drive[: len(pooled) * 2].reshape(-1, 2, 8))
    np.testing.assert_allclose(pooled, 1 - 1 / (1 + likely.sum(axis=1)), atol=1e-5)


@pytest.mark.parametrize(("options", "count"), [
    ({"features": "first"}, 8), ({"features": "second"}, 8), ({}, 16),
    ({"features": "second", "summary": "all"}, 8 * 13),
])  # fmt: skip
def test_the_classifier_takes_what_is_asked(options, count):
    assert tiny(**options).get_layer("embedding").output.shape == (None, count)


@pytest.mark.parametrize(("options", "message"), [
    ({"samples": 500}, "samples must be at least 896; got 500"),
    ({"components": 65}, "components must be at most the 64 bins; got 65"),
    ({"bases": [8, 0]}, r"bases must be at least 1 a layer; got \(8, 0\)"),
    ({"pool": 0}, "pool must be above 0; got 0"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("cdbn", variant="tiny", **options)
