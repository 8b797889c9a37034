"""A sum of losses, each with its weight: a waveform's L1 beside the spectrum's, say."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kzoo.losses.table import LOSSES, looked_up

TERMS = (
    "l1",
    "l2",
    "si_sdr",
    "sd_sdr",
    "snr",
    "mixture_l1",
    "mixture_l2",
    "multi_resolution_stft",
    "compressed_stft",
    "loudness_l1",
    "log_likelihood_ratio",
)


def weighted_sum(target, estimate, *, terms: Sequence[Mapping[str, Any]] = ({"name": "l1"},)):
    """The sum of `terms`, `[batch]`: mappings of a loss's name, its `weight` (1), its options.

    Raises ValueError for an unknown name or option.
    """
    loss = 0.0
    for term in resolved_terms(terms):
        options = {key: value for key, value in term.items() if key not in ("name", "weight")}
        loss = loss + term["weight"] * LOSSES[term["name"]](target, estimate, **options)
    return loss


def resolved_terms(terms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`terms` with all of their options; ValueError as `weighted_sum`."""
    resolved = []
    for term in terms:
        options = {"name": None, **term}
        weight = options.pop("weight", 1.0)
        function, options = looked_up(options, TERMS, "term of a weighted_sum")
        if not isinstance(weight, int | float):
            raise ValueError(f"the weight of {function.__name__} must be a number; got {weight!r}")
        resolved.append({"name": function.__name__, "weight": weight, **options})
    if not resolved:
        raise ValueError("a weighted_sum needs one term at least; got none")
    return resolved
