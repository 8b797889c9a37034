"""Medians over tracks, or means, and the table that says how they were made."""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import io
import json
import math
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import kzoo
from kzoo.evaluation.scoring import (
    IMPROVEMENT,
    Settings,
    mean,
    median,
    track_scores,
)
from kzoo.files import replacing


@dataclass(frozen=True)
class Row:
    """The scores of a system on a source: of one track, or the average over `tracks` of them."""

    system: str
    source: str
    scores: Mapping[str, float]
    tracks: int = 1
    track: str | None = None


@dataclass(frozen=True)
class Failure:
    """A track that could not be scored with these systems, and why, on one line."""

    track: str
    systems: tuple[str, ...]
    reason: str

    def __str__(self) -> str:
        return f"{self.track} ({', '.join(self.systems)}): {self.reason}"


@dataclass
class Report:
    """What `evaluate` returns: `averages`, the `tracks` behind them, `failures`, and the `header`.

    averages are medians, or of speech means, as `average` says, over the tracks that a system was
    scored on; where tracks failed, the column `tracks` says how many are left. Where the mixture is
    among the systems, SI-SDRi is what a track's SI-SDR is above the mixture's. measures: the
    columns.
    """

    header: dict[str, Any]
    measures: tuple[str, ...]
    average: str
    averages: list[Row]
    tracks: list[Row]
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def scores(self, system: str, source: str) -> Mapping[str, float]:
        """{measure: its median or mean}; KeyError for what was not scored."""
        for row in self.averages:
            if (row.system, row.source) == (system, source):
                return row.scores
        raise KeyError((system, source))

    def text(self) -> str:
        """The table, under a header that says what its figures are."""
        lines = [f"{key}: {value}" for key, value in _flat(self.header)]
        width = max([6, *(len(row.system) for row in self.averages)])
        source_width = max([6, *(len(row.source) for row in self.averages)])
        titles = "".join(f"{measure:>9}" for measure in self.measures)
        lines += ["", f"{'source':{source_width}}  {'system':{width}}  tracks{titles}"]
        for row in self.averages:
            values = "".join(f"{_shown(row.scores[name], name):>9}" for name in self.measures)
            lines.append(
                f"{row.source:{source_width}}  {row.system:{width}}  {row.tracks:6}{values}"
            )
        if self.notes:
            lines += ["", *(f"note: {note}" for note in self.notes)]
        if self.failures:
            lines += ["", *(f"not scored: {failure}" for failure in self.failures)]
        return "\n".join(lines) + "\n"

    def write(self, folder: Path) -> None:
        """scores.txt (the table), scores.json (all), tracks.csv, and medians.csv or means.csv."""
        averages = f"{self.average}s"
        _replace(folder / "scores.txt", self.text())
        everything = {
            **self.header,
            averages: [_plain(row) for row in self.averages],
            "tracks": [_plain(row) for row in self.tracks],
            "notes": self.notes,
            "failures": [str(failure) for failure in self.failures],
        }
        text = json.dumps(everything, indent=1, ensure_ascii=False, allow_nan=False)
        _replace(folder / "scores.json", text + "\n")
        _replace(folder / f"{averages}.csv", _csv(self.averages, "tracks", self.measures))
        _replace(folder / "tracks.csv", _csv(self.tracks, "track", self.measures))


def make_report(
    documents: Sequence[Mapping[str, Any]],
    failures: Sequence[Failure],
    settings: Settings,
    *,
    corpus: str,
    systems: Sequence[str],
    command: str | None,
) -> Report:
    """Averages of the tracks' documents, source by source, systems in their order."""
    average = mean if settings.speech else median
    rows = [
        Row(document["kzoo"]["system"], source, scores, track=document["kzoo"]["track"])
        for document in documents
        for source, scores in track_scores(document).items()
    ]
    rows = rows if settings.speech else _improved(rows)
    improved = any(IMPROVEMENT in row.scores for row in rows)
    order = {source: k for k, source in enumerate(settings.sources)}
    # By name, too: several processes finish in any order.
    rows.sort(key=lambda row: (order[row.source], systems.index(row.system), row.track))
    averages = []
    for source in settings.sources:
        for system in systems:
            mine = [row for row in rows if (row.system, row.source) == (system, source)]
            if mine:
                names = mine[0].scores
                scores = {name: average(row.scores[name] for row in mine) for name in names}
                averages.append(Row(system, source, scores, tracks=len(mine)))
    notes = sorted(
        {f"{d['kzoo']['track']}: {note}" for d in documents for note in d["kzoo"]["notes"]}
    )
    header = _header(documents, settings, corpus=corpus, command=command, improved=improved)
    measures = (*settings.measures, IMPROVEMENT) if improved else settings.measures
    return Report(header, measures, average.__name__, averages, rows, list(failures), notes)


