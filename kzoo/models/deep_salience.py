"""Deep Salience: where the melody, or every note, of polyphonic music is in time and frequency.

Bittner, McFee, Salamon, Li and Bello, Deep salience representations for F0 estimation in
polyphonic music, ISMIR 2017: convolutions over a harmonic constant-Q transform, in which a tone and
its harmonics lie behind each other, end in one sigmoid for every frame and bin.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np
from keras import layers, ops

from kzoo.dsp.constant_q import HarmonicCQT, context_samples
from kzoo.dsp.units import power_to_db
from kzoo.models.base.sizes import Sizes, check_positive

RANGE_DB = 80.0
LEAST_DB = -100.0  # of a magnitude
_NEIGHBOURS = 7  # frames on each side that the convolutions see


@dataclass(frozen=True, kw_only=True)
class DeepSalience(Sizes):
    """The authors' network by default: six octaves from C1 in steps of 20 cents, every 11.6 ms.

    hop_length: samples from frame to frame. fmin_hz: of the lowest bin; bin b is at
        fmin_hz * 2 ** (b / bins_per_octave). harmonics: at whose multiples of fmin_hz the
        transforms begin that are the network's channels.
    filters: of the first five convolutions. span: bins that the fifth sees at once, a bit more
        than an octave.
    """

    task: ClassVar[str] = "pitch"

    sample_rate: int = 22050
    channels: int = 1
    hop_length: int = 256
    fmin_hz: float = 32.7
    octaves: int = 6
    bins_per_octave: int = 60
    harmonics: tuple[float, ...] = (0.5, 1, 2, 3, 4, 5)
    filters: tuple[int, ...] = (128, 64, 64, 64, 8)
    span: int = 70

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "hop_length", "fmin_hz", "octaves", "bins_per_octave", "span")
        if self.channels != 1:
            raise ValueError(f"channels must be 1; got {self.channels}")
        if len(self.filters) != 5:
            raise ValueError(f"filters must be five numbers; got {self.filters}")
        if not self.harmonics or min(self.harmonics) <= 0:
            raise ValueError(f"harmonics must be one or more above 0; got {self.harmonics}")

    @property
    def bins(self) -> int:
        """Bins of the salience."""
        return self.octaves * self.bins_per_octave

    def frequencies_hz(self) -> np.ndarray:
        """Frequency of each bin, float64."""
        return self.fmin_hz * 2 ** (np.arange(self.bins) / self.bins_per_octave)

    def context_frames(self) -> int:
        """Frames on each side of one that its salience depends on, but for the loudest bin."""
        lowest_hz = self.fmin_hz * min(self.harmonics)
        samples = context_samples(self.sample_rate, lowest_hz, self.bins_per_octave)
        return -(-samples // self.hop_length) + _NEIGHBOURS

    def whole(self, samples: int | None) -> int:
        """The length nearest to `samples`, or to `block_seconds`, of whole hops."""
        return max(1, round(super().whole(samples) / self.hop_length)) * self.hop_length


VARIANTS = {
    "paper": DeepSalience(),
    "tiny": DeepSalience(
        sample_rate=8000, hop_length=128, fmin_hz=110.0, octaves=3, bins_per_octave=12,
        harmonics=(1, 2, 3), filters=(4, 3, 3, 3, 2), span=13,
    ),
}  # fmt: skip


def core(size: DeepSalience = VARIANTS["paper"]) -> keras.Model:
    """Levels `[batch, frames, bins, harmonics]`, in 0 to 1, to salience `[batch, frames, bins]`.

    Levels are dB under the loudest bin of all, 1 + dB / 80.
    """
    levels = keras.Input((None, size.bins, len(size.harmonics)), name="levels")
    x = layers.BatchNormalization(name="norm0")(levels)
    kernels = ((5, 5), (5, 5), (3, 3), (3, 3), (3, size.span))  # frames, bins
    for number, (filters, kernel) in enumerate(zip(size.filters, kernels, strict=True), start=1):
        x = layers.Conv2D(
            filters, kernel, padding="same", activation="relu", name=f"convolution{number}"
        )(x)
        x = layers.BatchNormalization(name=f"norm{number}")(x)
    x = layers.Conv2D(1, 1, activation="sigmoid", dtype="float32", name="salience")(x)
    return keras.Model(levels, x[..., 0], name="deep_salience_core")


def build(size: DeepSalience = VARIANTS["paper"], *, samples: int | None = None) -> keras.Model:
    """Waveform `[batch, samples, 1]` to salience `[batch, frames, bins]`, each in 0 to 1.

    samples: None for any length. Frame m is centred on sample m * hop_length, and frames =
    1 + samples // hop_length. Levels are relative to the loudest bin of the whole waveform, so
    that what is said of a frame depends a little on all of it.
    """
    waveform = keras.Input((samples, 1), name="waveform")
    levels = RelativeLevels(dtype="float32", name="levels")(_transform(size)(waveform))
    return keras.Model(waveform, core(size)(levels), name="deep_salience")


def build_blocks(
    size: DeepSalience, network: keras.Model, *, transformed: int, frames: int
) -> tuple[keras.Model, keras.Model]:
    """(transform, salience) of parts of a recording that is gone through twice.

    The first takes the waveform `[batch, samples, 1]` of `transformed` frames and
    `context_frames` more on both sides, samples = (transformed + 2 * context_frames - 1) *
    hop_length, to magnitudes `[batch, transformed + 2 * n, bins, harmonics]`, n being the
    neighbours that the network sees on each side. The second takes `frames + 2 * n` of them and
    the loudest magnitude of the whole recording, `[batch, 1]`, to salience
    `[batch, frames, bins]`. network: the `core`.
    """
    context = size.context_frames()
    waveform = keras.Input(((transformed + 2 * context - 1) * size.hop_length, 1), name="waveform")
    seen = _transform(size)(waveform)[
        :, context - _NEIGHBOURS : context + transformed + _NEIGHBOURS
    ]
    shape = frames + 2 * _NEIGHBOURS, size.bins, len(size.harmonics)
    magnitudes = keras.Input(shape, name="magnitudes")
    loudest = keras.Input((1,), name="loudest")
    levels = RelativeLevels(dtype="float32", name="levels")(magnitudes, loudest[:, :, None, None])
    salience = network(levels)[:, _NEIGHBOURS : _NEIGHBOURS + frames]
    return (
        keras.Model(waveform, seen, name="deep_salience_transform"),
        keras.Model([magnitudes, loudest], salience, name="deep_salience_block"),
    )


def _transform(size: DeepSalience) -> HarmonicCQT:
    return HarmonicCQT(
        size.sample_rate, size.hop_length, size.fmin_hz, size.bins, size.bins_per_octave,
        size.harmonics, name="harmonic_cqt",
    )  # fmt: skip


def relative_levels(magnitudes, loudest):
    """Magnitudes as 1 + dB / 80 under `loudest`, which broadcasts to them; at least 0.

    librosa's amplitude_to_db: nothing is fainter than -100 dB. Where `loudest` is no more than
    that, all is silence and 0, which librosa has as 1.
    """
    db = power_to_db(ops.square(magnitudes), -LEAST_DB)
    loudest_db = power_to_db(ops.square(loudest), -LEAST_DB)
    levels = 1 + ops.maximum(db - loudest_db, -RANGE_DB) / RANGE_DB
    return ops.where(loudest_db > LEAST_DB, levels, 0.0)


@keras.saving.register_keras_serializable("kzoo")
class RelativeLevels(layers.Layer):
    """`relative_levels` of `[batch, frames, bins, harmonics]`, by default under the loudest."""

    def call(self, magnitudes, loudest=None):
        if loudest is None:
            loudest = ops.max(magnitudes, axis=(1, 2, 3), keepdims=True)
        return relative_levels(magnitudes, loudest)

    def compute_output_shape(self, magnitudes_shape, loudest_shape=None):
        return magnitudes_shape
