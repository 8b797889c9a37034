"""Energy ratios of whole signals: with a free gain, without, and split by what is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np

_USDR_EPSILON = 1e-7  # that of the Music Demixing Challenge, added to both energies


class ScaleInvariant(NamedTuple):
    """Ratios in dB, each float64 `[sources]`; as powers, 1 / SDR = 1 / SIR + 1 / SAR."""

    sdr: np.ndarray
    sir: np.ndarray
    sar: np.ndarray


def snr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """|reference|² / |estimate - reference|² in dB over all samples and channels.

    Infinity for an exact estimate, minus infinity for a silent reference. `usdr` is the same with
    an epsilon. Raises ValueError for shapes that differ.
    """
    reference, estimate = _checked(reference, estimate)
    return _db(np.sum(reference**2), np.sum((estimate - reference) ** 2))


def usdr(reference: np.ndarray, estimate: np.ndarray) -> float:
    """The SDR of the Music Demixing Challenges, also called uSDR, nSDR and new SDR, in dB.

    (|s|² + 1e-7) / (|s - e|² + 1e-7) over all samples and channels of a track, full scale 1.0; a
    challenge takes its mean over sources and tracks (Mitsufuji et al., 2022,
    https://arxiv.org/abs/2108.13559). It is `snr` but for the epsilon, which makes it finite: of
    silence for a silent reference it is 0, and of anything louder it is far below. Raises
    ValueError for shapes that differ.
    """
    reference, estimate = _checked(reference, estimate)
    error = np.sum((estimate - reference) ** 2)
    return _db(np.sum(reference**2) + _USDR_EPSILON, error + _USDR_EPSILON)


def si_sdr(reference: np.ndarray, estimate: np.ndarray, *, zero_mean: bool = False) -> float:
    """Scale-invariant SDR in dB over all samples and channels: one gain for all of them.

    |a s|² / |e - a s|² with a = <e, s> / |s|² (Le Roux et al., 2019,
    https://arxiv.org/abs/1811.02508). zero_mean removes each channel's mean first, as asteroid
    does. NaN where the reference is silent. Raises ValueError for shapes that differ.
    """
    reference, estimate = _checked(reference, estimate, zero_mean)
    energy = np.sum(reference**2)
    if energy == 0:
        return math.nan
    target = np.sum(estimate * reference) / energy * reference
    return _db(np.sum(target**2), np.sum((estimate - target) ** 2))


def sd_sdr(reference: np.ndarray, estimate: np.ndarray, *, zero_mean: bool = False) -> float:
    """Scale-dependent SDR in dB: |a s|² / |e - s|², with the gain a of `si_sdr`.

    Unlike `si_sdr`, a wrong level costs; unlike `snr`, a lowered one does not gain by it (Le Roux
    et al., 2019). Arguments, NaN and errors as in `si_sdr`.
    """
    reference, estimate = _checked(reference, estimate, zero_mean)
    energy = np.sum(reference**2)
    if energy == 0:
        return math.nan
    gain = np.sum(estimate * reference) / energy
    return _db(gain**2 * energy, np.sum((estimate - reference) ** 2))


def scale_invariant(
    references: np.ndarray, estimates: np.ndarray, *, zero_mean: bool = False
) -> ScaleInvariant:
    """SI-SDR, SI-SIR and SI-SAR of `[sources, samples]` or `[sources, samples, channels]`.

    With T the reference under its best gain and Q the best sum of all references, a gain each,

        SI-SDR = |T|² / |E - T|²    everything that is wrong; `si_sdr`
        SI-SIR = |T|² / |Q - T|²    other sources
        SI-SAR = |T|² / |E - Q|²    what no gains of the sources explain

    (Le Roux et al., 2019). Channels are one signal under one gain. References that are silent or
    copies of others are no hindrance; a silent reference's own ratios are NaN. With one source,
    SI-SIR is infinite. zero_mean: as in `si_sdr`. Raises ValueError for shapes that differ.
    """
    references, estimates = _checked(references, estimates, axis=1)
    if references.ndim not in (2, 3):
        raise ValueError(
            "references must be [sources, samples] or [sources, samples, channels]; "
            f"got shape {references.shape}"
        )
    if zero_mean:
        references = references - references.mean(axis=1, keepdims=True)
        estimates = estimates - estimates.mean(axis=1, keepdims=True)
    references = references.reshape(len(references), -1)
    estimates = estimates.reshape(len(estimates), -1)
    gains = np.linalg.lstsq(references @ references.T, references @ estimates.T)[0]
    ratios = []
    for j, (reference, estimate) in enumerate(zip(references, estimates, strict=True)):
        energy = np.sum(reference**2)
        if energy == 0:
            ratios.append((math.nan,) * 3)
            continue
        target = np.dot(estimate, reference) / energy * reference
        explained = gains[:, j] @ references
        errors = (estimate - target, explained - target, estimate - explained)
        if len(references) == 1:
            errors = (errors[0], np.zeros(1), errors[0])
        ratios.append([_db(np.sum(target**2), np.sum(error**2)) for error in errors])
    return ScaleInvariant(*np.transpose(ratios))


def improvement(
    score: Callable[[np.ndarray, np.ndarray], float],
    reference: np.ndarray,
    estimate: np.ndarray,
    mixture: np.ndarray,
) -> float:
    """By how much the estimate's `score` exceeds that of the untouched mixture, such as SI-SDRi.

    score: called with (reference, estimate), such as `si_sdr`. NaN where either score is, and where
    both are infinite alike.
    """
    after, before = score(reference, estimate), score(reference, mixture)
    return math.nan if math.isinf(after) and after == before else after - before


def _checked(reference, estimate, zero_mean=False, axis=0) -> tuple[np.ndarray, np.ndarray]:
    reference, estimate = np.asarray(reference, np.float64), np.asarray(estimate, np.float64)
    if reference.shape != estimate.shape:
        raise ValueError(
            "reference and estimate must have one shape "
            f"{'[samples, channels]' if axis == 0 else '[sources, samples, channels]'}; "
            f"got {reference.shape} and {estimate.shape}"
        )
    if zero_mean:
        reference = reference - reference.mean(axis=0)
        estimate = estimate - estimate.mean(axis=0)
    return reference, estimate


def _db(numerator: float, denominator: float) -> float:
    if denominator == 0:
        return math.nan if numerator == 0 else math.inf
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(numerator / denominator))
