"""One small back end behind any front end: what a network is given to hear, by one option.

Front ends give images `[frames, bands, depth]`: spectra that are computed, filters that are
learned, and a stack of small convolutions on samples. Behind them is always the same: a norm of
each band, three convolutions, one dense layer. Which front end is worth what was measured by
`python -m benchmarks.representations`. The sizes here are our choice and those of no paper.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
from keras import layers, ops

from kzoo.dsp.constant_q import HarmonicCQT
from kzoo.dsp.mel import LogMel
from kzoo.dsp.stft import STFT
from kzoo.dsp.units import power_to_db
from kzoo.layers.band_passes import GaborBandPasses, HarmonicBands, SincBandPasses
from kzoo.layers.complex import squared_magnitude
from kzoo.layers.labels import Labels
from kzoo.layers.strided import parallel_scales
from kzoo.layers.whitening import PCAWhitening
from kzoo.models.base.listener import EMBEDDING, ListenerSizes
from kzoo.models.base.sizes import check_positive

_WINDOW_SECONDS = (0.023, 0.046, 0.093)
_HARMONICS = (0.5, 1, 2, 3, 4, 5)
_LOWEST_HZ = {"constant_q": 110.0, "harmonic_cqt": 32.7}
_RANGE_DB = 100.0


@dataclass(frozen=True, kw_only=True)
class Fronts(ListenerSizes):
    """A front end, and the network behind it.

    front: what gives the image, in dB but for the whitened one and the last two.
        "log_mel" is one spectrum in bands of the mel scale, of windows of 46 ms; "windows" are
        three as depth, of 23, 46 and 93 ms.
        "constant_q" has semitones from 110 Hz upwards; "harmonic_cqt" from 32.7 Hz, and behind
        them those at 0.5, 2, 3, 4 and 5 times their frequency.
        "whitened" are principal components of spectra of n_fft samples, of variance 1 each; they
        are measured before a training's first step.
        "harmonic" has bands around 6 harmonics of semitones from 32.7 Hz upwards, as many as lie
        below Nyquist whatever `bands` is, and learns their width.
        "strided", "sinc" and "gabor" are filters of `taps`, of which each tap, the two edges, or
        the two edges of complex ones are learned: their power, averaged over each frame.
        "scales" are learned taps of three lengths as depth, a quarter of `taps`, as many and four
        times as many, rectified; the largest value in each frame is left.
        "samples" are convolutions of size 3 on samples, one for each prime factor of hop_length,
        which is its stride; their outputs are rectified.
    hop_length: samples from frame to frame; taps take six steps in it.
    filters: of the three convolutions of 3 x 3. pools: bands that become one behind each.
        Two frames become one as well, and what the dense layer takes is their mean over time.
    dropout: share dropped before the dense layer, in training.
    """

    front: Literal[
        "log_mel", "windows", "whitened", "constant_q", "harmonic_cqt", "harmonic", "strided",
        "scales", "sinc", "gabor", "samples",
    ] = "log_mel"  # fmt: skip
    sample_rate: int = 16000
    block_seconds: float = 1.0
    hop_length: int = 162
    bands: int = 64
    n_fft: int = 1024
    taps: int = 251
    filters: tuple[int, int, int] = (16, 24, 32)
    pools: tuple[int, int, int] = (4, 2, 2)
    dropout: float = 0.2

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "hop_length", "bands", "n_fft", "taps")
        if self.hop_length % 6 and self.front in ("strided", "scales", "sinc", "gabor"):
            raise ValueError(f"hop_length must be a multiple of 6; got {self.hop_length}")
        if self.bands < (least := math.prod(self.pools)):
            raise ValueError(f"pools of {least} bands in all need as many; got bands={self.bands}")

    def whole(self, samples: int | None) -> int:
        """Whole frames, no fewer than the pools need and than mirrored edges take."""
        samples = round(self.block_seconds * self.sample_rate) if samples is None else samples
        least = max(8, math.ceil(self.n_fft / self.hop_length))
        return max(round(samples / self.hop_length), least) * self.hop_length

    def adapt(self, system: keras.Model, mixtures: Iterable[np.ndarray]) -> None:
        """Measure principal components of the first 256 mixtures, where the front end has some."""
        if self.front == "whitened":
            system.get_layer("whitened").adapt_in(system, mixtures)


VARIANTS = {
    "log_mel": Fronts(),
    "tiny": Fronts(
        names=("low", "high"), sample_rate=8000, block_seconds=0.25, hop_length=48, bands=16,
        n_fft=256, taps=31, filters=(8, 8, 8), dropout=0.0,
    ),
}  # fmt: skip


def core(
    size: Fronts = VARIANTS["log_mel"], *, bands: int, depth: int, each_frame: bool = False
) -> keras.Model:
    """The back end alone: images `[batch, frames, bands, depth]` to probabilities.

    each_frame: as `build_frames` has it.
    """
    image = keras.Input((None, bands, depth), name="image")
    return keras.Model(image, _network(image, size, each_frame), name="fronts_core")


def build(size: Fronts = VARIANTS["log_mel"], *, samples: int | None = None) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, names]`.

    The output of the layer "front" is the image. samples: None for any number of whole frames.
    """
    waveform = keras.Input((samples, 1), name="waveform")
    return keras.Model(waveform, _network(_image(waveform, size), size), name="fronts")


