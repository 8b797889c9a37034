"""How much of a sound the ear hears at each frequency, without a backend."""

from __future__ import annotations

import functools

import numpy as np


@functools.cache
def a_weights(sample_rate: int, n_fft: int) -> np.ndarray:
    """Weights of the bins' power, float64 `[bins]`: curve A, 0 dB at 1 kHz, at least -80 dB."""
    square = np.square(np.arange(n_fft // 2 + 1) * (sample_rate / n_fft))
    low, high = 20.598997**2, 12194.217**2
    gain = high * square**2 / ((square + low) * (square + high))
    gain /= np.sqrt((square + 107.65265**2) * (square + 737.86223**2))
    level_db = 2.0 + 20 * np.log10(np.maximum(gain, 1e-10))
    return 10 ** (np.maximum(level_db, -80.0) / 10)