def _improved(rows: Sequence[Row]) -> list[Row]:
    """With SI-SDRi, NaN on tracks without the mixture's scores; as they are without a mixture."""
    mixture = {
        (row.track, row.source): row.scores["SI-SDR"] for row in rows if row.system == "mixture"
    }
    if not mixture:
        return list(rows)
    return [
        replace(
            row,
            scores={
                **row.scores,
                IMPROVEMENT: row.scores["SI-SDR"] - mixture.get((row.track, row.source), math.nan),
            },
        )
        for row in rows
    ]


def _header(
    documents, settings: Settings, *, corpus: str, command: str | None, improved: bool
) -> dict[str, Any]:
    data = {(d["kzoo"]["track"], d["kzoo"]["data_sha256"]) for d in documents}
    seconds = {
        d["kzoo"]["track"]: d["kzoo"]["samples"] / d["kzoo"]["sample_rate"] for d in documents
    }
    digest = hashlib.sha256("".join(f"{name} {sha}\n" for name, sha in sorted(data)).encode())
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
        "command": command or "kzoo.evaluate(...)",
        "corpus": f"{corpus}: {len(data)} tracks, {sum(seconds.values()):.1f} s{stretch}",
        "data_sha256": digest.hexdigest(),
        "definition": list(settings.definition),
        "aggregation": _aggregation(settings, improved),
        **order,
        "oracles": "ibm, irm, wfm: ideal binary, ratio (magnitudes), Wiener-like (powers) masks",
        "versions": _versions(settings),
    }


def _aggregation(settings: Settings, improved: bool) -> str:
    if settings.speech:
        return "mean over the clips that have a value, whole clips"
    return (
        f"BSS Eval: median over frames of {settings.window_seconds:g} s every "
        f"{settings.hop_seconds:g} s, then median over tracks; SI-SDR"
        f"{' and what each track gains over its mixture (SI-SDRi)' if improved else ''}: "
        "median over tracks; dB"
    )


def _versions(settings: Settings) -> dict[str, str]:
    found = {"kzoo": kzoo.__version__, "python": platform.python_version()}
    # The models' packages count only where a model ran.
    wanted = ["numpy", "scipy", *(n for n in ("tensorflow", "keras") if n in sys.modules)]
    wanted += settings.speech.packages if settings.speech else ()
    return {**found, **{name: importlib.metadata.version(name) for name in wanted}}


def _flat(header: Mapping[str, Any]):
    for key, value in header.items():
        if isinstance(value, dict):
            yield key, ", ".join(f"{name} {version}" for name, version in value.items())
        elif isinstance(value, list):
            yield from ((key, line) for line in value)
        else:
            yield key, value


def _plain(row: Row) -> dict[str, Any]:
    number = {"track": row.track} if row.track is not None else {"tracks": row.tracks}
    scores = {k: None if math.isnan(v) else round(v, 5) for k, v in row.scores.items()}
    return {"system": row.system, "source": row.source, **number, **scores}


def _csv(rows: Sequence[Row], number: str, measures: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(
        text, ["system", "source", number, *measures], lineterminator="\n", restval=""
    )
    writer.writeheader()
    writer.writerows(_plain(row) for row in rows)
    return text.getvalue()


def _shown(value: float, measure: str) -> str:
    return "-" if math.isnan(value) else f"{value:.{3 if 'STOI' in measure else 2}f}"


def _replace(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
