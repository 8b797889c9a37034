"""Multi-scale filters of samples, and recurrent layers that listen to them.

Zhu, Engel and Hannun, 2016, Learning multiscale features directly from waveforms,
https://arxiv.org/abs/1603.09509: short, middle and long windows in parallel, each pooled to the
rate of a spectrum, before the network of Deep Speech 2 (https://arxiv.org/abs/1512.02595).
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers

from kzoo.layers.labels import Labels
from kzoo.layers.recurrent import GRU
from kzoo.layers.strided import parallel_scales
from kzoo.models.base.listener import EMBEDDING, ListenerSizes
from kzoo.models.base.sizes import check_positive


@dataclass(frozen=True, kw_only=True)
class MultiScale(ListenerSizes):
    """Windows of 4, 16 and 64 ms at 100 frames a second by default.

    The papers leave these sizes open, or have them for thousands of hours of speech: all figures
    are our choice. Theirs writes what is said, a character a frame; this one names a window.

    filters: of each scale. windows, strides: of the scales, in samples. hop_length: samples that
        become one frame. conv_filters, conv_frames: of the convolution of two frames' stride behind
        them. hidden: units of each of `n_layers` recurrent layers in each direction, whose outputs
        are added up. dropout: share dropped before the last dense layer, in training.
    """

    sample_rate: int = 16000
    block_seconds: float = 3.0
    filters: int = 64
    windows: tuple[int, ...] = (64, 256, 1024)
    strides: tuple[int, ...] = (20, 40, 80)
    hop_length: int = 160
    conv_filters: int = 256
    conv_frames: int = 11
    hidden: int = 256
    n_layers: int = 3
    dropout: float = 0.3

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "filters", "hop_length", "conv_filters", "conv_frames", "hidden")
        check_positive(self, "n_layers")

    def whole(self, samples: int | None) -> int:
        """Whole hops, one at least."""
        return max(1, round(super().whole(samples) / self.hop_length)) * self.hop_length


VARIANTS = {
    "default": MultiScale(),
    "tiny": MultiScale(
        names=("low", "high"), sample_rate=8000, block_seconds=0.1, filters=4, windows=(16, 64),
        strides=(10, 20), hop_length=80, conv_filters=8, conv_frames=5, hidden=6, n_layers=1,
        dropout=0.0,
    ),
}  # fmt: skip


def build(size: MultiScale = VARIANTS["default"], *, samples: int | None = None) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, names]`.

    samples: None for any number of whole hops. Raises ValueError for another number, and for
        strides that do not divide the hop.
    """
    if samples is not None and samples != (needed := size.whole(samples)):
        raise ValueError(f"samples must be whole hops, such as {needed}; got {samples}")
    waveform = keras.Input((samples, 1), name="waveform")
    x = parallel_scales(waveform, size.filters, size.windows, size.strides, size.hop_length)
    x = layers.BatchNormalization(name="scales_norm")(x)
    x = layers.Conv1D(
        size.conv_filters, size.conv_frames, strides=2, padding="same", name="conv"
    )(x)  # fmt: skip
    x = layers.BatchNormalization(name="conv_norm")(x)
    x = layers.ReLU(name="conv_relu")(x)
    for number in range(1, size.n_layers + 1):
        gru = GRU(size.hidden, return_sequences=True, name="gru")
        x = layers.Bidirectional(gru, merge_mode="sum", name=f"gru{number}")(x)
        x = layers.BatchNormalization(name=f"gru{number}_norm")(x)
    x = layers.GlobalAveragePooling1D(name="mean")(x)
    x = layers.Dropout(size.dropout, name=EMBEDDING)(x)
    x = layers.Dense(len(size.names), name="logits")(x)
    x = Labels(size.names, size.exclusive, name="labels")(x)
    return keras.Model(waveform, x, name="multi_scale")
