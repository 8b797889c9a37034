"""Dieleman's networks: what they pool, learned filters in place of bands, and their sizes."""

import functools

import keras
import numpy as np
import pytest

from kzoo import models
from kzoo.models import dieleman


@functools.cache
def tiny(**options):
    """A tiny model, which no test changes."""
    keras.utils.set_random_seed(0)
    return models.build("dieleman", variant="tiny", **options)


@pytest.fixture
def sound(rng):
    return rng.normal(0, 0.1, (2, 2000, 1)).astype(np.float32)


def inner(model, *names):
    return keras.Model(model.input, [model.get_layer(name).output for name in names])


def test_mean_maximum_and_norm_over_time_are_pooled(sound):
    last, pooled = inner(tiny(), "pool1", "pooled")(sound)
    last = np.asarray(last, np.float64)
    expected = [last.mean(axis=1), last.max(axis=1), np.linalg.norm(last, axis=1)]
    np.testing.assert_allclose(pooled, np.concatenate(expected, axis=1), rtol=1e-5, atol=1e-6)


def test_learned_filters_take_the_place_of_a_spectrum(sound):
    """A filter of a sine and its level: what the compression of a spectrum would say of a bin."""
    model = models.build("dieleman", variant="tiny", bands=1)
    sine = np.sin(2 * np.pi * 5 * np.arange(64) / 64).astype(np.float32)
    model.get_layer("front").set_weights([sine[:, None, None], np.zeros(1, np.float32)])
    levels = keras.Model(model.input, model.get_layer("compressed").output)(sound)
    frames = sound[:, : 64 * (2000 // 64), 0].reshape(2, -1, 64)
    expected = np.log1p(10000 * (frames @ sine) ** 2)
    np.testing.assert_allclose(np.asarray(levels)[..., 0], expected, rtol=1e-4)


def test_factors_are_what_comes_before_probabilities(sound):
    size = models.sizes("dieleman", variant="tiny", names=["a", "b", "c"])
    core, model = dieleman.core(size), dieleman.build(size)
    model.set_weights(core.get_weights())
    factors = np.asarray(core(sound))
    assert np.abs(factors).max() > 1
    np.testing.assert_allclose(model(sound), 1 / (1 + np.exp(-factors)), atol=1e-6)


@pytest.mark.usefixtures("unfilled")
@pytest.mark.parametrize(("variant", "frames", "count"), [
    ("factors", (599, 149, 73, 35), 6_509_352),
    ("mel", (187, 45, 9), 74_974), ("end_to_end", (187, 45, 9), 107_870),
])  # fmt: skip
def test_frames_and_weights_are_those_of_the_figures(variant, frames, count):
    size = dieleman.VARIANTS[variant]
    model = models.build("dieleman", size, samples=size.whole(None))
    layers = ["front" if size.front == "samples" else "mel"]
    layers += [f"pool{k + 1}" for k in range(len(size.filters))]
    assert tuple(model.get_layer(name).output.shape[1] for name in layers) == frames
    assert model.count_params() == count


def test_windows_of_any_length_are_heard_and_flat_ones_of_their_own(sound):
    fixed = models.build("dieleman", variant="tiny", samples=2000)
    fixed.set_weights(tiny().get_weights())
    np.testing.assert_allclose(fixed(sound), tiny()(sound), atol=1e-6)
    with pytest.raises(ValueError, match=r"samples must be 192, as the pools need; got 100"):
        models.build("dieleman", variant="tiny", samples=100)
    with pytest.raises(ValueError, match=r"samples must be 1600, a window; got 2000"):
        models.build("dieleman", variant="tiny", pooled="flat", samples=2000)
    with pytest.raises(ValueError, match="pools must be as many as filters; got 2 and 1"):
        models.build("dieleman", variant="tiny", pools=[2, 2])
