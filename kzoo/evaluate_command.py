"""The verb `evaluate`: presets, run folders and folders of estimates against a corpus."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kzoo import presets
from kzoo.terminal import bar, one_line, quiet_tensorflow, say


def systems(
    names: Sequence[str], options: dict[str, Any], *, interchangeable: bool = False
) -> list:
    """A system for each name: a preset's, a run folder's, a folder of estimates, or a baseline.

    interchangeable: the sources of all of them, not only where a card says so.
    Models are built when their first track is separated. Raises ValueError for what is neither.
    """
    from kzoo.evaluation import BASELINES, Baseline, EstimatesFolder, Separation

    found = []
    for name in names:
        folder = Path(name)
        if folder.is_dir() and not (folder / presets.CARD).is_file():
            found.append(
                EstimatesFolder(folder.resolve().name, folder, interchangeable=interchangeable)
            )
            continue
        try:
            card = presets.load_card(name)
        except presets.PresetError as error:
            if name not in BASELINES:
                raise ValueError(f"{error}; nor is it a folder of estimates") from None
            found.append(Baseline(name))
            continue
        found.append(
            Separation(
                card["name"], tuple(presets.sources(name, card)), _separator(name, options),
                {"preset": card["name"], "weights_sha256": _weights_sha256(name), **options},
                interchangeable=interchangeable or bool(card.get("interchangeable", False)),
            )
        )  # fmt: skip
    return found


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
    options: dict[str, Any],
    interchangeable: bool,
    show: bool,
) -> None:
    """Score and print the table; SystemExit(1) where a track could not be scored."""
    from kzoo.data.tracks import components
    from kzoo.evaluation import BASELINES, Baseline, evaluate, find_tracks

    for name in baselines:
        if name not in BASELINES:
            raise ValueError(f"a baseline is one of {', '.join(BASELINES)}; got {name!r}")
    chosen = systems(names, options, interchangeable=interchangeable)
    command = _command(
        names, corpus=corpus, sources=",".join(sources), out=out, subset=subset, track=tracks,
        start=start_seconds, duration=duration_seconds, baselines=",".join(baselines),
        interchangeable=interchangeable, jobs=processes, **options,
    )  # fmt: skip
    if not sources:
        sources = next((system.sources for system in chosen if system.sources), ())
    if not sources and chosen and all(isinstance(system, Baseline) for system in chosen):
        found = find_tracks(corpus, subset=subset, tracks=tracks)
        sources = tuple(dict.fromkeys(s for track in found for s in components(track.stems)))
    if not sources:
        raise ValueError("name the sources of these estimates: --sources vocals,accompaniment")
    with bar("scoring", unit="scores", show=show) as progress:
        report = evaluate(
            corpus, chosen, sources=sources, out=out, subset=subset, tracks=tracks,
            start_seconds=start_seconds, duration_seconds=duration_seconds, baselines=baselines,
            processes=processes, progress=progress, command=command,
        )  # fmt: skip
    print(report.text(), end="")
    if out is not None and show:
        say(f"scores of every track are in {out}/")
    if report.failures:
        raise SystemExit(1)


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


def _separator(preset: str, options: dict[str, Any]):
    made = []

    def separate(waveform, sample_rate):
        quiet_tensorflow()
        import tensorflow as tf

        from kzoo import api

        try:
            if not made:
                made.append(api.Separator.from_preset(preset, **options))
            return made[0].separate(waveform, sample_rate)
        except tf.errors.OpError as error:  # of a track that does not fit, for one
            exhausted = isinstance(error, tf.errors.ResourceExhaustedError)
            message = one_line(error.message)
            raise (MemoryError if exhausted else RuntimeError)(message) from None

    return separate


def _weights_sha256(preset: str) -> str:
    path = presets.weights_path(preset) or presets.download(preset)
    return presets.file_sha256(path)
