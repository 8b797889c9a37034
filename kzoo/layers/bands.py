"""Bins to bands that grow with frequency, and back: fine where pitch is, coarse above it.

The lowest `linear_bins` stay as they are; above, each octave is cut into half as many bands, of 2,
4, 8, ... bins. 1024 bins with 128 linear ones make 320 bands.
"""

from __future__ import annotations

import keras
from keras import ops


def band_count(bins: int, linear_bins: int) -> int:
    """Bands of `bins`; ValueError unless those are `linear_bins` times a power of two."""
    octaves = len(_octaves(bins, linear_bins))
    return linear_bins + octaves * linear_bins // 2


def _octaves(bins: int, linear_bins: int) -> list[tuple[int, int]]:
    """(first bin, bins a band) of each octave above the linear bins."""
    found, first, width = [], linear_bins, 2
    while 0 < first < bins:
        found.append((first, width))
        first, width = 2 * first, 2 * width
    if first != bins or linear_bins % 2:
        raise ValueError(
            "bins must be linear_bins, an even number, times a power of two; "
            f"got bins={bins}, linear_bins={linear_bins}"
        )
    return found


@keras.saving.register_keras_serializable("kzoo")
class ToBands(keras.layers.Layer):
    """Means over the bins of each band: `[..., bins, channels]` to `[..., bands, channels]`."""

    def __init__(self, linear_bins: int, **kwargs):
        super().__init__(**kwargs)
        self.linear_bins = linear_bins

    def call(self, x):
        *lead, bins, channels = x.shape
        parts = [x[..., : self.linear_bins, :]]
        for first, width in _octaves(bins, self.linear_bins):
            octave = x[..., first : 2 * first, :]
            # Bands are examples here and below: GPUs take tensors of no more than four axes.
            octave = ops.mean(ops.reshape(octave, (-1, width, channels)), axis=1)
            parts.append(ops.reshape(octave, (-1, *lead[1:], first // width, channels)))
        return ops.concatenate(parts, axis=-2)

    def get_config(self):
        return {**super().get_config(), "linear_bins": self.linear_bins}


@keras.saving.register_keras_serializable("kzoo")
class FromBands(keras.layers.Layer):
    """Every bin as its band is: `[..., bands, channels]` to `[..., bins, channels]`."""

    def __init__(self, bins: int, linear_bins: int, **kwargs):
        super().__init__(**kwargs)
        self.bins, self.linear_bins = bins, linear_bins

    def call(self, x):
        *lead, _, channels = x.shape
        parts, at = [x[..., : self.linear_bins, :]], self.linear_bins
        for first, width in _octaves(self.bins, self.linear_bins):
            count = first // width
            bands = ops.reshape(x[..., at : at + count, :], (-1, 1, channels))
            bins = ops.tile(bands, (1, width, 1))
            parts.append(ops.reshape(bins, (-1, *lead[1:], first, channels)))
            at += count
        return ops.concatenate(parts, axis=-2)

    def get_config(self):
        return {**super().get_config(), "bins": self.bins, "linear_bins": self.linear_bins}
