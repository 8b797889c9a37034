"""The page of course.py: its table, the answers that differences of its systems give, its chart."""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import kzoo
from benchmarks.separators import processor
from kzoo.metrics import MEASURES
from kzoo.pictures.images import figure

COLUMNS = ("SDR", "SI-SDR")
_COLOURS = {"magnitude": "tab:blue", "complex": "tab:green", "waveform": "tab:orange"}
_MARKERS = {"mask": "o", "source": "s"}

# Where a label may stand, in points from its point: right of it, left of it, above, below.
_SIDES = ((7, 0), (-7, 0), (0, 10), (0, -10), (7, 10), (7, -10), (-7, 10), (-7, -10), (0, 20))
_LOWEST_DB = -10.0  # that the chart shows: a source that comes out silent has about -100

Record = Mapping[str, Any]  # what course.py knows of a system trained with a seed


def page(
    records: Sequence[Record],
    bounds: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    chart: str,
    expected: int,
    step: float,
    test: Sequence[str],
) -> str:
    """Markdown. bounds: the scores of the mixture and of an ideal mask. test: the songs scored.

    expected: how many records there will be in the end. step: seconds for one of each system.
    """
    systems = by_system(records)
    steps = ", ".join(map(str, sorted({record["steps"] for record in records})))
    rate, wanted = settings["sound"]["sample_rate"], settings["test"]
    seconds = settings["segment_seconds"] * settings["batch_size"]
    excerpt = f"{wanted['duration_seconds']:g} s from {wanted['start_seconds']:g} s on of"
    missing = expected - len(records)
    more = (
        f"\nTrainings still missing: {missing}; the same command makes them.\n" if missing else ""
    )
    definitions = "\n".join(f"- {name}: {MEASURES[name].definition}." for name in COLUMNS)
    return f"""# The separators of the course, at one cost

`python -m benchmarks.course MUSIC` (kzoo {kzoo.__version__}, {time.strftime("%Y-%m-%d")},
{processor()}, {os.cpu_count()} cores): every system learned from the same examples
for {steps} steps of {seconds:g} s at {rate} Hz, and was scored on {excerpt}
{", ".join(test)}, which none heard. The systems cost about as many multiply-adds for a second of
sound, and their options are in `benchmarks/course.yaml`.
{more}
So short a training says how fast a network learns, not what it can learn: `--full` trains for
{settings["full"]["steps"]} steps with {settings["full"]["seeds"]} seeds. Scores are means over
the seeds, whose number is in the last column, with half of their range; real-time factors are
seconds for a second of sound, beside whatever else the machine did.

{definitions}

A source that comes out silent has an SI-SDR of about -100 dB.

{table(systems, bounds, settings)}
![Quality against cost]({chart})

{answers(systems, settings)}
## The full run

On MUSDB18 (its 100 songs to learn from, its 50 to be scored):

    python -m benchmarks.course MUSDB18 --kind musdb --full --work runs/course_full -o full.md

{full_time(step, settings)}
"""


def by_system(records: Sequence[Record]) -> dict[str, list[Record]]:
    """{system: its records, by seed}, systems in the order of the records."""
    found: dict[str, list[Record]] = {}
    for record in sorted(records, key=lambda record: record["seed"]):
        found.setdefault(record["system"], []).append(record)
    return found


