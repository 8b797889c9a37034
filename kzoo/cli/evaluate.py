"""The verb `evaluate`: presets, run folders and folders of estimates against a corpus."""

from __future__ import annotations

import dataclasses
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kzoo import api
from kzoo.cli.terminal import bar, quiet_tensorflow, say


def evaluate_systems(
    names: Sequence[str],
    *,
    corpus: Path,
    sources: Sequence[str],
    out: Path | None,
    subset: str | None,
    tracks: Sequence[str],
    start_seconds: float,
    duration_seconds: float | None,
    baselines: Sequence[str],
    processes: int,
    measures: str | None,
    dnsmos: Path | None,
    options: dict[str, Any],
    interchangeable: bool,
    show: bool,
) -> None:
    """Score and print the table; SystemExit(1) where a track could not be scored."""
    from kzoo.evaluation import BASELINES, evaluate
    from kzoo.evaluation.measures import what_to_score

    for name in baselines:
        if name not in BASELINES:
            raise ValueError(f"a baseline is one of {', '.join(BASELINES)}; got {name!r}")
    chosen = api.evaluation_systems(names, options, interchangeable=interchangeable, say=say)
    chosen = [_quiet(system) for system in chosen]
    command = _command(
        names, corpus=corpus, sources=",".join(sources), out=out, subset=subset, track=tracks,
        start=start_seconds, duration=duration_seconds, baselines=",".join(baselines),
        interchangeable=interchangeable, measures=measures, dnsmos=dnsmos, jobs=processes,
        **options,
    )  # fmt: skip
    sources, speech = what_to_score(
        corpus, chosen, sources=sources, measures=measures, dnsmos=dnsmos, subset=subset,
        tracks=tracks,
    )  # fmt: skip
    with bar("scoring", unit="scores", show=show) as progress:
        report = evaluate(
            corpus, chosen, sources=sources, out=out, subset=subset, tracks=tracks,
            start_seconds=start_seconds, duration_seconds=duration_seconds, baselines=baselines,
            speech=speech, processes=processes, progress=progress, command=command,
        )  # fmt: skip
    print(report.text(), end="")
    if out is not None and show:
        say(f"scores of every track are in {out}/")
    if report.failures:
        raise SystemExit(1)


def _quiet(system):
    """The same, but a system that builds a model does so without TensorFlow's start-up notes."""
    from kzoo.evaluation import Separation

    if not isinstance(system, Separation):
        return system

    def separate(waveform, sample_rate):
        quiet_tensorflow()
        return system.separate(waveform, sample_rate)

    return dataclasses.replace(system, separate=separate)


def _command(names: Sequence[str], **options: Any) -> str:
    """The words that make the table again: every option that is not as it would be unsaid."""
    unsaid = {
        "sources": "", "start": 0.0, "baselines": "mixture,irm", "overlap": 0.0, "jobs": 1,
    }  # fmt: skip
    words = ["kzoo", "evaluate", *names]
    for name, value in options.items():
        flag = f"--{name.replace('_', '-')}"
        if isinstance(value, bool):
            words += [flag] * value
        elif isinstance(value, (list, tuple)):
            words += [word for item in value for word in (flag, item)]
        elif value != unsaid.get(name):
            words += [flag, str(value)]
    return shlex.join(words)
