"""Ideal masks: the best that masking a spectrogram can do, given the true sources.

A separator that masks the mixture's magnitude and keeps its phase is to be read against these, as
it is against the untouched mixture. In the words of this field (others call the square root of the
Wiener-like mask a ratio mask):

    ibm  ideal binary mask    1 where a source is the loudest, else 0
    irm  ideal ratio mask     |s_j| / sum_k |s_k|
    wfm  Wiener-like mask     |s_j|^2 / sum_k |s_k|^2
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping

import numpy as np
from scipy import fft

KINDS = ("ibm", "irm", "wfm")
# Frames that are in memory at a time: 64 stereo frames of 4096 are 8 MB a source.
_FRAMES = 64


def ideal_masks(kind: str, magnitudes: np.ndarray) -> np.ndarray:
    """Magnitudes `[sources, ...]` to masks of that shape, which sum to one over the sources.

    Where all sources are silent each gets an equal share; in a binary mask the first of equally
    loud sources gets all. Raises ValueError for another kind.
    """
    _check_kind(kind)
    magnitudes = np.asarray(magnitudes)
    n_sources = len(magnitudes)
    if kind == "ibm":
        loudest = np.argmax(magnitudes, axis=0)
        masks = loudest == np.arange(n_sources).reshape(-1, *[1] * loudest.ndim)
        return masks.astype(magnitudes.dtype)
    weights = magnitudes if kind == "irm" else np.square(magnitudes)
    total = weights.sum(axis=0)
    audible = total > 0
    return np.where(audible, weights / np.where(audible, total, 1), 1 / n_sources)


def oracle(
    kind: str,
    references: Mapping[str, np.ndarray],
    mixture: np.ndarray,
    *,
    n_fft: int = 4096,
    hop_length: int = 1024,
) -> dict[str, np.ndarray]:
    """What ideal masks make of `mixture`: {source: waveform}, each of the mixture's shape.

    references: {source: `[samples, channels]` or `[samples]`}, shaped as `mixture`. Each channel
    has masks of its own, on a Hann STFT; the default window is 93 ms at 44.1 kHz. The estimates
    sum to the mixture, whatever the references sum to. Memory beyond the estimates is constant.
    Raises ValueError for another kind, for shapes that differ, or for a hop above half a window.
    """
    _check_kind(kind)
    mixture = np.asarray(mixture)
    dtype = np.result_type(mixture.dtype, np.float32)
    signals = [mixture, *(np.asarray(signal) for signal in references.values())]
    for name, signal in zip(references, signals[1:], strict=True):
        if signal.shape != mixture.shape:
            raise ValueError(
                f"{name} must be shaped as the mixture; got {signal.shape} and {mixture.shape}"
            )
    if mixture.ndim not in (1, 2) or not signals[1:]:
        raise ValueError(
            "oracle takes a mixture [samples, channels] and at least one reference; got shape "
            f"{mixture.shape}, {len(signals) - 1} references"
        )
    window, gain = _window_and_gain(n_fft, hop_length, dtype)
    signals = [signal.reshape(len(mixture), -1).astype(dtype, copy=False) for signal in signals]
    samples, channels = signals[0].shape
    # Frame m begins at sample m * hop_length - n_fft: every sample lies in all of its frames.
    frames = -(-(samples + n_fft) // hop_length)
    estimates = np.zeros((len(signals) - 1, frames * hop_length + n_fft, channels), dtype)
    for first in range(0, frames, _FRAMES):
        count = min(_FRAMES, frames - first)
        spectra = [_spectra(signal, first, count, hop_length, window) for signal in signals]
        masks = ideal_masks(kind, np.abs(np.stack(spectra[1:])))
        for estimate, mask in zip(estimates, masks, strict=True):
            pieces = fft.irfft(mask * spectra[0], n_fft, axis=-1) * window
            for m, piece in enumerate(pieces, start=first):
                estimate[m * hop_length : m * hop_length + n_fft] += piece.T
    estimates = estimates[:, n_fft : n_fft + samples]
    estimates /= np.resize(np.roll(gain, -n_fft), samples)[:, None]
    return {
        name: estimate.reshape(mixture.shape)
        for name, estimate in zip(references, estimates, strict=True)
    }


def _check_kind(kind: str) -> None:
    if kind not in KINDS:
        near = difflib.get_close_matches(str(kind), KINDS, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(KINDS)}"
        raise ValueError(f"no ideal mask is called {kind!r}; {hint}")


def _window_and_gain(n_fft: int, hop_length: int, dtype) -> tuple[np.ndarray, np.ndarray]:
    """Periodic Hann window, and one hop of the sum of its shifted squares."""
    if not 0 < hop_length <= n_fft // 2:
        raise ValueError(
            "hop_length must be at least 1 and at most half of n_fft, or samples get lost; "
            f"got n_fft={n_fft}, hop_length={hop_length}"
        )
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
    squared = np.pad(window**2, (0, -n_fft % hop_length))
    return window.astype(dtype), squared.reshape(-1, hop_length).sum(axis=0).astype(dtype)


def _spectra(signal, first: int, count: int, hop_length: int, window: np.ndarray) -> np.ndarray:
    """Frames `first` to `first + count` of `[samples, channels]`: `[count, channels, bins]`."""
    n_fft = len(window)
    begin = first * hop_length - n_fft
    end = begin + (count - 1) * hop_length + n_fft
    stretch = signal[max(begin, 0) : max(end, 0)]
    before = min(max(-begin, 0), end - begin)
    stretch = np.pad(stretch, ((before, end - begin - before - len(stretch)), (0, 0)))
    frames = np.lib.stride_tricks.sliding_window_view(stretch, n_fft, axis=0)[::hop_length]
    return fft.rfft(frames * window, axis=-1)
