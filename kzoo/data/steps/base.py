"""What steps share: which sources are meant, how often, and between which bounds."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kzoo import config
from kzoo.data.examples import Step


def each_source(
    change: Callable, probability: float, step: str, sources: Sequence[str] | None = None
) -> Step:
    """A step that changes sources one by one: `change(source, rng)`, `[samples, channels]`.

    sources: names of those that it may change; all by default. Raises as `check` does.
    """
    check(step, probability, sources)

    def apply(example, rng, examples):
        chosen = rng.random(len(example["sources"])) < probability
        if sources is not None:
            chosen &= named(sources, examples.corpus.sources, step)
        changed = [
            change(source, rng) if picked else source
            for source, picked in zip(example["sources"], chosen, strict=True)
        ]
        return {**example, "sources": np.stack(changed)}

    return apply


def drawn(
    draw: Callable[[np.random.Generator], Any], change: Callable, probability: float, step: str,
    sources: Sequence[str] | None, *, together: bool,
) -> Step:  # fmt: skip
    """A step that changes sources by what is drawn: `change(source, draw(rng), sample_rate)`.

    together: chance and draw are one for all sources, or each source has its own.
    sources: names of those that it may change; None is all. Raises as `check` does.
    """
    check(step, probability, sources)

    def apply(example, rng, examples):
        found, corpus = example["sources"], examples.corpus
        meant = named(sources, corpus.sources, step)
        count = 1 if together else len(found)
        picked = np.broadcast_to(rng.random(count) < probability, len(found)) & meant
        values = [draw(rng) for _ in range(count)] * (len(found) if together else 1)
        changed = [
            change(source, value, corpus.sample_rate).astype(np.float32) if chosen else source
            for source, value, chosen in zip(found, values, picked, strict=True)
        ]
        return {**example, "sources": np.stack(changed)}

    return apply


def check(step: str, probability: float, sources: Sequence[str] | None = None) -> None:
    """Refuse a step that would never do anything; ValueError."""
    if not 0 < probability <= 1:
        raise ValueError(
            f"{step}: probability must be above 0 and at most 1; got {probability}: "
            "leave the step out for none"
        )
    if sources is not None and not sources:
        raise ValueError(f"{step}: sources must name one or more; leave it out for all of them")


def check_range(
    step: str, low: float, high: float, *, least: float, most: float, nothing: float | None = None,
    names: tuple[str, str] = ("low", "high"),
) -> None:  # fmt: skip
    """Refuse what is not least <= low <= high <= most, or is `nothing` throughout; ValueError."""
    first, last = names
    if not least <= low <= high <= most:
        raise ValueError(
            f"{step}: {least:g} <= {first} <= {last} <= {most:g} is needed; got {first}={low} and "
            f"{last}={high}"
        )
    if low == high == nothing:
        raise ValueError(
            f"{step}: {first} and {last} of {nothing:g} change nothing; leave the step out for that"
        )


def named(names: Sequence[str] | None, sources: Sequence[str], step: str) -> np.ndarray:
    """Which of the corpus's sources are meant; ConfigError for a name that is none of them."""
    for name in names or ():
        config.named(sources, name, f"source of step {step}")
    return np.array([names is None or source in names for source in sources])
