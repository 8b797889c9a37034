"""Projections of estimates on delayed references, blockwise: correlations, filters, energies.

Signals are `[sources, samples, channels]`. A long signal goes through transforms of one length, so
that memory does not grow with it, and blocks are shared among threads. Each sum is made in the
order of time, whatever the number of threads.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple

import numpy as np
import scipy.fft

from kzoo.metrics import toeplitz

_N_FFT = 8192  # stays in the cache of a core
_BLOCKS = 16  # transformed at once
_BINS = 256  # of a group of blocks, whose order is changed within the cache


class Parts(NamedTuple):
    """An estimate E taken apart, with its reference T and what filters explain of E.

    own: by filters of its own reference, P; every: by filters of all references, Q.
    """

    target: np.ndarray  # T
    distortion: np.ndarray  # E - T
    spatial: np.ndarray  # P - T
    own: np.ndarray  # P
    not_own: np.ndarray  # E - P
    interference: np.ndarray  # Q - P
    every: np.ndarray  # Q
    artefacts: np.ndarray  # E - Q


class Filters(NamedTuple):
    """Spectra of least-squares FIR filters from references to estimates, for blocks of `n_fft`.

    own: complex `[pairs, channels out, channels in, bins]`; every: those of all references,
    `[bins, estimates' channels, references' channels]`. condition and regularisation: as in
    `toeplitz.Solution`, the condition that of all references.
    """

    own: np.ndarray
    every: np.ndarray
    taps: int
    n_fft: int
    condition: float
    regularisation: float


def least_squares(
    references: np.ndarray,
    estimates: np.ndarray,
    pairs: np.ndarray,
    taps: int,
    *,
    frame: int,
    regularisation: float = 0.0,
    threads: int = 1,
) -> Filters:
    """Filters of `taps` from each reference alone, and from all together, to the estimates.

    pairs: `[pairs, 2]`, reference and estimate, for which the filters of one reference are wanted;
    frame: the samples to which the filters will be applied.
    """
    n_sources, _, channels = references.shape
    lags = correlations(references, estimates, taps, threads)
    blocks = lags.reshape(taps, n_sources, channels, 2, n_sources, channels)
    gram, cross = blocks[:, :, :, 0], blocks[:, :, :, 1]  # [taps, references, .., others, ..]
    rows = n_sources * channels
    # The block to the right of the diagonal has the later delay in its columns: transposed.
    matrix = gram.transpose(0, 3, 4, 1, 2).reshape(taps, rows, rows)
    every = toeplitz.solve(matrix, cross.reshape(taps, rows, rows), regularisation)
    if n_sources == 1:
        own = every
        alone = every.filters[None]
    else:
        true = np.arange(n_sources)
        own = toeplitz.solve(
            gram[:, true, :, true].swapaxes(-1, -2),
            cross.transpose(1, 0, 2, 3, 4).reshape(n_sources, taps, channels, rows),
            regularisation,
        )
        alone = own.filters.reshape(n_sources, taps, channels, n_sources, channels)
        alone = alone[pairs[:, 0], :, :, pairs[:, 1]]  # [pairs, taps, channels, channels out]
    n_fft = _fft_length(frame + 2 * (taps - 1), taps)
    return Filters(
        scipy.fft.rfft(alone.transpose(0, 3, 2, 1), n_fft),
        scipy.fft.rfft(every.filters, n_fft, axis=0).swapaxes(1, 2).copy(),
        taps,
        n_fft,
        float(every.condition),
        max(own.regularisation, every.regularisation),
    )


def correlations(
    references: np.ndarray, estimates: np.ndarray, taps: int, threads: int = 1
) -> np.ndarray:
    """Inner products of references with delayed signals: `sum_n first[n] second[n + lag]`.

    Returns `[taps, rows, columns]` for lags from zero; rows are the references' channels, source
    by source, and columns these and the estimates', of which there may be another number.
    """
    n_sources, samples, channels = references.shape
    rows, history = n_sources * channels, taps - 1
    columns = rows + len(estimates) * channels
    n_fft = _fft_length(samples + history, taps)
    hop = n_fft - history
    n_short = scipy.fft.next_fast_len(2 * history + 1, real=True)

    def windows(signals: np.ndarray, starts: Sequence[int], length: int) -> np.ndarray:
        return _windows(signals, [(start, start + length, 0, samples) for start in starts])

    def within(starts: Sequence[int]) -> np.ndarray:
        both = [windows(signals, starts, hop) for signals in (references, estimates)]
        return _products(scipy.fft.rfft(np.concatenate(both), n_fft), rows, columns)

    def across(starts: Sequence[int]) -> np.ndarray:
        before = windows(references, [start - history for start in starts], history)
        after = [windows(signals, starts, history) for signals in (references, estimates)]
        before = np.pad(before, ((0, 0), (0, 0), (0, history)))
        after = np.pad(np.concatenate(after), ((0, 0), (0, 0), (history, 0)))
        spectra = scipy.fft.rfft(np.concatenate([before, after]), n_short)
        return _products(spectra, rows, columns)

    starts = range(0, samples, hop)
    lags = scipy.fft.irfft(_total(within, starts, threads), n_fft, axis=0)[:taps]
    if len(starts) > 1 and taps > 1:
        total = _total(across, starts[1:], threads)
        lags += scipy.fft.irfft(total, n_short, axis=0)[:taps]
    return lags


def _total(products: Callable, starts: Sequence[int], threads: int) -> np.ndarray:
    results = _threaded(products, _groups(starts), threads)
    total = next(results)
    for found in results:
        total += found
    return total


def _products(spectra: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Cross spectra `[bins, rows, columns]` of the first and the last of them, summed over blocks.

    spectra: `[rows or more, blocks, bins]`.
    """
    bins = spectra.shape[-1]
    found = np.empty((bins, rows, columns), complex)
    for k in range(0, bins, _BINS):
        at = slice(k, k + _BINS)
        turned = _turned(spectra[..., at])
        found[at] = turned[:, :rows].conj() @ turned[:, -columns:].swapaxes(1, 2)
    return found


