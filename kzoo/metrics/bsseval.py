"""BSS Eval, version 4: distortion, image, interference and artefacts, frame by frame.

Vincent, Gribonval and Févotte, 2006, Performance measurement in blind audio source separation
Stöter, Liutkus and Ito, 2018, The 2018 signal separation evaluation campaign (museval)

An estimate is taken apart by least squares: P is what FIR filters of its own reference explain of
it, Q what filters of all references explain. With T the reference and E the estimate,

    SDR = |T|² / |E - T|²       everything that is wrong
    ISR = |T|² / |P - T|²       filtering and wrong panning of the true source
    SIR = |P|² / |Q - P|²       other sources
    SAR = |Q|² / |E - Q|²       what no source explains

Filters are estimated on the whole signal and applied to each frame, as in museval; everything is
computed on spectra, whose energies are those of the signals by Parseval's theorem.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.linalg

_PLAIN_CHANNELS = 8  # up to here a signal may have fewer samples than channels


class BSSEval(NamedTuple):
    """The four measures in dB, each float64 `[sources, frames]`."""

    sdr: np.ndarray
    isr: np.ndarray
    sir: np.ndarray
    sar: np.ndarray


def bss_eval(
    references: np.ndarray,
    estimates: np.ndarray,
    *,
    window: float | None = 44100,
    hop: float | None = 44100,
    filters_len: int = 512,
    framewise_filters: bool = False,
    sources_version: bool = False,
) -> BSSEval:
    """Score `estimates` against `references`, both `[sources, samples, channels]`.

    `[sources, samples]` is taken as mono. window, hop: frames in samples (44100 is museval's
    second at its rate; None or infinity for one frame of everything); only whole windows count.
    filters_len: taps of the distortion filters. framewise_filters: new filters for every frame,
    which is version 3. sources_version: the measure of `bss_eval_sources`, in which the target is
    the filtered reference and ISR is NaN; not for publication.

    A frame in which any reference or estimate is silent is NaN for every source, as in museval;
    take `track_medians`. An exact estimate has an SDR of infinity.
    Raises ValueError for shapes that differ, for a source that is silent throughout, and for NaN.
    """
    references, estimates = _checked(references, estimates)
    samples = references.shape[1]
    frames = _frames(samples, window, hop)
    scores = np.full((4, len(references), len(frames)), np.nan)
    if not framewise_filters:
        filters = _distortion_filters(references, estimates, filters_len)
    for t, frame in enumerate(frames):
        reference, estimate = references[:, frame], estimates[:, frame]
        if _silent(reference).any() or _silent(estimate).any():
            continue
        if framewise_filters:
            filters = _distortion_filters(reference, estimate, filters_len)
        scores[:, :, t] = _frame_scores(reference, estimate, *filters, sources_version)
    return BSSEval(*scores)


def track_medians(scores: BSSEval) -> dict[str, np.ndarray]:
    """A track's figures: the median over its frames, NaN frames left out, `[sources]` each.

    The figure of a corpus is the median of these over its tracks (museval, SiSEC 2018). NaN where
    no frame has a value.
    """
    medians = {}
    for name, values in zip(scores._fields, scores, strict=True):
        medians[name] = np.array(
            [np.median(row[~np.isnan(row)]) if (~np.isnan(row)).any() else np.nan for row in values]
        )
    return medians


def _checked(references, estimates) -> tuple[np.ndarray, np.ndarray]:
    signals = []
    for name, given in (("references", references), ("estimates", estimates)):
        signal = np.asarray(given, np.float64)
        if signal.ndim == 2:
            signal = signal[:, :, None]
        if signal.ndim != 3 or signal.size == 0:
            raise ValueError(
                f"{name} must be [sources, samples, channels]; got shape {np.shape(given)}"
            )
        samples, channels = signal.shape[1:]
        if channels > max(samples, _PLAIN_CHANNELS):  # the filters are quadratic in the channels
            raise ValueError(
                f"{name} must be [sources, samples, channels]; got shape {np.shape(given)}, which "
                f"would be {channels} channels: transpose it, {name}.transpose(0, 2, 1)"
            )
        for j in np.flatnonzero(~np.isfinite(signal).all(axis=(1, 2))):
            raise ValueError(f"{name}[{j}] holds NaN or infinite samples")
        for j in np.flatnonzero(_silent(signal)):
            raise ValueError(
                f"{name}[{j}] is silent throughout, so its scores are undefined; leave it out"
            )
        signals.append(signal)
    if signals[0].shape != signals[1].shape:
        raise ValueError(
            "references and estimates must have one shape; "
            f"got {np.shape(references)} and {np.shape(estimates)}"
        )
    return signals[0], signals[1]


def _silent(sources: np.ndarray) -> np.ndarray:
    # museval's rule: the sum of the channels is zero at every sample.
    return np.all(sources.sum(axis=2) == 0, axis=1)


def _frames(samples: int, window: float | None, hop: float | None) -> list[slice]:
    window = np.inf if window is None else window
    hop = window if hop is None else hop
    if not (window > 0 and hop > 0):
        raise ValueError(f"window and hop must be positive; got window={window}, hop={hop}")
    if window >= samples:
        return [slice(0, samples)]
    count = int((samples - window + hop) // hop)
    return [slice(int(t * hop), int(min(t * hop + window, samples))) for t in range(count)]


def _distortion_filters(references, estimates, taps: int) -> tuple[np.ndarray, np.ndarray]:
    """Least-squares FIR filters from references to estimates.

    Returns those of each estimate's own reference `[sources, channels in, taps, channels out]` and
    those of all references `[sources, sources, channels in, taps, channels out]`, estimate first.
    """
    n_sources, samples, channels = references.shape
    rows = n_sources * channels
    # Music whose top octave is empty makes the system singular to the last bit, and its rounding
    # decides the second decimal of SIR and SAR. So transforms, their length and the order of
    # products are the reference implementation's; half-spectrum transforms would not do.
    n_fft = int(2 ** np.ceil(np.log2(samples + taps - 1.0)))
    spectra = scipy.fft.fft(_rows(references), n_fft)
    gram = np.empty((rows, taps, rows, taps))
    for i in range(rows):
        for j in range(i, rows):
            forward, backward = _correlation(spectra[j], spectra[i], taps)
            block = scipy.linalg.toeplitz(backward, r=forward)
            gram[j, :, i] = block
            gram[i, :, j] = block.T
    cross = np.empty((rows, taps, rows))  # the last axis is the estimates' channels
    for k, estimate in enumerate(_rows(estimates)):
        estimated = scipy.fft.fft(estimate, n_fft)
        for i in range(rows):
            cross[i, :, k] = _correlation(spectra[i], estimated, taps)[1]
    every = _solve(gram.reshape(rows * taps, -1), cross.reshape(rows * taps, rows))
    every = every.reshape(n_sources, channels, taps, n_sources, channels)
    own = np.empty((n_sources, channels, taps, channels))
    for j in range(n_sources):
        at = slice(j * channels, (j + 1) * channels)
        block = gram[at, :, at].reshape(channels * taps, -1)
        own[j] = _solve(block, cross[at, :, at].reshape(-1, channels)).reshape(own[j].shape)
    return own, every.transpose(3, 0, 1, 2, 4)


def _rows(signals: np.ndarray) -> np.ndarray:
    """`[sources, samples, channels]` to `[sources * channels, samples]`."""
    return signals.transpose(0, 2, 1).reshape(-1, signals.shape[1])


def _correlation(first: np.ndarray, second: np.ndarray, taps: int) -> tuple[np.ndarray, np.ndarray]:
    """Of two spectra: sum_n first[n + lag] second[n], lags 0 .. taps - 1 and 0 .. 1 - taps."""
    found = scipy.fft.ifft(first * np.conj(second)).real
    return found[:taps], np.concatenate([found[:1], found[-1:-taps:-1]])


def _solve(gram: np.ndarray, cross: np.ndarray) -> np.ndarray:
    regular = gram + np.finfo(float).eps * np.eye(len(gram))
    try:
        return np.linalg.solve(regular, cross)
    except np.linalg.LinAlgError:
        return np.linalg.lstsq(gram, cross)[0]


def _frame_scores(references, estimates, own, every, sources_version: bool) -> np.ndarray:
    """The four measures of one frame, `[4, sources]`."""
    samples, taps = references.shape[1], own.shape[2]
    n_fft = scipy.fft.next_fast_len(samples + taps - 1, real=True)
    true = _spectra(references, n_fft)  # [sources, channels, bins]
    estimated = _spectra(estimates, n_fft)
    scores = np.empty((4, len(references)))
    for j, (target, estimate) in enumerate(zip(true, estimated, strict=True)):
        # [.., channels in, taps, channels out] to spectra [.., channels in, channels out, bins]
        filtered = np.einsum("ib,iob->ob", target, scipy.fft.rfft(own[j].transpose(0, 2, 1), n_fft))
        explained = np.einsum(
            "jib,jiob->ob", true, scipy.fft.rfft(every[j].transpose(0, 1, 3, 2), n_fft)
        )
        if sources_version:
            target = filtered
        energies = [
            (target, estimate - target),
            (target, filtered - target),
            (filtered, explained - filtered),
            (explained, estimate - explained),
        ]
        scores[:, j] = [_db(_energy(x, n_fft), _energy(y, n_fft)) for x, y in energies]
    if sources_version:
        scores[1] = np.nan
    return scores


def _spectra(signals: np.ndarray, n_fft: int) -> np.ndarray:
    """`[sources, samples, channels]` to half spectra `[sources, channels, bins]`."""
    return scipy.fft.rfft(signals.transpose(0, 2, 1), n_fft)


def _energy(spectrum: np.ndarray, n_fft: int) -> float:
    power = spectrum.real**2 + spectrum.imag**2
    doubled = 2 * power.sum() - power[:, 0].sum()
    return doubled - power[:, -1].sum() if n_fft % 2 == 0 else doubled


def _db(numerator: float, denominator: float) -> float:
    if denominator == 0:
        return np.inf
    with np.errstate(divide="ignore"):
        return 10 * np.log10(numerator / denominator)
