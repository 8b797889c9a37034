"""Losses of deep clustering: how far embeddings are from telling the sources of all bins apart.

Hershey et al., 2016, https://arxiv.org/abs/1508.04306: V `[points, embedding]` holds the embedding
of each bin and Y `[points, sources]` a one for the source that is loudest there. V V' and Y Y' say
which bins belong together; their squared difference is taken by three small products, not by
matrices of all bins with all bins.
"""

from __future__ import annotations

import math

from keras import ops

from kzoo.losses.permutation import pit
from kzoo.losses.shapes import same_shape


def deep_clustering(target, estimate, mixture, *, active_db: float | None = 40.0):
    """|V V' - Y Y'|^2 over the number of active bins, `[batch]`.

    target: magnitudes of the sources, `[batch, sources, frames, bins, channels]`; of equally loud
    ones the first counts. estimate: unit vectors `[batch, points, embedding]`, one for each bin in
    the order of the magnitudes. mixture: magnitudes, `[batch, frames, bins, channels]`.
    active_db: bins further below the mixture's loudest count nothing; None counts all.
    Raises ValueError for estimates of another rank: `chimera` takes masks beside embeddings.
    """
    if len(estimate.shape) != 3:
        raise ValueError(
            "embeddings must be [batch, points, embedding]; got shape "
            f"{tuple(estimate.shape)}: of a network with a mask head chimera is the loss"
        )
    target, estimate = ops.cast(target, "float32"), ops.cast(estimate, "float32")
    sources = target.shape[1]
    loudest = ops.argmax(target, axis=1)
    points = ops.shape(estimate)[1]
    y = ops.reshape(ops.one_hot(loudest, sources, dtype="float32"), (-1, points, sources))
    active = ops.reshape(_active(ops.cast(mixture, "float32"), active_db), (-1, points, 1))
    v, y = estimate * active, y * active
    v_t, y_t = ops.swapaxes(v, 1, 2), ops.swapaxes(y, 1, 2)
    products = [ops.matmul(v_t, v), ops.matmul(y_t, y), ops.matmul(v_t, y)]
    squares = [ops.sum(ops.square(product), axis=(1, 2)) for product in products]
    return (squares[0] + squares[1] - 2 * squares[2]) / ops.sum(active, axis=(1, 2))


def chimera(target, estimate, mixture, *, alpha: float = 0.5, active_db: float | None = 40.0):
    """`deep_clustering` by alpha, and by 1 - alpha a permutation-invariant loss of masks.

    estimate: `[batch, frames, bins, embedding + sources]`, embeddings and behind them a mask for
    each source. The second loss is the mean squared difference of masked magnitudes of the mixture,
    by the masks and by the ideal ratio masks of the sources. The others: as in `deep_clustering`.
    Raises ValueError for estimates of another rank.
    """
    if len(estimate.shape) != 4:
        raise ValueError(
            "embeddings and masks must be [batch, frames, bins, embedding + sources]; got shape "
            f"{tuple(estimate.shape)}: of a network without a mask head deep_clustering is the loss"
        )
    target, mixture = same_shape(target, mixture[:, None] + ops.zeros_like(target))
    estimate = ops.cast(estimate, target.dtype)
    sources, (_, frames, bins, width) = target.shape[1], ops.shape(estimate)
    length = width - sources
    embeddings = ops.reshape(estimate[..., :length], (-1, frames * bins, length))
    masks = ops.expand_dims(ops.moveaxis(estimate[..., length:], -1, 1), -1)
    ideal = target / (ops.sum(target, axis=1, keepdims=True) + 1e-8)
    of_masks = pit(ideal * mixture, masks * mixture, pairwise="l2")
    of_clusters = deep_clustering(target, embeddings, mixture[:, 0], active_db=active_db)
    return alpha * of_clusters + (1 - alpha) * of_masks


def _active(mixture, active_db: float | None):
    """Ones where `[batch, ...]` is at most so far below its maximum, zeros elsewhere."""
    if active_db is None:
        return ops.ones_like(mixture)
    axes = tuple(range(1, len(mixture.shape)))
    faintest = ops.max(mixture, axis=axes, keepdims=True) * math.pow(10.0, -active_db / 20)
    return ops.cast(mixture > faintest, mixture.dtype)
