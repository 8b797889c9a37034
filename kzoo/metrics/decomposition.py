"""An estimate taken apart into target, interference, noise and artefacts, as signals.

Vincent, Gribonval and Févotte, 2006, Performance measurement in blind audio source separation

A linear time-invariant picture: what FIR filters of the true source explain of the estimate is its
target, what filters of the other sources explain beyond that is interference, what filters of the
sensors' noise explain beyond both is noise, and the rest, which nothing explains, is artefacts.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import scipy.fft

from kzoo.metrics import projection, toeplitz

_BLOCK = 1 << 16  # samples that are filtered at a time


class Ratios(NamedTuple):
    """Energy ratios of a decomposition in dB; infinite where there is no error of the kind."""

    sdr: float
    sir: float
    snr: float
    sar: float


class Decomposition(NamedTuple):
    """Parts of an estimate, float64 `[samples, channels]` each, and their sum is the estimate.

    The spatial distortion of BSS Eval's images, which ISR measures, is the target less the
    reference.
    """

    target: np.ndarray
    interference: np.ndarray
    noise: np.ndarray
    artefacts: np.ndarray
    ratios: Ratios


def decompose(
    references: np.ndarray,
    estimate: np.ndarray,
    *,
    source: int = 0,
    noise: np.ndarray | None = None,
    taps: int = 512,
) -> Decomposition:
    """Take the estimate of `references[source]` apart by least squares.

    references: `[sources, samples, channels]`; estimate: `[samples, channels]`. Without channels,
    `[sources, samples]` and `[samples]`, they are mono, and so are the parts. noise: what the
    microphones added, shaped as the estimate, or several, as the references; without it nothing is
    noise. taps: of the filters that are allowed; 512 as in BSS Eval, and 1 for gains alone.

    With S the target, I the interference, N the noise and A the artefacts, and the tail that the
    filters add to their end,

        SDR = |S|² / |I + N + A|²
        SIR = |S|² / |I|²
        SNR = |S + I|² / |N|²
        SAR = |S + I + N|² / |A|²

    so that SIR and SAR without noise are BSS Eval's of one frame, and SDR is that of
    `bss_eval_sources`, which forgives filtering. A silent estimate has no ratios (NaN).
    Raises ValueError for shapes that do not fit, a reference that is silent, and NaN.
    """
    sources, guess, noises = _checked(references, estimate, noise, source)
    if taps < 1:
        raise ValueError(f"taps must be 1 or more; got {taps}")
    others = np.delete(sources, source, axis=0)
    groups = [_channels(part) for part in (sources[[source]], others, noises)]
    basis, wanted = np.concatenate(groups), guess.T  # [rows, samples], [channels, samples]
    ends = np.cumsum([len(group) for group in groups])
    filters = _filters(basis, wanted, taps, ends)
    explained = {end: _filtered(basis[:end], taken) for end, taken in filters.items()}
    padded = np.pad(wanted, ((0, 0), (0, taps - 1)))
    parts = np.diff([np.zeros_like(padded), *(explained[end] for end in ends), padded], axis=0)
    signals = [part[:, : guess.shape[0]].T for part in parts]
    if np.ndim(estimate) == 1:
        signals = [signal[:, 0] for signal in signals]
    return Decomposition(*signals, _ratios(*parts))


def _checked(references, estimate, noise, source: int) -> tuple[np.ndarray, ...]:
    """References, estimate and noises, with channels."""
    sources, guess = np.asarray(references, np.float64), np.asarray(estimate, np.float64)
    noises = np.zeros((0, *guess.shape)) if noise is None else np.asarray(noise, np.float64)
    if noises.shape == guess.shape:
        noises = noises[None]
    for name, signals in (("references", sources), ("noise", noises)):
        if signals.shape[1:] != guess.shape or guess.ndim not in (1, 2) or not guess.size:
            raise ValueError(
                f"{name} must be [sources, samples, channels] of an estimate's "
                f"[samples, channels]; got {signals.shape} and {guess.shape}"
            )
        if not (np.isfinite(signals).all() and np.isfinite(guess).all()):
            raise ValueError(f"{name} and estimate must be finite; one holds NaN or infinity")
    if not 0 <= source < len(sources):
        raise ValueError(f"source must be one of {len(sources)} references; got {source}")
    if not sources[source].any():
        raise ValueError(f"references[{source}] is silent, so nothing of the estimate is target")
    channels = (..., None) if guess.ndim == 1 else ...
    return sources[channels], guess[channels], noises[channels]


def _channels(signals: np.ndarray) -> np.ndarray:
    """Those that sound, of `[sources, samples, channels]`, as `[rows, samples]`."""
    rows = signals.transpose(0, 2, 1).reshape(-1, signals.shape[1])
    return rows[rows.any(axis=1)]


def _filters(
    basis: np.ndarray, wanted: np.ndarray, taps: int, ends: np.ndarray
) -> dict[int, np.ndarray]:
    """{end: filters `[taps, end, channels]` of the first rows that explain `wanted` best}."""
    rows = len(basis)
    lags = projection.correlations(basis[..., None], wanted[..., None], taps)
    # The block to the right of the diagonal has the later delay in its columns: transposed.
    gram, cross = lags[..., :rows].swapaxes(1, 2), lags[..., rows:]
    return {
        end: toeplitz.solve(gram[:, :end, :end], cross[:, :end]).filters for end in np.unique(ends)
    }


def _filtered(basis: np.ndarray, filters: np.ndarray) -> np.ndarray:
    """The sum of all rows through their filters, `[channels, samples + taps - 1]`."""
    taps = len(filters)
    samples = basis.shape[1] + taps - 1
    hop = min(_BLOCK, samples)
    n_fft = scipy.fft.next_fast_len(hop + taps - 1, real=True)
    responses = scipy.fft.rfft(filters, n_fft, axis=0)  # [bins, rows, channels]
    found = np.zeros((filters.shape[2], samples + taps - 1 + hop))
    for start in range(0, basis.shape[1], hop):
        spectra = scipy.fft.rfft(basis[:, start : start + hop], n_fft)
        block = scipy.fft.irfft(np.einsum("rb,brc->cb", spectra, responses), n_fft)
        found[:, start : start + hop + taps - 1] += block[:, : hop + taps - 1]
    return found[:, :samples]


def _ratios(target, interference, noise, artefacts) -> Ratios:
    return Ratios(
        _db(target, interference + noise + artefacts),
        _db(target, interference),
        _db(target + interference, noise),
        _db(target + interference + noise, artefacts),
    )


def _db(signal: np.ndarray, error: np.ndarray) -> float:
    energies = np.sum(signal**2), np.sum(error**2)
    if energies[1] == 0:
        return math.nan if energies[0] == 0 else math.inf
    with np.errstate(divide="ignore"):
        return float(10 * np.log10(energies[0] / energies[1]))
