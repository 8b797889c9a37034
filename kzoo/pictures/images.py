"""Images of a recording of any length that do not grow with it.

Once there are twice the columns that a picture can show, every two of them become one, the greater
of both in each row.
"""

from __future__ import annotations

import numpy as np

COLUMNS = 1500
_N_FFT, _HOP = 2048, 256
_LOW_HZ, _HIGH_HZ = 50.0, 8000.0


def figure(width: float, height: float, *, layout: str = "constrained"):
    """An empty figure that needs no display; ValueError with the pip line without matplotlib.

    layout: matplotlib's engine; "none" takes half the time, and wants margins.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("the picture needs matplotlib: pip install 'kzoo[plot]'") from None
    made = Figure(figsize=(width, height), layout=layout)
    FigureCanvasAgg(made)
    return made


class Columns:
    """Columns `[rows]` as they come, at equal distances of `seconds`."""

    def __init__(self, rows: int, seconds: float):
        self.rows, self._step = rows, seconds
        self._waiting: list[np.ndarray] = []
        self._columns: list[np.ndarray] = []
        self._group = 1  # of those that came, in one of those that are kept

    def add(self, column: np.ndarray) -> None:
        """Take one more."""
        self._waiting.append(np.asarray(column, np.float32))
        if len(self._waiting) < self._group:
            return
        self._columns.append(np.max(self._waiting, axis=0))
        self._waiting = []
        if len(self._columns) == 2 * COLUMNS:
            pairs = np.reshape(self._columns, (COLUMNS, 2, -1))
            self._columns = list(pairs.max(axis=1))
            self._group *= 2

    def image(self) -> tuple[np.ndarray, np.ndarray]:
        """(Edges in seconds `[columns + 1]`, values `[rows, columns]`); the middles lie on time."""
        columns = list(self._columns)
        if self._waiting or not columns:
            columns.append(np.max([*self._waiting, np.zeros(self.rows)], axis=0))
        edges = np.arange(len(columns) + 1) * (self._group * self._step) - self._step / 2
        return edges, np.stack(columns, axis=1)


class Spectrogram(Columns):
    """Magnitudes of a sound on a logarithmic scale from 50 Hz to 8 kHz, or what there is of it."""

    def __init__(self, sample_rate: int):
        self.sample_rate, self.seconds = sample_rate, 0.0
        high = min(_HIGH_HZ, sample_rate / 2)
        self.rows_hz = np.geomspace(_LOW_HZ, high, 360)
        self.edges_hz = np.geomspace(_LOW_HZ, high, 361)
        super().__init__(len(self.rows_hz), _HOP / sample_rate)
        self._kept = np.zeros(_N_FFT // 2, np.float32)
        self._window = np.hanning(_N_FFT + 1)[:-1] * 2 / _N_FFT

    def hear(self, signal: np.ndarray) -> None:
        """Take `[samples]`."""
        self.seconds += len(signal) / self.sample_rate
        self._take(signal)

    def draw(self, axes, range_db: float = 70.0):
        """The image on `axes`, in dB down from its loudest; what a colour bar belongs to."""
        self._take(np.zeros(_N_FFT // 2, np.float32))  # the frames at the very end
        edges, magnitude = self.image()
        level_db = 20 * np.log10(magnitude + 1e-7)
        top = max(level_db.max(), -100.0)
        made = axes.pcolormesh(
            edges,
            self.edges_hz,
            level_db,
            cmap="magma",
            vmin=top - range_db,
            vmax=top,
            rasterized=True,
        )
        axes.set_yscale("log")
        axes.set_ylim(self.rows_hz[0], self.rows_hz[-1])
        ticks = [
            hertz for hertz in (50, 100, 200, 500, 1000, 2000, 5000) if hertz <= self.rows_hz[-1]
        ]
        axes.set_yticks(ticks, [f"{hertz}" for hertz in ticks])
        axes.set_yticks([], minor=True)
        axes.set_ylabel("Hz")
        return made

    def _take(self, signal: np.ndarray) -> None:
        self._kept = np.concatenate([self._kept, signal])
        if len(self._kept) < _N_FFT:
            return
        frames = np.lib.stride_tricks.sliding_window_view(self._kept, _N_FFT)[::_HOP]
        magnitude = np.abs(np.fft.rfft(frames * self._window, axis=1))
        position = self.rows_hz * _N_FFT / self.sample_rate
        low = np.minimum(position.astype(int), _N_FFT // 2 - 1)
        share = position - low
        for row in magnitude[:, low] * (1 - share) + magnitude[:, low + 1] * share:
            self.add(row)
        self._kept = self._kept[len(frames) * _HOP :]


class Points:
    """Rows `[columns]` as they come; of two neighbours the one that is greater in `by` stays."""

    def __init__(self, columns: int, by: int):
        self._points, self._by = np.zeros((0, columns)), by

    def __len__(self) -> int:
        return len(self._points)

    def add(self, rows: np.ndarray) -> None:
        """Take `[points, columns]` more."""
        self._points = np.concatenate([self._points, rows])
        while len(self._points) > 4 * COLUMNS:
            pairs = self._points[: len(self._points) // 2 * 2].reshape(-1, 2, rows.shape[1])
            better = pairs[:, :, self._by].argmax(axis=1)
            rest = self._points[len(pairs) * 2 :]
            self._points = np.concatenate([pairs[np.arange(len(pairs)), better], rest])

    @property
    def columns(self) -> np.ndarray:
        """`[columns, points]`."""
        return self._points.T
