"""The pitch of a recording as a CSV, and a picture where one is asked for: whole or not at all."""

from __future__ import annotations

import csv
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from kzoo.audio import AudioReader, mono
from kzoo.files import replacing_all
from kzoo.pitch_tracking.tracker import SAMPLE_RATE, Pitch, PitchTracker

COLUMNS = ("time_s", "f0_hz", "confidence", "level_db")


class Picture(Protocol):
    """What watches a recording go by and draws it at the end, as `pictures.pitch.Overview` does."""

    def hear(self, signal: np.ndarray) -> None:
        """Take `[samples]` at 16 kHz."""

    def follow(self, pitch: Pitch) -> None:
        """Take the next frames of the pitch."""

    def draw(self, path: Path, title: str) -> None:
        """Write the picture as PNG."""


def follow_file(
    tracker: PitchTracker,
    path: Path,
    targets: Mapping[str, Path],
    *,
    threshold: float = 0.0,
    picture: Picture | None = None,
    progress: Callable[[float, float | None], object] | None = None,
) -> tuple[str, list[str]]:
    """Write a recording's pitch to `targets["csv"]`; a line about it, and what its reader warns of.

    picture: drawn to `targets["png"]`. threshold: f0_hz is 0 in frames of less confidence.
    progress: called with (seconds done, seconds in all or None). Whatever is raised, nothing
    half-written stays.
    """
    with replacing_all(targets) as new:
        confident = []
        with open(new["csv"], "w", newline="", encoding="ascii") as file:
            seconds, warnings = _write_csv(
                file, tracker, path, threshold, progress, picture, confident
            )
        if picture:
            title = f"{path.name}, {tracker.method}, {1000 / tracker.frame_rate:g} ms"
            picture.draw(new["png"], title)
    sure, frames = np.sum(confident, axis=0)
    return f"{seconds:.1f} s, {100 * sure / frames:.0f} % of the frames confident", warnings


def _write_csv(file, tracker, path, threshold, progress, picture, confident: list):
    """Rows of COLUMNS, f0 0 below `threshold`; the seconds heard, and the reader's warnings."""
    writer = csv.writer(file, lineterminator="\n")
    writer.writerow(COLUMNS)
    seconds = 0.0
    with AudioReader(path) as reader:
        total = reader.samples and reader.samples / reader.sample_rate

        def blocks():
            nonlocal seconds
            for block in mono(reader.blocks(), reader.sample_rate, SAMPLE_RATE):
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
        return seconds, reader.warnings


def _rows(pitch: Pitch, threshold: float):
    f0_hz = np.where(pitch.confidence < threshold, 0.0, pitch.f0_hz)
    for time, hz, confidence, level in zip(
        pitch.times_seconds, f0_hz, pitch.confidence, pitch.level_db, strict=True
    ):
        yield f"{time:.4f}", f"{hz:.3f}", f"{confidence:.4f}", f"{level:.2f}"
