"""Frames of a sound and back, in NumPy, for steps that work on spectra."""

from __future__ import annotations

import numpy as np

_SECONDS = 0.046  # of a frame, the power of two that is nearest
_OVERLAP = 4  # frames over each sample


def frame_size(sample_rate: int) -> tuple[int, int]:
    """(n_fft, hop_length), both powers of two."""
    n_fft = max(32, 2 ** round(np.log2(_SECONDS * sample_rate)))
    return n_fft, n_fft // _OVERLAP


def _window(n_fft: int) -> np.ndarray:
    return (0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)).astype(np.float32)


def analysed(padded: np.ndarray, starts: np.ndarray, n_fft: int) -> np.ndarray:
    """Frames from `starts` on, windowed, as spectra `[frames, channels, bins]`."""
    from scipy import fft

    padded = np.pad(padded, ((0, max(0, int(starts[-1]) + n_fft - len(padded))), (0, 0)))
    frames = np.lib.stride_tricks.sliding_window_view(padded, n_fft, axis=0)[starts]
    return fft.rfft(frames * _window(n_fft), axis=-1)


def synthesised(spectra: np.ndarray, n_fft: int, length: int) -> np.ndarray:
    """Overlap-add what has a middle at every hop, from the first sample on, by least squares."""
    from scipy import fft

    window = _window(n_fft)
    frames = fft.irfft(spectra, n_fft, axis=-1) * window  # [frames, channels, n_fft]
    count, channels, hop = len(frames), frames.shape[1], n_fft // _OVERLAP
    total = np.zeros((count + _OVERLAP - 1, channels, hop), np.float32)
    weight = np.zeros((count + _OVERLAP - 1, 1, hop), np.float32)
    for part in range(_OVERLAP):
        piece = slice(part * hop, (part + 1) * hop)
        total[part : part + count] += frames[..., piece]
        weight[part : part + count] += np.square(window[piece])
    total /= np.maximum(weight, 1e-6)
    whole = total.transpose(0, 2, 1).reshape(-1, channels)
    return whole[n_fft // 2 : n_fft // 2 + length]
