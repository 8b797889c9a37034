"""Amplitudes to codes and back: mu-law, linear, and linear between a sequence's own extremes.

NumPy arrays and numbers, without a backend. Codes are int32 from 0 to levels - 1.
"""

from __future__ import annotations

import numpy as np

ROUNDINGS = ("nearest", "down")
_MARGIN = 0.01  # of SampleRNN's levels, by which its highest amplitude stays below the last code


def mu_law_codes(waveform, levels: int = 256, *, rounding: str = "nearest") -> np.ndarray:
    """Codes of amplitudes after companding, sign(x) ln(1 + mu |x|) / ln(1 + mu), mu = levels - 1.

    waveform: any shape, full scale 1.0; what is beyond counts as full scale. rounding: "nearest"
    code, as WaveNet's implementations have it, or the next one "down", as Universal Music
    Translation's. Raises ValueError for fewer than two levels or another rounding.
    """
    _check(levels, rounding)
    x = np.asarray(waveform, np.float64)
    companded = np.sign(x) * np.log1p((levels - 1) * np.minimum(np.abs(x), 1.0)) / np.log(levels)
    codes = (companded + 1) / 2 * (levels - 1)
    return np.floor(codes + (0.5 if rounding == "nearest" else 0.0)).astype(np.int32)


def mu_law_amplitudes(codes, levels: int = 256) -> np.ndarray:
    """Amplitudes, float32, of codes of either rounding."""
    _check(levels)
    companded = 2 * np.asarray(codes, np.float64) / (levels - 1) - 1
    amplitudes = np.sign(companded) * (np.power(float(levels), np.abs(companded)) - 1)
    return (amplitudes / (levels - 1)).astype(np.float32)


def linear_codes(waveform, levels: int = 256) -> np.ndarray:
    """Codes of amplitudes from -1 to 1 in equal steps, `levels // 2` for silence."""
    _check(levels)
    x = np.clip(np.asarray(waveform, np.float64), -1.0, 1.0)
    return np.clip(np.floor((x + 1) / 2 * levels), 0, levels - 1).astype(np.int32)


def sequence_codes(waveform, levels: int = 256) -> np.ndarray:
    """Linear codes between the least and the greatest amplitude of each sequence, as SampleRNN's.

    waveform: `[..., samples]`. A sequence of one value alone is silent: `levels // 2`.
    """
    _check(levels)
    x = np.asarray(waveform, np.float64)
    above = x - x.min(axis=-1, keepdims=True)
    range_ = above.max(axis=-1, keepdims=True)
    shares = np.where(range_ > 0, above / np.where(range_ > 0, range_, 1.0), 0.5)
    codes = shares * (levels - _MARGIN) + _MARGIN / 2
    return np.where(range_ > 0, codes, levels // 2).astype(np.int32)


def linear_amplitudes(codes, levels: int = 256) -> np.ndarray:
    """Amplitudes, float32, of linear codes, as SampleRNN hears them: `levels // 2` is 0."""
    _check(levels)
    return (np.asarray(codes, np.float64) / (levels / 2) - 1).astype(np.float32)


KINDS = {
    "linear": (linear_codes, linear_amplitudes),
    "mu_law": (mu_law_codes, mu_law_amplitudes),
}


def codes_of(waveform, levels: int, kind: str) -> np.ndarray:
    """Codes of amplitudes by one of `KINDS`."""
    return KINDS[kind][0](waveform, levels)


def amplitudes_of(codes, levels: int, kind: str) -> np.ndarray:
    """Amplitudes of codes of one of `KINDS`."""
    return KINDS[kind][1](codes, levels)


def _check(levels: int, rounding: str = "nearest") -> None:
    if levels < 2:
        raise ValueError(f"levels must be 2 or more; got {levels}")
    if rounding not in ROUNDINGS:
        raise ValueError(f"rounding must be one of {', '.join(ROUNDINGS)}; got {rounding!r}")
