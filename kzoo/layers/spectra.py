"""Spectra of frames that are cut already, and frames of spectra: `dsp.stft` without its windows."""

from __future__ import annotations

import keras
from keras import ops

from kzoo.dsp.stft import irfft, magnitude


@keras.saving.register_keras_serializable("kzoo")
class FrameSpectrum(keras.layers.Layer):
    """Frames `[batch, n, n_fft]` to (real, imag, magnitude), each `[batch, n, n_fft // 2 + 1]`."""

    def call(self, frames):
        real, imag = ops.rfft(frames)
        return real, imag, magnitude(real, imag)


@keras.saving.register_keras_serializable("kzoo")
class SpectrumFrame(keras.layers.Layer):
    """(real, imag) `[batch, n, n_fft // 2 + 1]` to frames `[batch, n, n_fft]`."""

    def __init__(self, n_fft: int, **kwargs):
        super().__init__(**kwargs)
        self.n_fft = n_fft

    def call(self, real, imag):
        return irfft(real, imag, self.n_fft)

    def get_config(self):
        return {**super().get_config(), "n_fft": self.n_fft}
