"""Choi's taggers: images of mel bands through 3 x 3 convolutions to tags of music.

Choi, Fazekas and Sandler, 2016, https://arxiv.org/abs/1606.00298: four convolutions (FCN-4), each
pooled over frequency and time until one number a filter is left for half a minute of sound. Choi,
Fazekas, Sandler and Cho, 2016, https://arxiv.org/abs/1609.04243: four smaller ones whose frames two
recurrent layers follow (CRNN), of which the authors released weights.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers, ops

from kzoo.layers.labels import Labels
from kzoo.models.base.listener import EMBEDDING, ListenerSizes, mel_levels
from kzoo.models.base.sizes import check_positive

_RANGE_DB = 80.0
_LEAST_POWER = 1e-5
_INPUT_NORMS = {"time": 1, "band": 2, "all": 3}


@dataclass(frozen=True, kw_only=True)
class Choi(ListenerSizes):
    """The FCN-4 of the paper by default: 17,359,282 weights of convolutions and the dense layer.

    mel: "librosa" is the authors' 20 log10 of librosa's mel power, down to 80 dB below the loudest;
        "torchaudio" is 10 log10 of torchaudio's, at least -100 dB.
    input_norm: what has a mean of its own: each frame ("time"), each "band", or neither ("all").
    filters: of the convolutions. pools: (bands, frames) that become one behind each.
    pad_frames: silence of this many frames, already normalised, lies on both sides of a window.
    gru: units of two recurrent layers; 0 takes the largest value over what is left of time.
    gates: of those, as "keras1" has them, or "torch", which resets behind the product.
    dropout: share dropped after each pooling, last_dropout before the dense layer, in training.
    """

    sample_rate: int = 12000
    block_seconds: float = 29.12
    n_fft: int = 512
    hop_length: int = 256
    bands: int = 96
    mel: Literal["librosa", "torchaudio"] = "librosa"
    input_norm: Literal["time", "band", "all"] = "band"
    filters: tuple[int, ...] = (128, 384, 768, 2048)
    pools: tuple[tuple[int, int], ...] = ((2, 4), (4, 5), (3, 8), (4, 8))
    activation: Literal["relu", "elu"] = "relu"
    pad_frames: int = 0
    gru: int = 0
    gates: Literal["keras1", "torch"] = "keras1"
    epsilon: float = 1e-3
    dropout: float = 0.5
    last_dropout: float = 0.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "n_fft", "hop_length", "bands")
        if not len(self.filters) == len(self.pools) > 0:
            raise ValueError(
                f"pools must be as many as filters; got {len(self.pools)} and {len(self.filters)}"
            )
        if self.bands < (least := math.prod(bands for bands, _ in self.pools)):
            raise ValueError(f"pools of {least} bands in all need as many; got bands={self.bands}")
        if self.gru < 0 or self.pad_frames < 0:
            raise ValueError(
                f"gru and pad_frames must not be negative; got {self.gru} and {self.pad_frames}"
            )

    def frames(self, samples: int) -> int:
        """How many frames so many samples are."""
        return 1 + samples // self.hop_length

    def whole(self, samples: int | None) -> int:
        """`samples`, or a window where frames have norms; no fewer than the pools need."""
        if samples is None or self.input_norm == "time":
            samples = round(self.block_seconds * self.sample_rate)
        needed = math.prod(frames for _, frames in self.pools) - 2 * self.pad_frames
        return max(samples, (needed - 1) * self.hop_length, self.n_fft)


_TORCH = {
    "sample_rate": 16000, "mel": "torchaudio",
    "block_seconds": 29.1, "input_norm": "all", "epsilon": 1e-5, "dropout": 0.0,
    "last_dropout": 0.5,
}  # fmt: skip
VARIANTS = {
    # The paper compares this depth: its filters and pools here are our choice.
    "fcn3": Choi(filters=(256, 768, 2048), pools=((3, 5), (4, 16), (8, 17))),
    "fcn4": Choi(),
    # These two are as https://github.com/minzwon/sota-music-tagging-models has them.
    "fcn5": Choi(
        filters=(64, 128, 128, 128, 64), pools=((2, 4), (2, 4), (2, 4), (3, 5), (4, 4)), **_TORCH
    ),
    "crnn_torch": Choi(
        filters=(64, 128, 128, 128), pools=((2, 2), (3, 3), (4, 4), (4, 4)), gru=32, gates="torch",
        **_TORCH,
    ),
    # As https://github.com/keunwoochoi/music-auto_tagging-keras released it.
    "crnn": Choi(
        filters=(64, 128, 128, 128), pools=((2, 2), (3, 3), (4, 4), (4, 4)), activation="elu",
        input_norm="time", pad_frames=37, gru=32, dropout=0.1, last_dropout=0.3,
    ),
    "tiny": Choi(
        names=("low", "high"), sample_rate=8000, block_seconds=0.5, n_fft=128, hop_length=64,
        bands=16, filters=(8, 8), pools=((4, 4), (4, 4)), dropout=0.0,
    ),
}  # fmt: skip


def core(size: Choi = VARIANTS["fcn4"], *, frames: int | None = None) -> keras.Model:
    """Levels `[batch, frames, bands, 1]` in dB to probabilities `[batch, names]`.

    frames: None for any number, where no frame has a norm of its own.
    """
    levels = keras.Input((frames, size.bands, 1), name="levels")
    return keras.Model(levels, _network(levels, size), name="choi_core")


def build(size: Choi = VARIANTS["fcn4"], *, samples: int | None = None) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, names]`.

    samples: None for any length that the pools leave a frame of; one window where each frame has a
        norm of its own. Raises ValueError for fewer, and there for another number.
    """
    if samples is None and size.input_norm == "time":
        samples = size.whole(None)
    if samples is not None and samples != (needed := size.whole(samples)):
        rule = "a window" if size.input_norm == "time" else "as the pools need"
        raise ValueError(f"samples must be {needed}, {rule}; got {samples}")
    waveform = keras.Input((samples, 1), name="waveform")
    x = mel_levels(size)(waveform)
    if size.mel == "librosa":
        x = LevelsBelowPeak(name="levels")(x)
    return keras.Model(waveform, _network(x, size), name="choi")


