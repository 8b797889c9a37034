"""The scores of one system on one track, and their JSON, which museval's readers take.

BSS Eval v4 as museval defines it: images, 512-tap filters computed over the whole track, one set of
ratios every second, NaN where a reference or an estimate is silent in that second. Beside it, and
never in its column, SI-SDR: one ratio a track, all channels as one signal with one scale, no mean
removed.

A source that is silent in all of the stretch that is scored has no scores, and museval refuses its
track. Here it is left out, and the others get what museval gives for them without it; one that is
alone then has no SIR, there being nothing to interfere with it.

Speech in noise has measures of its own, see `kzoo.evaluation.speech`: Settings.speech.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

import kzoo
from kzoo import metrics
from kzoo.data.recordings import Track
from kzoo.data.tracks import read_track
from kzoo.evaluation.speech import Speech, clip_scores, heard_at
from kzoo.evaluation.systems import EstimatesFolder, System, fitted
from kzoo.files import replacing
from kzoo.metrics import bss_eval, si_sdr
from kzoo.metrics.bsseval import WELL_CONDITIONED

METRICS = ("SDR", "SIR", "ISR", "SAR")
MEASURES = (*METRICS, "SI-SDR")
SHOWN = ("SDR", "SI-SDR")
IMPROVEMENT = "SI-SDRi"
_WORST_CONDITION = 1e300  # of a singular system, whose own is infinite
DEFINITION = (
    "SDR, SIR, ISR, SAR: BSS Eval v4 (museval), images, 512-tap filters over the whole track",
    "SI-SDR: whole track, its channels as one signal with one scale, no mean removed",
)


@dataclass(frozen=True)
class Settings:
    """What is scored, of every track alike.

    speech: by the measures of speech, of one source. columns: names of `kzoo.metrics.MEASURES` in
    place of the measures that are there by default.
    """

    sources: tuple[str, ...]
    start_seconds: float = 0.0
    duration_seconds: float | None = None
    window_seconds: float = 1.0
    hop_seconds: float = 1.0
    speech: Speech | None = None
    columns: tuple[str, ...] = ()

    def __post_init__(self):
        if not self.sources or len(set(self.sources)) < len(self.sources):
            raise ValueError(f"sources must be different names; got {', '.join(self.sources)}")
        if not (self.window_seconds > 0 and self.hop_seconds > 0):
            raise ValueError(
                "the window and the hop of BSS Eval must be above 0 s; got "
                f"{self.window_seconds} s and {self.hop_seconds} s"
            )
        if self.speech and len(self.sources) > 1:
            raise ValueError(
                f"the measures of speech are of one source; got {', '.join(self.sources)}: name it"
            )

    @property
    def measures(self) -> tuple[str, ...]:
        """The columns."""
        return self.columns or self._by_default

    @property
    def shown(self) -> tuple[str, ...]:
        """Those columns that the table of the text has."""
        return self.columns or (self.speech.measures if self.speech else SHOWN)

    @property
    def others(self) -> tuple[str, ...]:
        """Those columns that are not among the default ones, and have definitions of their own."""
        return tuple(name for name in self.columns if name not in self._by_default)

    @property
    def _by_default(self) -> tuple[str, ...]:
        return self.speech.measures if self.speech else MEASURES

    @property
    def definition(self) -> tuple[str, ...]:
        """Sentences that define the measures, for the header of a table."""
        others = [
            f"{name}: {measure.definition}{measure.unit and f', {measure.unit}'}"
            for name, measure in metrics.MEASURES.items()
            if name in self.others
        ]
        if self.speech:
            return (*self.speech.definition, *others)
        parts = (set(METRICS), {"SI-SDR"})
        used = [d for d, p in zip(DEFINITION, parts, strict=True) if p & set(self.measures)]
        return (*used, *others)

    def crop(self, track: Track) -> dict[str, float | None]:
        """The stretch of a track and the rate at which it is heard, in the words of `audio.read`.

        Raises as `speech.heard_at` where that asks for a rate.
        """
        rate = {"sample_rate": heard_at(track)} if self.speech else {}
        stretch = {"start_seconds": self.start_seconds, "duration_seconds": self.duration_seconds}
        return {**stretch, **rate}

    def identity(self) -> dict[str, Any]:
        """All of them, as they count for the scores."""
        found = asdict(self)
        del found["speech"]
        if not self.columns:
            del found["columns"]
        return {**found, **(self.speech.identity() if self.speech else {})}


@dataclass(frozen=True)
class Job:
    """One system on one track, and where its scores go."""

    track: Track
    system: System
    settings: Settings
    path: Path


def identity(track: Track, system: System, settings: Settings) -> dict[str, Any] | None:
    """All that the scores depend on, as JSON holds it; None where that is not known."""
    known_by = system.identity(track)
    if known_by is None:
        return None
    order = {"order": "the best by SI-SDR"} if _interchangeable(system) else {}
    everything = {
        **order,
        "definition": settings.definition,
        "settings": settings.identity(),
        "data_sha256": track.sha256(),
        "system": known_by,
    }
    return json.loads(json.dumps(everything))


def score(job: Job) -> dict[str, Any]:
    """Make the scores of a job and write them, whole or not at all; the written document.

    Raises ValueError and audio.AudioError for a track or estimates that cannot be scored.
    """
    track, settings = job.track, job.settings
    crop = settings.crop(track)
    sound = read_track(track, settings.sources, **crop)
    notes = [
        f"{source}: not in this track, not scored"
        for source in settings.sources
        if source not in sound.references
    ]
    found = job.system.estimates(track, sound, crop)
    if isinstance(job.system, EstimatesFolder):
        notes += job.system.notes(track, sound, crop)
    estimates = fitted(found, sound.mixture)
    for source, estimate in estimates.items():
        if not np.isfinite(estimate).all():
            raise ValueError(f"the estimate of {source} holds NaN or infinite samples")
    order = {}
    if _interchangeable(job.system):
        taken = best_order(sound.references, estimates)
        estimates = {name: estimates[other] for name, other in taken.items()}
        order = {"order": taken}
    audible = {source: true for source, true in sound.references.items() if _audible(true)}
    if not audible:
        raise ValueError(f"{track.name}: every source is silent in the stretch that is scored")
    notes += [
        f"{source}: silent in all that is scored, not scored"
        for source in sound.references
        if source not in audible
    ]
    silent = [source for source in audible if not _audible(estimates[source])]
    if len(silent) == len(audible):
        each = "the estimate" if len(silent) == 1 else "every estimate"
        raise ValueError(f"{each} is silent throughout, so its scores are undefined")
    notes += [f"{job.system.name}: {s}: the estimate is silent, not scored" for s in silent]
    make = speech_targets if settings.speech else targets
    scored = make(audible, estimates, sound.sample_rate, settings, mixture=sound.mixture)
    notes += [
        f"{target['name']}: no {', '.join(missing)}"
        for target in scored
        if (missing := [k for k, v in target.get("measures", {}).items() if math.isnan(v)])
    ]
    if any(target.get("condition", 0.0) > WELL_CONDITIONED for target in scored):
        notes.append(
            "SIR and SAR rest on rounding, as the references leave their filters undetermined "
            f"(condition above {WELL_CONDITIONED:.0e}); SDR is exact"
        )
    document = {
        "targets": scored,
        "museval_version": f"kzoo {kzoo.__version__}, as museval 0.4.1",
        "kzoo": {
            "track": track.name,
            "subset": track.subset,
            "system": job.system.name,
            "sample_rate": sound.sample_rate,
            "samples": len(sound.mixture),
            "channels": sound.mixture.shape[1],
            "notes": notes,
            **order,
            **_cost(job.system),
            "data_sha256": track.sha256(),
            "identity": identity(track, job.system, settings),
        },
    }
    write_json(job.path, document)
    return document


def best_order(
    references: Mapping[str, np.ndarray], estimates: Mapping[str, np.ndarray]
) -> dict[str, str]:
    """{reference: the estimate that is taken for it}, names both.

    Of all orders that with the highest mean SI-SDR over the whole track; of more estimates than
    references the others are left. An estimate that a silent reference takes counts nothing.
    """
    true, guesses = ([x.ravel() for x in signals.values()] for signals in (references, estimates))
    order = metrics.best_order(metrics.pairwise(true, guesses))
    names = list(estimates)
    return {name: names[k] for name, k in zip(references, order, strict=True)}


def targets(
    references: Mapping[str, np.ndarray],
    estimates: Mapping[str, np.ndarray],
    sample_rate: int,
    settings: Settings,
    *,
    mixture: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """The `targets` of museval's JSON, with the track's SI-SDR beside the frames of each.

    condition is that of the references' Gram matrix, see `metrics.BSSEval`.

    A source whose estimate is silent throughout is left out, and the others get what they have: of
    an estimate, only the frames where it is silent count for other sources.
    """
    heard = {source: _audible(estimates[source]) for source in references}
    truth = np.stack(list(references.values()))
    guess = np.stack([estimates[s] if heard[s] else true for s, true in references.items()])
    columns, condition = {name: np.zeros((len(truth), 0)) for name in METRICS}, {}
    if set(METRICS) & set(settings.measures):
        scores = bss_eval(
            truth,
            guess,
            window=int(settings.window_seconds * sample_rate),
            hop=int(settings.hop_seconds * sample_rate),
        )
        columns = {name: np.asarray(getattr(scores, name.lower())) for name in METRICS}
        condition = {"condition": min(scores.condition, _WORST_CONDITION)}
    others = metrics.score_track(settings.others, truth, guess, mixture, sample_rate)
    return [
        {
            "name": source,
            "SI-SDR": _stored(si_sdr(truth[i].ravel(), guess[i].ravel())),
            **_others(others, i),
            **condition,
            "frames": [
                {
                    "time": m * settings.hop_seconds,
                    "duration": settings.window_seconds,
                    "metrics": {name: _stored(column[i, m]) for name, column in columns.items()},
                }
                for m in range(columns["SDR"].shape[1])
            ],
        }
        for i, source in enumerate(references)
        if heard[source]
    ]


def speech_targets(
    references: Mapping[str, np.ndarray],
    estimates: Mapping[str, np.ndarray],
    sample_rate: int,
    settings: Settings,
    *,
    mixture: np.ndarray | None = None,
) -> list[dict[str, Any]]:
    """Same as `targets`, by the measures of speech, which are of whole clips."""
    found = []
    for source, reference in references.items():
        scores = clip_scores(reference, estimates[source], sample_rate, settings.speech)
        pair = (reference[None], estimates[source][None])
        others = metrics.score_track(settings.others, *pair, mixture, sample_rate)
        measures = {name: _stored(value) for name, value in scores.items()}
        found.append({"name": source, "measures": measures, **_others(others, 0), "frames": []})
    return found


def track_scores(document: Mapping[str, Any]) -> dict[str, dict[str, float]]:
    """{source: {measure: value}} of a document: medians over the frames that have a value."""
    return {target["name"]: target_scores(target) for target in document["targets"]}


def target_scores(target: Mapping[str, Any]) -> dict[str, float]:
    """{measure: value} of one of a document's `targets`; of frames, their median."""
    others = target.get("others", {})
    if "measures" in target:
        return {**target["measures"], **others}
    frames = target["frames"]
    medians = {name: median(frame["metrics"][name] for frame in frames) for name in METRICS}
    return {**medians, "SI-SDR": target["SI-SDR"], **others}


