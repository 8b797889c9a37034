"""Averages over tracks, how sure they are, and the tables of them as text, JSON and CSV."""

from __future__ import annotations

import csv
import io
import itertools
import json
import math
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kzoo.evaluation import statistics
from kzoo.files import replacing

_ENDS = ("low", "high")
# The columns of comparisons.csv, and what a comparison has in scores.json.
_COMPARISON = (
    "system", "against", "source", "tracks", "measure", "difference", *_ENDS, "better", "p",
    "verdict",
)  # fmt: skip
# Measures between 0 and 1, of which the third decimal counts.
_SHARES = {
    "STOI", "ESTOI", "accuracy", "ROC-AUC", "AP", "F", "precision", "recall", "OA", "RPA", "RCA",
    "VR", "VFA", "PER",
}  # fmt: skip
_LABELS = 3  # columns before the measures'
_GAP = "  "


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

    averages are medians, or of speech means, as `average` says, over the tracks that all systems
    were scored on. Where the mixture is among the systems, SI-SDRi is what a track's SI-SDR is
    above the mixture's. measures: the columns, of which `shown` are those of the text. header: what
    the figures are. costs: {system: seconds of separating a second of sound} where it was measured;
    parameters: {system: numbers in its weights} where it has any. tables: {name: rows of
    {column: figure}} that are written beside the others.
    """

    header: dict[str, Any]
    measures: tuple[str, ...]
    average: str
    averages: list[Row]
    tracks: list[Row]
    comparisons: list[Comparison] = field(default_factory=list)
    failures: list[Failure] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    shown: tuple[str, ...] = ()
    costs: dict[str, float] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    tables: Mapping[str, Sequence[Mapping[str, Any]]] = field(default_factory=dict)

    def scores(self, system: str, source: str) -> Mapping[str, float]:
        """{measure: its median or mean}; KeyError for what was not scored."""
        for row in self.averages:
            if (row.system, row.source) == (system, source):
                return row.scores
        raise KeyError((system, source))

    def text(self, width: int | None = None) -> str:
        """The table and the comparisons, under a header that says what the figures are.

        width: of the terminal in columns; what is wider is folded, and of a table the measures that
        do not fit stand in another one below. The command is never folded.
        """
        header = [f"{key}: {value}" for key, value in _flat(self.header)]
        lines = [line for text in header[1:] for line in _folded(text, width)]
        lines = [*header[:1], *lines, "", *_aligned(list(self._rows()), width)]
        notes = [f"note: {note}" for note in self.notes]
        failures = [f"not scored: {failure}" for failure in self.failures]
        for texts in (notes, failures):
            lines += (
                ["", *(line for text in texts for line in _folded(text, width))] if texts else []
            )
        return "\n".join(lines) + "\n"

    def _rows(self) -> Iterator[tuple[str, ...]]:
        """The cells of every line of the tables; what has one cell is a line of its own."""
        shown = self.shown or self.measures
        yield ("source", "system", "tracks", *shown)
        for row in self.averages:
            averages = (number_text(row.scores[name], name) for name in shown)
            yield (row.source, row.system, str(row.tracks), *averages)
            yield from _interval_row([row.intervals[name] for name in shown], shown)
        against = None
        for row in self.comparisons:
            if row.against != against:
                against = row.against
                yield from (("",), (f"against {against}",))
            compared = [name for name in shown if name in row.measures]
            gains = [row.measures[name] for name in compared]
            values = (
                number_text(gain.value, name, "+")
                for gain, name in zip(gains, compared, strict=True)
            )
            yield (row.source, row.system, str(row.tracks), *values)
            yield from _interval_row([(gain.low, gain.high) for gain in gains], compared)
            yield ("", "", "better", *(_share(gain.better) for gain in gains))
            yield ("", "", "verdict", *(gain.verdict for gain in gains))

    def write(self, folder: Path) -> None:
        """The tables as text, as JSON and as CSV.

        scores.txt is `text`; scores.json has all; tracks.csv; medians.csv or means.csv, whose last
        columns are the intervals; comparisons.csv, which has a line a measure; <name>.csv of each
        of `tables`.
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
            **self.tables,
            "separation_seconds_per_second": {k: round(v, 5) for k, v in self.costs.items()},
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
        for name, rows in self.tables.items():
            _replace(folder / f"{name}.csv", _csv(rows, tuple(rows[0]) if rows else ()))


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
        figures = map(_number, (gain.value, gain.low, gain.high, gain.better, gain.p))
        said = (row.system, row.against, row.source, row.tracks, name, *figures, gain.verdict)
        yield dict(zip(_COMPARISON, said, strict=True))


def _csv(rows: Sequence[Mapping[str, Any]], columns: Sequence[str]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, columns, lineterminator="\n", restval="")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _folded(text: str, width: int | None) -> list[str]:
    if width is None:
        return [text]
    return textwrap.wrap(text, width, subsequent_indent=_GAP, break_on_hyphens=False)


def _aligned(rows: Sequence[Sequence[str]], width: int | None) -> list[str]:
    """Lines with the columns of all rows one below the other: names left, figures right.

    Where they are wider than `width`, tables of as many measures as fit, one below the other.
    """
    cells = [row for row in rows if len(row) > 1]
    widths = [max(map(len, column)) for column in itertools.zip_longest(*cells, fillvalue="")]
    lines: list[str] = []
    for first, last in _blocks(widths, width):
        columns = [*range(_LABELS), *range(first, last)]
        lines += [""] if lines else []
        lines += [_line(row, widths, columns) if len(row) > 1 else row[0] for row in rows]
    return lines


def _blocks(widths: Sequence[int], width: int | None) -> Iterator[tuple[int, int]]:
    """(first, end) of the columns of measures that fit beside the labels, one at least."""
    first, room = _LABELS, math.inf if width is None else width - sum(widths[:_LABELS])
    room -= (_LABELS - 1) * len(_GAP)
    while first < len(widths):
        end, used = first + 1, widths[first] + len(_GAP)
        while end < len(widths) and used + widths[end] + len(_GAP) <= room:
            used += widths[end] + len(_GAP)
            end += 1
        yield first, end
        first = end


def _line(row: Sequence[str], widths: Sequence[int], columns: Sequence[int]) -> str:
    cells = ((row[k] if k < len(row) else "", k) for k in columns)
    return _GAP.join(
        cell.ljust(widths[k]) if k < 2 else cell.rjust(widths[k]) for cell, k in cells
    ).rstrip()


def _interval_row(
    bounds: Sequence[tuple[float, float]], measures: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    """The line below an average; none where no measure has an interval."""
    cells = [
        "-" if math.isnan(low) else f"{number_text(low, name)}..{number_text(high, name)}"
        for (low, high), name in zip(bounds, measures, strict=True)
    ]
    if any(cell != "-" for cell in cells):
        yield ("", "", f"{100 * statistics.LEVEL:g} %", *cells)


def number_text(value: float, measure: str, sign: str = "") -> str:
    return "-" if math.isnan(value) else f"{value:{sign}.{3 if measure in _SHARES else 2}f}"


def _share(value: float) -> str:
    return "-" if math.isnan(value) else f"{100 * value:.0f} %"


def _replace(path: Path, text: str) -> None:
    with replacing(path) as temporary:
        temporary.write_text(text, encoding="utf-8")
