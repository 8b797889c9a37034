"""The best, the median and the worst stretch of a system, to be heard and seen.

A track is cut into stretches of a few seconds, and these are ranked by the mean of what their
frames have; what is scored as a whole is ranked as a whole, and heard from its beginning. A system
that separates does so once more, on the stretch and a little around it, which may differ from what
it gave of the whole.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from kzoo import metrics
from kzoo.data.recordings import Track
from kzoo.data.tracks import Sound, read_track
from kzoo.evaluation.measures import higher_is_better
from kzoo.evaluation.report import Report
from kzoo.evaluation.scoring import METRICS, Settings, best_order, target_scores
from kzoo.evaluation.systems import EstimatesFolder, Separation, System, fitted

SECONDS = 5.0
TAPS = 64  # of the filters of its parts: 512, as in BSS Eval, take four times as long
_AROUND_SECONDS = 2.0
RANKS = ("best", "median", "worst")


@dataclass(frozen=True)
class Stretch:
    """A part of a track, from `start_seconds` of the recording on, and its value of `measure`."""

    track: str
    subset: str
    start_seconds: float
    measure: str
    value: float
    rank: str = ""


@dataclass(frozen=True)
class Excerpt:
    """A stretch as a system gave it: signals `[samples, channels]` by what they are."""

    system: str
    source: str
    stretch: Stretch
    sample_rate: int
    signals: Mapping[str, np.ndarray] = field(repr=False)


def excerpts(
    report: Report,
    documents: Sequence[Mapping[str, Any]],
    tracks: Sequence[Track],
    systems: Sequence[System],
    settings: Settings,
    *,
    failed: Callable[[str], object],
) -> Iterator[Excerpt]:
    """Up to three of each source and system; `failed` is told of one that could not be made."""
    by_name = {(track.subset, track.name): track for track in tracks}
    for source in settings.sources:
        for system in systems:
            for stretch in ranked(report, documents, system.name, source, settings):
                track = by_name[stretch.subset, stretch.track]
                try:
                    yield _heard(system, source, stretch, track, settings)
                except (ValueError, OSError, MemoryError, RuntimeError) as error:
                    reason = " ".join(str(error).split())
                    failed(f"{stretch.track}: no excerpt of {system.name}: {reason}")


def ranked(
    report: Report,
    documents: Sequence[Mapping[str, Any]],
    system: str,
    source: str,
    settings: Settings,
) -> list[Stretch]:
    """The best, the median and the worst stretch, as far as there are as many."""
    mine = [d for d in documents if d["kzoo"]["system"] == system]
    found: list[Stretch] = []
    for measure in sorted(report.shown, key=lambda name: name not in METRICS):
        for document in mine:
            for target in document["targets"]:
                if target["name"] == source:
                    found += _stretches(document["kzoo"], target, measure, settings)
        if found:
            break
    sign = -1 if found and higher_is_better(found[0].measure) else 1
    found.sort(key=lambda stretch: (sign * stretch.value, stretch.track, stretch.start_seconds))
    places = {0: RANKS[0], len(found) // 2: RANKS[1], len(found) - 1: RANKS[2]}
    if len(found) == 1:
        places = {0: ""}
    return [
        Stretch(**{**vars(found[k]), "rank": rank}) for k, rank in sorted(places.items()) if found
    ]


def _stretches(
    about: Mapping[str, Any], target: Mapping[str, Any], measure: str, settings: Settings
) -> Iterator[Stretch]:
    place = (about["track"], about["subset"])
    if measure not in METRICS or not target["frames"]:
        value = target_scores(target).get(measure, math.nan)
        if not math.isnan(value):
            yield Stretch(*place, settings.start_seconds, measure, value)
        return
    frames = target["frames"]
    step = max(1, round(SECONDS / settings.hop_seconds))
    for first in range(0, max(1, len(frames) - step // 2), step):
        values = [frame["metrics"].get(measure, math.nan) for frame in frames[first : first + step]]
        values = [value for value in values if not math.isnan(value)]
        if values and len(values) >= len(frames[first : first + step]) / 2:
            start = settings.start_seconds + first * settings.hop_seconds
            yield Stretch(*place, start, measure, float(np.mean(values)))


def _heard(
    system: System, source: str, stretch: Stretch, track: Track, settings: Settings
) -> Excerpt:
    start = max(0.0, stretch.start_seconds - _AROUND_SECONDS)
    skipped = stretch.start_seconds - start
    crop = {
        **settings.crop(track), "start_seconds": start,
        "duration_seconds": skipped + SECONDS + _AROUND_SECONDS,
    }  # fmt: skip
    sound = read_track(track, settings.sources, **crop)
    estimate = _estimates(system, track, sound, crop)[source]
    first = round(skipped * sound.sample_rate)
    part = slice(first, first + round(SECONDS * sound.sample_rate))
    others = {name: true[part] for name, true in sound.references.items() if name != source}
    signals = {
        f"true {source}": sound.references[source][part],
        f"{source} of {system.name}": estimate[part],
        **error_parts(sound.references[source][part], estimate[part], others, sound.mixture[part]),
    }
    return Excerpt(system.name, source, stretch, sound.sample_rate, signals)


def _estimates(system: System, track: Track, sound: Sound, crop: Mapping) -> dict[str, np.ndarray]:
    if isinstance(system, Separation):
        found = system.estimates(sound)
    else:
        found = system.estimates(track, sound, crop)
    found = fitted(found, sound.mixture)
    if isinstance(system, EstimatesFolder | Separation) and system.interchangeable:
        order = best_order(sound.references, found)
        found = {name: found[other] for name, other in order.items()}
    return found


def error_parts(
    reference: np.ndarray,
    estimate: np.ndarray,
    others: Mapping[str, np.ndarray],
    mixture: np.ndarray,
) -> dict[str, np.ndarray]:
    """The parts of an estimate by `metrics.decompose`, which sum to it, each as a signal.

    Of a single source, what it leaves of the mixture is the other one. Where the reference is
    silent there is only the error.
    """
    if not reference.any():
        return {"error": estimate - reference}
    rest = [true for true in (others or {"": mixture - reference}).values() if true.any()]
    parts = metrics.decompose(np.stack([reference, *rest]), estimate, taps=TAPS)
    return {
        "target in it": parts.target,
        "interference": parts.interference,
        "artefacts": parts.artefacts,
    }
