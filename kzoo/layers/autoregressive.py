"""Parts of networks that give a distribution of the next sample from those before it.

Sequences are `[batch, samples, channels]`. What a convolution hears of the past comes in beside the
present, oldest first, as `taps` has it: of a whole sequence by shifts, in a sampler from a buffer.
"""

from __future__ import annotations

import math
from typing import Literal

import keras
from keras import layers, ops

Output = Literal["softmax", "logistics", "gaussians"]


def taps(sequence, count: int, distance: int = 1):
    """Each sample behind the `count - 1` before it, `distance` apart; zeros before the first.

    `[batch, samples, channels]` to `[batch, samples, count * channels]`, the oldest first.
    """
    if count == 1:
        return sequence
    reach = distance * (count - 1)
    samples = ops.shape(sequence)[1]
    padded = ops.pad(sequence, ((0, 0), (reach, 0), (0, 0)))
    parts = [padded[:, k * distance : k * distance + samples] for k in range(count - 1)]
    return ops.concatenate([*parts, sequence], axis=-1)


@keras.saving.register_keras_serializable("kzoo")
class Taps(layers.Layer):
    """`taps` of a whole sequence."""

    def __init__(self, count: int, distance: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.count, self.distance = count, distance

    def call(self, sequence):
        return taps(sequence, self.count, self.distance)

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.count * shape[-1])

    def get_config(self):
        return {**super().get_config(), "count": self.count, "distance": self.distance}


@keras.saving.register_keras_serializable("kzoo")
class CodeTaps(layers.Layer):
    """A convolution of codes as vectors of one 1 and zeros: the kernel's rows, summed over taps.

    `[batch, samples, taps]` of code + 1, where 0 is nothing, to `[batch, samples, filters]`.
    """

    def __init__(self, filters: int, levels: int, use_bias: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.levels, self.use_bias = filters, levels, use_bias

    def build(self, shape):
        self.kernel = self.add_weight((shape[-1], self.levels, self.filters), name="kernel")
        self.bias = self.add_weight((self.filters,), "zeros", name="bias") if self.use_bias else 0.0

    def call(self, heard):
        heard = ops.cast(heard, "int32")
        total = ops.cast(self.bias, self.compute_dtype)
        for tap in range(self.kernel.shape[0]):
            code = heard[..., tap]
            rows = ops.take(self.kernel[tap], ops.maximum(code - 1, 0), axis=0)
            total = total + ops.where((code > 0)[..., None], rows, 0.0)
        return total

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.filters)

    def get_config(self):
        own = {"filters": self.filters, "levels": self.levels, "use_bias": self.use_bias}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("kzoo")
