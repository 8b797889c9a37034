"""What learned filterbanks need beside a convolution: lengths of whole frames, and the way back."""

from __future__ import annotations

import keras
from keras import ops

from kzoo.dsp.framing import frame, overlap_add, pad_last


@keras.saving.register_keras_serializable("kzoo")
class PadToFrames(keras.layers.Layer):
    """Silence around `[batch, samples, channels]`, and at its end as much as fills the last frame.

    before, after: samples that are added in any case.
    """

    def __init__(
        self, frame_length: int, hop_length: int, before: int = 0, after: int = 0, **kwargs
    ):
        super().__init__(**kwargs)
        self.frame_length, self.hop_length = frame_length, hop_length
        self.before, self.after = before, after

    def call(self, waveform):
        samples = ops.shape(waveform)[1]
        wanted = self.before + samples + self.after
        if isinstance(samples, int):
            wanted = max(wanted, self.frame_length)
        else:
            wanted = ops.maximum(wanted, self.frame_length)
        after = wanted - samples - self.before + (self.frame_length - wanted) % self.hop_length
        padded = pad_last(ops.moveaxis(waveform, 1, 2), self.before, after)
        return ops.moveaxis(padded, 2, 1)

    def compute_output_spec(self, waveform):
        batch, samples, channels = waveform.shape
        if samples is not None:
            samples = max(self.before + samples + self.after, self.frame_length)
            samples += (self.frame_length - samples) % self.hop_length
        return keras.KerasTensor((batch, samples, channels), self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "frame_length": self.frame_length,
            "hop_length": self.hop_length,
            "before": self.before,
            "after": self.after,
        }


@keras.saving.register_keras_serializable("kzoo")
class FilterbankDecoder(keras.layers.Layer):
    """Weights of learned filters back to waveforms: a transposed convolution without offset.

    `[batch, frames, sources, filters]` to `[batch, sources, samples, channels]`, float32, with
    samples = (frames - 1) * hop_length + frame_length.
    """

    def __init__(self, frame_length: int, hop_length: int, channels: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.frame_length, self.hop_length, self.channels = frame_length, hop_length, channels

    def build(self, input_shape):
        shape = (input_shape[-1], self.frame_length * self.channels)
        self.kernel = self.add_weight(shape=shape, initializer="glorot_uniform", name="kernel")

    def call(self, weights):
        frames = ops.cast(ops.matmul(weights, self.kernel), "float32")
        frames = ops.transpose(frames, (0, 2, 1, 3))  # [batch, sources, frames, length * channels]
        # Channels lie side by side in a frame, so one overlap-add joins them all.
        signal = overlap_add(frames, self.hop_length * self.channels)
        sources = weights.shape[2]
        samples = signal.shape[-1]
        samples = -1 if samples is None else samples // self.channels
        return ops.reshape(signal, (ops.shape(signal)[0], sources, samples, self.channels))

    def compute_output_spec(self, weights):
        batch, frames, sources, _ = weights.shape
        samples = None if frames is None else (frames - 1) * self.hop_length + self.frame_length
        return keras.KerasTensor((batch, sources, samples, self.channels), "float32")

    def get_config(self):
        return {
            **super().get_config(),
            "frame_length": self.frame_length,
            "hop_length": self.hop_length,
            "channels": self.channels,
        }


@keras.saving.register_keras_serializable("kzoo")
class SourceGains(keras.layers.Layer):
    """Estimates `[batch, sources, samples, channels]` times a gain for each source, 1 at first.

    SI-SDR hears neither level nor sign, and one decoder gives both to all sources alike.
    """

    def build(self, input_shape):
        shape = (input_shape[1], 1, 1)
        self.gains = self.add_weight(shape=shape, initializer="ones", name="gains")

    def call(self, estimates):
        return estimates * self.gains


@keras.saving.register_keras_serializable("kzoo")
class FitToWaveform(keras.layers.Layer):
    """Estimates as long as the waveform they came from: `before` samples left out, then cut.

    `[batch, sources, n, channels]` and `[batch, samples, channels]` to `[batch, sources, samples,
    channels]`; where the estimates end early, silence follows.
    """

    def __init__(self, before: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.before = before

    def call(self, estimates, waveform):
        samples = ops.shape(waveform)[1]
        fitted = estimates[:, :, self.before :]
        missing = samples - ops.shape(fitted)[2]
        if not isinstance(missing, int) or missing > 0:
            missing = max(missing, 0) if isinstance(missing, int) else ops.maximum(missing, 0)
            fitted = ops.moveaxis(pad_last(ops.moveaxis(fitted, 2, 3), 0, missing), 3, 2)
        return fitted[:, :, :samples]

    def compute_output_spec(self, estimates, waveform):
        batch, sources, _, channels = estimates.shape
        return keras.KerasTensor((batch, sources, waveform.shape[1], channels), self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "before": self.before}


@keras.saving.register_keras_serializable("kzoo")
class FrameLevels(keras.layers.Layer):
    """The L2 norm of each frame over all channels, 1e-8 at least.

    `[batch, samples, channels]` to `[batch, frames, 1]`.
    """

    def __init__(self, frame_length: int, hop_length: int, **kwargs):
        super().__init__(**kwargs)
        self.frame_length, self.hop_length = frame_length, hop_length

    def call(self, waveform):
        power = ops.sum(ops.square(waveform), axis=2)
        energy = ops.sum(frame(power, self.frame_length, self.hop_length), axis=2, keepdims=True)
        return ops.sqrt(ops.maximum(energy, 1e-16))

    def get_config(self):
        return {
            **super().get_config(),
            "frame_length": self.frame_length,
            "hop_length": self.hop_length,
        }
