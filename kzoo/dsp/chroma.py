"""The twelve pitch classes of a spectrum."""

from __future__ import annotations

import functools

import numpy as np

_CENTRE_OCTAVE, _OCTAVES = 5.0, 2.0  # where the weight of octaves is largest, and how wide it is
_LOWEST_HZ = 27.5  # A of octave 0


@functools.cache
def chroma_filters(sample_rate: int, n_fft: int) -> np.ndarray:
    """Weights `[bins, 12]`, float64, from C upwards, as librosa.filters.chroma gives them.

    Dan Ellis's: around each pitch class a bell over the logarithm of frequency, as wide as the
    distance of two bins and a semitone at least; all of a bin have the norm 1 before octaves far
    from the fifth count less.
    """
    hertz = np.arange(1, n_fft) * (sample_rate / n_fft)
    semitones = 12 * np.log2(hertz / _LOWEST_HZ)  # above A
    semitones = np.concatenate([semitones[:1] - 18, semitones])  # 0 Hz lies lower than bin 1
    widths = np.append(np.maximum(np.diff(semitones), 1), 1)
    distances = (semitones[:, None] - np.arange(12) + 6) % 12 - 6
    bells = np.exp(-2 * (distances / widths[:, None]) ** 2)
    bells /= np.linalg.norm(bells, axis=1, keepdims=True)
    bells *= np.exp(-((semitones / 12 - _CENTRE_OCTAVE) ** 2) / (2 * _OCTAVES**2))[:, None]
    return np.roll(bells, -3, axis=1)[: n_fft // 2 + 1]
