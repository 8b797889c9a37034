"""Mel-frequency cepstral coefficients: the shape of a spectrum in a few numbers.

On the mel scale of the HTK book, as `tf.signal` has it.
"""

from __future__ import annotations

import functools

import keras
import numpy as np
from keras import ops

from kzoo.dsp.framing import pad_last
from kzoo.dsp.stft import magnitude, stft

# What counts as an empty band, and what its magnitude is taken for: as loud as faint noise.
_EMPTY, _IF_EMPTY = 1e-8, 1e-5


def mfcc(
    waveform,
    *,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    coefficients: int,
    bands: int = 128,
    low_hz: float = 20.0,
    high_hz: float = 8000.0,
):
    """Compute `[..., ceil(samples / hop_length), coefficients]` of `[..., samples]`.

    Frame k begins at sample k * hop_length; after the end there is silence.
    """
    samples = ops.shape(waveform)[-1]
    frames = -(-samples // hop_length)
    padded = pad_last(waveform, 0, (frames - 1) * hop_length + n_fft - samples)
    spectrum = magnitude(*stft(padded, n_fft, hop_length, padding="valid"))
    bank = mel_bank(sample_rate, n_fft, bands, low_hz, high_hz)
    levels = ops.matmul(spectrum, ops.convert_to_tensor(bank, spectrum.dtype))
    logarithms = ops.log(ops.where(levels > _EMPTY, levels, _IF_EMPTY))
    n = np.arange(bands)[:, None] + 0.5
    cosines = np.cos(np.pi / bands * n * np.arange(coefficients)) * np.sqrt(2.0 / bands)
    return ops.matmul(logarithms, ops.convert_to_tensor(cosines, spectrum.dtype))


@functools.cache
def mel_bank(sample_rate: int, n_fft: int, bands: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Triangles `[bins, bands]`, float64, even on the mel scale; bin 0 is in none.

    Raises ValueError for a band outside 0 Hz to Nyquist.
    """
    if not 0 <= low_hz < high_hz <= sample_rate / 2:
        raise ValueError(
            f"bands must lie between 0 Hz and {sample_rate / 2:g} Hz; got {low_hz:g} to {high_hz:g}"
        )
    edges = np.linspace(_mel(low_hz), _mel(high_hz), bands + 2)
    mel = _mel(np.arange(n_fft // 2 + 1) * (sample_rate / n_fft))[:, None]
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    bank = np.maximum(0, np.minimum(rising, falling))
    bank[0] = 0
    return bank


def _mel(frequency_hz):
    return 1127.0 * np.log1p(np.asarray(frequency_hz) / 700.0)


@keras.saving.register_keras_serializable("kzoo")
class MFCC(keras.layers.Layer):
    """Waveform `[batch, samples, 1]` to `[batch, frames, coefficients]`; see `mfcc`."""

    def __init__(
        self,
        sample_rate: int,
        n_fft: int,
        hop_length: int,
        coefficients: int,
        high_hz: float,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.sample_rate, self.n_fft, self.hop_length = sample_rate, n_fft, hop_length
        self.coefficients, self.high_hz = coefficients, high_hz

    def call(self, waveform):
        return mfcc(
            waveform[..., 0],
            sample_rate=self.sample_rate,
            n_fft=self.n_fft,
            hop_length=self.hop_length,
            coefficients=self.coefficients,
            high_hz=self.high_hz,
        )

    def get_config(self):
        names = ("sample_rate", "n_fft", "hop_length", "coefficients", "high_hz")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}
