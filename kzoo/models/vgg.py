"""Stacks of 3 x 3 convolutions over a few seconds of mel bands, to tags of music.

Simonyan and Zisserman's idea, https://arxiv.org/abs/1409.1556, as two groups gave it to music: the
baseline of the package musicnn (Pons and Serra, 2019, https://arxiv.org/abs/1909.06654), and the
short-chunk CNN of Won, Ferraro, Bogdanov and Serra, 2020, https://arxiv.org/abs/2006.00751.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers

from kzoo.layers.labels import Labels
from kzoo.layers.rectified import rectified
from kzoo.models.base.listener import EMBEDDING, LASTFM, ListenerSizes, mel_levels
from kzoo.models.base.sizes import check_positive


@dataclass(frozen=True, kw_only=True)
class VGG(ListenerSizes):
    """The package's network by default: 605,748 weights, of MagnaTagATune's tags.

    mel: "musicnn" is log10(1 + 10,000 x) of librosa's mel power, in frames that lie inside the
        window; "torchaudio" is 10 log10 of torchaudio's, with the window mirrored at its ends.
    filters: of the convolutions. pools: (frames, bands) of which the largest counts behind each,
        every `strides`.
    norms: batch norms come "last", behind an activation, or "first", before it.
    flat: the last layer takes all that is left of time and frequency, of one length of window;
        otherwise the largest over both.
    dense: units of a layer before the last one; 0 leaves it out.
    dropout: share dropped after each pooling, last_dropout before the last layer, in training.
    """

    sample_rate: int = 16000
    block_seconds: float = 3.008
    n_fft: int = 512
    hop_length: int = 256
    bands: int = 96
    mel: Literal["musicnn", "torchaudio"] = "musicnn"
    filters: tuple[int, ...] = (128,) * 5
    pools: tuple[tuple[int, int], ...] = ((4, 1), (2, 2), (2, 2), (2, 2), (4, 4))
    strides: tuple[tuple[int, int], ...] = ((2, 2), (2, 2), (2, 2), (2, 2), (4, 4))
    norms: Literal["last", "first"] = "last"
    flat: bool = True
    dense: int = 0
    epsilon: float = 1e-3
    dropout: float = 0.25
    last_dropout: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "n_fft", "hop_length", "bands")
        if not len(self.filters) == len(self.pools) == len(self.strides) > 0:
            raise ValueError(
                "pools and strides must be as many as filters; got "
                f"{len(self.pools)}, {len(self.strides)} and {len(self.filters)}"
            )
        if self.dense < 0:
            raise ValueError(f"dense must not be negative; got {self.dense}")
        if self.bands < self._least(axis=1):
            raise ValueError(
                f"pools leave nothing of fewer than {self._least(axis=1)} bands; "
                f"got bands={self.bands}"
            )

    def _least(self, axis: int) -> int:
        """How many frames (axis 0) or bands become one."""
        least = 1
        for pool, stride in zip(reversed(self.pools), reversed(self.strides), strict=True):
            least = (least - 1) * stride[axis] + pool[axis]
        return least

    def whole(self, samples: int | None) -> int:
        """`samples`, or a window where all of it is flattened; as many as the pools need."""
        least = (self._least(axis=0) - 1) * self.hop_length + self.n_fft
        return max(super().whole(None if self.flat else samples), least)


VARIANTS = {
    "mtt": VGG(),
    "msd": VGG(names=LASTFM),
    # As https://github.com/minzwon/sota-music-tagging-models has it.
    "short_chunk": VGG(
        block_seconds=59049 / 16000, bands=128, mel="torchaudio",
        filters=(128, 128, 256, 256, 256, 256, 512), pools=((2, 2),) * 7, strides=((2, 2),) * 7,
        norms="first", flat=False, dense=512, epsilon=1e-5, dropout=0.0,
    ),
    "tiny": VGG(
        names=("low", "high"), sample_rate=8000, block_seconds=0.5, n_fft=128, hop_length=64,
        bands=16, filters=(4, 4), pools=((4, 1), (4, 4)), strides=((2, 2), (4, 4)), dropout=0.0,
    ),
}  # fmt: skip


def core(size: VGG = VARIANTS["mtt"], *, frames: int | None = None) -> keras.Model:
    """Levels `[batch, frames, bands, 1]` to probabilities `[batch, names]`.

    frames: None for any number where nothing is flattened; else those of a window.
    """
    if frames is None and size.flat:
        frames = build(size).get_layer("mel").output.shape[1]
    levels = keras.Input((frames, size.bands, 1), name="levels")
    return keras.Model(levels, _network(levels, size), name="vgg_core")


def build(size: VGG = VARIANTS["mtt"], *, samples: int | None = None) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, names]`.

    samples: None for any length that the pools leave something of, or for a window where all is
        flattened. Raises ValueError for fewer, and there for another number.
    """
    if samples is None and size.flat:
        samples = size.whole(None)
    if samples is not None and samples != (needed := size.whole(samples)):
        rule = "a window" if size.flat else "as the pools need"
        raise ValueError(f"samples must be {needed}, {rule}; got {samples}")
    waveform = keras.Input((samples, 1), name="waveform")
    levels = mel_levels(size)(waveform)
    return keras.Model(waveform, _network(levels, size), name="vgg")


def _network(levels, size: VGG):
    order = {"norms": size.norms, "epsilon": size.epsilon}
    x = layers.BatchNormalization(epsilon=size.epsilon, name="input_norm")(levels)
    for level, filters in enumerate(size.filters, start=1):
        x = rectified(layers.Conv2D(filters, 3, padding="same", name=f"conv{level}"), x, **order)
        pool, stride = size.pools[level - 1], size.strides[level - 1]
        x = layers.MaxPooling2D(pool, stride, name=f"pool{level}")(x)
        if level < len(size.filters):
            x = layers.Dropout(size.dropout, name=f"dropout{level}")(x)
    x = (layers.Flatten if size.flat else layers.GlobalMaxPooling2D)(name="whole")(x)
    if size.dense:
        x = rectified(layers.Dense(size.dense, name="dense"), x, **order)
    x = layers.Dropout(size.last_dropout, name=EMBEDDING)(x)
    x = layers.Dense(len(size.names), name="logits")(x)
    return Labels(size.names, size.exclusive, name="labels")(x)
