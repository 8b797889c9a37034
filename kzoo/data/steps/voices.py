"""Steps that change pitch, tempo or timbre of sources, each without the others.

Cohen-Hadria, Roebel and Peeters, 2019, https://arxiv.org/abs/1903.01415, made more singing of
little by these three; which factors they drew is not known here.
"""

from __future__ import annotations

from collections.abc import Sequence

from kzoo.data.examples import Step
from kzoo.data.steps.base import check_range, drawn
from kzoo.data.steps.vocoder import fitted, formants_moved, stretched, transposed


def pitch(
    *, probability: float = 1.0, low: float = -3.0, high: float = 3.0,
    sources: Sequence[str] | None = None, together: bool = True, keep_formants: bool = False,
) -> Step:  # fmt: skip
    """Transpose sources; their length stays.

    low, high: between which the interval is drawn, in semitones. together: all by the same, so that
        they stay in tune; else each by its own. sources: these alone; all by default.
    keep_formants: timbre stays, as of a voice that sings
    another note; else it moves along, as on a tape at another speed.
    """
    check_range("pitch", low, high, least=-24, most=24, nothing=0)

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
    """Play sources faster or slower; their pitch stays.

    low, high: between which the tempo is drawn; 1 is its own, 1.25 faster by a quarter.
    together: all at the same tempo; else each at its own. sources: these alone; all by default.

    Segments that are `high` times as long are drawn for it, so that there is no silence at the end.
    """
    check_range("stretch", low, high, least=0.25, most=4, nothing=1)

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
    """Move the formants of sources: one voice becomes those of smaller and larger heads.

    Pitch, time and level stay.

    low, high: between which the factor of their frequencies is drawn. sources: these alone, such as
        [vocals]; all by default. together: all by the same factor; else each by its own.
    """
    check_range("envelope", low, high, least=0.5, most=2, nothing=1)
    return drawn(
        lambda rng: rng.uniform(low, high), formants_moved, probability, "envelope", sources,
        together=together,
    )  # fmt: skip
