"""Losses for sources without an order: speakers, whom nothing but chance numbers.

Permutation-invariant training, Kolbaek et al., 2017, https://arxiv.org/abs/1703.06284: of all ways
to assign the estimates to the targets, the one with the least loss counts, for each example by
itself and over its whole length.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from kzoo.losses.shapes import same_shape
from kzoo.losses.table import looked_up

MOST_SOURCES = 6  # 720 permutations
PAIRWISE = ("si_sdr", "sd_sdr", "snr", "l1", "l2", "multi_resolution_stft")

Pairwise = str | Mapping[str, Any] | Callable


def pit(target, estimate, *, pairwise: Pairwise = "si_sdr"):
    """The least mean of a loss between targets and estimates over all orders of the estimates.

    Takes `[batch, sources, ...]`, gives `[batch]`. pairwise: the name of a loss, or a mapping of
    its name and options, such as {"name": "si_sdr", "zero_mean": True}.
    """
    return best_permutation(target, estimate, pairwise)[0]


def best_permutation(target, estimate, pairwise: Pairwise = "si_sdr"):
    """Find which estimate is which target's: (loss `[batch]`, permutation `[batch, sources]`).

    Source i goes with estimate permutation[i]; of equal losses the first in lexical order counts,
    so with nothing to choose by the order stays.
    """
    costs = pairwise_losses(target, estimate, pairwise)  # [batch, sources, sources]
    sources = costs.shape[1]
    permutations = np.array(list(itertools.permutations(range(sources))), "int32")
    # Gathered, not multiplied by ones and zeros: a GPU may do matmuls with ten bits.
    places = permutations + sources * np.arange(sources, dtype="int32")
    flat = ops.reshape(costs, (-1, sources * sources))
    means = ops.mean(ops.take(flat, places, axis=1), axis=2)  # [batch, permutations]
    best = ops.argmin(means, axis=1)
    # Not the minimum: where two orders tie, its gradient would be the mean of theirs.
    loss = ops.take_along_axis(means, ops.expand_dims(best, 1), axis=1)[:, 0]
    return loss, ops.take(ops.convert_to_tensor(permutations), best, axis=0)


def pairwise_losses(target, estimate, pairwise: Pairwise = "si_sdr"):
    """`[batch, sources, sources]`: the loss of target i (rows) with estimate j (columns).

    Raises ValueError for other shapes than `[batch, sources, ...]` with at least two axes more,
    and for more than six sources, whose orders are too many.
    """
    loss = _pairwise_loss(pairwise)
    target, estimate = same_shape(target, estimate)
    if len(target.shape) < 4:
        raise ValueError(
            "sources must be [batch, sources, samples, channels] or [batch, sources, frames, bins, "
            f"channels]; got shape {tuple(target.shape)}"
        )
    sources = target.shape[1]
    if sources > MOST_SOURCES:
        raise ValueError(
            f"all orders are tried for up to {MOST_SOURCES} sources; got {sources}: give them an "
            "order, or a loss without one for fewer"
        )
    tail = ops.shape(target)[2:]
    # Every pair is an example of one source, so any loss of one number an example will do.
    rows = ops.reshape(ops.repeat(target, sources, axis=1), (-1, 1, *tail))
    columns = ops.reshape(ops.concatenate([estimate] * sources, axis=1), (-1, 1, *tail))
    return ops.reshape(loss(rows, columns), (-1, sources, sources))


def reorder(estimate, permutation):
    """Put `[batch, sources, ...]` into the order of `permutation` `[batch, sources]`."""
    rank = len(estimate.shape)
    indices = ops.reshape(permutation, (-1, estimate.shape[1], *[1] * (rank - 2)))
    return ops.take_along_axis(estimate, indices, axis=1)


def resolved_pairwise(pairwise: Pairwise) -> dict[str, Any] | Callable:
    """Its name and all of its options, ValueError for an unknown one; a function stays itself."""
    if callable(pairwise):
        return pairwise
    function, options = looked_up(pairwise, PAIRWISE, "pairwise loss")
    return {"name": function.__name__, **options}


def _pairwise_loss(pairwise: Pairwise) -> Callable:
    if callable(pairwise):
        return pairwise
    function, options = looked_up(pairwise, PAIRWISE, "pairwise loss")
    return partial(function, **options)
