"""Losses for sources without an order: speakers, whom nothing but chance numbers.

Permutation-invariant training, Kolbaek et al., 2017, https://arxiv.org/abs/1703.06284: of all ways
to assign the estimates to the targets, the one with the least loss counts, for each example by
itself and over its whole length.
"""

from __future__ import annotations

import difflib
import inspect
import itertools
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import numpy as np
from keras import ops

from kzoo.losses.multi_resolution import multi_resolution_stft
from kzoo.losses.shapes import same_shape
from kzoo.losses.spectral import l1, l2
from kzoo.losses.waveform import sd_sdr, si_sdr, snr

MOST_SOURCES = 6  # 720 permutations
PAIRWISE = {f.__name__: f for f in (si_sdr, sd_sdr, snr, l1, l2, multi_resolution_stft)}

Pairwise = str | Mapping[str, Any] | Callable


def pit(target, estimate, *, pairwise: Pairwise = "si_sdr"):
    """The least mean of a loss between targets and estimates over all orders of the estimates.

    Takes `[batch, sources, ...]`, gives `[batch]`. pairwise: the name of a loss, or a mapping of
    its name and options, such as {"name": "si_sdr", "zero_mean": True}.
    """
    return best_permutation(target, estimate, pairwise)[0]


def best_permutation(target, estimate, pairwise: Pairwise = "si_sdr"):
    """(loss `[batch]`, permutation `[batch, sources]` int32): which estimate is which target's.

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
    loss = pairwise_loss(pairwise)
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
    """`[batch, sources, ...]` in the order of `permutation` `[batch, sources]`."""
    rank = len(estimate.shape)
    indices = ops.reshape(permutation, (-1, estimate.shape[1], *[1] * (rank - 2)))
    return ops.take_along_axis(estimate, indices, axis=1)


def pairwise_loss(pairwise: Pairwise) -> Callable:
    """The loss that is meant, with its options; ValueError for an unknown name or option."""
    if callable(pairwise):
        return pairwise
    options = {"name": pairwise} if isinstance(pairwise, str) else dict(pairwise)
    name = options.pop("name", None)
    if name not in PAIRWISE:
        near = difflib.get_close_matches(str(name), PAIRWISE, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(PAIRWISE)}"
        raise ValueError(f"no pairwise loss is called {name!r}; {hint}")
    known = list(inspect.signature(PAIRWISE[name]).parameters)[2:]
    for option in options:
        if option not in known:
            raise ValueError(
                f"no option of the pairwise loss {name} is called {option!r}; it takes "
                f"{', '.join(known) or 'none'}"
            )
    return partial(PAIRWISE[name], **options)
