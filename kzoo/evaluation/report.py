"""Medians or means over tracks, how sure they are, and the table that says how they were made."""

from __future__ import annotations

import csv
import hashlib
import importlib.metadata
import io
import itertools
import json
import math
import platform
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

import kzoo
from kzoo.evaluation import statistics
from kzoo.evaluation.scoring import IMPROVEMENT, Settings, track_scores
from kzoo.files import replacing

_ENDS = ("low", "high")
# The columns of comparisons.csv, and what a comparison has in scores.json.
_COMPARISON = (
    "system", "against", "source", "tracks", "measure", "difference", *_ENDS, "better"
)  # fmt: skip


@dataclass(frozen=True)
class Row:
    """The scores of a system on a source: of one track, or the average over `tracks` of them.

    intervals: {measure: (low, high)} of an average, by `statistics.estimate`.
    """

    system: str
    source: str
    scores: Mapping[str, float]
    tracks: int = 1
    track: str | None = None
    subset: str | None = None
    intervals: Mapping[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Comparison:
    """What a system gains over another on the `tracks` that both were scored on.

    measures: {measure: the average of the tracks' differences, its interval, and the share of
    tracks that are better}, by `statistics.difference`.
    """

    system: str
    against: str
    source: str
    tracks: int
    measures: Mapping[str, statistics.Difference]


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
    """What `evaluate` returns: `averages`, the `tracks` behind them, `comparisons`, `failures`.

    averages are medians, or of speech means, as `average` says, over the tracks that a system was
    scored on; where tracks failed, the column `tracks` says how many are left. Where the mixture is
    among the systems, SI-SDRi is what a track's SI-SDR is above the mixture's. measures: the
    columns. header: what the figures are.
    """

    header: dict[str, Any]
    measures: tuple[str, ...]
    average: str
    averages: list[Row]
    tracks: list[Row]
    comparisons: list[Comparison] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def scores(self, system: str, source: str) -> Mapping[str, float]:
        """{measure: its median or mean}; KeyError for what was not scored."""
        for row in self.averages:
            if (row.system, row.source) == (system, source):
                return row.scores
        raise KeyError((system, source))

    def text(self) -> str:
        """The table and the comparisons, under a header that says what the figures are."""
        lines = [f"{key}: {value}" for key, value in _flat(self.header)]
        lines += ["", *_aligned(self._rows())]
        if self.notes:
            lines += ["", *(f"note: {note}" for note in self.notes)]
        if self.failures:
            lines += ["", *(f"not scored: {failure}" for failure in self.failures)]
        return "\n".join(lines) + "\n"

    def _rows(self) -> Iterator[tuple[str, ...]]:
        """The cells of every line of the tables; what has one cell is a line of its own."""
        yield ("source", "system", "tracks", *self.measures)
        for row in self.averages:
            averages = (_shown(row.scores[name], name) for name in self.measures)
            yield (row.source, row.system, str(row.tracks), *averages)
            yield from _interval_row(row.intervals)
        against = None
        for row in self.comparisons:
            if row.against != against:
                against = row.against
                yield from (("",), (f"against {against}",))
            gains = (_shown(gain.value, name, "+") for name, gain in row.measures.items())
            yield (row.source, row.system, str(row.tracks), *gains)
            bounds = {name: (gain.low, gain.high) for name, gain in row.measures.items()}
            yield from _interval_row(bounds)
            yield ("", "", "better", *(_share(gain.better) for gain in row.measures.values()))

    def write(self, folder: Path) -> None:
        """The tables as text, as JSON and as CSV.

        scores.txt is `text`; scores.json has all; tracks.csv; medians.csv or means.csv, whose last
        columns are the intervals; comparisons.csv, which has a line a measure.
        """
        averages = f"{self.average}s"
        compared = [line for row in self.comparisons for line in _comparison_lines(row)]
        _replace(folder / "scores.txt", self.text())
        everything = {
            **self.header,
            averages: [
                {**_plain(row), "intervals": _bounds(row.intervals)} for row in self.averages
            ],
            "comparisons": compared,
            "tracks": [_plain(row) for row in self.tracks],
            "notes": self.notes,
            "failures": [str(failure) for failure in self.failures],
        }
        text = json.dumps(everything, indent=1, ensure_ascii=False, allow_nan=False)
        _replace(folder / "scores.json", text + "\n")
        columns = ("system", "source")
        rows = [{**_plain(row), **_bound_columns(row.intervals)} for row in self.averages]
        bounds = [f"{name} {end}" for name in self.measures for end in _ENDS]
        _replace(
            folder / f"{averages}.csv", _csv(rows, (*columns, "tracks", *self.measures, *bounds))
        )
        rows = [_plain(row) for row in self.tracks]
        _replace(folder / "tracks.csv", _csv(rows, (*columns, "track", *self.measures)))
        _replace(folder / "comparisons.csv", _csv(compared, _COMPARISON))


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
    average = np.mean if settings.speech else np.median
    rows = [
        Row(document["kzoo"]["system"], source, scores, **_track(document))
        for document in documents
        for source, scores in track_scores(document).items()
    ]
    rows = rows if settings.speech else _improved(rows)
    improved = any(IMPROVEMENT in row.scores for row in rows)
    order = {source: k for k, source in enumerate(settings.sources)}
    # By name, too: several processes finish in any order.
    rows.sort(key=lambda r: (order[r.source], systems.index(r.system), r.track, r.subset))
    tables = {(source, system): {} for source in settings.sources for system in systems}
    for row in rows:
        tables[row.source, row.system][row.subset, row.track] = row.scores
    averages = [
        _average(system, source, list(table.values()), average)
        for (source, system), table in tables.items()
        if table
    ]
    comparisons = [
        _comparison((system, other), source, tables, settings.measures, average)
        for k, other in enumerate(against)
        for source in settings.sources
        for system in systems
        if system not in against[: k + 1]
        and tables[source, system].keys() & tables[source, other].keys()
    ]
    notes = sorted(
        {f"{d['kzoo']['track']}: {note}" for d in documents for note in d["kzoo"]["notes"]}
    )
    header = _header(documents, settings, corpus=corpus, command=command, improved=improved)
    measures = (*settings.measures, IMPROVEMENT) if improved else settings.measures
    return Report(
        header, measures, average.__name__, averages, rows, comparisons, list(failures), notes
    )


def _track(document: Mapping[str, Any]) -> dict[str, str]:
    return {name: document["kzoo"][name] for name in ("track", "subset")}


def _average(
    system: str, source: str, tracks: Sequence[Mapping[str, float]], average: Callable
) -> Row:
    found = {
        name: statistics.estimate([scores[name] for scores in tracks], average)
        for name in tracks[0]
    }
    scores = {name: estimate.value for name, estimate in found.items()}
    intervals = {name: (estimate.low, estimate.high) for name, estimate in found.items()}
    return Row(system, source, scores, tracks=len(tracks), intervals=intervals)


def _comparison(
    pair: tuple[str, str],
    source: str,
    tables: Mapping[tuple[str, str], Mapping],
    measures: Sequence[str],
    average: Callable,
) -> Comparison:
    """Of `pair`, a system and what it is compared with, on the tracks of both tables."""
    mine, others = (tables[source, system] for system in pair)
    both = [track for track in mine if track in others]
    gains = {
        name: statistics.difference(
            [mine[track][name] for track in both], [others[track][name] for track in both], average
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
        **_intervals(settings),
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


def _intervals(settings: Settings) -> dict[str, Any]:
    """How the intervals and the comparisons were made."""
    average, track = ("mean", "clip") if settings.speech else ("median", "track")
    return {
        "interval": {
            "level": statistics.LEVEL,
            "of": f"the {average} over {track}s",
            "method": f"percentile bootstrap, {track}s drawn with replacement",
            "resamples": statistics.RESAMPLES,
            "seed": statistics.SEED,
        },
        "comparison": f"{average} of the differences {track} by {track}, with its interval, on the "
        f"{track}s where both have a value; better: the share of them where it is above zero",
    }


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
    scores = {name: _number(value) for name, value in row.scores.items()}
    return {"system": row.system, "source": row.source, **number, **scores}


def _number(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 5)


def _bounds(intervals: Mapping[str, tuple[float, float]]) -> dict[str, list[float | None]]:
    return {name: [_number(bound) for bound in bounds] for name, bounds in intervals.items()}


def _bound_columns(intervals: Mapping[str, tuple[float, float]]) -> dict[str, float | None]:
    return {
        f"{name} {end}": bound
        for name, bounds in _bounds(intervals).items()
        for end, bound in zip(_ENDS, bounds, strict=True)
    }


def _comparison_lines(row: Comparison) -> Iterator[dict[str, Any]]:
    """A line a measure, by the names of `_COMPARISON`."""
    for name, gain in row.measures.items():
        figures = (gain.value, gain.low, gain.high, gain.better)
        said = (row.system, row.against, row.source, row.tracks, name, *map(_number, figures))
        yield dict(zip(_COMPARISON, said, strict=True))


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _aligned(rows: Iterable[Sequence[str]]) -> list[str]:
    """Lines with the columns of all rows one below the other: names left, figures right."""
    rows = list(rows)
    cells = [row for row in rows if len(row) > 1]
    widths = [max(map(len, column)) for column in itertools.zip_longest(*cells, fillvalue="")]
    return [
        "  ".join(
            cell.ljust(width) if k < 2 else cell.rjust(width)
            for k, (cell, width) in enumerate(zip(row, widths, strict=False))
        ).rstrip()
        if len(row) > 1
        else row[0]
        for row in rows
    ]


def _interval_row(intervals: Mapping[str, tuple[float, float]]) -> Iterator[tuple[str, ...]]:
    """The line below an average; none where no measure has an interval."""
    cells = [
        "-" if math.isnan(low) else f"{_shown(low, name)}..{_shown(high, name)}"
        for name, (low, high) in intervals.items()
    ]
    if any(cell != "-" for cell in cells):
        yield ("", "", f"{100 * statistics.LEVEL:g} %", *cells)


def _shown(value: float, measure: str, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.{3 if 'STOI' in measure else 2}f}"


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.0f} %"


def _replace(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
