"""The page of representations.py: tables, what its figures carry, curves and filters."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import kzoo
from benchmarks.course_page import Record, line, spread
from benchmarks.separators import processor
from kzoo.files import replacing
from kzoo.pictures.images import figure

_FLOOR_DB = -30.0  # of filters, below the peak of each


def page(
    records: Sequence[Record],
    baseline: Mapping[str, Mapping[str, float]],
    settings: Mapping[str, Any],
    *,
    expected: int,
    pictures: Sequence[Path],
) -> str:
    """Markdown. baseline: {task: {clips: score}} of MFCC and logistic regression.

    expected: how many records there will be in the end.
    """
    largest, batch = settings["clips"]["train"], settings["batch_size"]
    steps = ", ".join(map(str, sorted({record["steps"] for record in records})))
    missing = expected - len(records)
    more = (
        f"\nTrainings still missing: {missing}; the same command makes them.\n" if missing else ""
    )
    minutes = sum(record["trained_seconds"] for record in records) / 60
    sound, music, voices = settings["sound"], settings["music"], settings["voices"]
    parts = ", ".join(f"{count} for {part}" for part, count in settings["clips"].items())
    seconds = sound["hop_length"] * sound["frames"] / sound["sample_rate"]
    fonts = {part: Path(path).stem for part, path in music["soundfonts"].items()}
    shown = "\n".join(f"![{path.stem}]({path.name})\n" for path in pictures)
    return f"""# What a small network is given to hear

`python -m benchmarks.representations MIDI` (kzoo {kzoo.__version__}, {time.strftime("%Y-%m-%d")},
{processor()}, one core): every front end of `kzoo.models.fronts` before the same three convolutions
and dense layer, for {steps} steps of {batch} clips of {seconds:.2f} s at {sound["sample_rate"]} Hz;
{len(records)} trainings, {minutes:.0f} minutes. So short a training says how fast a network learns
with a front end, not what it can learn: `--full` takes {settings["full"]["steps"]} steps with
{settings["full"]["seeds"]} seeds.
{more}
- Tags: which of {len(music["tags"])} families of instruments are heard; average precision, the
  mean over them.
- Onsets: when notes begin; F-measure at 50 ms by mir_eval, of peaks above a threshold that the
  validation chose.
- Speakers: which of {len(voices["variants"])} voices of espeak-ng speaks, in texts that were not
  learned from, at a pitch and a speed that tell nothing; accuracy.

Music is learned from as {fonts["learned"]} plays it and tested on other pieces as {fonts["test"]}
does, {_snr(music)} dB above white noise; voices are {_snr(voices)} dB above it.
Of clips there are {parts}.
All are made by the command, and say nothing of recordings. The sizes are in
`benchmarks/representations.yaml`.

## All {largest} clips

Scores of the test are means over the seeds, whose numbers are in the last column, with half of
their range. Milliseconds are of a step of training, the tasks' mean, beside whatever else the
machine did; multiply-adds are of a second of sound, without those of Fourier transforms.

{main_table(records, baseline, settings)}
{answers(records, baseline, settings)}
{validation(records, settings)}
## Fewer clips

The same number of steps on the first clips of the same. Cells are means over the seeds that there
are ({_seeds_of_sizes(settings)}), of the test.

