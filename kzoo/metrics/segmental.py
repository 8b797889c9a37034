"""Distances of short frames of speech: segmental SNR, log-likelihood ratio, spectral slope.

Hu and Loizou, 2008, Evaluation of objective quality measures for speech enhancement
Klatt, 1982, Prediction of perceived phonetic distance from critical-band spectra (WSS)

All three are those of the program `composite` that comes with Loizou's book Speech Enhancement,
whose figures SEGAN and its successors publish: Hann frames of 30 ms every 7.5 ms, full scale 1.0,
the machine epsilon added to both signals; LLR and WSS are means of the lowest 95 % of the frames.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import scipy.fft
import scipy.linalg

from kzoo.metrics.speech import mono_pair

SNR_RANGE_DB = (-10.0, 35.0)
_KEPT = 0.95  # of the frames, the best ones
_FRAMES = 4096  # at a time
_EPSILON = np.finfo(np.float64).eps
# Critical bands in Hz: linear up to 540, then wider by 11 % each.
_CENTRES_HZ = (
    50, 120, 190, 260, 330, 400, 470, 540, 617.372, 703.378, 798.717, 904.128, 1020.38, 1148.30,
    1288.72, 1442.54, 1610.70, 1794.16, 1993.93, 2211.08, 2446.71, 2701.97, 2978.04, 3276.17,
    3597.63,
)  # fmt: skip
_BANDWIDTHS_HZ = (
    70, 70, 70, 70, 70, 70, 70, 77.3724, 86.0056, 95.3398, 105.411, 116.256, 127.914, 140.423,
    153.823, 168.154, 183.457, 199.776, 217.153, 235.631, 255.255, 276.072, 298.126, 321.465,
    346.136,
)  # fmt: skip
_FLOOR = 1e-10  # of a band's energy
_FROM_LOUDEST_DB, _FROM_PEAK_DB = 20.0, 1.0  # Klatt's constants of the weights


def ssnr(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Mean SNR of the frames in dB, each held between -10 and 35.

    A frame in which the reference is silent counts -10, whatever the estimate; so an exact
    estimate has 35 only where there is no digital silence. NaN for less than one frame and a hop
    (37.5 ms). Raises ValueError for lengths that differ.
    """

    def ratios(true, guess):
        signal, noise = np.sum(true**2, axis=1), np.sum((true - guess) ** 2, axis=1)
        return 10 * np.log10(signal / (noise + _EPSILON) + _EPSILON)

    found = _of_frames(ratios, reference, estimate, sample_rate)
    return float(np.clip(found, *SNR_RANGE_DB).mean()) if len(found) else math.nan


