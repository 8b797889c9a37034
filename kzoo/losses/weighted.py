"""A sum of losses, each with its weight: a waveform's L1 beside the spectrum's, say."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Mapping, Sequence
from typing import Any

from kzoo import config
from kzoo.losses.loudness import loudness_l1
from kzoo.losses.multi_resolution import multi_resolution_stft
from kzoo.losses.spectral import l1, l2
from kzoo.losses.waveform import mixture_l1, mixture_l2, sd_sdr, si_sdr, snr

TERMS = {
    f.__name__: f
    for f in (
        l1, l2, si_sdr, sd_sdr, snr, mixture_l1, mixture_l2, multi_resolution_stft, loudness_l1
    )
}  # fmt: skip


def weighted_sum(target, estimate, *, terms: Sequence[Mapping[str, Any]] = ({"name": "l1"},)):
    """The sum of `terms`, `[batch]`: mappings of a loss's name, its `weight` (1), its options.

    Raises ValueError for an unknown name or option.
    """
    loss = 0.0
    for term in resolved_terms(terms):
        options = {key: value for key, value in term.items() if key not in ("name", "weight")}
        loss = loss + term["weight"] * TERMS[term["name"]](target, estimate, **options)
    return loss


def resolved_terms(terms: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """`terms` with all of their options; ValueError as `weighted_sum`."""
    found = []
    for term in terms:
        options = dict(term)
        name, weight = options.pop("name", None), options.pop("weight", 1.0)
        if name not in TERMS:
            near = difflib.get_close_matches(str(name), TERMS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(TERMS)}"
            raise ValueError(f"no term of a weighted_sum is called {name!r}; {hint}")
        if not isinstance(weight, int | float):
            raise ValueError(f"the weight of {name} must be a number; got {weight!r}")
        config.check(
            TERMS[name], options, where=f"weighted_sum: {name}", given=("target", "estimate")
        )
        parameters = inspect.signature(TERMS[name]).parameters.values()
        defaults = {p.name: p.default for p in parameters if p.default is not p.empty}
        defaults = {k: list(v) if isinstance(v, tuple) else v for k, v in defaults.items()}
        found.append({"name": name, "weight": weight, **defaults, **options})
    if not found:
        raise ValueError("a weighted_sum needs one term at least; got none")
    return found
