"""TasNet against asteroid's numbers, the published sizes, and the paper's own options."""

import dataclasses

import keras
import numpy as np
import pytest

from kzoo import models
from kzoo.convert import asteroid
from kzoo.models import tasnet

SHORT_PAPER = models.sizes(
    "tasnet", variant="paper", filters=6, filter_length=8, stride=8, hidden=5
)


def tiny(**changes):
    return models.sizes("tasnet", variant="tiny", **changes)


def noise(rng, samples):
    return (0.3 * rng.standard_normal((1, samples, 1))).astype(np.float32)


def test_asteroids_network_is_reproduced(vectors):
    recorded = vectors("tasnet_blstm_small")
    weights = {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}
    model = asteroid.from_weights(weights, mask="sigmoid")
    parts = ["masks", "estimates"]
    inside = keras.Model(model.input, [model.get_layer(part).output for part in parts])
    masks, estimates = map(np.asarray, inside(recorded["input"].swapaxes(1, 2)))
    # theirs is [batch, sources, filters, frames]
    np.testing.assert_allclose(masks.transpose(0, 2, 3, 1), recorded["mask"], atol=1e-6)
    np.testing.assert_allclose(estimates[..., 0], recorded["output"], atol=1e-6)


@pytest.mark.parametrize(
    ("variant", "published", "second_biases"),
    [
        ("asteroid", 21_400_832, 4 * 2 * 4 * 512),
        ("paper", 23_094_000, 4 * 2 * 4 * 500),
        ("paper_causal", 31_094_000, 4 * 4 * 1000),
    ],
)
def test_parameters_are_as_published_less_pytorchs_second_biases(
    unfilled, variant, published, second_biases
):
    assert tasnet.core(size=tasnet.VARIANTS[variant]).count_params() + second_biases == published


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def test_the_papers_options_are_its_equations(rng):
    """Segments over their norms, gated basis, identity connection, segments back on their norms."""
    model = tasnet.core(["a", "b"], dataclasses.replace(SHORT_PAPER, bidirectional=False))
    for weight in model.weights:
        weight.assign(weight + rng.uniform(-0.2, 0.2, weight.shape))
    names = ["encoder", "encoder_gate", "lstm2", "lstm4", "skip4", "mask_dense", "estimates"]
    inside = keras.Model(model.input, [model.get_layer(name).output for name in names])
    mixture = noise(rng, 80)
    u, v, second, fourth, skipped, logits, estimates = (np.asarray(x)[0] for x in inside(mixture))
    np.testing.assert_allclose(skipped, second + fourth, atol=1e-6)
    norms = np.linalg.norm(mixture.reshape(10, 8), axis=1, keepdims=True)
    weights = np.maximum(u / norms, 0) * sigmoid(v / norms)  # [frames, filters]
    share = np.exp(logits.reshape(10, 2, 6))
    share /= share.sum(axis=1, keepdims=True)
    basis = np.asarray(model.get_layer("decoder").kernel)
    for number in range(2):
        expected = (share[:, number] * weights) @ basis * norms
        np.testing.assert_allclose(estimates[number, :, 0], expected.ravel(), atol=1e-5)


def test_segments_over_their_norms_forget_how_loud_each_was(rng):
    model = tasnet.core(size=dataclasses.replace(SHORT_PAPER, n_layers=1))
    mixture = noise(rng, 80)
    gains = np.repeat(rng.uniform(0.1, 10, 10), 8)[:, None].astype(np.float32)
    np.testing.assert_allclose(model(mixture * gains), model(mixture) * gains, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("bidirectional", [False, True])
def test_one_direction_ignores_the_future(rng, bidirectional):
    model = tasnet.core(size=tiny(bidirectional=bidirectional, norm="cumulative"))
    mixture = noise(rng, 160)
    later = mixture.copy()
    later[:, 80:] = 0
    same = np.asarray(model(mixture))[:, :, :64] == np.asarray(model(later))[:, :, :64]
    assert same.all() == (not bidirectional)


def test_dropout_lies_between_the_lstms(rng):
    keras.utils.set_random_seed(1)
    quiet = tasnet.core(size=tiny(dropout=0.0))
    noisy = tasnet.core(size=tiny(dropout=0.5))
    noisy.set_weights(quiet.get_weights())
    mixture = noise(rng, 80)
    expected = np.asarray(quiet(mixture))
    # In training LSTMs have loops of their own, which round differently.
    np.testing.assert_allclose(quiet(mixture, training=True), expected, rtol=0, atol=1e-6)
    np.testing.assert_array_equal(noisy(mixture), expected)
    assert np.max(np.abs(noisy(mixture, training=True) - expected)) > 1e-4


def test_blocks_fade_over_a_quarter():
    paper = models.sizes("tasnet", variant="paper", block_seconds=2.0)
    assert paper.context_samples() is None
    grid = paper.grid()
    assert (grid.samples, grid.overlap, grid.start) == (16_000, 4_000, 0)
    assert paper.block() == {"samples": 16_000}
    assert tiny().static(1_999) == (tiny(), 2_000)
    assert tasnet.VARIANTS["asteroid"].smaller() == models.sizes("tasnet", block_seconds=2.0)


def test_a_segment_is_the_next_one_of_whole_frames():
    for samples, expected in ((1, 16), (16, 16), (17, 24), (1_993, 2_000), (2_000, 2_000)):
        assert tiny().segment(samples) == (tiny(), {"samples": expected})


@pytest.mark.parametrize("changes", [{}, {"bidirectional": False}])
def test_a_network_that_hears_the_future_has_no_stream(changes):
    assert not tiny(**changes).streams
    with pytest.raises(ValueError, match="tasnet hears what is to come with these sizes"):
        tasnet.build_step(size=tiny(**changes))


def test_options_that_mean_nothing_are_refused():
    with pytest.raises(ValueError, match="mask must be one of sigmoid, relu, softmax; got"):
        tiny(mask="tanh")
    with pytest.raises(ValueError, match="norm must be one of gln, cln, cumulative, batch; got"):
        tiny(norm="layer")
