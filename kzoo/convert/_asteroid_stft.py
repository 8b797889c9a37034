"""The STFT of asteroid: fixed filters, which tell its window and its hop and nothing else."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from kzoo.convert._torch_layers import shape_of
from kzoo.dsp.windows import window

_FILTERS = ("encoder.filterbank._filters", "decoder.filterbank._filters")
STFT_WEIGHTS = (*_FILTERS, *(name.replace("_filters", "torch_window") for name in _FILTERS))


def stft_of(weights: Mapping[str, np.ndarray]) -> tuple[int, int]:
    """(n_fft, hop_length) of a state dict.

    Raises ValueError for filters, of encoder or decoder, that are missing or no STFT with its
    default window as long as the transform.
    """
    rows, _, n_fft = shape_of(weights, _FILTERS[0])
    shape = window("sqrt_hann", n_fft)
    first = np.asarray(weights[_FILTERS[0]])[0, 0] @ shape / (shape @ shape)
    hop_length = round((first * n_fft) ** 2 / 2)
    circle = np.fft.fft(np.eye(n_fft))[: n_fft // 2 + 1] * 2 * np.sqrt(hop_length) / n_fft
    circle[[0, -1]] /= np.sqrt(2)
    expected = np.concatenate([circle.real, circle.imag])[:, None] * shape
    for name in _FILTERS:
        given = np.zeros(shape_of(weights, name)) + weights[name]
        fits = rows == n_fft + 2 and given.shape == expected.shape
        if not fits or np.abs(given - expected).max() > 1e-5 * np.abs(expected).max():
            raise ValueError(
                f"{name}: is no STFT with the square root of a Hann window; got "
                f"{list(given.shape)}, the first filter of which is that of a hop of "
                f"{hop_length}"
            )
    return n_fft, hop_length