{sizes_tables(records, baseline, settings)}
{few(records, settings)}
{shown}"""


def main_table(records, baseline, settings) -> str:
    """A line a front end: its weights and cost, and its score in each task."""
    tasks, largest = settings["tasks"], settings["clips"]["train"]
    heads = ["front end", "weights", "10^6 multiply-adds a second", "ms a step"]
    heads += [f"{task}, {about['measure']}" for task, about in tasks.items()]
    lines = [line([*heads, "seeds"]), "| --- |" + " ---: |" * len(heads)]
    for front in settings["fronts"]:
        found = {task: scores(records, task, front, largest) for task in tasks}
        if any(found.values()):
            own = [r for r in records if r["front"] == front and r["clips"] == largest]
            first = next((r for r in own if r["task"] == "tags"), own[0])
            step = statistics.mean({r["task"]: r["step"] for r in own}.values())
            cells = [f"`{front}`", f"{first['parameters']:,}"]
            cells += [f"{first['multiply_adds'] / 1e6:.1f}", f"{1000 * step:.0f}"]
            cells += [_spread(found[task]) for task in tasks]
            lines.append(line([*cells, _seeds(found)]))
    regression = [f"{baseline[task][str(largest)]:.3f}" for task in tasks]
    lines.append(line(["MFCC, logistic regression", "", "", "", *regression, ""]))
    return "\n".join(lines) + "\n\nWeights and multiply-adds are those of the tags' network.\n"


def sizes_tables(records, baseline, settings) -> str:
    """A table a task: a line a front end, a column a number of clips."""
    sizes, text = sizes_of(settings), ""
    for task, about in settings["tasks"].items():
        lines = [
            line([f"{task}, {about['measure']}", *(f"{n} clips" for n in sizes)]),
            "| --- |" + " ---: |" * len(sizes),
        ]
        for front in settings["fronts"]:
            found = [scores(records, task, front, clips) for clips in sizes]
            if any(found):
                lines.append(line([f"`{front}`", *map(_spread, found)]))
        regression = [f"{baseline[task][str(n)]:.3f}" for n in sizes]
        text += "\n".join([*lines, line(["MFCC, logistic regression", *regression])]) + "\n\n"
    return text


def answers(records, baseline, settings) -> str:
    """Which front end of those with two seeds is best in each task, and what is close to it."""
    text, largest = "", settings["clips"]["train"]
    for task, about in settings["tasks"].items():
        found = {front: scores(records, task, front, largest) for front in settings["fronts"]}
        found = {front: values for front, values in found.items() if len(values) > 1}
        if len(found) < 2:
            continue
        best = max(found, key=lambda front: statistics.mean(found[front]))
        others = [f"`{f}`" for f, v in found.items() if f != best and max(v) >= min(found[best])]
        rest = (
            f"the seeds of {', '.join(others)} reach into its range"
            if others else "the seeds of no other reach into its range"
        )  # fmt: skip
        of = (
            ""
            if len(found) == len(settings["fronts"])
            else f" of the {len(found)} with two seeds or more"
        )
        text += f"- {task}: `{best}` has the highest {about['measure']}{of}, "
        text += f"{_spread(found[best])}; {rest}. MFCC with logistic regression has "
        text += f"{baseline[task][str(largest)]:.3f}.\n"
    return text


def validation(records, settings) -> str:
    """What the validation said of how hard the tasks are."""
    largest, said = settings["clips"]["train"], []
    for task in settings["tasks"]:
        found = [
            statistics.mean(values)
            for front in settings["fronts"]
            if (values := scores(records, task, front, largest, "validation"))
        ]
        if found:
            said.append(f"{task} {min(found):.3f} to {max(found):.3f}")
    return (
        "On the validation, whose music is played by the soundfont of the training, the means\n"
        f"lie between these: {', '.join(said)}.\n"
        if said
        else ""
    )


def few(records, settings) -> str:
    """How far front ends that are computed are above those that are learned, for each size."""
    lines = []
    for task in settings["tasks"]:
        cells = []
        for clips in sizes_of(settings):
            means: dict[bool, list[float]] = {False: [], True: []}
            for front, about in settings["fronts"].items():
                if values := scores(records, task, front, clips):
                    means[about["learned"]].append(statistics.mean(values))
            computed, learned = (
                map(statistics.mean, means.values()) if all(means.values()) else (0, 0)
            )
            whole = sum(map(len, means.values())) == len(settings["fronts"])
            cells.append(f"{computed - learned:+.3f}" if whole else "")
        lines.append(line([task, *cells]))
    learned = ", ".join(f"`{f}`" for f, about in settings["fronts"].items() if about["learned"])
    heads = ["computed less learned", *(f"{n} clips" for n in sizes_of(settings))]
    table = "\n".join([line(heads), "| --- |" + " ---: |" * (len(heads) - 1), *lines])
    return f"""Do front ends that know something win where data are few? The mean of those that are
computed less the mean of those that are learned ({learned}), where all were trained:

