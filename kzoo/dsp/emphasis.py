"""Pre-emphasis and its inverse: a one-tap filter that lifts the highs of speech, and back.

y[n] = x[n] - c x[n - 1], the first sample kept as it is, so that the recursion
x[n] = y[n] + c x[n - 1] from rest undoes it to the last sample of any segment by itself.
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops


def pre_emphasis(waveform, coefficient: float = 0.95):
    """Subtract a share of each sample from the next: `[..., samples, channels]`, same shape."""
    first, rest = waveform[..., :1, :], waveform[..., 1:, :]
    return ops.concatenate([first, rest - coefficient * waveform[..., :-1, :]], axis=-2)


def de_emphasis(waveform, coefficient: float = 0.95):
    """The inverse of `pre_emphasis`, `[..., samples, channels]` of a known number of samples.

    The recursion as two products with constant triangles, one inside frames of about the root of
    the length and one that carries each frame's end into the next: exact, and no loop in a graph.
    Raises ValueError for a length that is not known.
    """
    samples = waveform.shape[-2]
    if samples is None:
        raise ValueError("de_emphasis needs a known number of samples; cut the signal to windows")
    length = max(math.isqrt(samples), 1)
    frames = -(-samples // length)
    x = ops.swapaxes(waveform, -2, -1)  # [..., channels, samples]
    width = [(0, 0)] * (len(x.shape) - 1) + [(0, frames * length - samples)]
    lead = ops.shape(x)[:-1]
    x = ops.reshape(ops.pad(x, width), (*lead, frames, length))
    inside = ops.matmul(x, _powers(length, coefficient, x.dtype))
    ends = inside[..., -1]  # [..., channels, frames]
    # The state before frame k: ends of all frames before it, decayed by whole frames.
    before = ops.matmul(ends, _powers(frames, coefficient**length, x.dtype, shift=1))
    decay = ops.convert_to_tensor(coefficient ** np.arange(1, length + 1), x.dtype)
    y = inside + ops.expand_dims(before, -1) * decay
    y = ops.reshape(y, (*lead, frames * length))[..., :samples]
    return ops.swapaxes(y, -2, -1)


def _powers(count: int, base: float, dtype, shift: int = 0):
    """`[count, count]`: base ** (column - row - shift) on and above the shifted diagonal."""
    exponents = np.arange(count)[None, :] - np.arange(count)[:, None] - shift
    powers = np.where(exponents >= 0, base ** np.maximum(exponents, 0).astype(np.float64), 0.0)
    return ops.convert_to_tensor(powers, dtype)


@keras.saving.register_keras_serializable("kzoo")
class PreEmphasis(keras.layers.Layer):
    """`pre_emphasis` of `[..., samples, channels]`."""

    def __init__(self, coefficient: float = 0.95, **kwargs):
        super().__init__(**kwargs)
        self.coefficient = coefficient

    def call(self, waveform):
        return pre_emphasis(waveform, self.coefficient)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "coefficient": self.coefficient}


@keras.saving.register_keras_serializable("kzoo")
class DeEmphasis(PreEmphasis):
    """`de_emphasis` of `[..., samples, channels]`."""

    def call(self, waveform):
        return de_emphasis(waveform, self.coefficient)
