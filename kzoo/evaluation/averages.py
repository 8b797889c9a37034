"""From the scores of every track to averages over tracks, comparisons, and what the figures are.

Averages are over the tracks that every system was scored on, so that the lines of a table are of
the same tracks; a note says where that left some out.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import math
import platform
import sys
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

import kzoo
from kzoo import metrics
from kzoo.evaluation import statistics
from kzoo.evaluation.measures import higher_is_better
from kzoo.evaluation.report import Comparison, Failure, Report, Row
from kzoo.evaluation.scoring import IMPROVEMENT, METRICS, Settings, track_scores

_NAMED = 3  # tracks that a note names


def make_report(
    documents: Sequence[Mapping[str, Any]],
    failures: Sequence[Failure],
    settings: Settings,
    *,
    corpus: str,
    systems: Sequence[str],
    against: Sequence[str],
    command: str | None,
) -> Report:
    """Averages of the tracks' documents, source by source, systems in their order.

    against: those of `systems` that all others are compared with; a pair is compared once.
    """
    averages = _averages(settings)
    rows = [
        Row(document["kzoo"]["system"], source, scores, **_track(document))
        for document in documents
        for source, scores in track_scores(document).items()
    ]
    improved = not (settings.speech or settings.columns) and "mixture" in systems
    rows = _improved(rows) if improved else rows
    measures = (*settings.measures, IMPROVEMENT) if improved else settings.measures
    rows = [
        replace(row, scores={name: row.scores.get(name, math.nan) for name in measures})
        for row in rows
    ]
    order = {source: k for k, source in enumerate(settings.sources)}
    # By name, too: several processes finish in any order.
    rows.sort(key=lambda r: (order[r.source], systems.index(r.system), r.track, r.subset))
    tables = {(source, system): {} for source in settings.sources for system in systems}
    for row in rows:
        tables[row.source, row.system][row.subset, row.track] = row.scores
    common = {source: _common(source, systems, tables) for source in settings.sources}
    found = [
        _average(system, source, [table[track] for track in common[source] or table], averages)
        for (source, system), table in tables.items()
        if table
    ]
    comparisons = [
        comparison((system, other), source, tables, settings.measures, averages)
        for k, other in enumerate(against)
        for source in settings.sources
        for system in systems
        if system not in against[: k + 1]
        and tables[source, system].keys() & tables[source, other].keys()
    ]
    notes = _notes_of_tracks(documents)
    for source in settings.sources:
        notes += _notes_of_common(source, systems, tables, common[source])
    header = _header(documents, settings, corpus=corpus, command=command, improved=improved)
    return Report(
        header, measures, "mean" if settings.speech else "median", found, rows, comparisons,
        list(failures), notes, shown=(*settings.shown, *measures[len(settings.measures) :]),
        costs=_costs(documents),
    )  # fmt: skip


def _common(source: str, systems: Sequence[str], tables: Mapping) -> list[tuple[str, str]]:
    """The tracks, in order, of all systems that were scored on any; empty where they share none."""
    scored = [tables[source, system] for system in systems if tables[source, system]]
    return (
        [track for track in scored[0] if all(track in table for table in scored)] if scored else []
    )


def _notes_of_tracks(documents: Sequence[Mapping[str, Any]]) -> list[str]:
    """Notes with the tracks that they are of, of which no more than a few are named."""
    tracks = defaultdict(set)
    for document in documents:
        for note in document["kzoo"]["notes"]:
            tracks[note].add(document["kzoo"]["track"])
    found = []
    for note, names in tracks.items():
        first, more = sorted(names)[:_NAMED], len(names) - _NAMED
        found.append(f"{', '.join(first)}{f' and {more} more' if more > 0 else ''}: {note}")
    return sorted(found)


def _notes_of_common(
    source: str, systems: Sequence[str], tables: Mapping, common: Sequence
) -> list[str]:
    counts = {system: len(tables[source, system]) for system in systems}
    if {count for count in counts.values() if count} <= {len(common)}:
        return []
    each = ", ".join(f"{system} {count}" for system, count in counts.items())
    if not common:
        return [f"{source}: no track was scored with every system: averages are of other tracks"]
    return [
        f"{source}: averages are over the {len(common)} tracks that were scored with every system "
        f"that has any; scored were {each}"
    ]


def _costs(documents: Sequence[Mapping[str, Any]]) -> dict[str, float]:
    """{system: median over tracks of the seconds of separating a second of sound}."""
    costs = defaultdict(list)
    for document in documents:
        if (seconds := document["kzoo"].get("separation_seconds")) is not None:
            costs[document["kzoo"]["system"]].append(seconds / _seconds(document))
    return {system: float(np.median(found)) for system, found in costs.items()}


def _seconds(document: Mapping[str, Any]) -> float:
    about = document["kzoo"]
    return about["seconds"] if "seconds" in about else about["samples"] / about["sample_rate"]


def _averages(settings: Settings) -> dict[str, Callable]:
    """{measure: its average over tracks}: those of the default ones are all of one kind."""
    average = np.mean if settings.speech else np.median
    own = {name: getattr(np, how) for name, how in _published(settings).items()}
    return {**dict.fromkeys((*settings.measures, IMPROVEMENT), average), **own}


def _published(settings: Settings) -> dict[str, str]:
    """{measure: mean or median}: how one that is not there by default is published."""
    return {name: metrics.MEASURES[name].over_tracks for name in settings.others}


def _track(document: Mapping[str, Any]) -> dict[str, str]:
    return {name: document["kzoo"][name] for name in ("track", "subset")}


def _average(
    system: str,
    source: str,
    tracks: Sequence[Mapping[str, float]],
    averages: Mapping[str, Callable],
) -> Row:
    found = {
        name: statistics.estimate([scores[name] for scores in tracks], averages[name])
        for name in tracks[0]
    }
    scores = {name: estimate.value for name, estimate in found.items()}
    intervals = {name: (estimate.low, estimate.high) for name, estimate in found.items()}
    return Row(system, source, scores, tracks=len(tracks), intervals=intervals)


def comparison(
    pair: tuple[str, str],
    source: str,
    tables: Mapping[tuple[str, str], Mapping],
    measures: Sequence[str],
    averages: Mapping[str, Callable],
) -> Comparison:
    """Of `pair`, a system and what it is compared with, on the tracks of both tables."""
    mine, others = (tables[source, system] for system in pair)
    both = [track for track in mine if track in others]
    gains = {
        name: statistics.difference(
            [mine[track][name] for track in both],
            [others[track][name] for track in both],
            averages[name],
            higher_is_better=higher_is_better(name),
        )
        for name in measures
    }
    return Comparison(*pair, source, len(both), gains)


def _improved(rows: Sequence[Row]) -> list[Row]:
    """With SI-SDRi, NaN on tracks without the mixture's scores; as they are without a mixture."""
    mixture = {
        (row.subset, row.track, row.source): row.scores["SI-SDR"]
        for row in rows
        if row.system == "mixture"
    }
    if not mixture:
        return list(rows)
    return [
        replace(
            row,
            scores={
                **row.scores,
                IMPROVEMENT: row.scores["SI-SDR"]
                - mixture.get((row.subset, row.track, row.source), math.nan),
            },
        )
        for row in rows
    ]


