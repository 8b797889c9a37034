"""A recording's spectrogram with its pitch over it, and the confidence below.

What is kept does not grow with the recording.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kzoo.dsp.notes import midi_to_hz
from kzoo.pictures.images import Points, Spectrogram, figure
from kzoo.pitch_tracking import SAMPLE_RATE, Pitch

_SURE = 0.5
_OCTAVES = range(2, 9)


class Overview:
    """Gathers sound and pitch as they pass by; `draw` makes a PNG of them."""

    def __init__(self):
        self._spectrogram = Spectrogram(SAMPLE_RATE)
        self._points = Points(3, by=2)  # times, hertz, confidence

    @property
    def seconds(self) -> float:
        """Seconds of the sound so far."""
        return self._spectrogram.seconds

    def hear(self, signal: np.ndarray) -> None:
        """Take `[samples]` at 16 kHz."""
        self._spectrogram.hear(signal)

    def follow(self, pitch: Pitch) -> None:
        """Take the next frames of the pitch."""
        self._points.add(np.stack([pitch.times_seconds, pitch.f0_hz, pitch.confidence], axis=1))

    def draw(self, path: Path, title: str) -> None:
        """Write the picture; ValueError with the pip line where matplotlib is absent."""
        made = figure(11, 6.5)
        upper, lower = made.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        image = self._spectrogram.draw(upper)
        seconds, hz, confidence = self._points.columns
        unsure = confidence < _SURE
        upper.plot(seconds[unsure], hz[unsure], ".", color="0.75", ms=1, alpha=0.35)
        upper.plot(seconds, np.where(unsure, np.nan, hz), color="aqua", lw=1.6, label="f0")
        notes = upper.secondary_yaxis("right")
        octaves = [midi_to_hz(12 * (octave + 1)) for octave in _OCTAVES]
        notes.set_yticks(octaves, [f"C{octave}" for octave in _OCTAVES])
        notes.set_yticks([], minor=True)
        upper.set_title(title, loc="left", fontsize=10)
        lower.fill_between(seconds, confidence, color="teal", alpha=0.5, lw=0)
        lower.axhline(_SURE, color="0.4", lw=0.7, ls=":")
        lower.set_ylim(0, 1)
        lower.set_ylabel("confidence")
        lower.set_xlabel("seconds")
        lower.set_xlim(0, max(self.seconds, 256 / SAMPLE_RATE))
        made.colorbar(image, ax=upper, label="dB", fraction=0.03, pad=0.02)
        made.savefig(path, dpi=100)
