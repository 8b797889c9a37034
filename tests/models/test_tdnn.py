"""TDNN: as many weights as published, the paper's equations by NumPy, and no care for when."""

import functools

import keras
import numpy as np
import pytest

from kzoo import models
from kzoo.models import tdnn


@functools.cache
def paper():
    """The paper's network, with weights of a size that a training gives; no test changes it."""
    keras.utils.set_random_seed(0)
    model = tdnn.core()
    rng = np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    return model


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_weights_are_as_many_as_published():
    counts = [paper().get_layer(name).count_params() for name in ("delayed1", "delayed2", "sum")]
    assert counts == [392, 123, 6]
    assert paper().count_params() == 521
    assert models.build("tdnn").count_params() == 521


def test_the_network_is_that_of_the_paper(rng):
    bands = rng.uniform(-1, 1, (2, 15, 16))
    weights = [np.float64(weight) for weight in paper().get_weights()]
    hidden = bands
    for kernel, bias in (weights[:2], weights[2:4]):
        frames = len(kernel)
        moments = hidden.shape[1] - frames + 1
        hidden = sigmoid(
            np.stack([
                np.einsum("bfi,fio->bo", hidden[:, t : t + frames], kernel) + bias
                for t in range(moments)
            ], axis=1)
        )  # fmt: skip
    assert hidden.shape == (2, 9, 3)
    gain, bias = weights[4][0, :, 0], weights[5]
    expected = sigmoid(hidden.mean(axis=1) * gain + bias)
    np.testing.assert_allclose(paper()(bands), expected, atol=1e-6)


def test_a_phone_is_heard_at_whatever_moment_it_comes(rng):
    # The second layer sees 7 frames: what lies within 9 windows of them moves without an edge.
    bands = np.zeros((3, 15, 16), np.float32)
    for k, start in enumerate((6, 7, 8)):
        bands[k, start] = rng.uniform(-1, 1, 16) if k == 0 else bands[0, 6]
    heard = np.asarray(paper()(bands))
    np.testing.assert_allclose(heard[1:], heard[:1].repeat(2, axis=0), atol=1e-6)
    bands[1, 7, ::2] *= -1
    assert np.abs(np.asarray(paper()(bands))[1] - heard[0]).max() > 1e-3


def test_a_window_that_is_louder_says_the_same_and_silence_is_no_error(rng):
    model = models.build("tdnn")
    sound = rng.normal(0, 0.1, (1, 1936, 1)).astype(np.float32)
    np.testing.assert_allclose(model(3 * sound), model(sound), atol=1e-5)
    assert np.all(np.isfinite(model(0 * sound)))
    inner = keras.Model(model.input, model.get_layer("window_norm").output)
    bands = np.asarray(inner(sound))
    np.testing.assert_allclose(bands.mean(), 0, atol=1e-6)
    assert np.abs(bands).max() == pytest.approx(1)
    assert np.all(np.asarray(inner(0 * sound)) == 0)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"samples must be 1936, a window; got 2000"):
        models.build("tdnn", samples=2000)
    with pytest.raises(ValueError, match=r"filters must be at least 1 frame each; got \(0, 5\)"):
        models.build("tdnn", filters=[0, 5])
    with pytest.raises(ValueError, match=r"integrated must be above 0; got 0"):
        models.build("tdnn", integrated=0)
