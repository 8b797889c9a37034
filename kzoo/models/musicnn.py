"""Musicnn: filters of musically motivated shapes, whose findings are pooled over time, to tags.

Pons, Nieto, Prockup, Schmidt, Ehmann and Serra, 2018, https://arxiv.org/abs/1711.02520, in the size
that the first author released in the package musicnn (Pons and Serra, 2019,
https://arxiv.org/abs/1909.06654): tall filters hear timbre at any pitch, long ones tempo in any
band; three convolutions over time follow, and all that was found is pooled over the window.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers, ops

from kzoo.layers.labels import Labels
from kzoo.layers.rectified import rectified
from kzoo.models.base.listener import EMBEDDING, LASTFM, ListenerSizes, mel_levels
from kzoo.models.base.sizes import check_positive


@dataclass(frozen=True, kw_only=True)
class Musicnn(ListenerSizes):
    """The released network by default: 787,159 weights, of MagnaTagATune's tags.

    mel: "musicnn" is log10(1 + 10,000 x) of librosa's mel power, in frames that lie inside the
        window; "torchaudio" is 10 log10 of torchaudio's, with the window mirrored at its ends.
    timbral_bands: how many bands each kind of timbral filter sees; timbral_frames: for how long.
    temporal_frames: how long each kind of temporal filter is. temporal: they follow every band and
        the largest answer counts ("bands"), or the mean of all bands ("mean").
    timbral_filters, temporal_filters: of each kind. middle_filters: of the three convolutions over
        `middle_frames` that follow. dense: units of the last layer but one.
    norms: batch norms come "last", behind each activation and over what is pooled, or "first",
        between a layer and its activation.
    """

    sample_rate: int = 16000
    block_seconds: float = 3.008
    n_fft: int = 512
    hop_length: int = 256
    bands: int = 96
    mel: Literal["musicnn", "torchaudio"] = "musicnn"
    timbral_bands: tuple[int, ...] = (38, 67)
    timbral_frames: int = 7
    timbral_filters: int = 204
    temporal_frames: tuple[int, ...] = (128, 64, 32)
    temporal: Literal["bands", "mean"] = "bands"
    temporal_filters: int = 51
    middle_frames: int = 7
    middle_filters: int = 64
    dense: int = 200
    norms: Literal["last", "first"] = "last"
    epsilon: float = 1e-3
    dropout: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "n_fft", "hop_length", "bands", "middle_filters", "dense")
        if not self.timbral_bands or max(self.timbral_bands) > self.bands:
            raise ValueError(
                f"timbral_bands must be one or more of at most {self.bands} bands; "
                f"got {self.timbral_bands}"
            )
        if self.timbral_frames % 2 == 0:
            raise ValueError(f"timbral_frames must be odd; got {self.timbral_frames}")

    def whole(self, samples: int | None) -> int:
        """`samples`, or a window; at least one frame."""
        return max(super().whole(samples), self.n_fft)


# As https://github.com/minzwon/sota-music-tagging-models has it.
_TORCH = {
    "block_seconds": 3.0, "mel": "torchaudio", "timbral_bands": (67, 38), "temporal": "mean",
    "temporal_frames": (129, 65, 33), "norms": "first", "epsilon": 1e-5,
}  # fmt: skip
_LARGE = {"middle_filters": 512, "dense": 500}
VARIANTS = {
    "mtt": Musicnn(),
    "msd": Musicnn(names=LASTFM),
    "msd_large": Musicnn(names=LASTFM, **_LARGE),
    "torch": Musicnn(**_TORCH),
    "torch_large": Musicnn(**_TORCH, **_LARGE),
    "tiny": Musicnn(
        names=("low", "high"), sample_rate=8000, block_seconds=0.5, n_fft=128, hop_length=64,
        bands=16, timbral_bands=(11,), timbral_filters=4, temporal_frames=(4,),
        temporal_filters=2, middle_filters=4, dense=8, dropout=0.0,
    ),
}  # fmt: skip


def core(size: Musicnn = VARIANTS["mtt"], *, frames: int | None = None) -> keras.Model:
    """Levels `[batch, frames, bands, 1]` to probabilities `[batch, names]`."""
    levels = keras.Input((frames, size.bands, 1), name="levels")
    return keras.Model(levels, _network(levels, size), name="musicnn_core")


def build(size: Musicnn = VARIANTS["mtt"], *, samples: int | None = None) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, names]`.

    samples: None for any length of a frame and more.
    """
    waveform = keras.Input((samples, 1), name="waveform")
    levels = mel_levels(size)(waveform)
    return keras.Model(waveform, _network(levels, size), name="musicnn")


def _network(levels, size: Musicnn):
    order = {"norms": size.norms, "epsilon": size.epsilon}
    levels = layers.BatchNormalization(epsilon=size.epsilon, name="input_norm")(levels)
    padded = layers.ZeroPadding2D((size.timbral_frames // 2, 0), name="silence")(levels)
    found = []
    for number, bands in enumerate(size.timbral_bands, start=1):
        conv = layers.Conv2D(
            size.timbral_filters, (size.timbral_frames, bands), name=f"timbral{number}"
        )
        found.append(ops.max(rectified(conv, padded, **order), axis=2))  # [batch, frames, filters]
    if size.temporal == "mean":
        levels = ops.mean(levels, axis=2, keepdims=True)
    for number, frames in enumerate(size.temporal_frames, start=1):
        conv = layers.Conv2D(
            size.temporal_filters, (frames, 1), padding="same", name=f"temporal{number}"
        )
        found.append(ops.max(rectified(conv, levels, **order), axis=2))
    x = layers.Concatenate(name="front")(found)
    found = [x]
    for number in range(1, 4):
        conv = layers.Conv1D(
            size.middle_filters, size.middle_frames, padding="same", name=f"middle{number}"
        )
        y = rectified(conv, x, **order)
        x = y if number == 1 else layers.Add(name=f"sum{number}")([x, y])
        found.append(x)
    x = layers.Concatenate(name="found")(found)
    x = layers.Concatenate(name="pooled")([ops.max(x, axis=1), ops.mean(x, axis=1)])
    if size.norms == "last":
        x = layers.BatchNormalization(epsilon=size.epsilon, name="pooled_norm")(x)
        x = layers.Dropout(size.dropout, name="pooled_dropout")(x)
    x = rectified(layers.Dense(size.dense, name="dense"), x, **order)
    x = layers.Dropout(size.dropout, name=EMBEDDING)(x)
    x = layers.Dense(len(size.names), name="logits")(x)
    return Labels(size.names, size.exclusive, name="labels")(x)
