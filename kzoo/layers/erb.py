"""Bands as wide as the ear's above some bins that stay as they are, and back, by fixed triangles.

Each bin above the lowest ones is shared between the two bands whose centres lie around it. The
centres are equally spaced on the ERB-rate scale, 21.4 log10(0.00437 f + 1) with f in Hz (Glasberg
and Moore, 1990, https://doi.org/10.1016/0378-5955(90)90170-T), and rounded to bins.
"""

from __future__ import annotations

import keras
import numpy as np
from keras import ops


def erb_filters(n_fft: int, sample_rate: int, low_bins: int, bands: int) -> np.ndarray:
    """The triangles, float32 `[n_fft // 2 + 1 - low_bins, bands]`, from bin `low_bins` upwards.

    Each row sums to 1. Raises ValueError where two centres would fall on one bin.
    """
    lowest, highest = low_bins * sample_rate / n_fft, sample_rate / 2
    rates = np.linspace(_erb_rate(lowest), _erb_rate(highest), bands)
    centres = np.round((10 ** (rates / 21.4) - 1) / 0.00437 * n_fft / sample_rate)
    if bands < 2 or np.any(np.diff(centres) < 1):
        raise ValueError(
            "bands must be at least 2 and so few that each is centred on a bin of its own; got "
            f"bands={bands} above bin {low_bins} with n_fft={n_fft}, sample_rate={sample_rate}"
        )
    bins = np.arange(low_bins, n_fft // 2 + 1)
    filters = [np.interp(bins, centres, peak) for peak in np.eye(bands)]
    return np.stack(filters, axis=1).astype(np.float32)


def _erb_rate(frequency_hz: float) -> float:
    return 21.4 * np.log10(0.00437 * frequency_hz + 1)


class _Erb(keras.layers.Layer):
    def __init__(self, n_fft: int, sample_rate: int, low_bins: int, bands: int, **kwargs):
        super().__init__(**kwargs)
        self.n_fft, self.sample_rate = n_fft, sample_rate
        self.low_bins, self.bands = low_bins, bands
        self.filters = erb_filters(n_fft, sample_rate, low_bins, bands)

    def apply(self, x, matrix: np.ndarray):
        """The lowest bins of `x` `[..., n, channels]` as they are, the others times `matrix`."""
        x = ops.swapaxes(x, -1, -2)  # [..., channels, n]
        low, high = x[..., : self.low_bins], x[..., self.low_bins :]
        high = ops.matmul(high, ops.convert_to_tensor(matrix, x.dtype))
        return ops.swapaxes(ops.concatenate([low, high], axis=-1), -1, -2)

    def get_config(self):
        sizes = {name: getattr(self, name) for name in ("n_fft", "sample_rate", "low_bins")}
        return {**super().get_config(), **sizes, "bands": self.bands}


@keras.saving.register_keras_serializable("kzoo")
class ToErb(_Erb):
    """`[..., n_fft // 2 + 1, channels]` to `[..., low_bins + bands, channels]`, weighted sums."""

    def call(self, x):
        return self.apply(x, self.filters)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-2], self.low_bins + self.bands, input_shape[-1])


@keras.saving.register_keras_serializable("kzoo")
class FromErb(_Erb):
    """`[..., low_bins + bands, channels]` to `[..., n_fft // 2 + 1, channels]`, interpolated."""

    def call(self, x):
        return self.apply(x, self.filters.T)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-2], self.n_fft // 2 + 1, input_shape[-1])
