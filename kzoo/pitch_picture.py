"""A recording's spectrogram with its pitch over it, and the confidence below.

What is kept does not grow with the recording: once there are twice the columns that a picture can
show, every two of them become one.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from kzoo.pitch_tracking import SAMPLE_RATE, Pitch

_N_FFT, _HOP = 2048, 256
_COLUMNS = 1500
_ROWS_HZ = np.geomspace(50, 8000, 360)
_RANGE_DB = 70
_SURE = 0.5
_OCTAVES = range(2, 9)


class Overview:
    """Gathers sound and pitch as they pass by; `draw` makes a PNG of them."""

    def __init__(self):
        self._kept = np.zeros(_N_FFT // 2, np.float32)
        self._waiting: list[np.ndarray] = []
        self._columns: list[np.ndarray] = []
        self._group = 1  # frames a column
        self._window = np.hanning(_N_FFT + 1)[:-1] * 2 / _N_FFT
        self._points = np.zeros((0, 3))  # times, hertz, confidence
        self.seconds = 0.0

    def hear(self, signal: np.ndarray) -> None:
        """Take `[samples]` at 16 kHz."""
        self.seconds += len(signal) / SAMPLE_RATE
        self._take(signal)

    def follow(self, pitch: Pitch) -> None:
        """Take the next frames of the pitch."""
        new = np.stack([pitch.times_seconds, pitch.f0_hz, pitch.confidence], axis=1)
        self._points = np.concatenate([self._points, new])
        while len(self._points) > 4 * _COLUMNS:  # of two neighbours, the more confident stays
            pairs = self._points[: len(self._points) // 2 * 2].reshape(-1, 2, 3)
            better = pairs[:, :, 2].argmax(axis=1)
            rest = self._points[len(pairs) * 2 :]
            self._points = np.concatenate([pairs[np.arange(len(pairs)), better], rest])

    def draw(self, path: Path, title: str) -> None:
        """Write the picture; ValueError with the pip line where matplotlib is absent."""
        try:
            from matplotlib.backends.backend_agg import FigureCanvasAgg
            from matplotlib.figure import Figure
        except ImportError:
            raise ValueError("the picture needs matplotlib: pip install 'kzoo[plot]'") from None
        self._take(np.zeros(_N_FFT // 2, np.float32))  # the frames at the very end
        if self._waiting or not self._columns:
            self._columns.append(np.max([*self._waiting, np.zeros(len(_ROWS_HZ))], axis=0))
        level_db = 20 * np.log10(np.stack(self._columns, axis=1) + 1e-7)
        seconds, hz, confidence = self._points.T
        top = max(level_db.max(), -100.0)
        step = self._group * _HOP / SAMPLE_RATE
        figure = Figure(figsize=(11, 6.5), layout="constrained")
        upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(4, 1))
        edges = np.arange(len(self._columns) + 1) * step - _HOP / SAMPLE_RATE / 2
        rows = np.geomspace(_ROWS_HZ[0], _ROWS_HZ[-1], len(_ROWS_HZ) + 1)
        image = upper.pcolormesh(
            edges, rows, level_db, cmap="magma", vmin=top - _RANGE_DB, vmax=top, rasterized=True
        )
        unsure = confidence < _SURE
        upper.plot(seconds[unsure], hz[unsure], ".", color="0.75", ms=1, alpha=0.35)
        upper.plot(seconds, np.where(unsure, np.nan, hz), color="aqua", lw=1.6, label="f0")
        upper.set_yscale("log")
        upper.set_ylim(_ROWS_HZ[0], _ROWS_HZ[-1])
        ticks = [50, 100, 200, 500, 1000, 2000, 5000]
        upper.set_yticks(ticks, [f"{hertz}" for hertz in ticks])
        upper.set_yticks([], minor=True)
        upper.set_ylabel("Hz")
        notes = upper.secondary_yaxis("right")
        octaves = [440 * 2 ** (octave - 4 - 9 / 12) for octave in _OCTAVES]
        notes.set_yticks(octaves, [f"C{octave}" for octave in _OCTAVES])
        notes.set_yticks([], minor=True)
        upper.set_title(title, loc="left", fontsize=10)
        lower.fill_between(seconds, confidence, color="teal", alpha=0.5, lw=0)
        lower.axhline(_SURE, color="0.4", lw=0.7, ls=":")
        lower.set_ylim(0, 1)
        lower.set_ylabel("confidence")
        lower.set_xlabel("seconds")
        lower.set_xlim(0, max(self.seconds, step))
        figure.colorbar(image, ax=upper, label="dB", fraction=0.03, pad=0.02)
        FigureCanvasAgg(figure)
        figure.savefig(path, dpi=100)

    def _take(self, signal: np.ndarray) -> None:
        self._kept = np.concatenate([self._kept, signal])
        if len(self._kept) < _N_FFT:
            return
        frames = np.lib.stride_tricks.sliding_window_view(self._kept, _N_FFT)[::_HOP]
        magnitude = np.abs(np.fft.rfft(frames * self._window, axis=1))
        position = _ROWS_HZ * _N_FFT / SAMPLE_RATE
        low = np.minimum(position.astype(int), _N_FFT // 2 - 1)
        share = position - low
        for row in magnitude[:, low] * (1 - share) + magnitude[:, low + 1] * share:
            self._add(row.astype(np.float32))
        self._kept = self._kept[len(frames) * _HOP :]

    def _add(self, row: np.ndarray) -> None:
        self._waiting.append(row)
        if len(self._waiting) < self._group:
            return
        self._columns.append(np.max(self._waiting, axis=0))
        self._waiting = []
        if len(self._columns) == 2 * _COLUMNS:
            pairs = np.reshape(self._columns, (_COLUMNS, 2, -1))
            self._columns = list(pairs.max(axis=1))
            self._group *= 2
