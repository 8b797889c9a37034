"""Steps that change pitch, tempo or timbre of sources, each without the others.

Cohen-Hadria, Roebel and Peeters, 2019, https://arxiv.org/abs/1903.01415, made more singing of
little by these three; which factors they drew is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence

from kzoo.data.examples import Step
from kzoo.data.steps.base import bounds, drawn
from kzoo.data.steps.vocoder import fitted, formants_moved, stretched, transposed


def pitch(
    *, probability: float = 1.0, low: float = -3.0, high: float = 3.0,
    sources: Sequence[str] | None = None, together: bool = True, keep_formants: bool = False,
) -> Step:  # fmt: skip
    """Transpose sources by so many semitones; their length stays.

    together: all by the same interval, so that they stay in tune; else each by its own.
    sources: these alone; all by default. keep_formants: timbre stays, as of a voice that sings
    another note; else it moves along, as on a tape at another speed.
    """
    low, high = bounds("pitch", low, high, above=-float("inf"), nothing=0)

    def change(source, semitones, rate):
        moved = transposed(source, semitones, rate)
        return formants_moved(moved, 2 ** (-semitones / 12), rate) if keep_formants else moved

    return drawn(
        lambda rng: rng.uniform(low, high), change, probability, "pitch", sources,
        together=together,
    )  # fmt: skip


def stretch(
    *, probability: float = 1.0, low: float = 0.8, high: float = 1.25,
    sources: Sequence[str] | None = None, together: bool = True,
) -> Step:  # fmt: skip
    """Play sources at so many times their tempo; their pitch stays.

    together: all at the same tempo; else each at its own. sources: these alone; all by default.
    Segments that are `high` times as long are drawn for it, so that there is no silence at the end.
    """
    low, high = bounds("stretch", low, high, above=0, nothing=1)

    def change(source, tempo, rate):
        return fitted(stretched(source, 1 / tempo, rate), len(source))

    step = drawn(
        lambda rng: rng.uniform(low, high), change, probability, "stretch", sources,
        together=together,
    )  # fmt: skip
    step.reach = max(1.0, high)
    return step


def envelope(
    *, probability: float = 1.0, low: float = 0.85, high: float = 1.18,
    sources: Sequence[str] | None = None, together: bool = False,
) -> Step:  # fmt: skip
    """Move the formants of sources to so many times their frequency; pitch and time stay.

    So one voice becomes those of smaller and larger heads. sources: these alone, such as [vocals];
    all by default. together: all by the same factor; else each by its own.
    """
    low, high = bounds("envelope", low, high, above=0, nothing=1)
    return drawn(
        lambda rng: rng.uniform(low, high), formants_moved, probability, "envelope", sources,
        together=together,
    )  # fmt: skip
