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


def detune(
    *, probability: float = 1.0, semitones: float = 0.5, shortest_seconds: float = 0.25,
    longest_seconds: float = 0.5,
) -> Step:  # fmt: skip
    """Transpose one stretch of each source a little, so that nothing is learned of exact pitch.

    semitones: at most so much, up or down. shortest_seconds, longest_seconds: between which the
        stretch's length is drawn; its place is drawn evenly. As in Mor et al., 2019,
        https://arxiv.org/abs/1805.07848. It also varies what a model that translates hears.
    """
    check_range("detune", -semitones, semitones, least=-24, most=24, nothing=0)
    check_range(
        "detune", shortest_seconds, longest_seconds, least=0.01, most=60,
        names=("shortest_seconds", "longest_seconds"),
    )  # fmt: skip

    def draw(rng):
        bounds = (-semitones, semitones), (shortest_seconds, longest_seconds), (0, 1)
        return [rng.uniform(*pair) for pair in bounds]

    def change(source, values, rate):
        interval, seconds, place = values
        length = min(round(seconds * rate), len(source))
        start = round(place * (len(source) - length))
        changed = source.copy()
        changed[start : start + length] = transposed(source[start : start + length], interval, rate)
        return changed

    step = drawn(draw, change, probability, "detune", None, together=False)
    step.keeps_time = True
    return step


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