def build_frames(size: Fronts = VARIANTS["log_mel"], *, samples: int | None = None) -> keras.Model:
    """The same convolutions without pooling over time: `[batch, frames, names]`.

    Frame m is around sample m * hop_length, or begins there where filters are learned. There are
    samples // hop_length of them, and silence is around the waveform.
    """
    waveform = keras.Input((samples, 1), name="waveform")
    outputs = _network(_image(waveform, size), size, each_frame=True)
    return keras.Model(waveform, outputs, name="fronts_frames")


def _image(waveform, size: Fronts):
    """`[batch, frames, bands, depth]`, of samples // hop_length frames."""
    front, hop = size.front, size.hop_length
    if front in ("log_mel", "windows"):
        seconds = _WINDOW_SECONDS if front == "windows" else _WINDOW_SECONDS[1:2]
        spectra = [_log_mel(waveform, size, each) for each in seconds]
        x = layers.Concatenate(name="windows")(spectra) if len(spectra) > 1 else spectra[0]
    elif front in ("constant_q", "harmonic_cqt"):
        harmonics = _HARMONICS if front == "harmonic_cqt" else (1,)
        x = HarmonicCQT(
            size.sample_rate, hop, _LOWEST_HZ[front], size.bands, harmonics=harmonics, name=front
        )(waveform)
        x = Levels(name="levels")(x)
    elif front == "whitened":
        real, imag = STFT(size.n_fft, hop, padding="center", name="spectrum")(waveform)
        levels = power_to_db(real[..., 0] ** 2 + imag[..., 0] ** 2, _RANGE_DB)
        x = PCAWhitening(size.bands, name=front)(levels)[..., None]
    elif front == "harmonic":
        x = HarmonicBands(size.sample_rate, size.n_fft, hop, per_semitone=1, name=front)(waveform)
    else:
        return layers.Identity(name="front")(_learned(waveform, size))
    # Of frames around multiples of the hop, the last one is around the end.
    return layers.Cropping2D(((0, 1), (0, 0)), name="front")(x)


def _log_mel(waveform, size: Fronts, seconds: float):
    window = round(seconds * size.sample_rate)
    return LogMel(
        size.sample_rate, max(size.n_fft, 2 ** math.ceil(math.log2(window))), size.hop_length,
        size.bands, low_hz=30.0, win_length=window, name=f"mel_{round(1000 * seconds)}_ms",
    )(waveform)  # fmt: skip


