"""DPRNN-TasNet against asteroid's numbers, its segments, and what it may hear."""

import re

import keras
import numpy as np
import pytest
from made_once import drawn_once

from kzoo import models
from kzoo.convert import asteroid
from kzoo.layers.segments import CutSegments, SumSegments
from kzoo.models import dual_path_rnn

each_network_is_drawn_once = drawn_once((dual_path_rnn, "core"))


@pytest.fixture(scope="module")
def recorded(vectors):
    return vectors("dprnn_small")


@pytest.fixture
def weights(recorded):
    return {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}


def tiny(**changes):
    return models.sizes("dual_path_rnn", variant="tiny", **changes)


def test_asteroids_network_is_reproduced(recorded, weights):
    model = asteroid.from_weights(weights, segment_frames=8, norm="gln", mask="sigmoid")
    parts = ["masks", "estimates"]
    inside = keras.Model(model.input, [model.get_layer(part).output for part in parts])
    masks, estimates = map(np.asarray, inside(recorded["input"].swapaxes(1, 2)))
    # theirs is [batch, sources, filters, frames]
    np.testing.assert_allclose(masks.transpose(0, 2, 3, 1), recorded["mask"], atol=2e-6)
    np.testing.assert_allclose(estimates[..., 0], recorded["output"], atol=1e-6)
    assert model.count_params() + 2 * 4 * 4 * 5 == 3027  # PyTorch's LSTMs have second biases


def test_missing_unused_and_other_weights_are_named(weights):
    for name in list(weights)[::7]:
        rest = {key: value for key, value in weights.items() if key != name}
        with pytest.raises(ValueError, match=f"missing: {re.escape(name)}"):
            asteroid.from_weights(rest, segment_frames=8, norm="gln", mask="sigmoid")
    with pytest.raises(ValueError, match="unused: extra"):
        asteroid.from_weights(
            {**weights, "extra": np.zeros(3)}, segment_frames=8, norm="gln", mask="sigmoid"
        )
    with pytest.raises(ValueError, match=r"wrong shape: masker\.first_out\.1\.weight is \(6, 12\)"):
        asteroid.from_weights(
            weights, sources=["a", "b", "c"], segment_frames=8, norm="gln", mask="sigmoid"
        )
    with pytest.raises(ValueError, match="softmax is over the filters"):
        asteroid.from_weights(weights, segment_frames=8, norm="gln", mask="softmax")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("variant", "published"), [("asteroid", 3_652_865), ("asteroid_2", 3_651_073)]
)
def test_parameters_are_as_published_less_pytorchs_second_biases(unfilled, variant, published):
    size = dual_path_rnn.VARIANTS[variant]
    second_biases = size.repeats * 2 * 2 * 4 * size.hidden
    assert dual_path_rnn.core(size=size).count_params() + second_biases == published


@pytest.mark.parametrize("hop", [4, 3])
def test_segments_are_what_a_loop_cuts_and_sums(rng, hop):
    x = rng.standard_normal((2, 13, 3)).astype(np.float32)
    segments = np.asarray(CutSegments(8, hop)(x))
    padded = np.pad(x, ((0, 0), (8, 8), (0, 0)))
    expected = [padded[:, start : start + 8] for start in range(0, 13 + 8 + 1, hop)]
    np.testing.assert_array_equal(segments, np.stack(expected, axis=1))
    total = np.zeros_like(padded)
    for number in range(segments.shape[1]):
        total[:, number * hop : number * hop + 8] += segments[:, number]
    joined = SumSegments(8, hop)(segments, x)
    np.testing.assert_allclose(joined, total[:, 8:21], rtol=1e-6)


@pytest.mark.parametrize("bidirectional", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_one_direction_across_segments_ignores_later_ones(rng, bidirectional):
    model = dual_path_rnn.core(size=tiny(bidirectional=bidirectional, norm="cln"))
    mixture = (0.3 * rng.standard_normal((1, 8 * 60, 1))).astype(np.float32)
    later = mixture.copy()
    later[:, 8 * 40 :] = 0  # of frame 38 something; its segments begin with frame 28
    same = np.asarray(model(mixture))[:, :, : 8 * 28] == np.asarray(model(later))[:, :, : 8 * 28]
    assert same.all() == (not bidirectional)


def test_options_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="segment_hop must be from 1 to segment_frames, or frames"):
        tiny(segment_hop=9)
    with pytest.raises(ValueError, match="norm must be one of gln, cln, batch; got 'cumulative'"):
        tiny(norm="cumulative")
    with pytest.raises(ValueError, match="hidden must be above 0; got 0"):
        tiny(hidden=0)
    with pytest.raises(ValueError, match="hop must be from 1 to length=8, or frames are lost; got"):
        CutSegments(8, 9)
