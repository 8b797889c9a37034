"""Losses of embeddings: by their definition, on silence, and with other shapes."""

import numpy as np
import pytest
import tensorflow as tf

from kzoo import losses

NAMES = ("deep_clustering", "chimera")


def example(name, rng):
    """(target, estimate, mixture) of 2 sources, 5 frames, 3 bins, embeddings of length 4."""
    target = rng.uniform(0, 1, (2, 2, 5, 3, 1)).astype(np.float32)
    vectors = rng.standard_normal((2, 5, 3, 4)).astype(np.float32)
    vectors /= np.linalg.norm(vectors, axis=-1, keepdims=True)
    if name == "deep_clustering":
        return target, vectors.reshape(2, 15, 4), target.sum(axis=1)
    masks = rng.uniform(0, 1, (2, 5, 3, 2)).astype(np.float32)
    return target, np.concatenate([vectors, masks], axis=-1), target.sum(axis=1)


def test_asteroids_deep_clustering_loss_is_reproduced(vectors):
    recorded = vectors("deep_clustering_loss")
    index = recorded["tgt_index"]
    target = np.eye(index.max() + 1)[index].transpose(0, 3, 1, 2)[..., None]
    for active_db, key in ((40.0, "loss_vad"), (None, "loss_novad")):
        found = losses.deep_clustering(
            target, recorded["embedding"], recorded["mag_spec"][..., None], active_db=active_db
        )
        np.testing.assert_allclose(found, recorded[key], rtol=1e-6)


def test_it_is_the_squared_difference_of_affinities(rng):
    target, estimate, mixture = example("deep_clustering", rng)
    mixture[:, 0] = 1e-6  # 120 dB down
    found = losses.deep_clustering(target, estimate, mixture)
    for i in range(2):
        heard = mixture[i].ravel() > 0.01
        v, y = estimate[i][heard], np.eye(2)[target[i].reshape(2, -1).argmax(axis=0)[heard]]
        expected = np.square(v @ v.T - y @ y.T).sum() / heard.sum()
        np.testing.assert_allclose(found[i], expected, rtol=1e-5)


@pytest.mark.parametrize("name", NAMES)
def test_embeddings_of_one_direction_a_source_and_ideal_masks_lose_nothing(name, rng):
    target, estimate, mixture = example(name, rng)
    directions = np.eye(4, dtype=np.float32)[target.argmax(axis=1)[..., 0]]  # [2, 5, 3, 4]
    if name == "deep_clustering":
        estimate = directions.reshape(2, 15, 4)
    else:
        masks = (target / target.sum(axis=1, keepdims=True))[:, ::-1, ..., 0]
        estimate = np.concatenate([directions, masks.transpose(0, 2, 3, 1)], axis=-1)
    np.testing.assert_allclose(losses.get(name)(target, estimate, mixture), 0, atol=1e-5)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("silent", ["one source", "all"])
def test_silence_has_a_finite_loss_and_gradient(name, silent, rng):
    target, estimate, mixture = example(name, rng)
    target[:, 0] = 0
    if silent == "all":
        target[:], mixture[:] = 1e-10, 1e-10
    variable = tf.Variable(estimate)
    with tf.GradientTape() as tape:
        value = losses.get(name)(target, variable, mixture)
    assert np.isfinite(value).all()
    assert np.isfinite(tape.gradient(value, variable)).all()


@pytest.mark.parametrize("name", NAMES)
def test_lengths_may_be_unknown_and_precision_half(name, rng):
    loss, arrays = losses.get(name), example(name, rng)
    shapes = [(None, 2, None, None, 1), (None, None, 4), (None, None, None, 1)]
    if name == "chimera":
        shapes[1] = (None, None, None, 6)
    drawn = tf.function(
        loss, input_signature=[tf.TensorSpec(shape) for shape in shapes], autograph=False
    )
    expected = loss(*arrays)
    np.testing.assert_allclose(drawn(*arrays), expected, rtol=1e-5)
    halves = loss(*(array.astype(np.float16) for array in arrays))
    assert halves.dtype == tf.float32
    np.testing.assert_allclose(halves, expected, rtol=0.2)


def test_a_loss_of_another_network_is_refused(rng):
    with pytest.raises(ValueError, match="of a network with a mask head chimera is the loss"):
        losses.deep_clustering(*example("chimera", rng))
    with pytest.raises(ValueError, match="without a mask head deep_clustering is the loss"):
        losses.chimera(*example("deep_clustering", rng))


def test_both_are_the_same_for_every_order_of_the_sources(rng):
    for name in NAMES:
        assert losses.get(name).permutation_invariant
        target, estimate, mixture = example(name, rng)
        found = losses.get(name)(target, estimate, mixture)
        other = losses.get(name)(target[:, ::-1], estimate, mixture)
        np.testing.assert_allclose(found, other, rtol=1e-6)
