"""Lengths that leave no frame over in Demucs, and the layers that bring waveforms to them and back.

The arithmetic is for integers, and for scalar tensors where a length is not known.
"""

from __future__ import annotations

import dataclasses

import keras
from keras import ops

from kzoo.dsp import resampling
from kzoo.dsp.framing import pad_last


@dataclasses.dataclass(frozen=True, kw_only=True)
class Lengths:
    """The sizes of Demucs from which its lengths follow.

    depth: the number of levels. kernel_size, stride: of the convolutions that change the rate.
    context: frames of the convolutions on the way up. padded: whether silence stands around them,
        so that they lose no frames, as in v3.
    upsample: linear interpolation and plain convolutions instead of transposed ones, and the
        mixture beside the last features.
    resample: the network works at twice the sample rate.
    """

    depth: int = 6
    kernel_size: int = 8
    stride: int = 4
    context: int = 3
    padded: bool = False
    upsample: bool = False
    resample: bool = False

    def valid_length(self, length):
        """The samples that the core needs for an estimate of `length` samples, no frame left over.

        The reference's `valid_length`.
        """
        kernel, stride = self.kernel_size, self.stride
        length = length * self._oversampling
        for _ in range(self.depth):
            if self.upsample:
                length = -(-length // stride) + kernel - 1
            else:
                length = -(-(length - kernel) // stride) + 1
            at_least_one = max(length, 1) if isinstance(length, int) else ops.maximum(length, 1)
            length = at_least_one + (0 if self.padded else self.context - 1)
        for _ in range(self.depth):
            length = length * stride + kernel - (1 if self.upsample else stride)
        return -(-length // self._oversampling)

    def rounded(self, length, *, up: bool):
        """The nearest length that leaves no frame over in any level: one in `step` does."""
        rest = self._frames_of_all_levels
        rest *= self.kernel_size - (1 if self.upsample else self.stride)
        length = length * self._oversampling - rest
        steps = -(-length // self.step) if up else length // self.step
        return -(-(steps * self.step + rest) // self._oversampling)

    def is_valid(self, length: int) -> bool:
        """Whether no frame is left over, and there is enough for one sample of an estimate."""
        return length == max(self.rounded(length, up=False), self.valid_length(1))

    @property
    def step(self) -> int:
        """Samples of the network for one frame of the deepest level."""
        return self.stride**self.depth

    @property
    def reach(self) -> int:
        """Samples that an estimate hears to each side, at most, without LSTM and normalisation."""
        stride, around = self.stride, self.context // 2
        # Interpolation: one frame on each side, and centres that lie up to a frame apart.
        a_level = 2 * stride + around - 1 if self.upsample else stride * around
        frames = self._frames_of_all_levels * (self.kernel_size - 1 + a_level)
        if not self.resample:
            return frames
        return -(-frames // 2) + resampling.reach(1, 2) + -(-resampling.reach(2, 1) // 2)

    @property
    def margin(self) -> int:
        """The context, rounded up so that every block lies on the same frames."""
        return -(-self.reach // self.step) * self.step

    @property
    def _oversampling(self) -> int:
        return 2 if self.resample else 1

    @property
    def _frames_of_all_levels(self) -> int:
        """1 + stride + stride ** 2 + ...: what one frame more at every level adds up to."""
        return sum(self.stride**level for level in range(self.depth))


@keras.saving.register_keras_serializable("kzoo")
class PadToValid(keras.layers.Layer):
    """Zeros around a waveform `[batch, samples, channels]`, up to a length that the core takes.

    before: None, for `valid_length` with the waveform in its middle, or the number of zeros before
    it, and at least as many after it. sizes: the fields of `Lengths`.
    """

    def __init__(self, before: int | None, *, sizes: dict, **kwargs):
        super().__init__(**kwargs)
        self.before = before
        self.lengths = Lengths(**sizes)

    def length(self, samples):
        """The length of the result for a waveform of `samples` samples."""
        if self.before is None:
            return self.lengths.valid_length(samples)
        return self.lengths.rounded(samples + 2 * self.before, up=True)

    def call(self, waveform):
        samples = ops.shape(waveform)[1]
        missing = self.length(samples) - samples
        before = missing // 2 if self.before is None else self.before
        return _pad(waveform, 1, before, missing - before)

    def compute_output_shape(self, waveform_shape):
        batch, samples, channels = waveform_shape
        return (batch, None if samples is None else self.length(samples), channels)

    def get_config(self):
        sizes = dataclasses.asdict(self.lengths)
        return {**super().get_config(), "before": self.before, "sizes": sizes}


@keras.saving.register_keras_serializable("kzoo")
class TrimToInput(keras.layers.Layer):
    """Estimates of the padded waveform to those of the waveform; `before` as in `PadToValid`."""

    def __init__(self, before: int | None, **kwargs):
        super().__init__(**kwargs)
        self.before = before

    def call(self, estimates, padded, waveform):
        samples, estimated = ops.shape(waveform)[1], ops.shape(estimates)[2]
        lost = ops.shape(padded)[1] - estimated
        if self.before is None:
            start = (estimated - samples) // 2
        elif self.before == 0:
            estimates, start = _pad(estimates, 2, lost // 2, lost - lost // 2), 0
        else:
            start = self.before - lost // 2
        return estimates[:, :, start : start + samples]

    def compute_output_shape(self, estimates_shape, padded_shape, waveform_shape):
        return (*estimates_shape[:2], waveform_shape[1], estimates_shape[3])

    def get_config(self):
        return {**super().get_config(), "before": self.before}


@keras.saving.register_keras_serializable("kzoo")
class CenterTrim(keras.layers.Layer):
    """The middle of `[batch, frames, channels]`, as many frames as `reference` has."""

    def call(self, x, reference):
        frames = ops.shape(reference)[1]
        start = (ops.shape(x)[1] - frames) // 2
        # The gradient of x[:, start : start + frames] takes TensorFlow three times as long.
        return ops.slice(x, (0, start, 0), (ops.shape(x)[0], frames, x.shape[2]))

    def compute_output_shape(self, x_shape, reference_shape):
        return (x_shape[0], reference_shape[1], x_shape[2])


def _pad(x, axis, before, after):
    if isinstance(before, int) and isinstance(after, int):
        # Not joined to zeros, which TFLite would store.
        return ops.pad(x, [(before, after) if i == axis else (0, 0) for i in range(len(x.shape))])
    return ops.moveaxis(pad_last(ops.moveaxis(x, axis, -1), before, after), -1, axis)