class GatedBlock(layers.Layer):
    """(taps `[..., taps * residual]`, what conditions add `[..., 2 * gate]` or None) to (x, skip).

    tanh(a) * sigmoid(b) of one product's halves, then a product to `skip` channels and one that is
    added to the present sample. van den Oord et al., 2016, WaveNet.
    residual, gate, skip: channels. scaled: the sum has half of its power, as in r9y9's.
    last: nobody hears its x, so what would give it is kept, and does not learn.
    """

    def __init__(
        self, residual: int, gate: int, skip: int, scaled: bool = False, use_bias: bool = True,
        last: bool = False, **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.residual, self.gate, self.skip = residual, gate, skip
        self.scaled, self.use_bias, self.last = scaled, use_bias, last
        make = {"use_bias": use_bias, "dtype": self.dtype_policy}
        self.gates = layers.Dense(2 * gate, name="gates", **make)
        self.to_residual = layers.Dense(residual, name="residual", trainable=not last, **make)
        self.to_skip = layers.Dense(skip, name="skip", **make)

    def build(self, heard_shape, condition_shape=None):
        self.gates.build(heard_shape)
        self.to_residual.build((*heard_shape[:-1], self.gate))
        self.to_skip.build((*heard_shape[:-1], self.gate))

    def call(self, heard, condition=None):
        return self.passed(heard, condition, lambda layer, x: layer(x))

    def passed(self, heard, condition, run):
        """Same as `call`, with its three layers as `run(layer, input)` has them."""
        gates = run(self.gates, heard)
        if condition is not None:
            gates = gates + condition
        opened, shut = ops.split(gates, 2, axis=-1)
        z = ops.tanh(opened) * ops.sigmoid(shut)
        x = heard[..., -self.residual :] + run(self.to_residual, z)
        return x * math.sqrt(0.5) if self.scaled else x, run(self.to_skip, z)

    def compute_output_shape(self, heard_shape, condition_shape=None):
        return (*heard_shape[:-1], self.residual), (*heard_shape[:-1], self.skip)

    def get_config(self):
        own = {name: getattr(self, name) for name in ("residual", "gate", "skip", "scaled")}
        return {**super().get_config(), **own, "use_bias": self.use_bias, "last": self.last}


@keras.saving.register_keras_serializable("kzoo")
class NextSample(layers.Layer):
    """What the last layer gives, and how the next sample is drawn from it, float32 as it is.

    output: "softmax": `levels` logits of codes; "logistics" or "gaussians": of each component its
        logit, its mean and its log scale, all of one kind together.
    levels: of the codes, or of the amplitudes that logistics tell apart.
    """

    def __init__(self, output: Output, levels: int, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.output_kind, self.levels = output, levels

    def call(self, parameters):
        return parameters

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "output": self.output_kind, "levels": self.levels}


@keras.saving.register_keras_serializable("kzoo")
class RepeatFrames(layers.Layer):
    """Frames `[batch, frames, features]` to samples, each as often as a hop has samples."""

    def __init__(self, hop_length: int, **kwargs):
        super().__init__(**kwargs)
        self.hop_length = hop_length

    def call(self, frames):
        return ops.repeat(frames, self.hop_length, axis=1)

    def compute_output_shape(self, shape):
        return (shape[0], None if shape[1] is None else shape[1] * self.hop_length, shape[2])

    def get_config(self):
        return {**super().get_config(), "hop_length": self.hop_length}


@keras.saving.register_keras_serializable("kzoo")
class LearnedUpsampling(layers.Layer):
    """Frames `[batch, frames, features]` to samples: repeated and smoothed, scale after scale.

    A convolution of all features over 2 * pad + 1 frames first, the frames at the ends repeated;
    then for each of `scales` every frame so often, and a convolution of one filter over
    `feature_taps` features and 2 * scale + 1 frames. As in https://github.com/r9y9/wavenet_vocoder.
    pad_ends: without it the frames at the ends are context that is given, 2 * pad of them.
    """

    def __init__(
        self, scales, pad: int = 2, feature_taps: int = 1, pad_ends: bool = True, **kwargs
    ):
        super().__init__(**kwargs)
        self.scales, self.pad, self.feature_taps = tuple(scales), pad, feature_taps
        self.pad_ends = pad_ends

    def build(self, shape):
        width = shape[-1]
        self.first = self.add_weight((2 * self.pad + 1, width, width), name="first")
        self.kernels = [
            self.add_weight(
                (2 * scale + 1, self.feature_taps, 1, 1),
                keras.initializers.Constant(1 / (self.feature_taps * (2 * scale + 1))),
                name=f"smoothing{number}",
            )
            for number, scale in enumerate(self.scales, start=1)
        ]

    def call(self, frames):
        if self.pad and self.pad_ends:
            ends = [ops.repeat(end, self.pad, axis=1) for end in (frames[:, :1], frames[:, -1:])]
            frames = ops.concatenate([ends[0], frames, ends[1]], axis=1)
        x = ops.conv(frames, ops.cast(self.first, frames.dtype), padding="valid")[..., None]
        for scale, kernel in zip(self.scales, self.kernels, strict=True):
            x = ops.repeat(x, scale, axis=1)
            x = ops.conv(x, ops.cast(kernel, x.dtype), padding="same")
        return ops.squeeze(x, -1)

    def compute_output_shape(self, shape):
        frames = shape[1]
        if frames is not None:
            frames = (frames - (0 if self.pad_ends else 2 * self.pad)) * math.prod(self.scales)
        return (shape[0], frames, shape[2])

    def get_config(self):
        own = {name: getattr(self, name) for name in ("scales", "pad", "feature_taps", "pad_ends")}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable("kzoo")
class TransposedUpsampling(layers.Layer):
    """Frames `[batch, frames, features]` to samples by transposed convolutions, each rectified.

    For each of `scales` a frame becomes so many, one filter over `feature_taps` features, which is
    odd, says how; frames know nothing of each other. As in 0.1 of
    https://github.com/r9y9/wavenet_vocoder, with features of 0 to 1.
    """

    def __init__(self, scales, feature_taps: int = 1, **kwargs):
        super().__init__(**kwargs)
        self.scales, self.feature_taps = tuple(scales), feature_taps

    def build(self, shape):
        average = keras.initializers.Constant(1 / self.feature_taps)
        self.kernels = [
            self.add_weight((self.feature_taps, scale), average, name=f"kernel{number}")
            for number, scale in enumerate(self.scales, start=1)
        ]
        self.biases = [
            self.add_weight((1,), "zeros", name=f"bias{number}")
            for number in range(1, len(self.scales) + 1)
        ]

    def call(self, frames):
        x, features, reach = frames, frames.shape[-1], self.feature_taps - 1
        for kernel, bias in zip(self.kernels, self.biases, strict=True):
            padded = ops.pad(x, ((0, 0), (0, 0), (reach // 2, reach // 2)))
            taps = [padded[..., k : k + features] for k in range(reach, -1, -1)]
            x = ops.matmul(ops.stack(taps, axis=-1), ops.cast(kernel, x.dtype))
            x = ops.transpose(x, (0, 1, 3, 2))  # [batch, frames, scale, features]
            x = ops.relu(ops.reshape(x, (ops.shape(x)[0], -1, features)) + ops.cast(bias, x.dtype))
        return x

    def compute_output_shape(self, shape):
        frames = None if shape[1] is None else shape[1] * math.prod(self.scales)
        return (shape[0], frames, shape[2])

    def get_config(self):
        own = {"scales": self.scales, "feature_taps": self.feature_taps}
        return {**super().get_config(), **own}
