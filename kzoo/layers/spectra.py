"""Spectra of frames that are cut already, and frames of spectra: the parts of `dsp.stft`."""

from __future__ import annotations

import keras
from keras import ops

from kzoo.dsp import dft
from kzoo.dsp.stft import irfft, magnitude
from kzoo.dsp.windows import repeated_gain, window


@keras.saving.register_keras_serializable("kzoo")
class FrameSpectrum(keras.layers.Layer):
    """Frames `[batch, n, n_fft]` to (real, imag, magnitude), each `[batch, n, n_fft // 2 + 1]`.

    exact: computed in float64 and rounded. A float32 transform fills bins that are all but silent
    with its own rounding, another in each runtime, and a logarithm makes it as loud as speech.
    """

    def __init__(self, exact: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.exact = exact

    def call(self, frames):
        real, imag = dft.rfft(ops.cast(frames, "float64") if self.exact else frames)
        real, imag = ops.cast(real, frames.dtype), ops.cast(imag, frames.dtype)
        return real, imag, magnitude(real, imag)

    def get_config(self):
        return {**super().get_config(), "exact": self.exact}


@keras.saving.register_keras_serializable("kzoo")
class SpectrumFrame(keras.layers.Layer):
    """(real, imag) `[batch, n, n_fft // 2 + 1]` to frames `[batch, n, n_fft]`."""

    def __init__(self, n_fft: int, **kwargs):
        super().__init__(**kwargs)
        self.n_fft = n_fft

    def call(self, real, imag):
        return irfft(real, imag, self.n_fft)

    def compute_output_shape(self, real_shape, imag_shape):
        return (*real_shape[:-1], self.n_fft)

    def get_config(self):
        return {**super().get_config(), "n_fft": self.n_fft}


@keras.saving.register_keras_serializable("kzoo")
class BandMagnitude(keras.layers.Layer):
    """(real, imag) `[batch, frames, all bins, channels]` to magnitudes of the lowest `bins`."""

    def __init__(self, bins: int, **kwargs):
        super().__init__(**kwargs)
        self.bins = bins

    def call(self, real, imag):
        return self.magnitude(real[:, :, : self.bins], imag[:, :, : self.bins])

    def magnitude(self, real, imag):
        """The magnitudes of all that is given, which forms for other arithmetic replace."""
        return magnitude(real, imag)

    def get_config(self):
        return {**super().get_config(), "bins": self.bins}


@keras.saving.register_keras_serializable("kzoo")
class MaskedSpectrum(keras.layers.Layer):
    """(masks `[batch, sources, frames, bins, channels]`, real, imag) to both of each source.

    real, imag: `[batch, frames, bins, channels]` each.
    """

    def call(self, masks, real, imag):
        return masks * ops.expand_dims(real, 1), masks * ops.expand_dims(imag, 1)


@keras.saving.register_keras_serializable("kzoo")
class FrameWindow(keras.layers.Layer):
    """Frames `[batch, n, n_fft]` times a window of `dsp.windows`.

    hop_length: of frames that are to be added up: the window is divided by the sum of the squared
    ones, which repeats each hop, so that windowed frames give the signal back; None for no such
    division. Raises ValueError for a hop at whose samples all windows are 0.
    """

    def __init__(self, name_of_window: str, n_fft: int, hop_length: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.name_of_window, self.n_fft, self.hop_length = name_of_window, n_fft, hop_length
        self.factors = window(name_of_window, n_fft)
        if hop_length is not None:
            self.factors = self.factors / repeated_gain(self.factors**2, hop_length)

    def call(self, frames):
        return frames * ops.convert_to_tensor(self.factors, frames.dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        lengths = {"n_fft": self.n_fft, "hop_length": self.hop_length}
        return {**super().get_config(), "name_of_window": self.name_of_window, **lengths}
