"""Parts of DeepFilterNet: features of a spectrum by running means, and filters along its frames.

Schroeter et al., 2022, DeepFilterNet2, https://arxiv.org/abs/2205.05474, and 2023, DeepFilterNet:
Perceptually motivated real-time speech enhancement, https://arxiv.org/abs/2305.08227; the numbers
are those of the authors' library, https://github.com/Rikorose/DeepFilterNet

Spectra are (real, imag), each `[batch, frames, bins]`.
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import layers, ops

from kzoo.dsp.dft import irdft, rdft
from kzoo.dsp.framing import overlap_add, pad_last
from kzoo.dsp.stft import magnitude
from kzoo.dsp.windows import window

BLOCK = 128  # frames of a running mean that one matrix product takes together


def erb_widths(sample_rate: int, n_fft: int, bands: int, least: int) -> tuple[int, ...]:
    """How many bins each band has: steps of one size on the scale of equivalent rectangles.

    least: bins of a band at the least; what a low band has too many, the next has fewer. Raises
    ValueError where that leaves nothing for the last.
    """
    top = 9.265 * math.log1p(sample_rate / 2 / (24.7 * 9.265))
    edges = 24.7 * 9.265 * np.expm1(np.arange(1, bands + 1) * top / bands / 9.265)
    widths, before, owed = [], 0, 0
    for edge in np.floor(edges * n_fft / sample_rate + 0.5).astype(int).tolist():
        width = edge - before - owed
        owed = max(least - width, 0)
        widths.append(max(width, least))
        before = edge
    widths[-1] = n_fft // 2 + 1 - sum(widths[:-1])
    if widths[-1] < 1:
        raise ValueError(
            f"{bands} bands of {least} bins or more do not fit in the {n_fft // 2 + 1} bins of "
            f"n_fft={n_fft}: use fewer bands or a larger n_fft"
        )
    return tuple(widths)


def running_mean(x, before, decay: float):
    """s[t] = decay * s[t - 1] + (1 - decay) * x[t] over `x` `[batch, frames, features]`.

    before: s before the first frame, `[batch or 1, features]`. Computed as the recurrence's exact
    solution, by triangular matrices within blocks of frames and between them.
    """
    count, length = ops.shape(x)[1], min(x.shape[1] or BLOCK, BLOCK)
    blocks = -(-count // length)
    features = x.shape[2]
    x = pad_last(ops.swapaxes(x, 1, 2), 0, blocks * length - count)
    x = ops.reshape(x, (-1, features, blocks, length))
    weights = (1 - decay) * _powers(decay, length).T
    within = ops.matmul(x, ops.convert_to_tensor(weights, x.dtype))
    before = ops.expand_dims(before, -1)  # [batch or 1, features, 1]
    if isinstance(blocks, int) and blocks == 1:
        carried = before
    else:
        after = ops.matmul(within[..., -1], ops.transpose(_powers(decay**length, blocks)))
        faded = before * decay ** (length * ops.cast(ops.arange(blocks), x.dtype))
        carried = pad_last(after[..., :-1], 1, 0) + faded
    fading = ops.convert_to_tensor(decay ** np.arange(1, length + 1), x.dtype)
    mean = within + ops.expand_dims(carried, -1) * fading
    mean = ops.reshape(mean, (-1, features, blocks * length))[..., :count]
    return ops.swapaxes(mean, 1, 2)


def _powers(decay: float, size):
    """`[size, size]`: decay ** (i - j) on and below the diagonal, 0 above it."""
    if isinstance(size, int):
        ages = np.subtract.outer(np.arange(size), np.arange(size))
        return np.where(ages >= 0, decay ** np.maximum(ages, 0.0), 0).astype("float32")
    places = ops.cast(ops.arange(size), "float32")
    ages = ops.expand_dims(places, 1) - places
    return ops.where(ages >= 0, decay ** ops.maximum(ages, 0.0), 0.0)


@keras.saving.register_keras_serializable("kzoo")
class WindowedSpectrum(layers.Layer):
    """Frames `[batch, n, n_fft]` to (real, imag) `[batch, n, n_fft // 2 + 1]`.

    The window is Vorbis's; the transform is divided by n_fft, so that levels do not depend on it.
    """

    def call(self, frames):
        n_fft = frames.shape[-1]
        shape = ops.convert_to_tensor(window("vorbis", n_fft) / n_fft, frames.dtype)
        return rdft(frames * shape)

    def compute_output_shape(self, frames_shape):
        shape = (*frames_shape[:-1], frames_shape[-1] // 2 + 1)
        return shape, shape


@keras.saving.register_keras_serializable("kzoo")
class WindowedFrames(layers.Layer):
    """The inverse of `WindowedSpectrum`, windowed again: added up by half frames they are whole."""

    def __init__(self, n_fft: int, **kwargs):
        super().__init__(**kwargs)
        self.n_fft = n_fft

    def call(self, real, imag):
        shape = window("vorbis", self.n_fft) * self.n_fft
        return irdft(real, imag, self.n_fft) * ops.convert_to_tensor(shape, real.dtype)

    def compute_output_shape(self, real_shape, imag_shape):
        return (*real_shape[:-1], self.n_fft)

    def get_config(self):
        return {**super().get_config(), "n_fft": self.n_fft}


@keras.saving.register_keras_serializable("kzoo")
class BandLevels(layers.Layer):
    """(real, imag) to levels `[batch, frames, bands]` in dB, not below -100.

    widths: bins of each band, from bin 0 on. A level is of the band's mean power.
    """

    def __init__(self, widths, **kwargs):
        super().__init__(**kwargs)
        self.widths = tuple(widths)

    def call(self, real, imag):
        means = np.repeat(np.diag(1 / np.array(self.widths)), self.widths, axis=0)
        power = ops.matmul(real * real + imag * imag, ops.convert_to_tensor(means, real.dtype))
        return 10.0 * ops.log10(power + 1e-10)

    def compute_output_shape(self, real_shape, imag_shape):
        return (*real_shape[:-1], len(self.widths))

    def get_config(self):
        return {**super().get_config(), "widths": list(self.widths)}


@keras.saving.register_keras_serializable("kzoo")
class BandGains(layers.Layer):
    """Gains `[batch, frames, bands]` to those of the bins from `first` on, each as its band has it.

    widths: as in `BandLevels`.
    """

    def __init__(self, widths, first: int = 0, **kwargs):
        super().__init__(**kwargs)
        self.widths, self.first = tuple(widths), first

    def call(self, gains):
        places = np.repeat(np.eye(len(self.widths)), self.widths, axis=1)[:, self.first :]
        return ops.matmul(gains, ops.convert_to_tensor(places, gains.dtype))

    def compute_output_shape(self, gains_shape):
        return (*gains_shape[:-1], sum(self.widths) - self.first)

    def get_config(self):
        return {**super().get_config(), "widths": list(self.widths), "first": self.first}


class _RunningNorm(layers.Layer):
    """decay: of the running mean. It starts between `first` and `last`, over the features."""

    first: float
    last: float

    def __init__(self, decay: float, **kwargs):
        super().__init__(**kwargs)
        self.decay = decay

    @classmethod
    def start(cls, features: int) -> np.ndarray:
        """The running mean before the first frame, `[1, features]`."""
        return np.linspace(cls.first, cls.last, features, dtype="float32")[None]

    def get_config(self):
        return {**super().get_config(), "decay": self.decay}


@keras.saving.register_keras_serializable("kzoo")
class RunningMeanNorm(_RunningNorm):
    """Levels `[batch, frames, features]` in dB less their running mean, in units of 40 dB.

    Called with the mean before the first frame as well, it also gives the mean after the last.
    """

    first, last = -60.0, -90.0

    def call(self, levels, before=None):
        start = self.start(levels.shape[-1]) if before is None else before
        mean = running_mean(levels, ops.convert_to_tensor(start), self.decay)
        normed = (levels - mean) / 40.0
        return normed if before is None else (normed, ops.squeeze(mean[:, -1:], 1))

    def compute_output_shape(self, levels_shape, before_shape=None):
        return levels_shape if before_shape is None else (levels_shape, before_shape)


@keras.saving.register_keras_serializable("kzoo")
class RunningUnitNorm(_RunningNorm):
    """(real, imag) divided by the root of the magnitude's running mean: `[..., bins, 2]`.

    Called with the mean before the first frame as well, it also gives the mean after the last.
    """

    first, last = 1e-3, 1e-4

    def call(self, real, imag, before=None):
        start = self.start(real.shape[-1]) if before is None else before
        mean = running_mean(magnitude(real, imag), ops.convert_to_tensor(start), self.decay)
        root = ops.sqrt(mean)
        parts = [ops.expand_dims(x / root, -1) for x in (real, imag)]
        normed = ops.concatenate(parts, axis=-1)
        return normed if before is None else (normed, ops.squeeze(mean[:, -1:], 1))

    def compute_output_shape(self, real_shape, imag_shape, before_shape=None):
        normed = (*real_shape, 2)
        return normed if before_shape is None else (normed, before_shape)


@keras.saving.register_keras_serializable("kzoo")
class FramesAhead(layers.Layer):
    """`[batch, n, ...]` as it is `frames` frames later, with zeros after its end."""

    def __init__(self, frames: int, **kwargs):
        super().__init__(**kwargs)
        self.frames = frames

    def call(self, x):
        width = [(0, 0), (0, self.frames), *[(0, 0)] * (len(x.shape) - 2)]
        return ops.pad(x, width)[:, self.frames :]

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "frames": self.frames}


@keras.saving.register_keras_serializable("kzoo")
class DeepFilter(layers.Layer):
    """A filter of each bin along its frames: Y[t] = sum over o of C[t, o] X[t - before + o].

    (real, imag) `[batch, n, bins]` and coefficients `[batch, n, bins, 2 * order]`, real and
    imaginary parts in turn, to (real, imag). before, after: how many frames of X around t are
    heard, 1 + before + after = order; outside the signal X is 0.
    surrounded: whether X comes with those frames already, `[batch, before + n + after, bins]`.
    """

    def __init__(self, before: int, after: int, surrounded: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.before, self.after, self.surrounded = before, after, surrounded

    def call(self, real, imag, coefficients):
        (batch, frames), bins = ops.shape(coefficients)[:2], coefficients.shape[2]
        order = 1 + self.before + self.after
        heard = []
        for x in (real, imag):
            if not self.surrounded:
                x = ops.pad(x, [(0, 0), (self.before, self.after), (0, 0)])
            around = [x] if x.shape[1] == order else [x[:, o : o + frames] for o in range(order)]
            x = ops.concatenate(around, axis=-1) if len(around) > 1 else x
            heard.append(ops.reshape(x, (batch, frames, order, bins)))
        re, im = heard
        # Bins last, and slices of an axis before them: TFLite picks every other number slowly.
        filters = ops.transpose(coefficients, (0, 1, 3, 2))
        filters = ops.reshape(filters, (batch, frames, order, 2 * bins))
        filter_re, filter_im = filters[..., :bins], filters[..., bins:]
        return (
            ops.sum(filter_re * re - filter_im * im, axis=2),
            ops.sum(filter_re * im + filter_im * re, axis=2),
        )

    def compute_output_shape(self, real_shape, imag_shape, coefficients_shape):
        return coefficients_shape[:3], coefficients_shape[:3]

    def get_config(self):
        around = {"before": self.before, "after": self.after, "surrounded": self.surrounded}
        return {**super().get_config(), **around}


@keras.saving.register_keras_serializable("kzoo")
class PostFilter(layers.Layer):
    """Bins that were attenuated much are attenuated more, the others raised a little.

    (real, imag) of the estimate and (real, imag) of what it was made from, to (real, imag); the
    rule is Valin's, 2020, A perceptually-motivated approach, https://arxiv.org/abs/2008.04259
    beta: the strength. last: whether the last bin is among them, which the authors' streaming
    library, with its groups of four, leaves as it is.
    """

    def __init__(self, beta: float, last: bool = True, **kwargs):
        super().__init__(**kwargs)
        self.beta, self.last = beta, last

    def call(self, real, imag, noisy_real, noisy_imag):
        gain = magnitude(real, imag) / (magnitude(noisy_real, noisy_imag) + 1e-12)
        gain = ops.clip(gain, 1e-12, 1.0)
        sine = ops.sin(gain * (np.pi / 2))
        factor = (1 + self.beta) / (1.0 + self.beta * ops.square(1.0 / sine))
        if not self.last:
            kept = ops.ones_like(factor[..., -1:])
            factor = ops.concatenate([factor[..., :-1], kept], axis=-1)
        return real * factor, imag * factor

    def compute_output_shape(self, real_shape, imag_shape, noisy_real_shape, noisy_imag_shape):
        return real_shape, imag_shape

    def get_config(self):
        return {**super().get_config(), "beta": self.beta, "last": self.last}


@keras.saving.register_keras_serializable("kzoo")
class AttenuationLimit(layers.Layer):
    """(estimate, what it was made from) mixed, so that nothing is attenuated by more than this."""

    def __init__(self, limit_db: float, **kwargs):
        super().__init__(**kwargs)
        self.limit_db = limit_db

    def call(self, estimate, noisy):
        share = 10 ** (-self.limit_db / 20)
        return share * noisy + (1 - share) * estimate

    def compute_output_shape(self, estimate_shape, noisy_shape):
        return estimate_shape

    def get_config(self):
        return {**super().get_config(), "limit_db": self.limit_db}


@keras.saving.register_keras_serializable("kzoo")
class GroupedDense(layers.Layer):
    """A dense layer without bias of each of `groups` parts of the features by itself.

    `[batch, frames, features]` to `[batch, frames, units]`.
    """

    def __init__(self, units: int, groups: int, activation=None, **kwargs):
        super().__init__(**kwargs)
        self.units, self.groups = units, groups
        self.activation = keras.activations.get(activation)

    def build(self, input_shape):
        wide, units = input_shape[-1] // self.groups, self.units // self.groups
        if (wide * self.groups, units * self.groups) != (input_shape[-1], self.units):
            raise ValueError(
                f"features and units must be multiples of groups={self.groups}; got "
                f"{input_shape[-1]} features, {self.units} units"
            )
        self.kernel = self.add_weight((self.groups, wide, units), name="kernel")

    def call(self, x):
        batch, frames = ops.shape(x)[:2]
        x = ops.reshape(x, (-1, self.groups, x.shape[-1] // self.groups))
        x = ops.matmul(ops.swapaxes(x, 0, 1), self.kernel)  # [groups, batch * frames, units]
        x = ops.reshape(ops.swapaxes(x, 0, 1), (batch, frames, self.units))
        return self.activation(x)

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], self.units)

    def get_config(self):
        activation = keras.activations.serialize(self.activation)
        sizes = {"units": self.units, "groups": self.groups, "activation": activation}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable("kzoo")
class GroupedFrameConv(layers.Layer):
    """A convolution along frames, causal and without bias, of groups of channels by themselves.

    `[batch, n, bins, channels]` to `[batch, n, bins, filters]`. Keras has one, but on a CPU only
    through XLA, which no export knows. Called with what the frames before add to those after them,
    `[batch, (kernel_frames - 1) * bins * filters]`, it also gives the same after the last frame: a
    stream keeps these sums, as they are smaller than the frames themselves.
    """

    def __init__(self, filters: int, kernel_frames: int, groups: int, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.kernel_frames, self.groups = filters, kernel_frames, groups

    def build(self, x_shape, before_shape=None):
        shape = (self.kernel_frames, 1, x_shape[-1] // self.groups, self.filters)
        self.kernel = self.add_weight(shape, name="kernel")

    def call(self, x, before=None):
        wide, filters = x.shape[-1] // self.groups, self.filters // self.groups
        groups = [
            (x[..., n * wide : (n + 1) * wide], self.kernel[..., n * filters : (n + 1) * filters])
            for n in range(self.groups)
        ]
        if before is None:
            width = [(0, 0), (self.kernel_frames - 1, 0), (0, 0), (0, 0)]
            return ops.concatenate([ops.conv(ops.pad(x, width), k) for x, k in groups], axis=-1)
        frames, bins = x.shape[1:3]
        sums = []
        for part, kernel in groups:
            kernel = ops.transpose(ops.flip(kernel, axis=0), (1, 2, 0, 3))  # the frame's own first
            y = ops.conv(part, ops.reshape(kernel, (1, 1, wide, -1)))
            sums.append(ops.reshape(y, (-1, frames, bins, self.kernel_frames, filters)))
        sums = ops.swapaxes(ops.concatenate(sums, axis=-1), 2, 3)
        size = bins * self.filters
        sums = overlap_add(ops.reshape(sums, (-1, frames, self.kernel_frames * size)), size)
        sums = sums + ops.pad(before, ((0, 0), (0, frames * size)))
        done = ops.reshape(sums[:, : frames * size], (-1, frames, bins, self.filters))
        return done, sums[:, frames * size :]

    def compute_output_shape(self, x_shape, before_shape=None):
        shape = (*x_shape[:-1], self.filters)
        return shape if before_shape is None else (shape, before_shape)

    def get_config(self):
        sizes = {"kernel_frames": self.kernel_frames, "groups": self.groups}
        return {**super().get_config(), "filters": self.filters, **sizes}


class _OverBins(layers.Layer):
    """Three taps of each channel over the bins of `[batch, frames, bins, channels]`, no bias."""

    def build(self, input_shape):
        self.kernel = self.add_weight((3, input_shape[-1]), name="kernel")


@keras.saving.register_keras_serializable("kzoo")
class HalveBins(_OverBins):
    """A depthwise convolution with stride 2, centred on the even bins, whose number is even."""

    def call(self, x):
        (batch, frames), (bins, channels) = ops.shape(x)[:2], x.shape[2:]
        # A row for each frame: TensorFlow has one stride for rows and columns.
        x = ops.reshape(x, (-1, 1, bins, channels))
        x = ops.pad(x, [(0, 0), (0, 0), (1, 0), (0, 0)])
        x = ops.depthwise_conv(x, ops.reshape(self.kernel, (1, 3, channels, 1)), strides=2)
        return ops.reshape(x, (batch, frames, bins // 2, channels))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], input_shape[2] // 2, input_shape[3])


@keras.saving.register_keras_serializable("kzoo")
class DoubleBins(_OverBins):
    """The transpose of `HalveBins`: `[batch, frames, 2 * bins, channels]`."""

    def call(self, x):
        (batch, frames), (bins, channels) = ops.shape(x)[:2], x.shape[2:]
        after = ops.pad(x, [(0, 0), (0, 0), (0, 1), (0, 0)])[:, :, 1:]
        even, odd = self.kernel[1] * x, self.kernel[2] * x + self.kernel[0] * after
        x = ops.concatenate([even, odd], axis=-1)
        return ops.reshape(x, (batch, frames, 2 * bins, channels))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], 2 * input_shape[2], input_shape[3])


@keras.saving.register_keras_serializable("kzoo")
class Beside(layers.Layer):
    """(x, other) to x: `other` is computed from the same, and a graph of both can be drawn."""

    def call(self, x, other):
        return x

    def compute_output_shape(self, x_shape, other_shape):
        return x_shape
