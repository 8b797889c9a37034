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
from kzoo.models.base.causal import Past, silent_state
from kzoo.models.base.filterbank import (
    FilterbankSizes,
    core_model,
    decode,
    stream_model,
    waveform_model,
)
from kzoo.models.base.sizes import check_positive


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

    @property
    def streams(self) -> bool:
        """Whether it hears the past alone, its norm and all."""
        return not self.bidirectional and self.norm != "gln"

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
    return core_model(_separate, sources, size, name="tasnet_core")


def build(
    sources: Sequence[str] = SPEAKERS,
    size: TasNet = VARIANTS["asteroid"],
    *,
    samples: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    samples: None for any length; the last frame is filled up with silence. Where the network
    streams, as much as frames overlap is before the first hop and after the last, as in its stream.
    """
    silence = size.delay_samples if size.streams else 0
    network = core(sources, size)
    return waveform_model(network, sources, size, name="tasnet", samples=samples, silence=silence)


def build_step(
    sources: Sequence[str] = SPEAKERS, size: TasNet = VARIANTS["causal"], *, frames: int = 1
) -> keras.Model:
    """The same for `frames` hops of a stream, see `models.base.filterbank.stream_model`."""
    return stream_model(_separate, sources, size, frames=frames, name="tasnet")


initial_state = silent_state  # of a step model: {name: array `[1, ...]`}


def _separate(mixture, sources: Sequence[str], size: TasNet, past: Past):
    """`[batch, samples, channels]` to `[batch, sources, samples of whole frames, channels]`."""
    levels = None
    if size.segment_norm:
        levels = FrameLevels(size.filter_length, size.hop_length, dtype="float32", name="levels")(
            mixture
        )  # [batch, frames, 1]
    encoded = _encoder(mixture, levels, size)  # [batch, frames, filters]
    x = past.normed(norm_layer(size.norm, name="input_norm"), encoded, "input_norm")
    before = None
    for number in range(1, size.n_layers + 1):
        x = _lstm(x, size, past, f"lstm{number}")
        if size.skips and number % 2 == 0:
            x = x if before is None else layers.Add(name=f"skip{number}")([x, before])
            before = x
        if number < size.n_layers:
            x = layers.Dropout(size.dropout, name=f"lstm{number}_dropout")(x)
    x = layers.Dense(len(sources) * size.filters, name="mask_dense")(x)
    logits = layers.Reshape((-1, len(sources), size.filters), name="logits")(x)
    return decode(encoded, logits, size, levels)


def _encoder(mixture, levels, size: TasNet):
    """`[batch, samples, channels]` to `[batch, frames, filters]`, none of them negative."""

    def filterbank(name):
        x = layers.Conv1D(
            size.filters, size.filter_length, strides=size.hop_length, use_bias=False, name=name
        )(mixture)
        return x if levels is None else x / levels  # as if the frames had been divided

    encoded = ops.relu(filterbank("encoder"))
    return encoded * ops.sigmoid(filterbank("encoder_gate")) if size.gated else encoded


def _lstm(x, size: TasNet, past: Past, name: str):
    if not size.bidirectional:
        return past.recurrent(LSTM(size.hidden, name=name, **past.recurrence), x, name)
    one = LSTM(size.hidden, return_sequences=True, name="lstm")
    return layers.Bidirectional(one, name=name)(x)
