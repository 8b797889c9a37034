"""The page report.html: the tables, box plots, quality against cost, and excerpts to hear.

One file of HTML that fetches nothing. Tables and excerpts are there without its script, which
draws the plots and sorts the rows.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import groupby
from typing import Any

import numpy as np

from kzoo import pages
from kzoo.evaluation import statistics
from kzoo.evaluation.excerpts import SECONDS, TAPS, Excerpt
from kzoo.evaluation.measures import higher_is_better
from kzoo.evaluation.report import Report, number_text
from kzoo.pages import escaped


def page(report: Report, excerpts: Iterable[Excerpt] = ()) -> str:
    """The whole page as HTML."""
    listening = "\n".join(_listening(excerpts))
    sections = [
        _header(report),
        _plots(report),
        _section("Averages", _averages(report), _averages_hint(report)),
        _section("Differences", _differences(report), report.header.get("comparison", ""))
        if report.comparisons
        else "",
        _section("Tracks", _tracks(report), _SORTED, kind="tracks") if report.tracks else "",
        *(
            _section(name.capitalize(), _further(rows), _SORTED, kind="tracks")
            for name, rows in report.tables.items()
            if rows
        ),
        listening,
        _data(report),
    ]
    return pages.document(
        "kzoo evaluate", "\n".join(filter(None, sections)), scripts=("player.js", "report.js"),
        styles=("report.css",),
    )  # fmt: skip


def _header(report: Report) -> str:
    rows = []
    for key, value in report.header.items():
        lines = value if isinstance(value, list) else [value]
        texts = [
            ", ".join(f"{name} {text}" for name, text in line.items())
            if isinstance(line, dict)
            else str(line)
            for line in lines
        ]
        tag = "code" if key in ("command", "data_sha256") else "span"
        content = "<br>".join(f"<{tag}>{escaped(text)}</{tag}>" for text in texts)
        rows.append(f"<div><dt>{escaped(key.replace('_', ' '))}</dt><dd>{content}</dd></div>")
    shown = [row for row, key in zip(rows, report.header, strict=True) if key in _SHOWN]
    folded = [row for row, key in zip(rows, report.header, strict=True) if key not in _SHOWN]
    notes = [f"<li>{escaped(note)}</li>" for note in report.notes]
    failures = [f"<li>Not scored: {escaped(failure)}</li>" for failure in report.failures]
    lists = f'<ul class="notes">{"".join(failures + notes)}</ul>' if notes or failures else ""
    return (
        f"<header><div><h1>{escaped(', '.join(_systems(report)))}</h1></div></header>\n"
        f'<section class="about"><dl>{"".join(shown)}</dl>{lists}'
        f"<details><summary>How the figures were made</summary><dl>{''.join(folded)}</dl></details>"
        "</section>"
    )


_SORTED = "Press a heading to sort by it."
_SHOWN = ("command", "corpus", "definition", "aggregation")


def _plots(report: Report) -> str:
    measures = "".join(f"<option>{escaped(name)}</option>" for name in report.measures)
    cost = (
        '<section><h2>Quality against cost</h2><div id="cost"></div></section>'
        if report.costs or report.parameters
        else ""
    )
    return (
        '<section id="plots" hidden><div class="line"><h2>Scores of the tracks</h2>'
        f'<label>Measure <select id="measure">{measures}</select></label></div>'
        '<div id="boxes" class="panels"></div>'
        '<p class="hint">A dot is a track; the box holds the middle half of them, its line is the '
        "median, and its whiskers reach 1.5 times the box.</p></section>"
        f"{cost}"
    )


def _averages_hint(report: Report) -> str:
    level = f"{100 * statistics.LEVEL:g} %"
    return f"The {report.average} over tracks, and below it its {level} bootstrap interval."


def _averages(report: Report) -> str:
    rows = []
    for row in report.averages:
        cells = []
        for name in report.measures:
            low, high = row.intervals[name]
            bounds = (
                "" if math.isnan(low) else f"{number_text(low, name)} .. {number_text(high, name)}"
            )
            cells.append(_figure(row.scores[name], name, below=bounds))
        rows.append([_text(row.source), _text(row.system), _figure(row.tracks, None), *cells])
    return _table(("source", "system", "tracks", *report.measures), rows)


def _differences(report: Report) -> str:
    rows = []
    for row in report.comparisons:
        cells = []
        for name in report.measures:
            if name not in row.measures:
                cells.append("<td></td>")
                continue
            gain = row.measures[name]
            p = "" if math.isnan(gain.p) else f", p {gain.p:.2g}"
            below = f"{gain.verdict}{p}"
            kind = ""
            if gain.verdict in ("above", "below"):
                kind = "good" if (gain.value > 0) == higher_is_better(name) else "bad"
            cells.append(_figure(gain.value, name, below=below, sign="+", kind=kind))
        labels = (row.source, row.system, row.against)
        rows.append([*map(_text, labels), _figure(row.tracks, None), *cells])
    compared = [n for n in report.measures if any(n in row.measures for row in report.comparisons)]
    rows = [row[: 4 + len(compared)] for row in rows]
    return _table(("source", "system", "against", "tracks", *compared), rows)


def _tracks(report: Report) -> str:
    rows = [
        [
            _text(row.track),
            _text(row.source),
            _text(row.system),
            *(_figure(row.scores[name], name) for name in report.measures),
        ]
        for row in report.tracks
    ]
    return _table(("track", "source", "system", *report.measures), rows)


def _further(rows: Sequence[Mapping[str, Any]]) -> str:
    """One of the report's `tables`: words as they are, and figures of measures."""
    cells = [
        [
            _text(value)
            if isinstance(value, str)
            else _figure(_nan(value), None if isinstance(value, int) else key)
            for key, value in row.items()
        ]
        for row in rows
    ]
    return _table(tuple(rows[0]), cells)


