"""The onset detector of Schlüter and Böck: in which frames of music a note or a beat begins.

Schlüter and Böck, Improved musical onset detection with convolutional neural networks, ICASSP 2014,
and Musical onset detection with convolutional neural networks, MML 2013: 15 frames of mel bands,
measured with three windows that lie behind each other as the colours of an image do, go through two
convolutions to the probability of an onset in the middle one.

The network is drawn for all frames at once: its dense layer is a convolution over time, which says
of each frame what the paper's network says of its 15.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers

from kzoo.dsp.mel import LogMels
from kzoo.layers.labels import Labels
from kzoo.models.base.causal import Past, silent_state, step_model
from kzoo.models.base.listener import EMBEDDING
from kzoo.models.base.sizes import check_positive
from kzoo.models.base.streamed_frames import StreamedFrameSizes, stream_levels, whole_levels

_KERNELS = ((7, 3), (3, 3))  # frames, bands
_POOLED_BANDS = 3


@dataclass(frozen=True, kw_only=True)
class OnsetCNN(StreamedFrameSizes):
    """The paper's network by default: 289,693 weights.

    names: "onset", or others, such as classes of instruments of which each has its own onsets.
    n_ffts: of the windows, whose levels are the channels of the network; at 44.1 kHz 23, 46 and
        93 ms. low_hz, high_hz: of the mel bands. The papers leave open what scale of mel it is and
        how triangles are weighted: HTK's and equal areas are our choice, and dB of power down to
        -100 dB, which are the paper's logarithms with an end.
    frames: that the network sees at once, at least 9. lookahead_frames: how many of them lie behind
        the one that it tells of: the paper's is the middle one. With 0 it hears an onset as it
        happens, but for half of the longest window.
    filters: of the two convolutions. units: of the dense layer. dense_activation: "relu" is 2014's,
        "tanh" 2013's. conv_activation: of the convolutions, in both papers "tanh".
    dropout: share of what the dense layers take that is dropped in training.
    """

    sample_rate: int = 44100
    names: tuple[str, ...] = ("onset",)
    hop_length: int = 441
    n_ffts: tuple[int, ...] = (1024, 2048, 4096)
    bands: int = 80
    low_hz: float = 27.5
    high_hz: float = 16000.0
    frames: int = 15
    lookahead_frames: int = 7
    filters: tuple[int, int] = (10, 20)
    units: int = 256
    conv_activation: Literal["tanh", "relu"] = "tanh"
    dense_activation: Literal["relu", "tanh"] = "relu"
    dropout: float = 0.5

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "bands", "units")
        if not self.n_ffts or any(n < 2 or n % 2 for n in self.n_ffts):
            raise ValueError(f"n_ffts must be one or more even numbers; got {self.n_ffts}")
        if not 0 <= self.low_hz < self.high_hz <= self.sample_rate / 2:
            raise ValueError(
                f"low_hz to high_hz must lie in 0 to {self.sample_rate / 2:g}; got "
                f"{self.low_hz:g} to {self.high_hz:g}"
            )
        seen = 1 + sum(frames - 1 for frames, _ in _KERNELS)
        if self.frames < seen:
            raise ValueError(f"frames must be at least {seen}; got {self.frames}")
        if self.bands < 17:  # of which the convolutions and their pooling leave one
            raise ValueError(f"bands must be at least 17; got {self.bands}")

    @property
    def longest_samples(self) -> int:
        return max(self.n_ffts)


VARIANTS = {
    "paper": OnsetCNN(),
    # The first paper's, with hyperbolic tangents alone.
    "mml2013": OnsetCNN(dense_activation="tanh"),
    "tiny": OnsetCNN(
        sample_rate=8000, names=("low", "high"), hop_length=128, n_ffts=(256, 512), bands=18,
        low_hz=50.0, high_hz=4000.0, frames=9, lookahead_frames=4, filters=(4, 4), units=8,
        dropout=0.0, block_seconds=0.5,
    ),
}  # fmt: skip


def core(size: OnsetCNN = VARIANTS["paper"]) -> keras.Model:
    """Standardised levels `[batch, n, bands, windows]` to probabilities `[batch, n', names]`.

    n' = n - size.frames + 1: one for every size.frames in a row.
    """
    levels = keras.Input((None, size.bands, len(size.n_ffts)), name="levels")
    return keras.Model(levels, _network(levels, size), name="onset_cnn_core")


def build(
    size: OnsetCNN = VARIANTS["paper"],
    *,
    samples: int | None = None,
    padding: Literal["full", "valid"] = "full",
) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, frames, names]`.

    samples: None for any length. padding: see `FrameListenerSizes`.
    """
    waveform = keras.Input((samples, 1), name="waveform")
    levels = whole_levels(waveform, lambda x: _levels(x, size), size, padding)
    return keras.Model(waveform, _network(levels, size), name="onset_cnn")


def build_step(size: OnsetCNN = VARIANTS["paper"], *, frames: int = 1) -> keras.Model:
    """The same for `frames` hops of a stream, late by `size.delay_samples`.

    {"waveform" `[batch, frames * hop_length, 1]`, "state_<name>"} to {"probabilities"
    `[batch, frames, names]`, "state_<name>"}.
    """
    past = Past(stream=frames)
    waveform = keras.Input((frames * size.hop_length, 1), name="waveform")
    levels = stream_levels(waveform, lambda x: _levels(x, size), size, past)
    outputs = {"probabilities": _network(levels, size)}
    return step_model({"waveform": waveform}, outputs, past, name="onset_cnn_step")


initial_state = silent_state  # of a step model: {name: array `[1, ...]`}


def _levels(waveform, size: OnsetCNN):
    return LogMels(
        size.sample_rate, size.n_ffts, size.hop_length, size.bands, low_hz=size.low_hz,
        high_hz=size.high_hz, scale="htk", padding="valid", name="mels",
    )(waveform)  # fmt: skip


def _network(x, size: OnsetCNN):
    for level, (filters, kernel) in enumerate(zip(size.filters, _KERNELS, strict=True), start=1):
        x = layers.Conv2D(filters, kernel, activation=size.conv_activation, name=f"conv{level}")(x)
        x = layers.MaxPooling2D((1, _POOLED_BANDS), name=f"pool{level}")(x)
    x = layers.Dropout(size.dropout, name="dropout1")(x)
    # The paper's dense layer over all that is left of 15 frames, for every frame.
    frames = size.frames - sum(frames - 1 for frames, _ in _KERNELS)
    x = layers.Conv2D(
        size.units, (frames, x.shape[2]), activation=size.dense_activation, name="dense"
    )(x)
    x = layers.Reshape((-1, size.units), name="frames")(x)
    x = layers.Dropout(size.dropout, name=EMBEDDING)(x)
    x = layers.Dense(len(size.names), name="logits")(x)
    return Labels(size.names, size.exclusive, name="labels")(x)