def table(
    systems: Mapping[str, Sequence[Record]],
    bounds: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> str:
    """A line a system, and the mixture and the ideal mask below."""
    sources = settings["sources"]
    columns = [(source, measure) for source in sources for measure in COLUMNS]
    heads = [
        "system", "input", "output", "networks", "weights", "10^6 multiply-adds a second",
        *(f"{measure}, {source}" for source, measure in columns), "real-time factor", "seeds",
    ]  # fmt: skip
    lines = [line(heads), "| --- | --- | --- | --- |" + " ---: |" * (len(heads) - 4)]
    for name, records in systems.items():
        about = settings["systems"][name]
        figures = [
            spread([record["scores"][source][measure] for record in records])
            for source, measure in columns
        ]
        factor = statistics.mean(record["real_time_factor"] for record in records)
        first = records[0]
        cells = [f"`{name}`", about["input"], about["output"], about["networks"]]
        cells += [f"{first['parameters']:,}", f"{first['multiply_adds'] / 1e6:.1f}", *figures]
        lines.append(line([*cells, f"{factor:.4f}", str(len(records))]))
    for name, scores in bounds.items():
        figures = [f"{scores[source][measure]:.2f}" for source, measure in columns]
        lines.append(line([f"`{name}`", *[""] * 5, *figures, "", ""]))
    return "\n".join(lines) + "\n"


def answers(
    systems: Mapping[str, Sequence[Record]],
    settings: Mapping[str, Any],
    columns: Sequence[str] = COLUMNS,
) -> str:
    """A section for each contrast whose systems are there, in the words that its figures carry."""
    text = "## What the figures answer\n\n"
    text += (
        "Differences are of the mean over the sources, seed by seed. A system is called better\n"
        "where it is so with every seed, and by more than seeds of one system differ.\n\n"
    )
    for contrast in settings["contrasts"]:
        one, other = contrast["systems"]
        if one in systems and other in systems:
            text += f"### {contrast['question']}\n\n{contrast['change']}\n\n"
            found = [gains(systems[one], systems[other], measure) for measure in columns]
            for measure, (seeds, noise) in zip(columns, found, strict=True):
                text += f"- {measure}: {difference(one, other, seeds, noise)}\n"
            if {-1, 1} <= {verdict(*gain) for gain in found}:
                text += "\nThe measures contradict each other, and the question stays open.\n"
            text += "\n"
    return text


def gains(
    one: Sequence[Record], other: Sequence[Record], measure: str
) -> tuple[list[float], float]:
    """(what `one` gains over `other` with each common seed, how far seeds of a system differ)."""
    values = [{r["seed"]: mean_score(r, measure) for r in records} for records in (one, other)]
    seeds = sorted(values[0].keys() & values[1].keys())
    ranges = [max(v[s] for s in seeds) - min(v[s] for s in seeds) for v in values if seeds]
    return [values[0][seed] - values[1][seed] for seed in seeds], max(ranges, default=0.0)


def verdict(found: Sequence[float], noise: float) -> int:
    """1 where all gains are above 0 and on average above `noise`, -1 for losses, else 0."""
    if len(found) < 2 or abs(statistics.mean(found)) <= noise:
        return 0
    return (min(found) > 0) - (max(found) < 0)


def difference(one: str, other: str, found: Sequence[float], noise: float) -> str:
    """A sentence on what a system gains over another in a measure."""
    if not found:
        return f"no seed is common to `{one}` and `{other}`."
    listed = ", ".join(f"{gain:+.2f}" for gain in found)
    figures = f"`{one}` gains {statistics.mean(found):+.2f} dB on average ({listed})"
    if len(found) < 2:
        return f"{figures}, with one seed, which says little."
    if sign := verdict(found, noise):
        better, worse = (one, other) if sign > 0 else (other, one)
        return f"`{better}` is better than `{worse}`; {figures}."
    return (
        f"no difference is seen; {figures}, and seeds of one system are up to {noise:.2f} dB apart."
    )


def mean_score(record: Record, measure: str) -> float:
    """A measure's mean over the sources."""
    return statistics.mean(scores[measure] for scores in record["scores"].values())


def spread(values: Sequence[float], digits: int = 2) -> str:
    """The mean of some seeds with half of their range; one seed has none."""
    text = f"{statistics.mean(values):.{digits}f}"
    half = (max(values) - min(values)) / 2
    return f"{text} ± {half:.{digits}f}" if len(values) > 1 else text


def full_time(step: float, settings: Mapping[str, Any]) -> str:
    """What the full run takes, by the seconds of a step of each system that were measured."""
    hours = step * settings["full"]["steps"] * settings["full"]["seeds"] / 3600
    return (
        f"By the measured time of a step ({step:.2f} s for one of each system) its trainings would "
        f"take {hours:.0f} hours on this machine; it has not been made here."
    )


def draw(
    records: Sequence[Record], bounds: Mapping[str, Any], settings: Mapping[str, Any], path: Path
) -> Path:
    """The chart: SI-SDR over the sources against milliseconds for a second of sound."""
    made = figure(8, 5)
    axis = made.subplots()
    labels = {}
    systems = by_system(records)
    for name, found in systems.items():
        about = settings["systems"][name]
        cost = 1000 * statistics.mean(record["real_time_factor"] for record in found)
        mean = statistics.mean(mean_score(record, "SI-SDR") for record in found)
        scores = [max(_LOWEST_DB, mean_score(record, "SI-SDR")) for record in found]
        height = max(_LOWEST_DB, mean)
        label = name if mean > _LOWEST_DB else f"{name}: {mean:.0f} dB"
        style = {"color": _COLOURS[about["input"]], "marker": _MARKERS[about["output"]]}
        axis.vlines(cost, min(scores), max(scores), color=style["color"], lw=1.5)
        axis.plot(cost, height, ls="", ms=7, **style)
        labels[label] = cost, height
    used = [settings["systems"][name] for name in systems]
    for kind, colour in _COLOURS.items():
        if any(about["input"] == kind for about in used):
            axis.plot([], [], "o", color=colour, label=f"hears {kind}")
    for kind, marker in _MARKERS.items():
        axis.plot([], [], marker, color="0.5", label=f"gives a {kind}")
    mixture = mean_score({"scores": bounds["mixture"]}, "SI-SDR")
    axis.axhline(mixture, color="crimson", lw=1, ls="--", label="the mixture")
    axis.legend(fontsize=8, frameon=False)
    axis.set_xscale("log")
    axis.xaxis.set_major_formatter("{x:g}")
    axis.xaxis.set_minor_formatter("{x:g}")
    axis.tick_params(which="both", labelsize=8)
    axis.margins(x=0.15, y=0.1)
    axis.set_xlabel("milliseconds for a second of sound")
    axis.set_ylabel("SI-SDR, mean of the sources, dB")
    axis.grid(color="0.92", which="both")
    axis.set_axisbelow(True)
    axis.spines[["top", "right"]].set_visible(False)
    _write_beside(axis, labels)
    made.savefig(path, dpi=100, format="png")
    return path


def _write_beside(axis, labels: Mapping[str, tuple[float, float]]) -> None:
    """Each label at its point, on the first side where it covers no other label and no point."""
    axis.figure.draw_without_rendering()
    points = axis.transData.transform(list(labels.values()))
    taken = [[point - 5, point + 5] for point in points]  # corners, in pixels
    taken.append(axis.get_legend().get_window_extent().get_points())
    for label, point in labels.items():
        for x, y in _SIDES:
            text = axis.annotate(
                label, point, xytext=(x, y), textcoords="offset points", fontsize=8, va="center",
                ha="left" if x > 0 else "right" if x < 0 else "center",
            )  # fmt: skip
            room = text.get_window_extent().get_points()
            if all((room[0] > other[1]).any() or (room[1] < other[0]).any() for other in taken):
                break
            text.set_visible(False)
        else:
            text.set_visible(True)
        taken.append(room)


def line(cells: Sequence[str]) -> str:
    """A line of a table."""
    return "| " + " | ".join(cells) + " |"