def _nan(value: float | None) -> float:
    return math.nan if value is None else value


def _listening(excerpts: Iterable[Excerpt]) -> Iterable[str]:
    """A section with a fold for each source and system, and a player for each excerpt in it."""
    folds = []
    for (source, system), group in groupby(excerpts, key=lambda e: (e.source, e.system)):
        players = [_player(excerpt) for excerpt in group]
        opened = "" if folds else " open"
        folds.append(
            f"<details{opened}><summary>{escaped(source)} of {escaped(system)}</summary>"
            f"{''.join(players)}</details>"
        )
    if folds:
        hint = (
            f"Stretches of {SECONDS:g} s. The target is what filters of {TAPS} samples make of the "
            "true source, interference what they make of the others, artefacts the rest; together "
            "they are the estimate. Space plays and stops; the arrows choose what is heard."
        )
        yield (
            f'<section class="listening"><h2>Best, median and worst</h2><p class="hint">{hint}</p>'
            f"{''.join(folds)}</section>"
        )


def _player(excerpt: Excerpt) -> str:
    stretch, rate = excerpt.stretch, excerpt.sample_rate
    top_db = max(float(pages.spectrum_db(x, rate).max()) for x in excerpt.signals.values())
    sounds = [
        pages.Sound(
            name, pages.embedded_audio(x, rate), _picture(x, rate, top_db), note=_level(x)
        )
        for name, x in excerpt.signals.items()
    ]  # fmt: skip
    seconds = len(next(iter(excerpt.signals.values()))) / rate
    value = number_text(stretch.value, stretch.measure)
    title = (
        f"{stretch.rank or 'only'}: {stretch.measure} {value}, {stretch.track} from "
        f"{stretch.start_seconds:g} s"
    )
    return f"<h3>{escaped(title)}</h3>{pages.player({'': sounds}, seconds)}"


def _picture(signal: np.ndarray, sample_rate: int, top_db: float) -> str | None:
    """The spectrogram; None without matplotlib, as sounds can be heard without it."""
    if importlib.util.find_spec("matplotlib") is None:
        return None
    return pages.spectrogram(signal, sample_rate, top_db=top_db)


def _level(signal: np.ndarray) -> str:
    power = float(np.mean(np.square(signal, dtype=np.float64)))
    return f"{10 * math.log10(power):.1f} dBFS" if power > 0 else "silent"


def _data(report: Report) -> str:
    """What the script draws."""
    everything = {
        "systems": _systems(report),
        "sources": list(dict.fromkeys(row.source for row in report.averages)),
        "measures": list(report.measures),
        "average": report.average,
        "tracks": [
            {
                "system": row.system,
                "source": row.source,
                "track": row.track,
                "scores": _plain(row.scores),
            }
            for row in report.tracks
        ],
        "averages": [
            {"system": row.system, "source": row.source, "scores": _plain(row.scores)}
            for row in report.averages
        ],
        "costs": report.costs,
        "parameters": report.parameters,
    }
    # Neither "</script" nor "<!--" may stand in a script.
    text = json.dumps(everything, ensure_ascii=False).replace("<", "\\u003c")
    return f'<script type="application/json" id="scores">{text}</script>'


def _plain(scores: Mapping[str, float]) -> dict[str, Any]:
    return {name: None if math.isnan(v) else round(v, 3) for name, v in scores.items()}


def _systems(report: Report) -> list[str]:
    return list(dict.fromkeys(row.system for row in report.averages))


def _section(title: str, content: str, hint: str, *, kind: str = "") -> str:
    return (
        f'<section class="{kind}"><h2>{escaped(title)}</h2><p class="hint">{escaped(hint)}</p>'
        f'<div class="wide">{content}</div></section>'
    )


def _table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in columns)
    body = "".join(f"<tr>{''.join(cells)}</tr>" for cells in rows)
    return f'<table class="sortable"><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>'


def _text(text: str) -> str:
    return f"<td>{escaped(text)}</td>"


def _figure(
    value: float, measure: str | None, *, below: str = "", sign: str = "", kind: str = ""
) -> str:
    text = str(value) if measure is None else number_text(value, measure, sign)
    small = f"<small>{escaped(below)}</small>" if below else ""
    order = "" if math.isnan(value) else f' data-value="{value:.6g}"'
    return f'<td class="figure {kind}"{order}>{escaped(text)}{small}</td>'
