"""Resampling inside a network: windowed-sinc interpolation with fixed kernels.

Smith, Digital audio resampling, https://ccrma.stanford.edu/~jos/resample/, as julius
(https://github.com/adefossez/julius) has it: a Hann-windowed sinc of `zeros` zero crossings on each
side, every phase of unit gain at 0 Hz, the signal's first and last samples held beyond its ends.
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import ops

ZEROS, ROLLOFF = 24, 0.945


def resample(signal, old_rate: int, new_rate: int, *, zeros: int = ZEROS, rolloff: float = ROLLOFF):
    """Resample `[..., samples]` to `[..., samples * new_rate // old_rate]`.

    Only the ratio of the rates counts. zeros: zero crossings of the sinc on each side; rolloff:
    cutoff as a share of the lower Nyquist frequency. Samples must be one at least.
    Raises ValueError for rates, zeros or a rolloff that make no filter.
    """
    kernels = sinc_kernels(old_rate, new_rate, zeros=zeros, rolloff=rolloff)
    phases, taps = kernels.shape
    step = old_rate // math.gcd(old_rate, new_rate)
    if phases == step == 1:
        return signal
    *lead, samples = ops.shape(signal)
    before = (taps - step) // 2
    x = ops.reshape(signal, (-1, samples, 1))  # [signals, samples, 1]
    x = ops.concatenate(
        [ops.repeat(x[:, :1], before, axis=1), x, ops.repeat(x[:, -1:], before + step, axis=1)],
        axis=1,
    )
    kernels = ops.convert_to_tensor(kernels.T[:, None], x.dtype)  # [taps, 1, phases]
    x = ops.conv(x, kernels, strides=step, padding="valid")  # [signals, frames, phases]
    frames = samples // step + 1
    x = ops.reshape(x, (*lead, frames * phases))
    return x[..., : samples * phases // step]


def sinc_kernels(
    old_rate: int, new_rate: int, *, zeros: int = ZEROS, rolloff: float = ROLLOFF
) -> np.ndarray:
    """Kernels `[phases, taps]`, float64: one for each output sample between two input frames."""
    if min(old_rate, new_rate, zeros) < 1 or not 0 < rolloff <= 1:
        raise ValueError(
            "rates and zeros must be at least 1 and rolloff in (0, 1]; "
            f"got old_rate={old_rate}, new_rate={new_rate}, zeros={zeros}, rolloff={rolloff}"
        )
    common = math.gcd(old_rate, new_rate)
    old, new = old_rate // common, new_rate // common
    if old == new:
        return np.ones((1, 1))
    cutoff = min(old, new) * rolloff
    width = math.ceil(zeros * old / cutoff)
    positions = np.arange(-width, width + old) / old - np.arange(new)[:, None] / new
    crossings = np.clip(positions * cutoff, -zeros, zeros)
    kernels = np.sinc(crossings) * np.cos(0.5 * np.pi * crossings / zeros) ** 2
    return kernels / kernels.sum(axis=1, keepdims=True)


def reach(old_rate: int, new_rate: int, *, zeros: int = ZEROS, rolloff: float = ROLLOFF) -> int:
    """Samples at `old_rate` that an output sample hears at most, on each side."""
    return sinc_kernels(old_rate, new_rate, zeros=zeros, rolloff=rolloff).shape[1] // 2 + 1


@keras.saving.register_keras_serializable("kzoo")
class Resample(keras.layers.Layer):
    """`[batch, samples, channels]` to `[batch, samples * new_rate // old_rate, channels]`."""

    def __init__(
        self,
        old_rate: int,
        new_rate: int,
        *,
        zeros: int = ZEROS,
        rolloff: float = ROLLOFF,
        **kwargs,
    ):
        super().__init__(**kwargs)
        sinc_kernels(old_rate, new_rate, zeros=zeros, rolloff=rolloff)  # refuses what is no filter
        self.old_rate, self.new_rate = old_rate, new_rate
        self.zeros, self.rolloff = zeros, rolloff

    def call(self, waveform):
        signal = ops.swapaxes(waveform, 1, 2)  # [batch, channels, samples]
        signal = resample(
            signal, self.old_rate, self.new_rate, zeros=self.zeros, rolloff=self.rolloff
        )
        return ops.swapaxes(signal, 1, 2)

    def compute_output_shape(self, waveform_shape):
        batch, samples, channels = waveform_shape
        samples = None if samples is None else samples * self.new_rate // self.old_rate
        return (batch, samples, channels)

    def get_config(self):
        names = ("old_rate", "new_rate", "zeros", "rolloff")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
