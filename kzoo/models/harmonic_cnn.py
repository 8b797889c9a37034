"""Harmonic CNN: band-passes on the harmonics of every note, stacked, to tags of any sound.

Won, Chun, Nieto and Serra, Data-driven harmonic filters for audio representation learning, 2020,
https://doi.org/10.1109/ICASSP40776.2020.9053669: the first harmonics of a note are the channels of
one place of an image, whose bands become as narrow as is learned; residual convolutions follow.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import keras
from keras import layers

from kzoo.dsp.band_passes import semitone_centres
from kzoo.layers.band_passes import HarmonicBands
from kzoo.layers.labels import Labels
from kzoo.models.base.listener import EMBEDDING, ListenerSizes
from kzoo.models.base.sizes import check_positive

# Weakly labelled sounds of DCASE 2017, task 4.
DCASE = (
    "train horn", "air horn, truck horn", "car alarm", "reversing beeps", "ambulance (siren)",
    "police car (siren)", "fire engine, fire truck (siren)", "civil defense siren", "screaming",
    "bicycle", "skateboard", "car", "car passing by", "bus", "truck", "motorcycle", "train",
)  # fmt: skip
# Speech Commands, version 2.
KEYWORDS = (
    "backward", "bed", "bird", "cat", "dog", "down", "eight", "five", "follow", "forward", "four",
    "go", "happy", "house", "learn", "left", "marvin", "nine", "no", "off", "on", "one", "right",
    "seven", "sheila", "six", "stop", "three", "tree", "two", "up", "visual", "wow", "yes", "zero",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class HarmonicCNN(ListenerSizes):
    """The authors' network for MagnaTagATune by default: 3,631,551 weights, one of the filters.

    harmonics: channels of the image. per_semitone: bands, from C1 to where the highest harmonic
        reaches the highest frequency. learn_centres: the notes move, too, as the paper has it and
        its program does not; how far is a weight of each in semitones, which is our choice.
    filters: of the blocks, residual ones where they are those of the block before. pools: (frames,
        bands) of which the largest counts behind each.
    dropout: share dropped before the last layer, in training.
    """

    sample_rate: int = 16000
    block_seconds: float = 5.0
    n_fft: int = 512
    hop_length: int = 256
    harmonics: int = 6
    per_semitone: int = 2
    learn_centres: bool = False
    filters: tuple[int, ...] = (128, 128, 128, 128, 256, 256, 256)
    pools: tuple[tuple[int, int], ...] = (*((2, 2),) * 5, (3, 2), (3, 2))
    dense: int = 256
    dropout: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "n_fft", "hop_length", "harmonics", "per_semitone", "dense")
        if not len(self.filters) == len(self.pools) > 0:
            raise ValueError(
                f"pools must be as many as filters; got {len(self.pools)} and {len(self.filters)}"
            )
        notes = len(semitone_centres(self.sample_rate, self.harmonics, self.per_semitone))
        if notes < (least := math.prod(bands for _, bands in self.pools)):
            raise ValueError(
                f"pools of {least} bands in all need as many; sample_rate={self.sample_rate}, "
                f"harmonics={self.harmonics} and per_semitone={self.per_semitone} make {notes}"
            )

    def whole(self, samples: int | None) -> int:
        """`samples` or a window; no fewer than the pools need."""
        frames = math.prod(frames for frames, _ in self.pools)
        return max(super().whole(samples), (frames - 1) * self.hop_length, self.n_fft)


VARIANTS = {
    "mtat": HarmonicCNN(),
    # Windows of these two are our choice, and the pools of the second.
    "dcase": HarmonicCNN(names=DCASE),
    "keyword": HarmonicCNN(
        names=KEYWORDS, exclusive=True, block_seconds=1.0,
        pools=(*((2, 2),) * 5, (1, 2), (1, 2)),
    ),
    "tiny": HarmonicCNN(
        names=("low", "high"), sample_rate=8000, block_seconds=0.25, n_fft=128, hop_length=64,
        harmonics=2, per_semitone=1, filters=(6, 6), pools=((4, 4), (4, 4)), dense=8, dropout=0.0,
    ),
}  # fmt: skip


def build(size: HarmonicCNN = VARIANTS["mtat"], *, samples: int | None = None) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, names]`.

    samples: None for any length that the pools leave a frame of. Raises ValueError for fewer.
    """
    if samples is not None and samples < (needed := size.whole(samples)):
        raise ValueError(f"samples must be {needed} at least, as the pools need; got {samples}")
    waveform = keras.Input((samples, 1), name="waveform")
    x = HarmonicBands(
        size.sample_rate, size.n_fft, size.hop_length, size.harmonics, size.per_semitone,
        learn_centres=size.learn_centres, name="bands",
    )(waveform)  # fmt: skip
    # Until it has measured levels in dB, what is usual of them: with 0 and 1 all would saturate.
    usual = {
        f"moving_{part}_initializer": keras.initializers.Constant(value)
        for part, value in (("mean", -40.0), ("variance", 400.0))
    }
    x = _norm("bands_norm", **usual)(x)
    for level, (filters, pool) in enumerate(zip(size.filters, size.pools, strict=True), start=1):
        y = _convolution(filters, f"conv{level}")(x)
        y = _norm(f"norm{level}")(y)
        if filters == x.shape[-1]:
            y = layers.ReLU(name=f"relu{level}")(y)
            y = _convolution(filters, f"second{level}")(y)
            y = _norm(f"second_norm{level}")(y)
            y = layers.Add(name=f"sum{level}")([x, y])
        x = layers.ReLU(name=f"block{level}")(y)
        x = layers.MaxPooling2D(pool, name=f"pool{level}")(x)
    x = layers.GlobalMaxPooling2D(name="largest")(x)
    x = layers.Dense(size.dense, name="dense")(x)
    x = _norm("dense_norm")(x)
    x = layers.ReLU(name="dense_relu")(x)
    x = layers.Dropout(size.dropout, name=EMBEDDING)(x)
    x = layers.Dense(len(size.names), name="logits")(x)
    labels = Labels(size.names, size.exclusive, name="labels")
    return keras.Model(waveform, labels(x), name="harmonic_cnn")


def _convolution(filters: int, name: str) -> layers.Layer:
    return layers.Conv2D(filters, 3, padding="same", name=name)


def _norm(name: str, **options) -> layers.Layer:
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name, **options)
