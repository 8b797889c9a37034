"""What a sparse compression network has between spectrum and estimate.

Tong et al., 2024, SCNet, https://arxiv.org/abs/2401.13276. All layers take and give
`[batch, frames, bins, channels]`.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from kzoo.dsp import dft
from kzoo.layers.norms import BinNorm


@keras.saving.register_keras_serializable("kzoo")
class CompressedResidual(layers.Layer):
    """What passes, and what convolutions over the frames of each bin add to it.

    hidden: channels between the two convolutions. kernel_size: of both, in frames.
    """

    def __init__(self, hidden: int, kernel_size: int = 3, **kwargs):
        super().__init__(**kwargs)
        self.hidden, self.kernel_size = hidden, kernel_size

    def build(self, shape):
        length, policy = (self.kernel_size, 1), self.dtype_policy
        self.norm1 = BinNorm(1e-5, dtype=policy, name="norm1")
        self.conv = layers.Conv2D(
            2 * self.hidden, length, padding="same", dtype=policy, name="conv"
        )
        self.depthwise = layers.DepthwiseConv2D(
            length, padding="same", dtype=policy, name="depthwise"
        )
        self.norm2 = BinNorm(1e-5, dtype=policy, name="norm2")
        self.dense = layers.Dense(shape[-1], dtype=policy, name="dense")
        narrow = (*shape[:-1], self.hidden)
        for layer, its_shape in (
            (self.norm1, shape), (self.conv, shape), (self.depthwise, narrow),
            (self.norm2, narrow), (self.dense, narrow),
        ):  # fmt: skip
            layer.build(its_shape)

    def call(self, inputs):
        x = self.depthwise(gated(self.conv(self.norm1(inputs))))
        return inputs + self.dense(ops.silu(self.norm2(x)))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "hidden": self.hidden, "kernel_size": self.kernel_size}


@keras.saving.register_keras_serializable("kzoo")
class NarrowBand(layers.Layer):
    """A convolution whose kernel is its stride: each `stride` bins become one of `filters`.

    Zeros on both sides, the fewer ones below, fill the last one up.
    """

    def __init__(self, filters: int, stride: int, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.stride = filters, stride

    def build(self, shape):
        self.kernel = self.add_weight(shape=(self.stride * shape[-1], self.filters), name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x):
        frames, bins, channels = ops.shape(x)[1], x.shape[2], x.shape[3]
        missing = -bins % self.stride
        x = ops.pad(x, ((0, 0), (0, 0), (missing // 2, missing - missing // 2), (0, 0)))
        steps, wide = (bins + missing) // self.stride, self.stride * channels
        return ops.matmul(ops.reshape(x, (-1, frames, steps, wide)), self.kernel) + self.bias

    def compute_output_shape(self, shape):
        return (*shape[:2], -(-shape[2] // self.stride), self.filters)

    def get_config(self):
        return {**super().get_config(), "filters": self.filters, "stride": self.stride}


@keras.saving.register_keras_serializable("kzoo")
class WidenBand(layers.Layer):
    """A transposed convolution whose kernel is its stride: `stride` bins of `filters` from each.

    bins: the middle ones that are kept, the fewer ones of the others lie below.
    """

    def __init__(self, filters: int, stride: int, bins: int, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.stride, self.bins = filters, stride, bins

    def build(self, shape):
        self.kernel = self.add_weight(shape=(shape[-1], self.stride * self.filters), name="kernel")
        self.bias = self.add_weight(shape=(self.filters,), initializer="zeros", name="bias")

    def call(self, x):
        all_bins, frames = x.shape[2] * self.stride, ops.shape(x)[1]
        x = ops.reshape(ops.matmul(x, self.kernel), (-1, frames, all_bins, self.filters))
        start = (all_bins - self.bins) // 2
        return x[:, :, start : start + self.bins] + self.bias

    def compute_output_shape(self, shape):
        return (*shape[:2], self.bins, self.filters)

    def get_config(self):
        sizes = {"filters": self.filters, "stride": self.stride, "bins": self.bins}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable("kzoo")
class FusionConv(layers.Layer):
    """A 3 x 3 convolution of channels that are there twice, `[x, x]` to as many, and its gate.

    Kernels of the same input are added up before they are applied, which halves the products of
    the authors' form; weights and outputs are theirs.
    """

    def build(self, shape):
        wide = 2 * shape[-1]
        self.kernel = self.add_weight(shape=(3, 3, wide, wide), name="kernel")
        self.bias = self.add_weight(shape=(wide,), initializer="zeros", name="bias")

    def call(self, x):
        first, second = ops.split(self.kernel, 2, axis=2)
        return gated(ops.conv(x, first + second, padding="same") + self.bias)

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("kzoo")
class FrameTransform(layers.Layer):
    """The orthonormal Fourier transform over frames, or its inverse, of each bin and channel.

    An even number of frames becomes half as many and one; the channels double, real parts before
    imaginary ones. The inverse takes that back. float32 under any policy.
    """

    def __init__(self, inverse: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.inverse = inverse

    def call(self, x):
        x = ops.transpose(ops.cast(x, "float32"), (0, 2, 3, 1))  # [batch, bins, channels, frames]
        static = x.shape[-1] is not None
        if self.inverse:
            real, imag = ops.split(x, 2, axis=2)
            frames = 2 * (ops.shape(x)[-1] - 1)
            if static:  # as products, which TFLite has, of any length
                x = dft.irdft(real, imag, frames)
            else:
                x = ops.irfft((real, imag), fft_length=frames)
            x = ops.transpose(x * _root(frames), (0, 3, 1, 2))
        else:
            frames = ops.shape(x)[-1]
            parts = dft.rdft(x) if static else ops.rfft(x)
            x = ops.concatenate(
                [ops.transpose(part, (0, 3, 1, 2)) for part in parts], axis=-1
            ) / _root(frames)
        return ops.cast(x, self.compute_dtype)

    def compute_output_shape(self, shape):
        batch, frames, bins, channels = shape
        if self.inverse:
            return batch, None if frames is None else 2 * (frames - 1), bins, channels // 2
        return batch, None if frames is None else frames // 2 + 1, bins, 2 * channels

    def get_config(self):
        return {**super().get_config(), "inverse": self.inverse}


@keras.saving.register_keras_serializable("kzoo")
class PadToEvenFrames(layers.Layer):
    """`[batch, samples, channels]` followed by silence up to an odd number of hops, 1 sample least.

    A centred STFT then has an even number of frames. least: samples that the result has at least,
    as many as the STFT needs for the mirror image before it.
    """

    def __init__(self, hop_length: int, least: int, **kwargs):
        super().__init__(**kwargs)
        self.hop_length, self.least = hop_length, least

    def length(self, samples):
        """The length of the result for a waveform of `samples` samples."""
        fewest = -(-self.least // self.hop_length)
        hops = samples // self.hop_length + 1
        hops = max(hops, fewest) if isinstance(hops, int) else ops.maximum(hops, fewest)
        return (hops + (hops + 1) % 2) * self.hop_length

    def call(self, waveform):
        samples = ops.shape(waveform)[1]
        return ops.pad(waveform, ((0, 0), (0, self.length(samples) - samples), (0, 0)))

    def compute_output_shape(self, shape):
        batch, samples, channels = shape
        return batch, None if samples is None else self.length(samples), channels

    def get_config(self):
        return {**super().get_config(), "hop_length": self.hop_length, "least": self.least}


@keras.saving.register_keras_serializable("kzoo")
class SpectrumStatistics(layers.Layer):
    """Mean and deviation, unbiased, of all that an example holds, each `[batch, 1, 1, 1]`."""

    def call(self, x):
        mean = _mean(x)
        count = ops.cast(ops.shape(x)[1] * x.shape[2] * x.shape[3], x.dtype)
        variance = _mean(ops.square(x - mean)) * count / (count - 1)
        return mean, ops.sqrt(ops.maximum(variance, 1e-20))  # silence has a gradient, of zero


def gated(x):
    """The first half of the channels times the sigmoid of the second."""
    x, gate = ops.split(x, 2, axis=-1)
    return x * ops.sigmoid(gate)


def _mean(x):
    """`[batch, 1, 1, 1]`, axis by axis, as a plain sum of millions loses digits."""
    for axis in (3, 2, 1):
        x = ops.mean(x, axis=axis, keepdims=True)
    return x


def _root(count):
    return count**0.5 if isinstance(count, int) else ops.sqrt(ops.cast(count, "float32"))
