"""TasNet: masks on a learned, gated filterbank, by LSTMs.

Luo and Mesgarani, 2018, TasNet: time-domain audio separation network for real-time, single-channel
speech separation, https://arxiv.org/abs/1711.00541

The paper cuts the signal into segments without overlap, divides each by its L2 norm, and has
identity connections around pairs of layers; asteroid's LSTMTasNet overlaps its frames by half and
does neither. "asteroid" and "causal" are that reference's two versions, "paper" and "paper_causal"
those of the paper.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import keras
from keras import layers, ops

from kzoo.layers.filterbank import FrameLevels
from kzoo.layers.norms import norm_layer
from kzoo.layers.recurrent import LSTM
from kzoo.models.base import domains
from kzoo.models.base.filterbank import FilterbankSizes, decode, waveform_model
from kzoo.models.base.sizes import check_positive, check_sources


@dataclass(frozen=True, kw_only=True)
class TasNet(FilterbankSizes):
    """asteroid's network of two directions by default.

    hidden: units of an LSTM, in each direction. n_layers: so many LSTMs follow each other.
    gated: the filterbank is relu(U x) * sigmoid(V x), or relu(U x) alone.
    dropout: between the LSTMs.
    segment_norm: frames are divided by their L2 norm, and their estimates multiplied with it.
    skips: every second LSTM's output is added to that of two LSTMs later.
    The fields that are not named here are those of `FilterbankSizes`. The norm is that of the
    filterbank's output: "gln" in asteroid with two directions, "cumulative" with one, "cln" in the
    paper; there the stride is filter_length and masks are "softmax".
    """

    sample_rate: int = 8000
    channels: int = 1
    filters: int = 64  # N
    filter_length: int = 16  # L
    stride: int | None = 8
    hidden: int = 512
    n_layers: int = 4
    bidirectional: bool = True
    norm: Literal["gln", "cln", "cumulative", "batch"] = "gln"
    mask: Literal["sigmoid", "relu", "softmax"] = "sigmoid"
    gated: bool = True
    dropout: float = 0.3
    segment_norm: bool = False
    skips: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "hidden", "n_layers")

    def training(self, system: keras.Model, *, inference_mode: bool = False) -> domains.Training:
        """On the waveform that the network takes."""
        return domains.core_waveforms(system, core="tasnet_core", inference_mode=inference_mode)


_PAPER = TasNet(
    filters=500,
    filter_length=40,
    stride=40,
    hidden=500,
    norm="cln",
    mask="softmax",
    dropout=0.0,
    segment_norm=True,
    skips=True,
)
VARIANTS = {
    "asteroid": TasNet(),
    "causal": TasNet(bidirectional=False, norm="cumulative"),
    "paper": _PAPER,
    "paper_causal": replace(_PAPER, hidden=1000, bidirectional=False),
    "tiny": TasNet(filters=10, hidden=7, n_layers=2, block_seconds=0.5),
}
SPEAKERS = ("speaker1", "speaker2")


def core(sources: Sequence[str] = SPEAKERS, size: TasNet = VARIANTS["asteroid"]) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    As in the references, frames start with the signal, and samples after the last whole frame
    come out as silence: `build` fills that frame up. Raises ValueError for sources of one name.

    PyTorch's LSTMs have two biases, of which only the sum counts and which Keras's have one of:
    asteroid's network has 21,400,832 parameters there and 21,384,448 here.
    """
    check_sources(sources)
    mixture = keras.Input((None, size.channels), name="mixture")
    levels = None
    if size.segment_norm:
        levels = FrameLevels(size.filter_length, size.hop_length, dtype="float32", name="levels")(
            mixture
        )  # [batch, frames, 1]
    encoded = _encoder(mixture, levels, size)  # [batch, frames, filters]
    x = norm_layer(size.norm, name="input_norm")(encoded)
    before = None
    for number in range(1, size.n_layers + 1):
        x = _lstm(size.hidden, size.bidirectional, f"lstm{number}")(x)
        if size.skips and number % 2 == 0:
            x = x if before is None else layers.Add(name=f"skip{number}")([x, before])
            before = x
        if number < size.n_layers:
            x = layers.Dropout(size.dropout, name=f"lstm{number}_dropout")(x)
    x = layers.Dense(len(sources) * size.filters, name="mask_dense")(x)
    logits = layers.Reshape((-1, len(sources), size.filters), name="logits")(x)
    estimates = decode(mixture, encoded, logits, sources, size, levels)
    return keras.Model(mixture, estimates, name="tasnet_core")


def build(
    sources: Sequence[str] = SPEAKERS,
    size: TasNet = VARIANTS["asteroid"],
    *,
    samples: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    samples: None for any length; the last frame is filled up with silence.
    """
    return waveform_model(core(sources, size), sources, size, name="tasnet", samples=samples)


def _encoder(mixture, levels, size: TasNet):
    """`[batch, samples, channels]` to `[batch, frames, filters]`, none of them negative."""

    def filterbank(name):
        x = layers.Conv1D(
            size.filters, size.filter_length, strides=size.hop_length, use_bias=False, name=name
        )(mixture)
        return x if levels is None else x / levels  # as if the frames had been divided

    encoded = ops.relu(filterbank("encoder"))
    return encoded * ops.sigmoid(filterbank("encoder_gate")) if size.gated else encoded


def _lstm(hidden: int, bidirectional: bool, name: str):
    one = LSTM(hidden, return_sequences=True, name="lstm" if bidirectional else name)
    return layers.Bidirectional(one, name=name) if bidirectional else one
