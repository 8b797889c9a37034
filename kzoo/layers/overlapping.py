"""A signal as windows that overlap by half, and faded together again."""

from __future__ import annotations

import keras
from keras import ops

from kzoo.dsp.blocks import sine_fade
from kzoo.dsp.framing import frame, overlap_add, pad_last


@keras.saving.register_keras_serializable("kzoo")
class OverlappingWindows(keras.layers.Layer):
    """`[batch, samples, channels]` to `[batch * windows, window, channels]`, half overlapping.

    The first begins half a window before the signal, so two windows see every sample; what lies
    outside the signal is silent. windows = ceil(samples / (window / 2)) + 1.
    """

    def __init__(self, window: int, **kwargs):
        super().__init__(**kwargs)
        if window < 2 or window % 2:
            raise ValueError(f"window must be even, to overlap by half; got {window}")
        self.window = window

    def call(self, waveform):
        hop, channels = self.window // 2, waveform.shape[-1]
        signal = ops.swapaxes(waveform, 1, 2)
        signal = pad_last(signal, hop, hop + -ops.shape(waveform)[1] % hop)
        found = frame(signal, self.window, hop)  # [batch, channels, windows, window]
        found = ops.transpose(found, (0, 2, 3, 1))
        return ops.reshape(found, (-1, self.window, channels))

    def compute_output_spec(self, waveform):
        batch, samples, channels = waveform.shape
        known = batch is not None and samples is not None
        count = batch * (-(-samples // (self.window // 2)) + 1) if known else None
        return keras.KerasTensor((count, self.window, channels), self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "window": self.window}


@keras.saving.register_keras_serializable("kzoo")
class JoinWindows(keras.layers.Layer):
    """Estimates of `OverlappingWindows` to those of the waveform, faded by squared sines.

    `[batch * windows, sources, window, channels]` and `[batch, samples, channels]` to
    `[batch, sources, samples, channels]`.
    """

    def call(self, estimates, waveform):
        sources, window, channels = estimates.shape[1:]
        hop = window // 2
        batch, samples = ops.shape(waveform)[:2]
        windows = -(-samples // hop) + 1
        fade = ops.convert_to_tensor(sine_fade(hop), estimates.dtype)
        both = ops.concatenate([fade, ops.flip(fade)])
        x = ops.reshape(estimates, (batch, windows, sources, window, channels))
        x = ops.transpose(x, (0, 2, 4, 1, 3)) * both  # [batch, sources, channels, windows, window]
        joined = ops.swapaxes(overlap_add(x, hop), 2, 3)
        return joined[:, :, hop : hop + samples]

    def compute_output_spec(self, estimates, waveform):
        batch, samples, channels = waveform.shape
        shape = (batch, estimates.shape[1], samples, channels)
        return keras.KerasTensor(shape, self.compute_dtype)
