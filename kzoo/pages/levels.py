"""How loud a sound is, so that sounds can be compared at one loudness."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SILENT_DB = -70.0  # below it a sound has no loudness that could be matched
_MOST_DB = 12.0


def loudness_db(signal: np.ndarray, sample_rate: int) -> float:
    """The loudness of `[samples, channels]` in LKFS by ITU-R BS.1770, all of it, without its gates.

    A sine of 997 Hz and full scale in one channel has -3.01 dB; silence has -inf.
    """
    from scipy.signal import lfilter

    weighted = np.asarray(signal, np.float64)
    weighted = weighted[:, None] if weighted.ndim == 1 else weighted
    for b, a in (_shelf(sample_rate), _high_pass(sample_rate)):
        weighted = lfilter(b, a, weighted, axis=0)
    power = np.square(weighted).mean(axis=0).sum() if weighted.size else 0.0
    return float(-0.691 + 10 * np.log10(power)) if power > 0 else -np.inf


def matched_db(levels_db: Sequence[float]) -> list[float]:
    """The gain in dB that each sound is given so that all are as loud as the quietest of them.

    No gain is above 0, so nothing clips, or below -12: a sound that much quieter than another is
    matched half way at most. Silent ones have the gain 0 and are matched to by none.
    """
    audible = [level for level in levels_db if level > SILENT_DB]
    quietest = min(audible, default=0.0)
    return [
        float(np.clip(quietest - level, -_MOST_DB, 0.0)) if level > SILENT_DB else 0.0
        for level in levels_db
    ]


# The two filters of BS.1770's K weighting at any sample rate: their analogue prototypes through the
# bilinear transform, which at 48 kHz gives the coefficients that the recommendation prints.


def _shelf(sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    gain, quality = 10 ** (3.999843853973347 / 20), 0.7071752369554196
    k = np.tan(np.pi * 1681.974450955533 / sample_rate)
    middle = gain**0.4996667741545416
    b = [
        gain + middle * k / quality + k * k,
        2 * (k * k - gain),
        gain - middle * k / quality + k * k,
    ]
    return _normalised(b, k, quality)


def _high_pass(sample_rate: int) -> tuple[np.ndarray, np.ndarray]:
    k, quality = np.tan(np.pi * 38.13547087602444 / sample_rate), 0.5003270373238773
    _, a = _normalised([1.0, -2.0, 1.0], k, quality)
    return np.array([1.0, -2.0, 1.0]), a


def _normalised(b: Sequence[float], k: float, quality: float) -> tuple[np.ndarray, np.ndarray]:
    a = np.array([1 + k / quality + k * k, 2 * (k * k - 1), 1 - k / quality + k * k])
    return np.array(b) / a[0], a / a[0]
