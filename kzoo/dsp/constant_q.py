"""Constant-Q transform, and a harmonic one: bins an equal interval apart, as notes are.

Schörkhuber and Klapuri, 2010: the same filters for each octave, of sound that is decimated by two
from octave to octave. Bittner et al., Deep salience representations for F0 estimation in
polyphonic music, ISMIR 2017: transforms that begin at multiples of one frequency lie behind each
other as channels, so that the harmonics of a tone have one place in all of them. The scale is that
of librosa.cqt; all of it is strided convolutions with constants.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from kzoo.dsp.framing import pad_last
from kzoo.dsp.stft import magnitude

_HALF_BAND = 32  # taps on each side of the middle one: -100 dB from 0.6 of Nyquist upwards
# An octave is taken from sound whose Nyquist is at least this often its upper edge: what folds
# back in decimation lies above it.
_ROOM = 2.0


def constant_q(
    waveform,
    *,
    sample_rate: int,
    hop_length: int,
    fmin_hz: float,
    bins: int,
    bins_per_octave: int = 12,
):
    """Transform `[batch, samples]` to (real, imag), each `[batch, frames, bins]`.

    Bin b is at fmin_hz * 2 ** (b / bins_per_octave); frame m is centred on sample m * hop_length,
    with silence around the signal, and frames = 1 + samples // hop_length. A sine of amplitude 1
    at a bin gives it sqrt(filter length) / 2. Raises ValueError for bins that reach Nyquist.
    """
    _check(sample_rate, hop_length, fmin_hz, bins, bins_per_octave)
    transform = _Octaves(waveform, sample_rate, hop_length, bins_per_octave)
    return transform(fmin_hz, bins)


def harmonic_cqt(
    waveform,
    *,
    sample_rate: int,
    hop_length: int,
    fmin_hz: float,
    harmonics: Sequence[float],
    bins: int,
    bins_per_octave: int,
):
    """Magnitudes of constant-Q transforms from each fmin_hz * harmonic upwards.

    `[batch, samples]` to `[batch, frames, bins, harmonics]`. What two of them share, as
    harmonics 1 and 2 do, is computed once. Raises ValueError as `constant_q`.
    """
    for harmonic in harmonics:
        _check(sample_rate, hop_length, fmin_hz * harmonic, bins, bins_per_octave)
    transform = _Octaves(waveform, sample_rate, hop_length, bins_per_octave)
    return ops.stack([magnitude(*transform(fmin_hz * h, bins)) for h in harmonics], axis=-1)


def context_samples(sample_rate: int, fmin_hz: float, bins_per_octave: int) -> int:
    """How far from its centre a frame hears: half of the lowest bin's filter, and decimation."""
    period = sample_rate / fmin_hz
    return int(np.ceil(period * (_quality(bins_per_octave) / 2 + _HALF_BAND)))


def _check(sample_rate, hop_length, fmin_hz, bins, bins_per_octave) -> None:
    if hop_length < 1 or fmin_hz <= 0 or bins < 1 or bins_per_octave < 1:
        raise ValueError(
            "hop_length, fmin_hz, bins and bins_per_octave must be above 0; got "
            f"hop_length={hop_length}, fmin_hz={fmin_hz}, bins={bins}, "
            f"bins_per_octave={bins_per_octave}"
        )
    highest = fmin_hz * 2 ** ((bins - 1) / bins_per_octave)
    edge = highest * (1 + 0.75 / _quality(bins_per_octave))  # a Hann window is 1.5 bins wide
    if edge > sample_rate / 2:
        raise ValueError(
            f"all bins must lie below half of the sample rate, {sample_rate / 2:g} Hz; got "
            f"bins={bins} from {fmin_hz:g} Hz, the last of which reaches {edge:g} Hz"
        )


def _quality(bins_per_octave: int) -> float:
    """Periods in a filter: a bin's frequency over the distance of its two neighbours, twice."""
    ratio = 2 ** (2 / bins_per_octave)
    return (ratio + 1) / (ratio - 1)


