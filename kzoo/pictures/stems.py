"""Spectrograms of signals that lie in memory, one above the other."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np


def draw_spectrograms(panels: Mapping[str, np.ndarray], sample_rate: int, path: Path) -> None:
    """Log-magnitude spectrograms of `[samples, channels]` signals, one above the other."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("the picture needs matplotlib: pip install 'kzoo[plot]'") from None
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    transform = ShortTimeFFT(hann(2048, sym=False), hop=512, fs=sample_rate, scale_to="magnitude")
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True)
    for axis, (title, signal) in zip(axes, panels.items(), strict=True):
        level = 20 * np.log10(np.abs(transform.spectrogram(signal.mean(axis=1))) ** 0.5 + 1e-7)
        image = axis.imshow(
            level,
            origin="lower",
            aspect="auto",
            cmap="magma",
            vmin=-110,
            vmax=-30,
            extent=(0, len(signal) / sample_rate, 0, sample_rate / 2000),
        )
        axis.set_ylim(0, 14)
        axis.set_ylabel("kHz")
        axis.set_title(title, loc="left", fontsize=10)
    axes[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=axes, label="dB", fraction=0.03)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=80)
