"""What `kzoo pitch` does: a CSV and a picture for every recording, whole or not at all."""

from __future__ import annotations

import csv
import importlib.util
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from kzoo import audio, pitch_tracking
from kzoo.cli.presets import fetch
from kzoo.cli.terminal import OUR_ERRORS, bar, one_line, quiet_tensorflow, say
from kzoo.pitch_tracking import SAMPLE_RATE, Pitch, PitchTracker

COLUMNS = ("time_s", "f0_hz", "confidence", "level_db")


def follow_files(
    files: Sequence[str],
    *,
    out: str,
    method: str,
    hop_ms: float,
    fmin_hz: float | None,
    fmax_hz: float | None,
    decoder: str,
    threshold: float,
    plot: bool,
    overwrite: bool,
    show: bool,
) -> None:
    """Write OUT/<recording>.csv and .png of each file; a bad file does not lose the others.

    What can be refused is refused before TensorFlow is loaded. Raises SystemExit(1) after the last
    file when any of them failed.
    """
    options = {"hop_ms": hop_ms, "fmin_hz": fmin_hz, "fmax_hz": fmax_hz, "decoder": decoder}
    pitch_tracking.check_request(method, **options)
    to_stdout = out == "-"
    if to_stdout and len(files) != 1:
        raise ValueError(f"stdout takes one recording; got {len(files)}")
    endings = ["csv"]
    if plot and not to_stdout:
        if importlib.util.find_spec("matplotlib"):
            endings.append("png")
        else:
            say("no pictures: pip install 'kzoo[plot]' (--no-plot leaves out this line)")
    jobs, failed = {}, 0
    for path, name in _names(files).items():
        targets = {ending: Path(out) / f"{name}.{ending}" for ending in endings}
        try:
            audio.info(path)
            existing = [target for target in targets.values() if target.exists()]
            if existing and not (overwrite or to_stdout):
                raise ValueError(f"{existing[0]}: exists already; --overwrite replaces it")
        except OUR_ERRORS as error:
            say(f"kzoo: {one_line(error)}")
            failed += 1
        else:
            jobs[path] = targets
    if jobs:
        tracker = _tracker(method, options, show=show)
    for path, targets in jobs.items():
        try:
            with bar(path.name, unit="seconds", show=show) as progress:
                if to_stdout:
                    _to_stdout(tracker, path, threshold, progress)
                    continue
                line = follow_file(tracker, path, targets, threshold=threshold, progress=progress)
        except OUR_ERRORS as error:
            say(f"kzoo: {one_line(error)}")
            failed += 1
            continue
        if show:
            say(f"{path.name}: {line} -> {', '.join(map(str, targets.values()))}")
    if failed:
        raise SystemExit(1)


def follow_file(
    tracker: PitchTracker,
    path: Path,
    targets: Mapping[str, Path],
    *,
    threshold: float = 0.0,
    progress: Callable[[float, float | None], object] | None = None,
) -> str:
    """Write `targets["csv"]` and, where it is there, `targets["png"]`; a line on what was heard.

    Whatever is raised, nothing half-written stays.
    """
    folder = targets["csv"].parent
    folder.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{targets['csv'].stem}.", dir=folder))
    try:
        picture = None
        if "png" in targets:
            from kzoo.pictures.pitch import Overview

            picture = Overview()
        confident = []
        with open(temporary / "new.csv", "w", newline="", encoding="ascii") as file:
            seconds = _write_csv(file, tracker, path, threshold, progress, picture, confident)
        if picture:
            title = f"{path.name}, {tracker.method}, {1000 / tracker.frame_rate:g} ms"
            picture.draw(temporary / "new.png", title)
        for ending, target in targets.items():
            os.replace(temporary / f"new.{ending}", target)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    sure, frames = np.sum(confident, axis=0)
    return f"{seconds:.1f} s, {100 * sure / frames:.0f} % of the frames confident"


def _write_csv(file, tracker, path, threshold, progress, picture, confident: list) -> float:
    """Rows of COLUMNS, f0 0 where the confidence is below `threshold`; the seconds heard."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    seconds = 0.0
    with audio.AudioReader(path) as reader:
        total = reader.samples and reader.samples / reader.sample_rate

        def blocks():
            nonlocal seconds
            for block in pitch_tracking.mono(reader.blocks(), reader.sample_rate):
                seconds += len(block) / SAMPLE_RATE
                if picture:
                    picture.hear(block)
                if progress:
                    progress(seconds, total)
                yield block[:, None]

        for pitch in tracker.track(blocks(), SAMPLE_RATE):
            writer.writerows(_rows(pitch, threshold))
            if picture:
                picture.follow(pitch)
            confident.append((np.sum(pitch.confidence >= 0.5), len(pitch.confidence)))
        for text in reader.warnings:
            say(f"{path.name}: {text}")
    return seconds


def _rows(pitch: Pitch, threshold: float):
    f0_hz = np.where(pitch.confidence < threshold, 0.0, pitch.f0_hz)
    for time, hz, confidence, level in zip(
        pitch.times_seconds, f0_hz, pitch.confidence, pitch.level_db, strict=True
    ):
        yield f"{time:.4f}", f"{hz:.3f}", f"{confidence:.4f}", f"{level:.2f}"


def _to_stdout(tracker: PitchTracker, path: Path, threshold: float, progress) -> None:
    with tempfile.TemporaryFile("w+", newline="", encoding="ascii") as file:
        _write_csv(file, tracker, path, threshold, progress, None, [])
        file.seek(0)
        shutil.copyfileobj(file, sys.stdout)


def _names(files: Sequence[str]) -> dict[Path, str]:
    names: dict[Path, str] = {}
    for path in map(Path, dict.fromkeys(files)):
        name = audio.safe_track_name(path)
        if name in names.values():
            raise ValueError(f"two recordings are called {name!r}; write them to two folders")
        names[path] = name
    return names


def _tracker(method: str, options: Mapping, *, show: bool) -> PitchTracker:
    if method != pitch_tracking.PYIN:
        fetch(method, show=show)
        quiet_tensorflow()
    return PitchTracker(method, **options)
