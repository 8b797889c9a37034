"""Multi-scale filters before recurrent layers: their weights and lengths."""

import functools

import keras
import numpy as np
import pytest

from kzoo import models


@functools.cache
def tiny(**options):
    keras.utils.set_random_seed(0)
    return models.build("multi_scale", variant="tiny", **options)


def test_weights_are_those_of_the_formula():
    model = models.build("multi_scale", samples=48000)
    scales = 64 * (64 + 256 + 1024)
    conv = 256 * (11 * 3 * 64 + 1)
    grus = 3 * 2 * (3 * 256 * (256 + 256 + 2))
    norms = 2 * (3 * 64 + 256 + 3 * 256)
    found = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert found == scales + conv + grus + norms + 256 * 50 + 50 == 3_010_738


def test_a_window_of_any_whole_hops_is_heard(rng):
    sound = rng.normal(0, 0.1, (2, 800, 1)).astype(np.float32)
    np.testing.assert_allclose(tiny(samples=800)(sound), tiny()(sound), atol=1e-6)
    with pytest.raises(ValueError, match="samples must be whole hops, such as 800; got 810"):
        models.build("multi_scale", variant="tiny", samples=810)


@pytest.mark.parametrize(("options", "message"), [
    ({"strides": [10]}, "strides must be as many as windows; got 1 and 2"),
    ({"hop_length": 50}, "strides must divide hop_length=50; got 20"),
    ({"n_layers": 0}, "n_layers must be above 0; got 0"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("multi_scale", variant="tiny", **options)