def _network(x, size: Choi):
    if size.pad_frames:
        x = layers.ZeroPadding2D((size.pad_frames, 0), name="silence")(x)
    x = _norm(size, "input_norm", axis=_INPUT_NORMS[size.input_norm])(x)
    for level, (filters, (bands, pooled)) in enumerate(
        zip(size.filters, size.pools, strict=True), start=1
    ):
        x = layers.Conv2D(filters, 3, padding="same", name=f"conv{level}")(x)
        x = _norm(size, f"norm{level}")(x)
        x = layers.Activation(size.activation, name=f"activation{level}")(x)
        x = layers.MaxPooling2D((pooled, bands), name=f"pool{level}")(x)
        x = layers.Dropout(size.dropout, name=f"dropout{level}")(x)
    if size.gru:
        _, steps, bands, filters = x.shape
        x = layers.Reshape((-1 if steps is None else steps, bands * filters), name="sequence")(x)
        old = size.gates == "keras1"
        # Unrolled, TFLite has no loop to run.
        gru = {"reset_after": not old, "unroll": steps is not None}
        gru["recurrent_activation"] = gate if old else "sigmoid"
        x = layers.GRU(size.gru, return_sequences=True, name="gru1", **gru)(x)
        x = layers.GRU(size.gru, name="gru2", **gru)(x)
    else:
        x = layers.GlobalMaxPooling2D(name="largest")(x)
    x = layers.Dropout(size.last_dropout, name=EMBEDDING)(x)
    x = layers.Dense(len(size.names), name="logits")(x)
    return Labels(size.names, size.exclusive, name="labels")(x)


def _norm(size: Choi, name: str, axis: int = -1) -> layers.Layer:
    return layers.BatchNormalization(axis=axis, epsilon=size.epsilon, name=name)


@keras.saving.register_keras_serializable("kzoo", name="hard_gate")
def gate(x):
    """Keras 1's hard sigmoid, 0.2 x + 0.5 between 0 and 1."""
    return ops.clip(0.2 * x + 0.5, 0.0, 1.0)


@keras.saving.register_keras_serializable("kzoo")
class LevelsBelowPeak(layers.Layer):
    """Powers `[batch, ...]` to 20 log10, at least 80 dB below the highest of an example."""

    def __init__(self, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)

    def call(self, power):
        levels = 20 / math.log(10) * ops.log(ops.maximum(power, _LEAST_POWER))
        axes = tuple(range(1, len(power.shape)))
        return ops.maximum(levels, ops.max(levels, axis=axes, keepdims=True) - _RANGE_DB)
