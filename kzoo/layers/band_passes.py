"""Band-passes whose edges are learned: of waveforms by sinc or Gabor filters, of harmonics."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

from kzoo.dsp.band_passes import (
    gabor_filters,
    harmonic_filters,
    mel_edges,
    semitone_centres,
    sinc_filters,
)
from kzoo.dsp.stft import stft
from kzoo.dsp.units import power_to_db
from kzoo.layers.complex import join


class _BandPasses(keras.layers.Layer):
    """Two weights a filter: its lower edge and its width in hertz, even on the mel scale at first.

    The edges in use are min_low_hz + |low| and, at most Nyquist, min_band_hz + |band| above it.
    """

    def __init__(
        self, filters: int, kernel_size: int, sample_rate: int, *, strides: int = 1,
        padding: str = "valid", min_low_hz: float = 50.0, min_band_hz: float = 50.0, **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.filters, self.kernel_size, self.sample_rate = filters, kernel_size, sample_rate
        self.strides, self.padding = strides, padding
        self.min_low_hz, self.min_band_hz = min_low_hz, min_band_hz

    def build(self, input_shape):
        if input_shape[-1] != 1:
            raise ValueError(f"band-passes take one channel; got {input_shape[-1]} channels")
        highest = self.sample_rate / 2 - (self.min_low_hz + self.min_band_hz)
        edges = mel_edges(self.filters, self.sample_rate, 30.0, highest)
        for name, values in (("low_hz", edges[:-1]), ("band_hz", np.diff(edges))):
            start = keras.initializers.Constant(values.astype(np.float32))
            setattr(self, name, self.add_weight((self.filters,), start, name=name))

    def edges(self):
        """The edges in use: (low_hz, high_hz), each `[filters]`."""
        low = self.min_low_hz + ops.abs(self.low_hz)
        high = low + self.min_band_hz + ops.abs(self.band_hz)
        return low, ops.clip(high, self.min_low_hz, self.sample_rate / 2)

    def kernel(self):
        """The filters `[kernel_size, channels]` of the edges in use, to be correlated with."""
        raise NotImplementedError

    def call(self, waveform):
        kernel = ops.cast(self.kernel()[:, None], waveform.dtype)
        return ops.conv(waveform, kernel, strides=self.strides, padding=self.padding)

    def get_config(self):
        names = ("filters", "kernel_size", "sample_rate", "strides", "padding")
        names += ("min_low_hz", "min_band_hz")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("kzoo")
class SincBandPasses(_BandPasses):
    """SincNet's first layer: `[batch, samples, 1]` to `[batch, steps, filters]`."""

    def kernel(self):
        return sinc_filters(*self.edges(), self.kernel_size, self.sample_rate)


@keras.saving.register_keras_serializable("kzoo")
class GaborBandPasses(_BandPasses):
    """Complex Gabor filters: `[batch, samples, 1]` to `[batch, steps, 2 * filters]`.

    Channels are pairs, as in `layers.complex`; the magnitude of one is the envelope in its band.
    """

    def kernel(self):
        real, imag = gabor_filters(*self.edges(), self.kernel_size, self.sample_rate)
        # A convolution of networks is a correlation: it takes the filter backwards in time.
        return join(real, -imag)


@keras.saving.register_keras_serializable("kzoo")
class HarmonicBands(keras.layers.Layer):
    """Levels in dB around the harmonics of notes: a stack in which a tone is one place.

    `[batch, samples, 1]` to `[batch, frames, notes, harmonics]`, at least -100 dB; frame m is
    centred on sample m * hop_length of a mirrored signal. What is learned is one number, the
    quality that makes all bands narrower; with learn_centres also by how many semitones each note
    lies beside its first place.
    """

    def __init__(
        self, sample_rate: int, n_fft: int = 512, hop_length: int = 256, harmonics: int = 6,
        per_semitone: int = 2, *, learn_centres: bool = False, dtype="float32", **kwargs,
    ):  # fmt: skip
        super().__init__(dtype=dtype, **kwargs)
        self.sample_rate, self.n_fft, self.hop_length = sample_rate, n_fft, hop_length
        self.harmonics, self.per_semitone = harmonics, per_semitone
        self.learn_centres = learn_centres
        self.centres_hz = semitone_centres(sample_rate, harmonics, per_semitone)

    def build(self, input_shape):
        self.quality = self.add_weight((), "ones", name="quality")
        if self.learn_centres:
            self.shift = self.add_weight((len(self.centres_hz),), "zeros", name="shift_semitones")

    def call(self, waveform):
        real, imag = stft(waveform[..., 0], self.n_fft, self.hop_length, pad_mode="reflect")
        centres_hz = ops.convert_to_tensor(self.centres_hz, "float32")
        if self.learn_centres:
            centres_hz = centres_hz * 2 ** (self.shift / 12)
        filters = harmonic_filters(
            centres_hz, self.quality,
            sample_rate=self.sample_rate, n_fft=self.n_fft, harmonics=self.harmonics,
        )  # fmt: skip
        notes = len(self.centres_hz)
        filters = ops.reshape(filters, (self.n_fft // 2 + 1, notes * self.harmonics))
        levels = ops.matmul(real * real + imag * imag, filters)
        shape = (-1, ops.shape(levels)[1], notes, self.harmonics)
        return ops.reshape(power_to_db(levels, 100.0), shape)

    def get_config(self):
        names = ("sample_rate", "n_fft", "hop_length", "harmonics", "per_semitone")
        names += ("learn_centres",)
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
