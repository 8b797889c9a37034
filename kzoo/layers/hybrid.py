"""Parts of hybrid Demucs: its spectrogram and back, and what both branches are joined by.

https://github.com/adefossez/demucs, hdemucs.py and htdemucs.py
"""

from __future__ import annotations

import math

import keras
from keras import layers, ops

from kzoo.dsp import windows
from kzoo.dsp.framing import pad_last
from kzoo.dsp.stft import istft, magnitude, stft
from kzoo.layers.folded_conv import FoldedConv1DTranspose
from kzoo.layers.rescaled import RescaledUniform, rescaled_bias


class _Transform(layers.Layer):
    """n_fft: of windows that follow each other by a quarter; frames are as many as hops.

    late: as some networks of 2021 were trained, by mistake.
    """

    def __init__(self, n_fft: int, *, late: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.n_fft, self.hop_length, self.late = n_fft, n_fft // 4, late
        self.margin = self.hop_length // 2 * 3  # samples before the first frame's middle hop

    def get_config(self):
        return {**super().get_config(), "n_fft": self.n_fft, "late": self.late}


@keras.saving.register_keras_serializable("kzoo")
class ToSpectrum(_Transform):
    """`[batch, samples, channels]` to `[batch, hops, n_fft // 2, 2 * channels]`.

    A real and an imaginary part each channel, without the bin at half the sample rate. The signal
    is mirrored at its ends; one too short for that goes on in silence first. late: it stands in
    silence instead, as in networks that were trained with `FromSpectrum(late=True)`.
    """

    def call(self, waveform):
        samples, channels = ops.shape(waveform)[1], waveform.shape[2]
        frames = -(-samples // self.hop_length)
        after = self.margin + frames * self.hop_length - samples
        signal = ops.swapaxes(waveform, 1, 2)
        if self.late:
            signal = pad_last(signal, self.margin, after)
        else:
            missing = after + 1 - samples
            missing = max(missing, 0) if isinstance(missing, int) else ops.maximum(missing, 0)
            signal = pad_last(signal, 0, missing)
            samples, after = samples + missing, after - missing
            before = ops.flip(signal[..., 1 : self.margin + 1], axis=-1)
            behind = ops.flip(signal[..., samples - 1 - after : samples - 1], axis=-1)
            signal = ops.concatenate([before, signal, behind], axis=-1)
        parts = stft(signal, self.n_fft, self.hop_length, padding="valid")
        parts = [part[..., :-1] / math.sqrt(self.n_fft) for part in parts]
        both = ops.stack(parts, axis=2)  # [batch, channels, 2, frames, bins]
        shape = (ops.shape(both)[0], 2 * channels, ops.shape(both)[3], self.n_fft // 2)
        return ops.transpose(ops.reshape(both, shape), (0, 2, 3, 1))

    def compute_output_shape(self, shape):
        batch, samples, channels = shape
        frames = None if samples is None else -(-samples // self.hop_length)
        return (batch, frames, self.n_fft // 2, 2 * channels)


@keras.saving.register_keras_serializable("kzoo")
class FromSpectrum(_Transform):
    """Spectra of `ToSpectrum`, of sources side by side, to `[batch, sources, samples, channels]`.

    `[batch, hops, n_fft // 2, sources * channels * 2]` and the waveform they are as long as.
    late: by one and a half hops, which the network makes up for.
    """

    def __init__(self, n_sources: int, n_fft: int, **kwargs):
        super().__init__(n_fft, **kwargs)
        self.n_sources = n_sources

    def call(self, spectrum, waveform):
        samples, channels = ops.shape(waveform)[1], waveform.shape[2]
        batch, frames = ops.shape(spectrum)[:2]
        x = pad_last(ops.transpose(spectrum, (0, 3, 1, 2)), 0, 1)
        x = ops.reshape(x, (batch, self.n_sources, channels, 2, frames, self.n_fft // 2 + 1))
        real, imag = x[:, :, :, 0], x[:, :, :, 1]
        signal = istft(
            real, imag, self.n_fft, self.hop_length, padding="valid", gain="repeated"
        )  # [batch, sources, channels, samples and what is around them]
        start = 0 if self.late else self.margin
        signal = signal[..., start : start + samples] * math.sqrt(self.n_fft)
        if self.late:
            # The reference divides its first hop by the windows of three frames of four.
            last = windows.window("hann", self.n_fft)[-self.hop_length :] ** 2
            gain = ops.convert_to_tensor(1.5 / (1.5 - last), signal.dtype)
            first = signal[..., : self.hop_length]
            first = first * gain[: ops.shape(first)[-1]]
            signal = ops.concatenate([first, signal[..., self.hop_length :]], axis=-1)
        return ops.swapaxes(signal, 2, 3)

    def compute_output_shape(self, spectrum_shape, waveform_shape):
        return (waveform_shape[0], self.n_sources, *waveform_shape[1:])

    def get_config(self):
        return {**super().get_config(), "n_sources": self.n_sources}


@keras.saving.register_keras_serializable("kzoo")
class PerFrame(layers.Layer):
    """A layer that takes `[batch, places, channels]`, over the bins of each frame.

    `[batch, frames, bins, channels]` to `[batch, frames, other bins, other channels]`.
    """

    def __init__(self, layer: layers.Layer, **kwargs):
        super().__init__(**kwargs)
        self.layer = layer

    def build(self, shape):
        if not self.layer.built:  # as it is where a file is loaded
            self.layer.build((None, *shape[2:]))

    def call(self, x):
        batch, frames, bins, channels = ops.shape(x)
        y = self.layer(ops.reshape(x, (batch * frames, bins, channels)))
        return ops.reshape(y, (batch, frames, *y.shape[1:]))

    def compute_output_shape(self, shape):
        return (*shape[:2], *self.layer.compute_output_shape((None, *shape[2:]))[1:])

    def get_config(self):
        return {**super().get_config(), "layer": keras.saving.serialize_keras_object(self.layer)}

    @classmethod
    def from_config(cls, config):
        layer = keras.saving.deserialize_keras_object(config["layer"])
        return cls(**{**config, "layer": layer})


@keras.saving.register_keras_serializable("kzoo")
class Magnitudes(layers.Layer):
    """Of a spectrum `[batch, frames, bins, 2 * channels]`, `[batch, frames, bins, channels]`."""

    def call(self, spectrum):
        real, imag = _parts(spectrum)
        return magnitude(real, imag)

    def compute_output_shape(self, shape):
        return (*shape[:-1], shape[-1] // 2)


@keras.saving.register_keras_serializable("kzoo")
class WithPhases(layers.Layer):
    """Spectra of sources by their magnitudes, with the phases of the mixture's spectrum.

    `[batch, frames, bins, sources * channels]` and `[batch, frames, bins, 2 * channels]` to
    `[batch, frames, bins, sources * channels * 2]`. Where the mixture is silent phases are 0.
    """

    def call(self, magnitudes, spectrum):
        real, imag = _parts(spectrum)
        largest = ops.maximum(ops.abs(real), ops.abs(imag))
        silent = largest == 0
        largest = ops.where(silent, 1.0, largest)  # so that squares of faint numbers are none of 0
        real, imag = ops.where(silent, 1.0, real / largest), imag / largest
        length = ops.sqrt(real * real + imag * imag)
        phases = ops.stack([real / length, imag / length], axis=-1)
        channels = spectrum.shape[-1] // 2
        shape = ops.shape(magnitudes)
        found = ops.reshape(magnitudes, (*shape[:3], -1, channels, 1)) * phases[:, :, :, None]
        return ops.reshape(found, (*shape[:3], 2 * magnitudes.shape[-1]))

    def compute_output_shape(self, magnitudes_shape, spectrum_shape):
        return (*magnitudes_shape[:-1], 2 * magnitudes_shape[-1])


def _parts(spectrum):
    return spectrum[..., 0::2], spectrum[..., 1::2]


@keras.saving.register_keras_serializable("kzoo")
class JoinedBands(layers.Layer):
    """Bands of bins, each stretched by weights of its own, added up where they meet.

    A list of `[batch, frames, bins, channels]` to `[batch, frames, stride * bins, filters]`. What
    kernels of twice the stride say beyond the outermost bins is cut off, half a stride on each
    side. rescale: of the first weights.
    """

    def __init__(self, filters: int, stride: int, *, rescale: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.stride, self.rescale = filters, stride, rescale

    def build(self, shapes):
        fan_in = 2 * self.stride * self.filters  # PyTorch counts a transposed kernel's outputs
        self.convs = []
        for number, shape in enumerate(shapes):
            conv = FoldedConv1DTranspose(
                self.filters,
                2 * self.stride,
                strides=self.stride,
                kernel_initializer=RescaledUniform(fan_in, self.rescale),
                bias_initializer=rescaled_bias(fan_in, self.rescale),
                dtype=self.dtype_policy,
                name=f"band{number + 1}",
            )
            conv.build((None, *shape[2:]))
            self.convs.append(conv)

    def call(self, bands):
        joined, stride = [], self.stride
        for conv, band in zip(self.convs, bands, strict=True):
            batch, frames, bins, channels = ops.shape(band)
            y = conv(ops.reshape(band, (batch * frames, bins, channels)))
            y = ops.reshape(y, (batch, frames, *y.shape[1:]))
            if joined:  # both have a bias where they meet: one is too much
                first = joined[-1][:, :, -stride:] + y[:, :, :stride]
                joined[-1] = joined[-1][:, :, :-stride]
                joined.append(first - ops.cast(conv.bias, first.dtype))
                y = y[:, :, stride:]
            joined.append(y)
        return ops.concatenate(joined, axis=2)[:, :, stride // 2 : -(stride // 2)]

    def compute_output_shape(self, shapes):
        bins = self.stride * sum(shape[2] for shape in shapes)
        return (*shapes[0][:2], bins, self.filters)

    def get_config(self):
        sizes = {"filters": self.filters, "stride": self.stride, "rescale": self.rescale}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable("kzoo")
class PadToStride(layers.Layer):
    """`[batch, frames, channels]` with zeros after it up to a multiple of `stride`.

    around: so many more before and after.
    """

    def __init__(self, stride: int, around: int, **kwargs):
        super().__init__(**kwargs)
        self.stride, self.around = stride, around

    def call(self, x):
        after = self.around + -ops.shape(x)[1] % self.stride
        return ops.moveaxis(pad_last(ops.moveaxis(x, 1, -1), self.around, after), -1, 1)

    def compute_output_shape(self, shape):
        batch, frames, channels = shape
        if frames is not None:
            frames += -frames % self.stride + 2 * self.around
        return (batch, frames, channels)

    def get_config(self):
        return {**super().get_config(), "stride": self.stride, "around": self.around}


@keras.saving.register_keras_serializable("kzoo")
class FramesAsIn(layers.Layer):
    """As many frames of `[batch, frames, channels]` as `like` has, from frame `start` on."""

    def __init__(self, start: int, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def call(self, x, like):
        return x[:, self.start : self.start + ops.shape(like)[1]]

    def compute_output_shape(self, x_shape, like_shape):
        return (x_shape[0], like_shape[1], x_shape[2])

    def get_config(self):
        return {**super().get_config(), "start": self.start}


@keras.saving.register_keras_serializable("kzoo")
class BinEmbedding(layers.Layer):
    """`[batch, frames, bins, channels]` and a learned vector of each bin, `gain` times.

    smoothed: so many times smaller the weights begin, which change little from bin to bin.
    """

    def __init__(self, gain: float, smoothed: float, **kwargs):
        super().__init__(**kwargs)
        self.gain, self.smoothed = gain, smoothed

    def build(self, shape):
        self.embedding = self.add_weight(
            shape=shape[2:], initializer=SmoothNormal(self.smoothed), name="embedding"
        )

    def call(self, x):
        return x + ops.cast(self.gain * self.embedding, x.dtype)

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "gain": self.gain, "smoothed": self.smoothed}


@keras.saving.register_keras_serializable("kzoo")
class SmoothNormal(keras.initializers.RandomNormal):
    """Sums of normal numbers along the first axis, brought to deviation 1 / divisor."""

    def __init__(self, divisor: float, seed=None):
        super().__init__(stddev=1.0, seed=seed)
        self.divisor = divisor

    def __call__(self, shape, dtype=None):
        summed = ops.cumsum(super().__call__(shape, dtype), axis=0)
        counts = ops.arange(1, shape[0] + 1, dtype=summed.dtype)
        return summed / ops.sqrt(counts)[:, None] / self.divisor

    def get_config(self):
        return {"divisor": self.divisor, "seed": super().get_config()["seed"]}
