"""Dieleman's networks: convolutions over time alone, whose features are bands or learned filters.

van den Oord, Dieleman and Schrauwen, 2013, Deep content-based music recommendation, and the network
that Dieleman describes at https://sander.ai/2014/08/05/spotify-cnns.html: mel bands to the factors
by which listeners choose songs. Dieleman and Schrauwen, 2014, End-to-end learning for music audio,
https://doi.org/10.1109/ICASSP.2014.6854950: tags, and filters of samples in place of the bands.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers, ops

from kzoo.dsp.mel import LogMel
from kzoo.layers.labels import Labels
from kzoo.layers.strided import LogPower
from kzoo.models.base.listener import EMBEDDING, ListenerSizes
from kzoo.models.base.sizes import check_positive

FACTORS = tuple(f"factor{number}" for number in range(1, 41))


@dataclass(frozen=True, kw_only=True)
class Dieleman(ListenerSizes):
    """The network of 2014 by default, for tags: 599 frames of 128 bands, 30 s.

    Its page leaves the frames' length and hop open: they are our choice, so that 30 s are 599. It
    predicts 40 factors, for which the variant "factors" names as many outputs: they are what `core`
    gives.

    front: "mel", log(1 + 10,000 x) of mel power in frames of n_fft samples, or "samples", as many
        learned filters of this length, squared and compressed alike. bands: of either.
    filters: of the convolutions over `kernel_frames`. pools: frames of which the largest value is
        left behind each.
    pooled: the mean, the maximum and the L2 norm over time of all features ("statistics"), or all
        that is left ("flat"), of one length of window.
    dense: units of the layers that follow. dropout: share dropped before each dense layer.
    """

    sample_rate: int = 22050
    block_seconds: float = 30.0
    front: Literal["mel", "samples"] = "mel"
    n_fft: int = 2048
    hop_length: int = 1102
    bands: int = 128
    filters: tuple[int, ...] = (256, 256, 256)
    kernel_frames: int = 4
    pools: tuple[int, ...] = (4, 2, 2)
    pooled: Literal["statistics", "flat"] = "statistics"
    dense: tuple[int, ...] = (2048, 2048)
    dropout: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "n_fft", "hop_length", "bands", "kernel_frames")
        if not len(self.filters) == len(self.pools) > 0:
            raise ValueError(
                f"pools must be as many as filters; got {len(self.pools)} and {len(self.filters)}"
            )

    def whole(self, samples: int | None) -> int:
        """`samples`, or a window where all of it is flattened; as many as the pools need."""
        frames = 1
        for pool in reversed(self.pools):
            frames = frames * pool + self.kernel_frames - 1
        least = (frames - 1) * self.hop_length + self.n_fft
        return max(super().whole(None if self.pooled == "flat" else samples), least)


# MagnaTagATune at 16 kHz in windows of 3 s; of the hops that were tried the best one, a frame.
_TAGS = {
    "sample_rate": 16000, "block_seconds": 3.0, "n_fft": 256, "hop_length": 256, "pooled": "flat",
    "filters": (32, 32), "kernel_frames": 8, "pools": (4, 4), "dense": (100,),
}  # fmt: skip
VARIANTS = {
    "recommendation": Dieleman(),
    "factors": Dieleman(names=FACTORS),
    "mel": Dieleman(**_TAGS),
    "end_to_end": Dieleman(**_TAGS, front="samples"),
    "tiny": Dieleman(
        names=("low", "high"), sample_rate=8000, block_seconds=0.2, front="samples", n_fft=64,
        hop_length=64, bands=16, filters=(8,), kernel_frames=2, pools=(2,), dense=(8,), dropout=0.0,
    ),
}  # fmt: skip


def core(size: Dieleman = VARIANTS["recommendation"], *, samples: int | None = None) -> keras.Model:
    """Waveform `[batch, samples, 1]` to what the last dense layer gives, `[batch, names]`.

    Those are factors, of any sign and size, and logits of tags. samples: as in `build`.
    """
    waveform = keras.Input((_samples(size, samples), 1), name="waveform")
    return keras.Model(waveform, _network(waveform, size), name="dieleman_core")


def build(
    size: Dieleman = VARIANTS["recommendation"], *, samples: int | None = None
) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, names]`.

    samples: None for any length that the pools leave a frame of, or for a window where all is
        flattened. Raises ValueError for fewer, and there for another number.
    """
    waveform = keras.Input((_samples(size, samples), 1), name="waveform")
    labels = Labels(size.names, size.exclusive, name="labels")(_network(waveform, size))
    return keras.Model(waveform, labels, name="dieleman")


def _samples(size: Dieleman, samples: int | None) -> int | None:
    flat = size.pooled == "flat"
    if samples is None:
        return size.whole(None) if flat else None
    if samples != (needed := size.whole(samples)):
        rule = "a window" if flat else "as the pools need"
        raise ValueError(f"samples must be {needed}, {rule}; got {samples}")
    return samples


def _network(waveform, size: Dieleman):
    if size.front == "mel":
        x = LogMel(
            size.sample_rate, size.n_fft, size.hop_length, size.bands, name="mel",
            compression="log", padding="valid", empty_bands=True,
        )(waveform)  # fmt: skip
        x = ops.squeeze(x, axis=-1) * math.log(10)
    else:
        x = layers.Conv1D(size.bands, size.n_fft, strides=size.hop_length, name="front")(waveform)
        x = LogPower(name="compressed")(x)
    for level, (filters, pool) in enumerate(zip(size.filters, size.pools, strict=True), start=1):
        x = layers.Conv1D(filters, size.kernel_frames, activation="relu", name=f"conv{level}")(x)
        x = layers.MaxPooling1D(pool, name=f"pool{level}")(x)
    if size.pooled == "flat":
        x = layers.Flatten(name="pooled")(x)
    else:
        # The bound keeps the gradient of the root finite where a feature never answers.
        norm = ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis=1), 1e-12))
        x = layers.Concatenate(name="pooled")([ops.mean(x, axis=1), ops.max(x, axis=1), norm])
    for number, units in enumerate(size.dense, start=1):
        x = layers.Dropout(size.dropout, name=f"dropout{number}")(x)
        x = layers.Dense(units, activation="relu", name=f"dense{number}")(x)
    x = layers.Dropout(size.dropout, name=EMBEDDING)(x)
    return layers.Dense(len(size.names), name="logits")(x)
