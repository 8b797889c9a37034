"""The verb `evaluate`: presets, run folders and folders of estimates against a corpus."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kzoo import presets
from kzoo.terminal import bar, quiet_tensorflow, say


def systems(
    names: Sequence[str], options: dict[str, Any], *, interchangeable: bool = False
) -> list:
    """A system for each name: a preset's, a run folder's, or a folder of estimates.

    interchangeable: the sources of all of them, not only where a card says so.
    Models are built when their first track is separated. Raises ValueError for what is neither.
    """
    from kzoo.evaluation import EstimatesFolder, Separation

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
            raise ValueError(f"{error}; nor is it a folder of estimates") from None
        found.append(
            Separation(
                card["name"], tuple(card["sources"]), _separator(name, options),
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
    from kzoo.evaluation import BASELINES, evaluate

    for name in baselines:
        if name not in BASELINES:
            raise ValueError(f"a baseline is one of {', '.join(BASELINES)}; got {name!r}")
    chosen = systems(names, options, interchangeable=interchangeable)
    if not sources:
        sources = next((system.sources for system in chosen if system.sources), ())
    if not sources:
        raise ValueError("name the sources of these estimates: --sources vocals,accompaniment")
    command = ["kzoo", "evaluate", *names, "--corpus", str(corpus)]
    command += [word for track in tracks for word in ("--track", track)]
    command += ["--interchangeable"] * interchangeable
    with bar("scoring", unit="scores", show=show) as progress:
        report = evaluate(
            corpus, chosen, sources=sources, out=out, subset=subset, tracks=tracks,
            start_seconds=start_seconds, duration_seconds=duration_seconds, baselines=baselines,
            processes=processes, progress=progress, command=shlex.join(command),
        )  # fmt: skip
    print(report.text(), end="")
    if out is not None and show:
        say(f"scores of every track are in {out}/")
    if report.failures:
        raise SystemExit(1)


def _separator(preset: str, options: dict[str, Any]):
    made = []

    def separate(waveform, sample_rate):
        if not made:
            quiet_tensorflow()
            from kzoo import api

            made.append(api.Separator.from_preset(preset, **options))
        return made[0].separate(waveform, sample_rate)

    return separate


def _weights_sha256(preset: str) -> str:
    path = presets.weights_path(preset) or presets.download(preset)
    return presets.file_sha256(path)
