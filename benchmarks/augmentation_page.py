"""The page of augmentation_study.py: its table, and what differences of its systems say."""

from __future__ import annotations

import math
import os
import statistics
import time
from collections.abc import Mapping, Sequence
from typing import Any

import kzoo
from benchmarks import course_page
from benchmarks.separators import processor

MEASURES = ("SDR", "SIR", "SAR")


def over_seconds(
    documents: Sequence[Mapping[str, Any]], sources: Sequence[str]
) -> dict[str, dict[str, float]]:
    """{source: {measure: median, measure + " MAD": median absolute deviation}} of museval's JSON.

    Over the seconds of all songs that have a value; NaN for a source that came out silent.
    """
    found = {}
    for source in sources:
        targets = [t for document in documents for t in document["targets"] if t["name"] == source]
        found[source] = {}
        for measure in MEASURES:
            every = [frame["metrics"][measure] for t in targets for frame in t["frames"]]
            values = [value for value in every if not math.isnan(value)]
            middle = statistics.median(values) if values else math.nan
            spread = statistics.median(abs(v - middle) for v in values) if values else math.nan
            found[source] |= {measure: middle, f"{measure} MAD": spread}
    return found


def page(
    records: Sequence[course_page.Record],
    bounds: Mapping[str, Any],
    settings: Mapping[str, Any],
    *,
    expected: int,
    step: float,
    test: Sequence[str],
) -> str:
    """Markdown. bounds: the scores of the mixture and of an ideal mask. test: the songs scored.

    expected: how many records there will be in the end. step: seconds for one of each system.
    """
    systems = course_page.by_system(records)
    steps = ", ".join(map(str, sorted({record["steps"] for record in records})))
    rate, wanted = settings["sound"]["sample_rate"], settings["test"]
    seconds = settings["segment_seconds"] * settings["batch_size"]
    minutes = sum(record["trained_seconds"] for record in records) / 60
    date, full = time.strftime("%Y-%m-%d"), settings["full"]
    excerpt = f"{wanted['duration_seconds']:g} s from {wanted['start_seconds']:g} s on of"
    missing = expected - len(records)
    more = (
        f"\nTrainings still missing: {missing}; the same command makes them.\n" if missing else ""
    )
    return f"""# What augmentation is worth to a U-Net and a Wave-U-Net

`python -m benchmarks.augmentation_study MUSIC` (kzoo {kzoo.__version__}, {date}, {processor()},
{os.cpu_count()} cores): every system learned for {steps} steps of {seconds:g} s at {rate} Hz,
{minutes:.0f} minutes in all, and was scored on {excerpt}
{", ".join(test)}, which none heard. The networks and what varies their examples are in
`benchmarks/augmentation_study.yaml`.
{more}
A cell holds the median over the seconds of all songs and, in brackets, their median absolute
deviation from it, by BSS Eval v4 (museval) in dB: both are means over the seeds, whose number is in
the last column, and behind ± is half of the range of the medians. SIR and SAR of recordings that
came from lossy files rest on rounding, their SDR does not.

{table(systems, bounds, settings)}
So short a training says how fast a network learns: augmentation is there for long ones, in which a
network would come to know its few songs by heart. `--full` trains for {full["steps"]} steps with
{full["seeds"]} seeds.

{course_page.answers(systems, settings, MEASURES)}
## The published figures

Cohen-Hadria, Roebel and Peeters, 2019, on MUSDB18 at the full size of both networks (paper; medians
of the voice's SDR in dB): Wave-U-Net 4.09 without augmentation, 4.20 with stretching, 3.77 with the
envelope, 4.18 with pitch, 4.67 with all; U-Net 4.52, 4.85, 4.55, 5.20, 5.20, without skips 3.44,
without masks 4.18. Nothing of it is to be compared with the table above but its order.

## The full run

On MUSDB18 (its 100 songs to learn from, its 50 to be scored):

    python -m benchmarks.augmentation_study MUSDB18 --kind musdb --full --work runs/full -o full.md

{course_page.full_time(step, settings)}
"""


def table(
    systems: Mapping[str, Sequence[course_page.Record]],
    bounds: Mapping[str, Any],
    settings: Mapping[str, Any],
) -> str:
    """A line a system, and the mixture and the ideal mask below."""
    columns = [(source, measure) for source in settings["sources"] for measure in MEASURES]
    heads = ["system", "augmentation", *(f"{m}, {source}" for source, m in columns), "seeds"]
    lines = [course_page.line(heads), "| --- | --- |" + " ---: |" * (len(heads) - 2)]
    for name, records in systems.items():
        about = settings["systems"][name]["augmentation"]
        cells = [figures([r["scores"][source] for r in records], m) for source, m in columns]
        lines.append(course_page.line([f"`{name}`", about, *cells, str(len(records))]))
    for name, scores in bounds.items():
        cells = [figures([scores[source]], measure) for source, measure in columns]
        lines.append(course_page.line([f"`{name}`", "", *cells, ""]))
    return "\n".join(lines) + "\n"


def figures(scores: Sequence[Mapping[str, float]], measure: str) -> str:
    """A cell: the median of each seed and its deviation."""
    if any(math.isnan(score[measure]) for score in scores):
        return "silent"
    deviation = statistics.mean(score[f"{measure} MAD"] for score in scores)
    return f"{course_page.spread([score[measure] for score in scores])} ({deviation:.2f})"