def _header(
    documents, settings: Settings, *, corpus: str, command: str | None, improved: bool
) -> dict[str, Any]:
    stretch = ""
    if settings.start_seconds or settings.duration_seconds is not None:
        length = settings.duration_seconds
        stretch = f", of each {'the rest' if length is None else f'{length:g} s'}"
        stretch += f" from {settings.start_seconds:g} s"
    anyhow = sorted({d["kzoo"]["system"] for d in documents if "order" in d["kzoo"]})
    order = (
        {"order": f"{', '.join(anyhow)}: sources in the best order of each track, by SI-SDR"}
        if anyhow
        else {}
    )
    return {
        **data_header(documents, corpus, command, stretch),
        "definition": list(settings.definition),
        "aggregation": _aggregation(settings, improved),
        **_intervals(settings),
        **order,
        "oracles": "ibm, irm, wfm, cirm: ideal binary, ratio (magnitudes), Wiener-like (powers), "
        "complex masks",
        "versions": versions(("scipy", *(settings.speech.packages if settings.speech else ()))),
    }


def data_header(
    documents: Sequence[Mapping[str, Any]], corpus: str, command: str | None, stretch: str = ""
) -> dict[str, Any]:
    """The command, and the tracks that were scored with their sha256."""
    data = {(d["kzoo"]["track"], d["kzoo"]["data_sha256"]) for d in documents}
    seconds = {d["kzoo"]["track"]: _seconds(d) for d in documents}
    digest = hashlib.sha256("".join(f"{name} {sha}\n" for name, sha in sorted(data)).encode())
    return {
        "command": command or "kzoo.evaluate(...)",
        "corpus": f"{corpus}: {len(data)} tracks, {sum(seconds.values()):.1f} s{stretch}",
        "data_sha256": digest.hexdigest(),
    }


def _aggregation(settings: Settings, improved: bool) -> str:
    if settings.speech:
        return "mean over the clips that have a value, whole clips"
    frames = (
        f"BSS Eval: median over frames of {settings.window_seconds:g} s every "
        f"{settings.hop_seconds:g} s, then median over tracks"
    )
    gain = " and what each track gains over its mixture (SI-SDRi)" if improved else ""
    parts = [frames] if set(METRICS) & set(settings.measures) else []
    parts += [f"SI-SDR{gain}: median over tracks; dB"] if "SI-SDR" in settings.measures else []
    parts += [f"{name}: {how} over tracks" for name, how in _published(settings).items()]
    return "; ".join(parts)


def _intervals(settings: Settings) -> dict[str, Any]:
    average, track = ("mean", "clip") if settings.speech else ("median", "track")
    return interval_header("average" if settings.others else average, track)


def interval_header(average: str, track: str) -> dict[str, Any]:
    """How the intervals and the comparisons were made; average, track: what they are called."""
    return {
        "interval": {
            "level": statistics.LEVEL,
            "of": f"the {average} over {track}s",
            "method": f"percentile bootstrap, {track}s drawn with replacement",
            "resamples": statistics.RESAMPLES,
            "seed": statistics.SEED,
        },
        "comparison": f"{average} of the differences {track} by {track}, with its interval, on the "
        f"{track}s where both have a value; better: the share of them where it improves; "
        "above or below: the interval leaves out zero, and Wilcoxon's signed-rank test, two-sided, "
        f"has p < {1 - statistics.LEVEL:.2g}, not corrected for the number of comparisons",
    }


def versions(packages: Sequence[str]) -> dict[str, str]:
    """Versions of kzoo, Python, NumPy and these packages, and of a backend that was imported."""
    found = {"kzoo": kzoo.__version__, "python": platform.python_version()}
    # The models' packages count only where a model ran.
    models = [name for name in ("tensorflow", "keras") if sys.modules.get(name)]
    wanted = dict.fromkeys(["numpy", *packages, *models])
    return {**found, **{name: importlib.metadata.version(name) for name in wanted}}