def _learned(waveform, size: Fronts):
    """Filters of samples, or a stack of small convolutions on them."""
    front, step = size.front, size.hop_length // 6
    if front == "samples":
        x = waveform
        strides = _prime_factors(size.hop_length)
        for level, factor in enumerate(strides, start=1):
            channels = size.bands if level == len(strides) else max(size.bands // 4, 1)
            x = layers.Conv1D(
                channels, max(factor, 3), strides=factor, padding="same", use_bias=False,
                name=f"samples{level}",
            )(x)  # fmt: skip
            x = _norm(f"samples_norm{level}")(x)
            x = layers.Activation("relu", name=f"samples_activation{level}")(x)
        return layers.Reshape((-1, size.bands, 1), name="depth")(x)
    if front == "scales":
        windows, strides = (size.taps // 4, size.taps, 4 * size.taps), (step, 2 * step, 6 * step)
        x = parallel_scales(waveform, size.bands, windows, strides, size.hop_length)
        x = layers.Reshape((-1, len(windows), size.bands), name="apart")(x)
        return layers.Permute((1, 3, 2), name="depth")(x)
    if front == "strided":
        x = layers.Conv1D(
            size.bands, size.taps, strides=step, padding="same", use_bias=False, name=front
        )(waveform)
    else:
        kind = SincBandPasses if front == "sinc" else GaborBandPasses
        x = kind(size.bands, size.taps, size.sample_rate, strides=step, padding="same", name=front)(
            waveform
        )
    return Levels(6, pairs=front == "gabor", name="levels")(x)


def _prime_factors(number: int) -> list[int]:
    """From the largest downwards: a stack begins with its largest stride."""
    found, factor = [], 2
    while number > 1:
        while number % factor == 0:
            number //= factor
            found.append(factor)
        factor += 1
    return found[::-1]


def _network(x, size: Fronts, each_frame: bool = False):
    x = _norm("bands_norm", axis=2)(x)
    for level, (filters, bands) in enumerate(zip(size.filters, size.pools, strict=True), start=1):
        x = layers.Conv2D(filters, 3, padding="same", use_bias=False, name=f"conv{level}")(x)
        x = _norm(f"norm{level}")(x)
        x = layers.Activation("relu", name=f"activation{level}")(x)
        x = layers.MaxPooling2D((1 if each_frame else 2, bands), name=f"pool{level}")(x)
    _, _, bands, filters = x.shape
    x = layers.Reshape((-1, bands * filters), name="frames")(x)
    if not each_frame:
        x = layers.GlobalAveragePooling1D(name="mean")(x)
    x = layers.Dropout(size.dropout, name=EMBEDDING)(x)
    x = layers.Dense(len(size.names), name="logits")(x)
    return Labels(size.names, size.exclusive, name="labels")(x)


def _norm(name: str, axis: int = -1) -> layers.Layer:
    # Trainings of some hundred steps are too short for the usual momentum, 0.99.
    return layers.BatchNormalization(axis=axis, momentum=0.9, name=name)


@keras.saving.register_keras_serializable("kzoo")
class Levels(layers.Layer):
    """Outputs of filters to their power in dB, averaged over `pooled` steps, at least -100.

    `[batch, steps, filters]` to `[batch, steps / pooled, filters, 1]`; with `pairs`, complex ones
    as in `layers.complex`, of half as many filters. Images of magnitudes keep their shape.
    """

    def __init__(self, pooled: int = 1, pairs: bool = False, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.pooled, self.pairs = pooled, pairs

    def call(self, x):
        power = squared_magnitude(x) if self.pairs else ops.square(x)
        if len(power.shape) == 3:
            steps, filters = ops.shape(power)[1:]
            power = ops.reshape(power, (-1, steps // self.pooled, self.pooled, filters))
            power = ops.mean(power, axis=2)[..., None]
        return power_to_db(power, _RANGE_DB)

    def get_config(self):
        return {**super().get_config(), "pooled": self.pooled, "pairs": self.pairs}
