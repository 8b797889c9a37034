"""Sources without an order: the best assignment, its witnesses, and the losses beside it."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo import losses
from kzoo.losses.permutation import pairwise_losses

CENTRED = {"zero_mean": True}
ASTEROID = {
    "neg_sisdr": {"name": "si_sdr", **CENTRED},
    "neg_snr": {"name": "snr", **CENTRED},
    "neg_sdsdr": {"name": "sd_sdr", **CENTRED},
    "mse": {"name": "l2"},
}


def shuffled(rng, sources, batch=3, samples=200):
    """Targets, noisy estimates in another order for each example, and that order."""
    target = rng.standard_normal((batch, sources, samples, 1)).astype("float32")
    order = np.array([rng.permutation(sources) for _ in range(batch)])
    estimate = target + 0.3 * rng.standard_normal(target.shape).astype("float32")
    estimate = np.stack([e[np.argsort(o)] for e, o in zip(estimate, order, strict=True)])
    return target, estimate, order


@pytest.mark.parametrize("theirs", ASTEROID)
def test_pit_equals_asteroid(vectors, theirs):
    recorded = vectors("sisdr_pit")
    target, estimate = recorded["sources"][..., None], recorded["estimates"][..., None]
    pairwise = ASTEROID[theirs]
    costs = np.asarray(pairwise_losses(target, estimate, pairwise))
    np.testing.assert_allclose(
        costs.transpose(0, 2, 1), recorded[f"{theirs}/pairwise"], rtol=1e-5, atol=1e-5
    )
    loss, permutation = losses.best_permutation(target, estimate, pairwise)
    np.testing.assert_allclose(np.mean(loss), recorded[f"{theirs}/pit_loss"], rtol=1e-5)
    np.testing.assert_array_equal(permutation, recorded[f"{theirs}/best_perm"])
    found = losses.reorder(estimate, permutation)
    np.testing.assert_array_equal(np.asarray(found)[..., 0], recorded[f"{theirs}/reordered"])


@pytest.mark.parametrize("sources", [1, 2, 3, 6])
@pytest.mark.parametrize("pairwise", ["si_sdr", "snr", "l1"])
def test_the_best_of_all_orders_is_found_example_by_example(rng, sources, pairwise):
    target, estimate, order = shuffled(rng, sources)
    loss, permutation = losses.best_permutation(target, estimate, pairwise)
    np.testing.assert_array_equal(permutation, order)
    plain = losses.get(pairwise)
    ordered = losses.reorder(estimate, permutation)
    np.testing.assert_allclose(loss, plain(target, ordered), rtol=1e-5)
    if sources <= 3:
        tried = [
            np.asarray(plain(target, estimate[:, list(way)]))
            for way in itertools.permutations(range(sources))
        ]
        np.testing.assert_allclose(loss, np.min(tried, axis=0), rtol=1e-5)


def test_the_order_of_the_estimates_does_not_matter_but_their_pairing_does(rng):
    target, estimate, _ = shuffled(rng, 3)
    loss = losses.get("pit", pairwise={"name": "si_sdr", "zero_mean": True})
    np.testing.assert_allclose(
        loss(target, estimate), loss(target, estimate[:, [2, 0, 1]]), rtol=1e-6
    )
    assert loss.permutation_invariant
    assert not losses.get("si_sdr").permutation_invariant
    # Halves of two speakers in one estimate are not forgiven: the order holds for the whole.
    pair = target[:, :2]
    swapped = np.concatenate([pair[:, :, :100], pair[:, ::-1, 100:]], axis=2)
    assert (np.asarray(loss(pair, swapped)) > -5).all()


def test_magnitudes_have_permutations_too(rng):
    target = rng.uniform(size=(2, 2, 6, 5, 1)).astype("float32")
    found = losses.get("pit", pairwise="l1")(target, target[:, ::-1])
    np.testing.assert_array_equal(found, [0, 0])


def test_with_nothing_to_choose_by_the_order_stays_and_one_order_learns():
    target = np.random.default_rng(1).standard_normal((1, 2, 50, 1)).astype("float32")
    estimate = tf.constant(np.repeat(target.sum(axis=1, keepdims=True), 2, axis=1))
    loss, permutation = losses.best_permutation(target, estimate)
    np.testing.assert_array_equal(permutation, [[0, 1]])
    with tf.GradientTape() as tape:
        tape.watch(estimate)
        loss = losses.pit(target, estimate)
    gradient = tape.gradient(loss, estimate).numpy()
    assert np.abs(gradient[:, 0] - gradient[:, 1]).max() > 1e-6


def test_pit_is_computed_in_float32_under_half_precision(rng):
    target, estimate, _ = shuffled(rng, 2, samples=4000)
    half = (100 * target).astype("float16"), (100 * estimate).astype("float16")
    found = losses.pit(*half)
    assert keras.backend.standardize_dtype(found.dtype) == "float32"
    np.testing.assert_allclose(found, losses.pit(target, estimate), atol=0.01)


@pytest.mark.parametrize(
    ("pairwise", "message"),
    [
        ("sisdr", "did you mean 'si_sdr'"),
        ("weighted_l1_mask", "there are: si_sdr"),
        ({"name": "snr", "zero": True}, "'zero'; did you mean 'zero_mean'"),
        ({"zero_mean": True}, "pairwise loss is called None"),
    ],
)
def test_a_wrong_pairwise_loss_is_refused_before_the_first_batch(pairwise, message):
    with pytest.raises(ValueError, match=message):
        losses.get("pit", pairwise=pairwise)


def test_shapes_and_numbers_of_sources_without_permutations_are_refused():
    with pytest.raises(ValueError, match=r"\[batch, sources, samples, channels\]"):
        losses.pit(np.zeros((2, 50, 1)), np.zeros((2, 50, 1)))
    with pytest.raises(ValueError, match="up to 6 sources; got 7"):
        losses.pit(np.zeros((1, 7, 50, 1)), np.zeros((1, 7, 50, 1)))


def test_sd_sdr_and_weighted_sdr_are_those_found_by_hand():
    target = np.array([2.0, 0.0, 0.0, 0.0]).reshape(1, 1, 4, 1)
    estimate = np.array([1.0, 0.1, 0.0, 0.0]).reshape(1, 1, 4, 1)
    # The image is 1, the difference (1, 0.1).
    np.testing.assert_allclose(losses.sd_sdr(target, estimate), [10 * np.log10(1.01)], rtol=1e-5)
    # x = (2, 1), y = (2, 0), z = (0, 1), a = 4 / 5; y' = (1, 1), z' = (1, 0).
    target = np.array([[2.0, 0.0], [0.0, 1.0]]).reshape(1, 2, 2, 1)
    estimate = np.array([[1.0, 1.0], [0.0, 1.0]]).reshape(1, 2, 2, 1)
    first = -0.8 / np.sqrt(2) - 0.2 * 0
    np.testing.assert_allclose(losses.weighted_sdr(target, estimate), [(first - 1) / 2], rtol=1e-6)
    np.testing.assert_allclose(losses.weighted_sdr(target, target), [-1.0], rtol=1e-6)
    mixture = np.array([2.0, 1.0]).reshape(1, 2, 1)
    alone = losses.weighted_sdr(target[:, :1], estimate[:, :1], mixture)
    np.testing.assert_allclose(alone, [first], rtol=1e-6)


def test_the_weighted_sdr_and_its_slope_are_those_recorded(vectors):
    import tensorflow as tf

    recorded = vectors("dcunet_wsdr_complexbn")
    target, estimate = (recorded[f"wsdr/{name}"][:, None, :, None] for name in ("y", "estimate"))
    estimate = tf.convert_to_tensor(estimate)
    with tf.GradientTape() as tape:
        tape.watch(estimate)
        found = losses.weighted_sdr(target, estimate, recorded["wsdr/x"][..., None])
        mean = tf.reduce_mean(found)
    np.testing.assert_allclose(found, recorded["wsdr/per_example"], rtol=1e-5)
    np.testing.assert_allclose(mean, recorded["wsdr/loss"], rtol=1e-5)
    slope = tape.gradient(mean, estimate)[:, 0, :, 0]
    np.testing.assert_allclose(slope, recorded["wsdr/grad_estimate"], atol=1e-7)


def test_the_mixture_losses_hear_what_is_lost_and_not_how_it_is_shared():
    target = np.array([[1.0, 2.0], [3.0, 4.0]]).reshape(1, 2, 2, 1)
    estimate = np.array([[3.0, 2.0], [1.0, 1.0]]).reshape(1, 2, 2, 1)  # sums 4 6 against 4 3
    np.testing.assert_allclose(losses.mixture_l1(target, estimate), [1.5])
    np.testing.assert_allclose(losses.mixture_l2(target, estimate), [4.5])
