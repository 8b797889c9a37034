"""Onsets on what they were found in: the smoothed activation over time, and its peaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kzoo.listening import Frames, OnsetDetector, Onsets
from kzoo.pictures.images import Points, figure


def draw_onsets(
    onsets: Onsets, frames: Frames, detector: OnsetDetector, path: Path, title: str
) -> None:
    """Write a PNG of a row a name, which does not grow; ValueError without matplotlib."""
    names = detector.listener.names
    made = figure(11, 1.2 + 2 * len(names))
    rows = made.subplots(len(names), 1, sharex=True, squeeze=False)[:, 0]
    for axes, name, curve in zip(rows, names, frames.probabilities.T, strict=True):
        points = Points(2, by=1)
        points.add(np.stack([frames.times_seconds, curve], axis=1))
        axes.fill_between(*points.columns, color="teal", alpha=0.5, lw=0)
        axes.axhline(detector.threshold, color="0.4", lw=0.7, ls=":")
        mine = [k for k, other in enumerate(onsets.names) if other == name]
        times, strengths = onsets.times_seconds[mine], onsets.strengths[mine]
        axes.plot(times, strengths, "o", color="crimson", ms=2.5)
        axes.set_ylim(0, 1)
        axes.set_ylabel(name)
    rows[-1].set_xlim(0, max(frames.times_seconds[-1], 1 / detector.listener.frame_rate))
    rows[-1].set_xlabel("seconds")
    rows[0].set_title(title, loc="left", fontsize=10)
    made.savefig(path, dpi=100)
