"""A signal as windows that overlap, and joined together again."""

from __future__ import annotations

from typing import Literal

import keras
from keras import ops

from kzoo.dsp.blocks import sine_fade
from kzoo.dsp.framing import frame, overlap_add, pad_last


@keras.saving.register_keras_serializable("kzoo")
class OverlappingWindows(keras.layers.Layer):
    """`[batch, samples, channels]` to `[batch * windows, window, channels]`, one every `hop`.

    hop: half a window by default, else a divisor of it. The first window begins window - hop before
    the signal, so window / hop of them see every sample; what lies outside the signal is silent.
    windows = ceil(samples / hop) + window / hop - 1.
    """

    def __init__(self, window: int, hop: int | None = None, **kwargs):
        super().__init__(**kwargs)
        if hop is None and (window < 2 or window % 2):
            raise ValueError(f"window must be even, to overlap by half; got {window}")
        self.window, self.hop = window, hop or window // 2
        if self.hop < 1 or window % self.hop:
            raise ValueError(f"hop must divide window; got hop={hop}, window={window}")

    def call(self, waveform):
        channels, silence = waveform.shape[-1], self.window - self.hop
        signal = ops.swapaxes(waveform, 1, 2)
        signal = pad_last(signal, silence, silence + -ops.shape(waveform)[1] % self.hop)
        found = frame(signal, self.window, self.hop)  # [batch, channels, windows, window]
        found = ops.transpose(found, (0, 2, 3, 1))
        return ops.reshape(found, (-1, self.window, channels))

    def compute_output_spec(self, waveform):
        batch, samples, channels = waveform.shape
        known = batch is not None and samples is not None
        count = batch * _window_count(samples, self.window, self.hop) if known else None
        return keras.KerasTensor((count, self.window, channels), self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "window": self.window, "hop": self.hop}


@keras.saving.register_keras_serializable("kzoo")
class JoinWindows(keras.layers.Layer):
    """Estimates of `OverlappingWindows` to those of the waveform.

    `[batch * windows, sources, window, channels]` and `[batch, samples, channels]` to
    `[batch, sources, samples, channels]`. hop: that of the windows, half of one by default.
    join: "fade" by squared sines, for windows that overlap by half, or the "mean" of all windows.
    """

    def __init__(self, hop: int | None = None, join: Literal["fade", "mean"] = "fade", **kwargs):
        super().__init__(**kwargs)
        if join == "fade" and hop is not None:
            raise ValueError(f"windows that fade overlap by half: leave hop out; got hop={hop}")
        self.hop, self.join = hop, join

    def call(self, estimates, waveform):
        sources, window, channels = estimates.shape[1:]
        hop = self.hop or window // 2
        batch, samples = ops.shape(waveform)[:2]
        x = ops.reshape(
            estimates, (batch, _window_count(samples, window, hop), sources, window, channels)
        )
        # [batch, sources, channels, windows, window]
        x = ops.transpose(x, (0, 2, 4, 1, 3)) * self._weights(window, hop, estimates.dtype)
        joined = ops.swapaxes(overlap_add(x, hop), 2, 3)
        before = window - hop
        return joined[:, :, before : before + samples]

    def _weights(self, window: int, hop: int, dtype: str):
        if self.join == "mean":
            return ops.cast(hop / window, dtype)
        fade = ops.convert_to_tensor(sine_fade(hop), dtype)
        return ops.concatenate([fade, ops.flip(fade)])

    def compute_output_spec(self, estimates, waveform):
        batch, samples, channels = waveform.shape
        shape = (batch, estimates.shape[1], samples, channels)
        return keras.KerasTensor(shape, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "hop": self.hop, "join": self.join}


def _window_count(samples, window: int, hop: int):
    return -(-samples // hop) + window // hop - 1
