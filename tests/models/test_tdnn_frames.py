"""TDNN over recordings: the weights and the answers of the network of windows, at every moment."""

import numpy as np
import pytest

from kzoo import models
from kzoo.models import tdnn, tdnn_frames


def test_of_every_fifteen_frames_it_says_what_the_network_of_windows_says(rng):
    windows, frames = tdnn.core(), tdnn_frames.core()
    for weight in windows.weights:
        weight.assign(rng.normal(0, 0.5, weight.shape))
    for name in ("delayed1", "delayed2", "sum"):
        frames.get_layer(name).set_weights(windows.get_layer(name).get_weights())
    assert sum(np.prod(weight.shape) for weight in frames.trainable_weights) == 521
    bands = rng.uniform(-1, 1, (2, 20, 16)).astype(np.float32)
    expected = np.stack([windows(bands[:, k : k + 15]) for k in range(6)], axis=1)
    np.testing.assert_allclose(frames(bands), expected, atol=1e-6)


def test_it_measures_how_often_names_come_and_after_which():
    size = models.sizes("tdnn_frames", variant="tiny")
    system = tdnn_frames.build(size)
    size.adapt_to_labels(system, [np.eye(2, dtype=np.float32)[[0, 0, 0, 1]]])
    prior, transitions = system.get_layer("chain").get_weights()
    np.testing.assert_allclose(prior, [0.75, 0.25], atol=0.01)
    np.testing.assert_allclose(transitions[0], [2 / 3, 1 / 3], atol=0.01)


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"lookahead_frames must be .* below frames=15; got 15"):
        models.sizes("tdnn_frames", lookahead_frames=15)
    with pytest.raises(ValueError, match=r"integrated must be above 0; got 0"):
        models.sizes("tdnn_frames", integrated=0, lookahead_frames=0)
