"""The salience of a recording's pitches with its melody over it; it does not grow with either."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kzoo.pictures.images import Columns, Points, figure
from kzoo.pitch_tracking.melody import Melody, MelodyTracker


class Overview:
    """Gathers salience and melody as they pass by; `draw` makes a PNG of them."""

    def __init__(self, tracker: MelodyTracker):
        self._hz = tracker.frequencies_hz
        self._salience = Columns(len(self._hz), 1 / tracker.frame_rate)
        self._points = Points(3, by=2)  # times, hertz, confidence

    def follow(self, melody: Melody, voiced: np.ndarray) -> None:
        """Take the next frames."""
        for column in melody.salience:
            self._salience.add(column)
        hz = np.where(voiced, melody.f0_hz, np.nan)
        self._points.add(np.stack([melody.times_seconds, hz, melody.confidence], axis=1))

    def draw(self, path: Path, title: str) -> None:
        """Write the picture; ValueError with the pip line where matplotlib is absent."""
        made = figure(11, 5)
        axes = made.subplots()
        edges, salience = self._salience.image()
        step = self._hz[1] / self._hz[0]
        hertz = np.append(self._hz, self._hz[-1] * step) / np.sqrt(step)
        image = axes.pcolormesh(edges, hertz, salience, cmap="magma", vmin=0, vmax=1,
                                rasterized=True)  # fmt: skip
        seconds, hz, _ = self._points.columns
        axes.plot(seconds, hz, color="aqua", lw=1.2)
        axes.set_yscale("log")
        axes.set_ylabel("Hz")
        axes.set_xlabel("seconds")
        axes.set_title(title, loc="left", fontsize=10)
        made.colorbar(image, ax=axes, label="salience", fraction=0.03, pad=0.02)
        made.savefig(path, dpi=100)