def llr(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Log-likelihood ratio of linear predictors, 0 at best: how badly that of the estimate fits.

    Order 16, or 10 below 10 kHz. Frames in which the reference is digital silence are left out,
    and a silent frame of an estimate counts as white: the original's figures there are rounding
    noise. NaN where no frame is left. Raises ValueError for lengths that differ.
    """
    order = 10 if sample_rate < 10000 else 16
    lags = scipy.linalg.toeplitz(np.arange(order + 1))
    silent = 10 * _EPSILON  # the epsilon that is added to the signals, and no more

    def ratios(true, guess):
        heard = np.abs(true).max(axis=1) > silent
        true, guess = true[heard], guess[heard]
        correlation = _autocorrelation(true, order)
        own = _predictor(correlation)
        found = _predictor(_autocorrelation(guess, order))
        found[np.abs(guess).max(axis=1) <= silent, 1:] = 0
        matrices = correlation[:, lags]  # [frames, order + 1, order + 1]
        errors = [np.einsum("fi,fij,fj->f", a, matrices, a) for a in (found, own)]
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.log(errors[0] / errors[1])

    found = _of_frames(ratios, reference, estimate, sample_rate)
    return _trimmed_mean(found[np.isfinite(found)])


def wss(reference: np.ndarray, estimate: np.ndarray, sample_rate: int) -> float:
    """Weighted distance of the slopes of 25 critical-band spectra (50 Hz to 3.6 kHz), 0 at best.

    Slopes near the loudest band and near spectral peaks weigh most. Band energies below 1e-10
    count as that, so silence is defined. NaN for less than 37.5 ms. Raises ValueError for lengths
    that differ, and for rates below 8000 Hz, which lack the upper bands.
    """
    if sample_rate < 8000:
        raise ValueError(f"WSS has bands up to 3.8 kHz, so it needs 8000 Hz; got {sample_rate} Hz")
    n_fft = 2 ** math.ceil(math.log2(2 * _frame_samples(sample_rate)))
    bands = _critical_bands(n_fft, sample_rate)

    def distances(*frames):
        slopes, weights = [], []
        for signal in frames:
            power = np.abs(scipy.fft.rfft(signal, n_fft)[:, : n_fft // 2]) ** 2
            levels = 10 * np.log10(np.maximum(power @ bands.T, _FLOOR))  # [frames, bands]
            slope = np.diff(levels)
            below_loudest = levels.max(axis=1, keepdims=True) - levels[:, :-1]
            below_peak = _nearest_peak(levels, slope) - levels[:, :-1]
            near_loudest = _FROM_LOUDEST_DB / (_FROM_LOUDEST_DB + below_loudest)
            near_peak = _FROM_PEAK_DB / (_FROM_PEAK_DB + below_peak)
            weights.append(near_loudest * near_peak)
            slopes.append(slope)
        weight = (weights[0] + weights[1]) / 2
        return np.sum(weight * (slopes[0] - slopes[1]) ** 2, axis=1) / weight.sum(axis=1)

    return _trimmed_mean(_of_frames(distances, reference, estimate, sample_rate))


def _frame_samples(sample_rate: int) -> int:
    return math.floor(30 * sample_rate / 1000 + 0.5)


def _of_frames(
    measure: Callable[[np.ndarray, np.ndarray], np.ndarray], reference, estimate, sample_rate: int
) -> np.ndarray:
    """What `measure` makes of windowed frames `[frames, samples]` of both, in constant memory.

    As in the original, the last frame that would fit is left out.
    """
    signals = [signal + _EPSILON for signal in mono_pair(reference, estimate)]
    length = _frame_samples(sample_rate)
    hop = length // 4
    count = max(0, (len(signals[0]) - length) // hop)
    window = np.hanning(length + 2)[1:-1]  # without the zeros at its ends
    values = [np.zeros(0)]
    for first in range(0, count, _FRAMES):
        starts = np.arange(first, min(first + _FRAMES, count)) * hop
        at = starts[:, None] + np.arange(length)
        values.append(measure(*(signal[at] * window for signal in signals)))
    return np.concatenate(values)


def _autocorrelation(frames: np.ndarray, order: int) -> np.ndarray:
    """Lags 0 to `order` of each frame, `[frames, order + 1]`."""
    samples = frames.shape[1]
    return np.stack(
        [np.sum(frames[:, : samples - k] * frames[:, k:], axis=1) for k in range(order + 1)], axis=1
    )


def _predictor(correlation: np.ndarray) -> np.ndarray:
    """Levinson and Durbin: error filters `[frames, order + 1]`, their first tap 1."""
    frames, taps = correlation.shape
    filters = np.zeros((frames, taps))
    filters[:, 0] = 1
    error = correlation[:, 0].copy()
    with np.errstate(divide="ignore", invalid="ignore"):
        for i in range(1, taps):
            reflection = -np.sum(filters[:, :i] * correlation[:, i:0:-1], axis=1) / error
            filters[:, 1 : i + 1] += reflection[:, None] * filters[:, i - 1 :: -1]
            error *= 1 - reflection**2
    return filters


def _critical_bands(n_fft: int, sample_rate: int) -> np.ndarray:
    """Gaussian filters of equal area on the power spectrum, `[25, n_fft / 2]`, cut at -30 dB."""
    bins = np.arange(n_fft // 2)
    bin_hz = sample_rate / n_fft
    centres = np.floor(np.array(_CENTRES_HZ) / bin_hz)[:, None]
    widths = np.array(_BANDWIDTHS_HZ)[:, None]
    filters = np.exp(-11 * ((bins - centres) / (widths / bin_hz)) ** 2) * widths[0] / widths
    return filters * (filters > math.exp(-30 / (2 * 2.303)))


def _nearest_peak(levels: np.ndarray, slopes: np.ndarray) -> np.ndarray:
    """The level at the peak towards which each slope rises, `[frames, bands - 1]`.

    To the right, the original stops a band short of the peak; published figures have it so.
    """
    bands = slopes.shape[1]
    rising = slopes > 0
    index = np.arange(bands)
    # The next band whose slope does not rise, and the last before it whose slope does.
    stop = np.where(rising, bands, index)
    stop = np.minimum.accumulate(stop[:, ::-1], axis=1)[:, ::-1]
    start = np.maximum.accumulate(np.where(rising, index, -1), axis=1)
    peak = np.where(rising, stop - 1, start + 1)
    return np.take_along_axis(levels, peak, axis=1)


def _trimmed_mean(distances: np.ndarray) -> float:
    kept = math.floor(_KEPT * len(distances) + 0.5)
    return float(np.sort(distances)[:kept].mean()) if kept else math.nan