class _Octaves:
    """The octaves of one signal, computed where they are asked for, each once."""

    def __init__(self, waveform, sample_rate: int, hop_length: int, bins_per_octave: int):
        self.sample_rate, self.hop_length = sample_rate, hop_length
        self.bins_per_octave = bins_per_octave
        self.frames = 1 + ops.shape(waveform)[-1] // hop_length
        self.decimated, self.octaves = [waveform], {}

    def __call__(self, fmin_hz: float, bins: int):
        parts = []
        for octave in range(-(-bins // self.bins_per_octave)):
            # Halves and doubles are exact, so that octaves of several transforms are the same.
            key = (
                fmin_hz * 2**octave,
                min(self.bins_per_octave, bins - octave * self.bins_per_octave),
            )
            if key not in self.octaves:
                self.octaves[key] = self.octave(*key)
            parts.append(self.octaves[key])
        return tuple(ops.concatenate(part, axis=-1) for part in zip(*parts, strict=True))

    def octave(self, low_hz: float, bins: int):
        halvings = self.halvings(low_hz * 2 ** ((bins - 1) / self.bins_per_octave))
        rate, hop_length = self.sample_rate / 2**halvings, self.hop_length >> halvings
        kernel = _kernel(low_hz / rate, bins, self.bins_per_octave, 2 * hop_length)
        kernel = kernel * np.sqrt(2**halvings)  # each filter's root of its length, at the full rate
        signal, length = self.at(halvings), len(kernel)
        wanted = (self.frames - 1) * hop_length + length
        missing = wanted - length // 2 - ops.shape(signal)[-1]
        signal = pad_last(signal, length // 2, missing)[..., None]
        kernel = ops.convert_to_tensor(kernel[:, None], signal.dtype)
        both = ops.conv(signal, kernel, strides=hop_length, padding="valid")
        return both[..., :bins], both[..., bins:]

    def halvings(self, highest_hz: float) -> int:
        count = 0
        while self.hop_length % 2 ** (
            count + 1
        ) == 0 and _ROOM * highest_hz <= self.sample_rate / 2 ** (count + 2):
            count += 1
        return count

    def at(self, halvings: int):
        while len(self.decimated) <= halvings:
            self.decimated.append(_halved(self.decimated[-1]))
        return self.decimated[halvings]


def _halved(signal):
    """Every other sample of `[batch, samples]`, sample 0 first, without what would fold back."""
    n = np.arange(-_HALF_BAND, _HALF_BAND + 1)
    taps = np.sinc(n / 2) / 2 * np.kaiser(len(n), 10.0)
    padded = pad_last(signal, _HALF_BAND, _HALF_BAND)[..., None]
    taps = ops.convert_to_tensor((taps / taps.sum())[:, None, None], signal.dtype)
    return ops.conv(padded, taps, strides=2, padding="valid")[..., 0]


@functools.lru_cache(maxsize=64)
def _kernel(lowest: float, bins: int, bins_per_octave: int, at_least: int) -> np.ndarray:
    """Cosines, then negative sines, under Hann windows: float64 `[length, 2 * bins]`.

    lowest: frequency of the first bin in turns a sample. The windows add up to the root of their
    length, which is librosa's scale. at_least: of the length, whose middle is the centre.
    """
    turns = lowest * 2 ** (np.arange(bins) / bins_per_octave)
    lengths = _quality(bins_per_octave) / turns
    half = max(int(np.ceil(lengths[0] / 2)), -(-at_least // 2))
    n = np.arange(-half, half)[:, None]
    # Of a fractional length, so that a filter is the same at each rate.
    windows = np.where(np.abs(n) < lengths / 2, 0.5 + 0.5 * np.cos(2 * np.pi * n / lengths), 0)
    windows *= np.sqrt(lengths) / windows.sum(axis=0)
    angles = 2 * np.pi * n * turns
    return np.concatenate([windows * np.cos(angles), -windows * np.sin(angles)], axis=1)


@keras.saving.register_keras_serializable("kzoo")
class HarmonicCQT(keras.layers.Layer):
    """Waveform `[batch, samples, 1]` to `[batch, frames, bins, harmonics]`; see `harmonic_cqt`.

    One harmonic, 1, is the constant-Q transform. float32 whatever the policy.
    """

    def __init__(
        self, sample_rate: int, hop_length: int, fmin_hz: float, bins: int,
        bins_per_octave: int = 12, harmonics: Sequence[float] = (1,), *, dtype="float32", **kwargs,
    ):  # fmt: skip
        super().__init__(dtype=dtype, **kwargs)
        self.options = {
            "sample_rate": sample_rate, "hop_length": hop_length, "fmin_hz": fmin_hz, "bins": bins,
            "bins_per_octave": bins_per_octave, "harmonics": tuple(harmonics),
        }  # fmt: skip

    def call(self, waveform):
        return harmonic_cqt(waveform[..., 0], **self.options)

    def get_config(self):
        return {**super().get_config(), **self.options}
