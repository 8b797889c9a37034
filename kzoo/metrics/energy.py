"""Energy ratios of whole signals, with and without a free gain."""

from __future__ import annotations

import numpy as np


def snr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """|reference|² / |estimate - reference|² in dB over all samples and channels.

    Of a whole track this is what challenges call uSDR or nSDR. Infinity for an exact estimate,
    minus infinity for a silent reference. Raises ValueError for shapes that differ.
    """
    reference, estimate = _checked(reference, estimate)
    return _db(np.sum(reference**2), np.sum((estimate - reference) ** 2))


def si_sdr(reference: np.ndarray, estimate: np.ndarray, *, zero_mean: bool = False) -> float:
    """Scale-invariant SDR in dB over all samples and channels: one gain for all of them.

    |a s|² / |e - a s|² with a = <e, s> / |s|² (Le Roux et al., 2019,
    https://arxiv.org/abs/1811.02508). zero_mean removes each channel's mean first, as asteroid
    does. NaN where the reference is silent. Raises ValueError for shapes that differ.
    """
    reference, estimate = _checked(reference, estimate)
    if zero_mean:
        reference = reference - reference.mean(axis=0)
        estimate = estimate - estimate.mean(axis=0)
    energy = np.sum(reference**2)
    if energy == 0:
        return float("nan")
    target = np.sum(estimate * reference) / energy * reference
    return _db(np.sum(target**2), np.sum((estimate - target) ** 2))


def _checked(reference, estimate) -> tuple[np.ndarray, np.ndarray]:
    reference, estimate = np.asarray(reference, np.float64), np.asarray(estimate, np.float64)
    if reference.shape != estimate.shape:
        raise ValueError(
            "reference and estimate must have one shape [samples, channels]; "
            f"got {reference.shape} and {estimate.shape}"
        )
    return reference, estimate


def _db(numerator: float, denominator: float) -> float:
    if denominator == 0:
        return float("nan") if numerator == 0 else float("inf")
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(numerator / denominator))