def _others(scores: Mapping[str, np.ndarray], source: int) -> dict[str, Any]:
    if not scores:
        return {}
    return {"others": {name: _stored(values[source]) for name, values in scores.items()}}


def median(values: Iterable[float]) -> float:
    """Median of the values that are numbers; NaN where none is."""
    numbers = [value for value in values if not math.isnan(value)]
    return float(np.median(numbers)) if numbers else math.nan


def read_json(path: Path) -> dict[str, Any] | None:
    """A document that `score` wrote; None where there is none, or it is something else."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (FileNotFoundError, UnicodeDecodeError, json.JSONDecodeError):
        return None
    return document if isinstance(document, dict) and "kzoo" in document else None


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write beside `path` and move into place, so that a half-written score is never resumed."""
    # NaN, not null: museval writes its silent frames so, and its readers expect numbers.
    text = json.dumps(document, indent=1, ensure_ascii=False, allow_nan=True)
    with replacing(path) as temporary:
        temporary.write_text(text + "\n", encoding="utf-8")


def _audible(reference: np.ndarray) -> bool:
    # museval's rule: silent is what has channels that sum to zero at every sample.
    return bool(reference.sum(axis=1, dtype=np.float64).any())


def _cost(system: System) -> dict[str, float]:
    seconds = getattr(system, "seconds", None)
    return {} if seconds is None else {"separation_seconds": round(seconds, 6)}


def _interchangeable(system: System) -> bool:
    return getattr(system, "interchangeable", False)


def _stored(value: float) -> float:
    """Five decimals, as in museval's files, where an infinite ratio is NaN too."""
    return round(float(value), 5) if math.isfinite(value) else math.nan
