"""Spectra in bands of the mel scale: their logarithms, and the coefficients of their shape.

`mfcc` is on the scale of the HTK book, with triangles as `tf.signal` has them; `log_mel` has
librosa's, of which the networks that tag music were trained on several.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Literal

import keras
import numpy as np
from keras import ops

from kzoo.dsp.framing import pad_last
from kzoo.dsp.stft import magnitude, stft
from kzoo.dsp.units import power_to_db

# What counts as an empty band, and what its magnitude is taken for: as loud as faint noise.
_EMPTY, _IF_EMPTY = 1e-8, 1e-5
_LEAST_DB = -100.0  # librosa's, of a power
_AT_ONCE = 1024  # frames
SCALES = ("slaney", "htk")
COMPRESSIONS = ("db", "log", "none")
# What `log_mel` takes for the levels that published taggers were trained on. Musicnn's are of
# windows in the middle of music: no frame reaches beyond them.
CONVENTIONS = {
    "librosa": {"compression": "none"},
    "musicnn": {"compression": "log", "padding": "valid"},
    "torchaudio": {
        "scale": "htk",
        "equal_area": False,
        "pad_mode": "reflect",
        "empty_bands": True,
    },
}


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


def log_mel(
    waveform,
    *,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    bands: int,
    low_hz: float = 0.0,
    high_hz: float | None = None,
    scale: str = "slaney",
    equal_area: bool = True,
    empty_bands: bool = False,
    power: Literal[1, 2] = 2,
    compression: str = "db",
    gain: float = 10000.0,
    win_length: int | None = None,
    padding: str = "center",
    pad_mode: str = "constant",
):
    """Compute `[..., frames, bands]` of `[..., samples]`, frames as those of `stft`.

    The defaults are librosa's. high_hz: None is Nyquist. scale, equal_area, empty_bands: as in
    `mel_filters`.
    power: of the magnitude that the bands sum. compression: "db" is 10 log10, at least -100 dB;
    "log" is log10(1 + gain * x), which musicnn has with a gain of 10,000; "none" is none.
    Raises ValueError for a compression or power that there is not, and as `mel_filters` and `stft`.
    """
    if compression not in COMPRESSIONS:
        raise ValueError(
            f"compression must be one of {', '.join(COMPRESSIONS)}; got {compression!r}"
        )
    if power not in (1, 2):
        raise ValueError(f"power must be 1 or 2; got {power!r}")
    high_hz = sample_rate / 2 if high_hz is None else high_hz
    real, imag = stft(
        waveform, n_fft, hop_length, win_length=win_length, padding=padding, pad_mode=pad_mode
    )
    spectrum = magnitude(real, imag) if power == 1 else real * real + imag * imag
    filters = mel_filters(
        sample_rate, n_fft, bands, low_hz, high_hz, scale, equal_area, empty_bands
    )
    levels = ops.matmul(spectrum, ops.convert_to_tensor(filters, spectrum.dtype))
    if compression == "db":
        return power_to_db(levels, -_LEAST_DB)
    return ops.log(1 + gain * levels) / np.log(10) if compression == "log" else levels


def log_mels(
    waveform, *, n_ffts: Sequence[int], hop_length: int, padding: str = "center", **options
):
    """Compute `[..., frames, bands, windows]`: `log_mel` with every window of `n_ffts` samples.

    Frames of one number have one centre. padding: "center" has 1 + samples // hop_length of them,
    "valid" those in which the longest window lies inside of the waveform. options: the others of
    `log_mel`. Raises ValueError for no window, for an odd one, and as `log_mel`.
    """
    if not n_ffts or any(n % 2 for n in n_ffts):
        raise ValueError(f"n_ffts must be one or more even numbers; got {tuple(n_ffts)}")
    if padding not in ("center", "valid"):
        raise ValueError(f"padding must be one of center, valid; got {padding!r}")
    levels = []
    for n_fft in n_ffts:
        around = (max(n_ffts) - n_fft) // 2 if padding == "valid" else 0
        inner = waveform[..., around:-around] if around else waveform
        levels.append(
            log_mel(inner, n_fft=n_fft, hop_length=hop_length, padding=padding, **options)
        )
    return ops.stack(levels, axis=-1)


def mel_levels(
    waveform: np.ndarray,
    *,
    sample_rate: int,
    n_fft: int,
    hop_length: int,
    bands: int,
    low_hz: float,
    high_hz: float,
) -> np.ndarray:
    """Levels from 0 to 1 that a vocoder plays, `[frames, bands]`, float32, of `[samples]`.

    They are those of 0.1 of https://github.com/r9y9/wavenet_vocoder: 20 log10 of magnitudes in
    librosa's bands, of which 20 dB is 1 and -80 dB, or less, is 0. Frame k is of `n_fft` samples
    from k * hop_length on, and after the end there is silence: of its `hop_length` samples a frame
    knows what is in them and what follows. NumPy alone. Raises ValueError as `mel_filters`.
    """
    filters = mel_filters(sample_rate, n_fft, bands, low_hz, high_hz)
    # The root of a Hann window, of a height with which the squares of all windows add up to 1.
    window = np.sin(np.pi * (np.arange(n_fft) + 0.5) / n_fft) * np.sqrt(2 * hop_length / n_fft)
    frames = -(-len(waveform) // hop_length)
    padded = np.pad(np.float64(waveform), (0, frames * hop_length + n_fft - len(waveform)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, n_fft)[::hop_length]
    levels = np.empty((frames, bands), np.float32)
    for start in range(0, frames, _AT_ONCE):
        part = slice(start, min(start + _AT_ONCE, frames))
        magnitudes = np.abs(np.fft.rfft(windows[part] * window)) @ filters
        levels[part] = np.clip(0.8 + 0.2 * np.log10(np.maximum(magnitudes, 1e-5)), 0.0, 1.0)
    return levels


@functools.cache
def mel_filters(
    sample_rate: int,
    n_fft: int,
    bands: int,
    low_hz: float,
    high_hz: float,
    scale: str = "slaney",
    equal_area: bool = True,
    empty_bands: bool = False,
) -> np.ndarray:
    """Triangles over hertz `[bins, bands]`, float64, as librosa.filters.mel gives them.

    scale: of the edges, which are even on it: "slaney" is linear below 1 kHz, "htk" is
    2595 log10(1 + f / 700). equal_area: each triangle is divided by half of its width in hertz;
    else its peak is 1. empty_bands: bands may be so narrow that they lie between two bins and hold
    none. Raises ValueError for another scale, for a band outside 0 Hz to Nyquist, and for empty
    bands where they may not be.
    """
    if scale not in SCALES:
        raise ValueError(f"scale must be one of {', '.join(SCALES)}; got {scale!r}")
    _check_band(sample_rate, low_hz, high_hz)
    to_mel, to_hz = (_slaney, _slaney_hz) if scale == "slaney" else (_mel, _mel_hz)
    edges = to_hz(np.linspace(to_mel(low_hz), to_mel(high_hz), bands + 2))
    hertz = np.arange(n_fft // 2 + 1)[:, None] * (sample_rate / n_fft)
    rising = (hertz - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - hertz) / (edges[2:] - edges[1:-1])
    filters = np.maximum(0, np.minimum(rising, falling))
    if not empty_bands and not np.all(filters.max(axis=0) > 0):
        raise ValueError(
            f"each band must hold a bin: take fewer bands or a longer n_fft; got bands={bands}, "
            f"n_fft={n_fft} at {sample_rate} Hz"
        )
    return filters * (2 / (edges[2:] - edges[:-2])) if equal_area else filters


@functools.cache
def mel_bank(sample_rate: int, n_fft: int, bands: int, low_hz: float, high_hz: float) -> np.ndarray:
    """Triangles `[bins, bands]`, float64, even on the mel scale; bin 0 is in none.

    Raises ValueError for a band outside 0 Hz to Nyquist.
    """
    _check_band(sample_rate, low_hz, high_hz)
    edges = np.linspace(_mel(low_hz), _mel(high_hz), bands + 2)
    mel = _mel(np.arange(n_fft // 2 + 1) * (sample_rate / n_fft))[:, None]
    rising = (mel - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - mel) / (edges[2:] - edges[1:-1])
    bank = np.maximum(0, np.minimum(rising, falling))
    bank[0] = 0
    return bank


def _check_band(sample_rate: int, low_hz: float, high_hz: float) -> None:
    if not 0 <= low_hz < high_hz <= sample_rate / 2:
        raise ValueError(
            f"bands must lie between 0 Hz and {sample_rate / 2:g} Hz; got {low_hz:g} to {high_hz:g}"
        )


def _mel(frequency_hz):
    return 1127.0 * np.log1p(np.asarray(frequency_hz) / 700.0)


def _mel_hz(mel):
    return 700.0 * np.expm1(np.asarray(mel) / 1127.0)


def _slaney(frequency_hz):
    """15 a kilohertz up to 1 kHz, and above it 27 each factor of 6.4."""
    hertz = np.asarray(frequency_hz, np.float64)
    above = 15 + 27 * np.log(np.maximum(hertz, 1000) / 1000) / np.log(6.4)
    return np.where(hertz < 1000, hertz * 15 / 1000, above)


def _slaney_hz(mel):
    mel = np.asarray(mel)
    return np.where(mel < 15, mel * 1000 / 15, 1000 * 6.4 ** ((mel - 15) / 27))


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


@keras.saving.register_keras_serializable("kzoo")
class LogMel(keras.layers.Layer):
    """Waveform `[batch, samples, channels]` to `[batch, frames, bands, channels]`.

    Its options are those of `log_mel`. float32 whatever the policy: powers overflow half precision.
    """

    def __init__(
        self, sample_rate: int, n_fft: int, hop_length: int, bands: int, *, low_hz: float = 0.0,
        high_hz: float | None = None, scale: str = "slaney", equal_area: bool = True,
        empty_bands: bool = False, power: Literal[1, 2] = 2, compression: str = "db",
        gain: float = 10000.0, win_length: int | None = None, padding: str = "center",
        pad_mode: str = "constant",
        dtype="float32", **kwargs,
    ):  # fmt: skip
        super().__init__(dtype=dtype, **kwargs)
        self.options = {
            "sample_rate": sample_rate, "n_fft": n_fft, "hop_length": hop_length, "bands": bands,
            "low_hz": low_hz, "high_hz": high_hz, "scale": scale, "equal_area": equal_area,
            "empty_bands": empty_bands, "power": power, "compression": compression, "gain": gain,
            "win_length": win_length, "padding": padding, "pad_mode": pad_mode,
        }  # fmt: skip

    def call(self, waveform):
        levels = log_mel(ops.swapaxes(waveform, 1, 2), **self.options)
        return ops.transpose(levels, (0, 2, 3, 1))

    def get_config(self):
        return {**super().get_config(), **self.options}


@keras.saving.register_keras_serializable("kzoo")
class LogMels(keras.layers.Layer):
    """Waveform `[batch, samples, 1]` to `[batch, frames, bands, windows]`; see `log_mels`.

    float32 whatever the policy: powers overflow half precision.
    """

    def __init__(
        self, sample_rate: int, n_ffts: Sequence[int], hop_length: int, bands: int, *,
        low_hz: float = 0.0, high_hz: float | None = None, scale: str = "slaney",
        equal_area: bool = True, power: Literal[1, 2] = 2, compression: str = "db",
        gain: float = 10000.0, padding: str = "center", dtype="float32", **kwargs,
    ):  # fmt: skip
        super().__init__(dtype=dtype, **kwargs)
        self.options = {
            "sample_rate": sample_rate, "n_ffts": tuple(n_ffts), "hop_length": hop_length,
            "bands": bands, "low_hz": low_hz, "high_hz": high_hz, "scale": scale,
            "equal_area": equal_area, "power": power, "compression": compression, "gain": gain,
            "padding": padding,
        }  # fmt: skip

    def call(self, waveform):
        return log_mels(waveform[..., 0], **self.options)

    def get_config(self):
        return {**super().get_config(), **self.options}
