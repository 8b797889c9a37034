"""Spectrograms of signals that lie in memory, one above the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np

_N_FFT = 2048
_RANGE_DB = 80.0


def draw_spectrograms(
    panels: Mapping[str, np.ndarray], sample_rate: int, path: Path, *, loudest_db: float = -30.0
) -> None:
    """Log-magnitude spectrograms of `[samples, channels]` signals, one above the other.

    loudest_db: the level of the brightest colour, for all of them, some 30 dB below the peaks.
    """
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("the picture needs matplotlib: pip install 'kzoo[plot]'") from None
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    transform = ShortTimeFFT(hann(_N_FFT, sym=False), hop=512, fs=sample_rate, scale_to="magnitude")
    figure = Figure(figsize=(9, 1.4 + 1.4 * len(panels)), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True)
    for axis, (title, signal) in zip(axes, panels.items(), strict=True):
        mono = np.pad(signal.mean(axis=1), (0, max(0, _N_FFT - len(signal))))
        level = 20 * np.log10(np.abs(transform.spectrogram(mono)) ** 0.5 + 1e-7)
        image = axis.imshow(
            level,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=loudest_db - _RANGE_DB,
            vmax=loudest_db,
            extent=(0, len(signal) / sample_rate, 0, sample_rate / 2000),
        )
        axis.set_ylim(0, min(14, sample_rate / 2000))
        axis.set_ylabel("kHz")
        axis.set_title(title, loc="left", fontsize=10)
    axes[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=axes, label="dB", fraction=0.03)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=80)