def energies(
    references: np.ndarray,
    estimates: np.ndarray,
    frames: Sequence[slice],
    pairs: np.ndarray,
    filters: Filters,
    threads: int = 1,
) -> np.ndarray:
    """Energies of `Parts` in each frame, `[8, pairs, frames]`: sums over samples and channels.

    The filters lengthen a frame, and the energies are of all of it.
    """
    n_sources, _, channels = references.shape
    history = filters.taps - 1
    hop = filters.n_fft - history

    def sums(blocks: Sequence[tuple[int, int]]) -> np.ndarray:
        limits = [(frames[t].start, frames[t].stop) for t, _ in blocks]
        inside = [(n - history, n + hop, *at) for (_, n), at in zip(blocks, limits, strict=True)]
        target = _windows(references, inside)
        inside = [(n, n + hop, *at) for (_, n), at in zip(blocks, limits, strict=True)]
        estimate = _windows(estimates, inside)
        spectra = scipy.fft.rfft(target)
        target = target[..., history:]
        alone = scipy.fft.irfft(_through_own(spectra, pairs, filters), filters.n_fft)[..., history:]
        together = alone
        if n_sources > 1:
            together = scipy.fft.irfft(_through_every(spectra, filters), filters.n_fft)
            together = together[..., history:]
        found = np.empty((8, len(pairs), len(blocks)))
        for p, (true, guess) in enumerate(pairs):
            true = slice(true * channels, (true + 1) * channels)
            guess = slice(guess * channels, (guess + 1) * channels)
            out = slice(p * channels, (p + 1) * channels)
            for b in range(len(blocks)):
                found[:, p, b] = _energies(
                    target[true, b], estimate[guess, b], alone[out, b], together[guess, b]
                )
        return found

    blocks = [
        (t, n)
        for t, frame in enumerate(frames)
        for n in range(frame.start, frame.stop + history, hop)
    ]
    total = np.zeros((8, len(pairs), len(frames)))
    groups = _groups(blocks)
    for group, found in zip(groups, _threaded(sums, groups, threads), strict=True):
        for k, (t, _) in enumerate(group):
            total[..., t] += found[..., k]
    return total


def _through_own(spectra: np.ndarray, pairs: np.ndarray, filters: Filters) -> np.ndarray:
    """References through the filters of each pair, `[pairs * channels, blocks, bins]`."""
    channels = filters.own.shape[1]
    _, blocks, bins = spectra.shape
    filtered = np.zeros((len(pairs), channels, blocks, bins), complex)
    for p, (true, _) in enumerate(pairs):
        for i in range(channels):
            for o in range(channels):
                filtered[p, o] += filters.own[p, o, i] * spectra[true * channels + i]
    return filtered.reshape(-1, blocks, bins)


def _through_every(spectra: np.ndarray, filters: Filters) -> np.ndarray:
    """All references through the filters of each estimate, `[rows, blocks, bins]`."""
    filtered = np.empty_like(spectra)
    for k in range(0, spectra.shape[-1], _BINS):
        at = slice(k, k + _BINS)
        filtered[..., at] = (filters.every[at] @ _turned(spectra[..., at])).transpose(1, 2, 0)
    return filtered


def _turned(spectra: np.ndarray) -> np.ndarray:
    """`[rows, blocks, bins]` as `[bins, rows, blocks]`, which matrix products are made of."""
    return spectra.transpose(2, 0, 1).copy()


def _energies(target, estimate, own, every) -> list[float]:
    parts = Parts(
        target=target,
        distortion=estimate - target,
        spatial=own - target,
        own=own,
        not_own=estimate - own,
        interference=every - own,
        every=every,
        artefacts=estimate - every,
    )
    return [np.einsum("cn,cn->", part, part) for part in parts]


def _groups(blocks: Sequence) -> list[Sequence]:
    return [blocks[k : k + _BLOCKS] for k in range(0, len(blocks), _BLOCKS)]


def _threaded(function: Callable, groups: Sequence, threads: int) -> Iterator[np.ndarray]:
    """Results in the order of the groups."""
    threads = min(threads, len(groups))
    if threads < 2:
        yield from map(function, groups)
        return
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(function, groups)


def _fft_length(samples: int, taps: int) -> int:
    """Of one block where that many samples are few; of blocks otherwise."""
    return scipy.fft.next_fast_len(min(samples, max(_N_FFT, 8 * taps)), real=True)


def _windows(signals: np.ndarray, ranges: Sequence[tuple[int, int, int, int]]) -> np.ndarray:
    """Samples from `start` to `stop`, silence outside of `first` to `last`, of the same length.

    Returns `[sources * channels, ranges, samples]`.
    """
    n_sources, _, channels = signals.shape
    length = ranges[0][1] - ranges[0][0]
    windows = np.zeros((n_sources, channels, len(ranges), length))
    for k, (start, stop, first, last) in enumerate(ranges):
        begin, end = max(start, first), min(stop, last)
        if begin < end:
            taken = signals[:, begin:end].swapaxes(1, 2)
            windows[:, :, k, begin - start : end - start] = taken
    return windows.reshape(n_sources * channels, len(ranges), length)
