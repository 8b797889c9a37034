"""Lengths that leave no frame over in Demucs, and the layers that bring waveforms to them and back.

The arithmetic is for integers, and for scalar tensors where a length is not known. `size` holds
depth, kernel_size, stride, context, upsample and resample, as in `demucs.core`.
"""

from __future__ import annotations

import keras
from keras import ops

from kzoo.dsp import resampling
from kzoo.dsp.framing import pad_last

OPTIONS = ("depth", "kernel_size", "stride", "context", "upsample", "resample")


def valid_length(length, size):
    """What the reference's `valid_length` says: enough for an estimate of `length` samples."""
    kernel, stride = size["kernel_size"], size["stride"]
    length = length * _oversampling(size)
    for _ in range(size["depth"]):
        if size["upsample"]:
            length = -(-length // stride) + kernel - 1
        else:
            length = -(-(length - kernel) // stride) + 1
        at_least_one = max(length, 1) if isinstance(length, int) else ops.maximum(length, 1)
        length = at_least_one + size["context"] - 1
    for _ in range(size["depth"]):
        length = length * stride + kernel - (1 if size["upsample"] else stride)
    return -(-length // _oversampling(size))


def rounded(length, size, *, up: bool):
    """The nearest length that leaves no frame over in any level: one in stride ** depth does."""
    step, levels = size["stride"] ** size["depth"], _levels(size)
    rest = levels * (size["kernel_size"] - (1 if size["upsample"] else size["stride"]))
    length = length * _oversampling(size) - rest
    steps = -(-length // step) if up else length // step
    return -(-(steps * step + rest) // _oversampling(size))


def is_valid(length: int, size) -> bool:
    """Whether no frame is left over, and there is enough for one sample of an estimate."""
    return length == max(rounded(length, size, up=False), valid_length(1, size))


def _oversampling(size) -> int:
    return 2 if size["resample"] else 1


def _levels(size) -> int:
    """1 + stride + stride ** 2 + ...: what one frame more at every level adds up to."""
    return sum(size["stride"] ** level for level in range(size["depth"]))


def reach(size) -> int:
    """Samples that an estimate hears to each side, at most, without LSTM and normalisation."""
    stride, around = size["stride"], size["context"] // 2
    # Interpolation: one frame on each side, and centres that lie up to a frame apart.
    a_level = 2 * stride + around - 1 if size["upsample"] else stride * around
    frames = _levels(size) * (size["kernel_size"] - 1 + a_level)
    if not size["resample"]:
        return frames
    return -(-frames // 2) + resampling.reach(1, 2) + -(-resampling.reach(2, 1) // 2)


def margin(size) -> int:
    """The context, rounded up so that every block lies on the same frames."""
    step = size["stride"] ** size["depth"]
    return -(-reach(size) // step) * step


@keras.saving.register_keras_serializable("kzoo")
class PadToValid(keras.layers.Layer):
    """Zeros around a waveform `[batch, samples, channels]`, up to a length that the core takes.

    before: None, for `valid_length` with the waveform in its middle, or the number of zeros before
    it, and at least as many after it.
    """

    def __init__(
        self, before, *, depth, kernel_size, stride, context, upsample, resample, **kwargs
    ):
        super().__init__(**kwargs)
        self.before = before
        self.size = {"depth": depth, "kernel_size": kernel_size, "stride": stride,
                     "context": context, "upsample": upsample, "resample": resample}  # fmt: skip

    def length(self, samples):
        """Of the result."""
        if self.before is None:
            return valid_length(samples, self.size)
        return rounded(samples + 2 * self.before, self.size, up=True)

    def call(self, waveform):
        samples = ops.shape(waveform)[1]
        missing = self.length(samples) - samples
        before = missing // 2 if self.before is None else self.before
        return _pad(waveform, 1, before, missing - before)

    def get_config(self):
        return {**super().get_config(), "before": self.before, **self.size}


@keras.saving.register_keras_serializable("kzoo")
class TrimToInput(keras.layers.Layer):
    """Estimates of the padded waveform to those of the waveform; `before` as in `PadToValid`."""

    def __init__(self, before, **kwargs):
        super().__init__(**kwargs)
        self.before = before

    def call(self, estimates, padded, waveform):
        samples, found = ops.shape(waveform)[1], ops.shape(estimates)[2]
        lost = ops.shape(padded)[1] - found
        if self.before is None:
            start = (found - samples) // 2
        elif self.before == 0:
            estimates, start = _pad(estimates, 2, lost // 2, lost - lost // 2), 0
        else:
            start = self.before - lost // 2
        return estimates[:, :, start : start + samples]

    def get_config(self):
        return {**super().get_config(), "before": self.before}


@keras.saving.register_keras_serializable("kzoo")
class CenterTrim(keras.layers.Layer):
    """The middle of `[batch, frames, channels]`, as many frames as `reference` has."""

    def call(self, x, reference):
        frames = ops.shape(reference)[1]
        start = (ops.shape(x)[1] - frames) // 2
        return x[:, start : start + frames]


def _pad(x, axis, before, after):
    if isinstance(before, int) and isinstance(after, int):
        # Not joined to zeros, which TFLite would store.
        return ops.pad(x, [(before, after) if i == axis else (0, 0) for i in range(len(x.shape))])
    return ops.moveaxis(pad_last(ops.moveaxis(x, axis, -1), before, after), -1, axis)
