"""The onsets of a recording as files: a CSV, a picture, the recording with clicks on it."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import numpy as np

from kzoo.audio import AudioReader, AudioWriter
from kzoo.files import replacing_all
from kzoo.listening.files import passing
from kzoo.listening.frames import Frames
from kzoo.listening.onsets import OnsetDetector, Onsets

_CLICK_HZ, _CLICK_SECONDS = 2000.0, 0.03
_GAIN = 0.5  # of the recording and of a click, so that both fit


def find_onsets(
    detector: OnsetDetector,
    path: Path,
    targets: Mapping[str, Path],
    *,
    draw: Callable[[Onsets, Frames, OnsetDetector, Path, str], object] | None = None,
    progress: Callable[[float, float | None], object] | None = None,
) -> tuple[str, list[str]]:
    """Write a recording's onsets to `targets`; a line about them, and what its reader warns of.

    targets: "csv" a row an onset, "png" what `draw` makes of (onsets, smoothed frames, detector,
    path, title), "wav" the recording at half its amplitude with a click at each onset, at its own
    rate and of its own channels. progress: called with (seconds done, seconds in all or None).
    Whatever is raised, nothing half-written stays.
    """
    with AudioReader(path) as reader:
        onsets, frames = detector.detect(passing(reader, progress), reader.sample_rate)
        warnings = list(reader.warnings)
    with replacing_all(targets) as new:
        if "csv" in new:
            _write_csv(new["csv"], onsets, several=len(detector.listener.names) > 1)
        if "wav" in new:
            write_clicks(new["wav"], path, onsets.times_seconds)
        if "png" in new:
            draw(onsets, frames, detector, new["png"], path.name)
    count = len(onsets.times_seconds)
    return f"{frames.times_seconds[-1]:.1f} s, {count} onset{'s' * (count != 1)}", warnings


def _write_csv(path: Path, onsets: Onsets, *, several: bool) -> None:
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(["time_s", "strength", *["name"] * several])
        for time, strength, name in zip(*onsets, strict=True):
            writer.writerow([f"{time:.3f}", f"{strength:.4f}", *[name] * several])


def write_clicks(target: Path, recording: Path, times_seconds: np.ndarray) -> None:
    """Write a recording with a click at each of the times, block by block.

    Both have half their amplitude, so that together they stay within full scale.
    """
    with (
        AudioReader(recording) as reader,
        AudioWriter(target, reader.sample_rate, reader.channels, clip="clamp") as writer,
    ):
        for block in _clicked(reader, times_seconds):
            writer.write(block)


def _clicked(reader: AudioReader, times_seconds: np.ndarray) -> Iterator[np.ndarray]:
    """Its blocks with clicks, the last of which may be cut off by the end."""
    seconds = np.arange(round(_CLICK_SECONDS * reader.sample_rate)) / reader.sample_rate
    click = np.sin(2 * np.pi * _CLICK_HZ * seconds) * np.exp(-seconds / (_CLICK_SECONDS / 5))
    click = (_GAIN * click[:, None]).astype(np.float32)
    starts = np.round(np.sort(times_seconds) * reader.sample_rate).astype(int)
    done = 0
    for block in reader.blocks():
        block = _GAIN * block
        first, last = np.searchsorted(starts, [done - len(click), done + len(block)])
        for start in starts[first:last] - done:
            at = slice(max(start, 0), start + len(click))
            block[at] += click[max(-start, 0) :][: len(block[at])]
        done += len(block)
        yield block