{table}
"""


def scores(
    records: Sequence[Record], task: str, front: str, clips: int, part: str = "test"
) -> list[float]:
    """The scores of all seeds that there are."""
    wanted = {"task": task, "front": front, "clips": clips}
    return [
        record["scores"][part]
        for record in records
        if all(record[key] == value for key, value in wanted.items())
    ]


def sizes_of(settings: Mapping[str, Any]) -> list[int]:
    """All numbers of clips that are trained on, the smallest first."""
    return sorted([*settings["sizes"], settings["clips"]["train"]])


def draw(
    records: Sequence[Record], filters: Path, settings: Mapping[str, Any], out: Path
) -> list[Path]:
    """Write the pictures that there is something for beside `out`, and give their paths."""
    curves = _curves(records, settings, out.with_suffix(".png"))
    found = sorted(filters.glob("*.npz"))
    return [curves, *([_filters(found, out.with_name(f"{out.stem}_filters.png"))] if found else [])]


def _curves(records, settings, path: Path) -> Path:
    made = figure(13, 4.2)
    axes = made.subplots(1, len(settings["tasks"]), squeeze=False)[0]
    for axis, (task, about) in zip(axes, settings["tasks"].items(), strict=True):
        for number, (front, kind) in enumerate(settings["fronts"].items()):
            sizes = [n for n in sizes_of(settings) if scores(records, task, front, n)]
            means = [statistics.mean(scores(records, task, front, n)) for n in sizes]
            style = {"ls": "--" if kind["learned"] else "-", "marker": "s" if number > 9 else "o"}
            axis.plot(sizes, means, ms=3, color=f"C{number}", label=front, **style)
        axis.set_xscale("log")
        axis.set_xticks(sizes_of(settings), [str(n) for n in sizes_of(settings)])
        axis.minorticks_off()
        axis.set_xlim(0.8 * sizes_of(settings)[0], 1.25 * sizes_of(settings)[-1])
        axis.set_xlabel("clips to learn from")
        axis.set_ylabel(about["measure"])
        axis.set_title(task)
        axis.grid(color="0.92")
        axis.spines[["top", "right"]].set_visible(False)
    named = axes[-1].get_legend_handles_labels()
    made.legend(*named, loc="outside right center", fontsize=8, title="dashed: learned")
    return _written(made, path, 100)


def _filters(paths: Sequence[Path], path: Path) -> Path:
    """Responses of filters, sorted by their peaks, before and after training."""
    made = figure(9, 2.0 * len(paths))
    axes = made.subplots(len(paths), 2, squeeze=False)
    for row, found in zip(axes, paths, strict=True):
        with np.load(found) as kernels:
            for axis, when in zip(row, ("before", "after"), strict=True):
                levels = responses(kernels[when])
                axis.imshow(levels.T, origin="lower", aspect="auto", vmin=_FLOOR_DB, vmax=0,
                            extent=(0, levels.shape[0], 0, 1))  # fmt: skip
                axis.set_title(f"{found.stem}, {when}", fontsize=8)
                axis.set_yticks([0, 1], ["0", "Nyquist"], fontsize=7)
                axis.tick_params(axis="x", labelsize=7)
    return _written(made, path, 80)


def _written(made: Any, path: Path, dpi: int) -> Path:
    with replacing(path) as temporary:
        made.savefig(temporary, dpi=dpi, format="png")
    return path


def responses(kernel: np.ndarray) -> np.ndarray:
    """`[taps, filters]` to dB below each filter's peak `[filters, bins]`, by rising peaks.

    Of positive frequencies; a complex filter has none at negative ones that are worth a look.
    """
    n_fft = 2 ** int(np.ceil(np.log2(2 * len(kernel))))
    magnitudes = np.abs(np.fft.fft(kernel, n_fft, axis=0)[: n_fft // 2 + 1]).T
    if np.iscomplexobj(kernel):  # a correlation takes the filter backwards, which turns its sign
        turned = np.abs(np.fft.fft(kernel.conj(), n_fft, axis=0)[: n_fft // 2 + 1]).T
        magnitudes = np.maximum(magnitudes, turned)
    magnitudes = magnitudes[np.argsort(magnitudes.argmax(axis=1), kind="stable")]
    peaks = np.maximum(magnitudes.max(axis=1, keepdims=True), 1e-12)
    return 20 * np.log10(np.maximum(magnitudes / peaks, 10 ** (_FLOOR_DB / 20)))


def _spread(values: Sequence[float]) -> str:
    return spread(values, digits=3) if values else ""


def _seeds(found: Mapping[str, Sequence[float]]) -> str:
    counts = sorted({len(values) for values in found.values()})
    return str(counts[0]) if len(counts) == 1 else f"{counts[0]} to {counts[-1]}"


def _seeds_of_sizes(settings: Mapping[str, Any]) -> str:
    count = settings["sizes_seeds"]
    return "one for fewer clips than all" if count == 1 else f"at most {count} for fewer than all"


def _snr(about: Mapping[str, Any]) -> str:
    low, high = about["snr_db"]
    return f"{low:g} to {high:g}"
