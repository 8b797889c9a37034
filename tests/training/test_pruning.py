"""Channels that others can stand for go without a trace; the rest goes by what it is worth."""

from dataclasses import replace

import numpy as np
import pytest

from kzoo import models
from kzoo.models import unet
from kzoo.training.pruning import prune

SIZE = models.sizes(
    "unet", variant="tiny", filters=(4, 4, 6), frames=16, bins=32, residual=True, dropout=0.0
)
SOURCES = ["vocals", "accompaniment"]


@pytest.fixture(scope="module")
def magnitudes():
    return np.abs(np.random.default_rng(0).standard_normal((3, 16, 32, 2))).astype(np.float32)


@pytest.fixture(scope="module")
def network():
    """Every second channel of a level is the one before it times a number."""
    made, rng = unet.core(SOURCES, SIZE), np.random.default_rng(1)
    for layer in made.layers:
        if not layer.weights:
            continue
        kernels = layer.get_weights()
        if "norm" in layer.name:
            drawn = [rng.uniform(0.5, 1.5, weight.shape[0]) for weight in kernels]
            drawn = [np.repeat(part[::2], 2)[: len(part)] for part in drawn]
            drawn[1] *= 0  # an offset is no multiple
            drawn[2] *= 0
        else:
            drawn = [0.3 * rng.standard_normal(weight.shape) for weight in kernels]
            drawn[1] *= 0
            if "mask" not in layer.name and layer.name != "vocals_up3_conv":
                axis = 2 if "_up" in layer.name else 3
                kernel = np.moveaxis(drawn[0], axis, 0)
                kernel[1::2] = 0.5 * kernel[::2]
        layer.set_weights([part.astype(np.float32) for part in drawn])
    return made


def test_channels_that_are_multiples_of_others_leave_no_trace(network, magnitudes):
    pruned, size = prune(network, SIZE, (2, 2, 3), magnitudes)
    assert size.filters == (2, 2, 3)
    assert pruned.get_layer("vocals_up1_conv").kernel.shape == (5, 5, 2, 3)
    expected = np.asarray(network(magnitudes))
    np.testing.assert_allclose(pruned(magnitudes), expected, atol=2e-4)
    smaller, _ = prune(network, SIZE, (1, 1, 1), magnitudes)
    assert np.abs(np.asarray(smaller(magnitudes)) - expected).max() > 1e-2


def test_all_channels_left_is_the_network_itself(network, magnitudes):
    whole, _ = prune(network, SIZE, SIZE.filters, magnitudes)
    np.testing.assert_allclose(whole(magnitudes), network(magnitudes), atol=1e-5)


@pytest.mark.parametrize(
    ("changes", "filters", "message"),
    [
        ({"trunk": "shared"}, (2, 2, 2), "trunk='shared'"),
        ({"skips": False}, (2, 2, 2), "skips=False"),
        ({"network": "jansson"}, (2, 2, 2), "network='jansson'"),
        ({}, (2, 2), r"1 to \(4, 4, 6\); got \(2, 2\)"),
        ({}, (2, 5, 6), r"1 to \(4, 4, 6\); got \(2, 5, 6\)"),
        ({}, (2, 0, 6), r"got \(2, 0, 6\)"),
    ],
)
def test_what_cannot_be_pruned_is_refused(network, magnitudes, changes, filters, message):
    with pytest.raises(ValueError, match=message):
        prune(network, replace(SIZE, **changes), filters, magnitudes)
