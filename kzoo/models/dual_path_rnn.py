"""DPRNN-TasNet: masks on a learned filterbank, by LSTMs within short segments and across them.

Luo, Chen and Yoshioka, 2020, Dual-path RNN: efficient long sequence modeling for time-domain
single-channel speech separation, https://arxiv.org/abs/1910.06379

Frames are cut into segments that overlap. An LSTM over the frames of each segment and one over the
segments at each place within them follow each other, so that neither sees a long sequence. The
masks are those of asteroid's DPRNN: PReLU, a dense layer to all sources, segments added up, and a
gate, with one set of weights for all sources.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers
from keras.initializers import Constant

from kzoo.layers.norms import norm_layer
from kzoo.layers.segments import CutSegments, SegmentLSTM, SumSegments
from kzoo.models.base import domains
from kzoo.models.base.causal import Past
from kzoo.models.base.filterbank import FilterbankSizes, core_model, decode, waveform_model
from kzoo.models.base.sizes import check_positive


@dataclass(frozen=True, kw_only=True)
class DualPathRNN(FilterbankSizes):
    """asteroid's network by default.

    bottleneck: channels between the LSTMs. hidden: units of an LSTM, in each direction.
    segment_frames: frames in a segment; about the root of twice the frames of an example makes
        both sequences equally long. segment_hop: frames from a segment to the next; with None half
        of segment_frames.
    repeats: so many times an LSTM within segments and one across them follow each other.
    bidirectional: whether the LSTMs across segments hear the later ones too; those within them do.
    The fields that are not named here are those of `FilterbankSizes`; a norm in the blocks measures
    a segment's frames as often as they are in segments, and "cumulative" does not exist.
    """

    sample_rate: int = 8000
    channels: int = 1
    filters: int = 64  # N
    filter_length: int = 16  # L
    bottleneck: int = 128
    hidden: int = 128
    segment_frames: int = 100  # K
    segment_hop: int | None = None  # P
    repeats: int = 6  # B
    bidirectional: bool = True
    norm: Literal["gln", "cln", "batch"] = "gln"
    mask: Literal["sigmoid", "relu", "softmax"] = "sigmoid"

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "bottleneck", "hidden", "segment_frames", "repeats")
        if not 0 < self.hop_frames <= self.segment_frames:
            raise ValueError(
                "segment_hop must be from 1 to segment_frames, or frames fall between the "
                f"segments; got segment_hop={self.hop_frames}, "
                f"segment_frames={self.segment_frames}"
            )

    @property
    def hop_frames(self) -> int:
        """Frames from a segment to the next."""
        return self.segment_frames // 2 if self.segment_hop is None else self.segment_hop

    def training(self, system: keras.Model, *, inference_mode: bool = False) -> domains.Training:
        """On the waveform that the network takes."""
        return domains.core_waveforms(
            system, core="dual_path_rnn_core", inference_mode=inference_mode
        )


VARIANTS = {
    "asteroid": DualPathRNN(),
    # Of asteroid's recipes on WHAM and LibriMix, and its published weights: frames of two samples.
    "asteroid_2": DualPathRNN(filter_length=2, segment_frames=250),
    "paper": DualPathRNN(bottleneck=64),
    "paper_2": DualPathRNN(filter_length=2, bottleneck=64, segment_frames=250),
    "small": DualPathRNN(
        filter_length=32, bottleneck=48, hidden=48, segment_frames=64, repeats=3
    ),
    "tiny": DualPathRNN(
        filters=10,
        bottleneck=6,
        hidden=5,
        segment_frames=8,
        repeats=1,
        bidirectional=False,
        block_seconds=0.25,
    ),
}  # fmt: skip
SPEAKERS = ("speaker1", "speaker2")


def core(
    sources: Sequence[str] = SPEAKERS, size: DualPathRNN = VARIANTS["asteroid"]
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    As in asteroid, frames start with the signal, and samples after the last whole frame come out
    as silence: `build` fills that frame up. Raises ValueError for sources of one name.

    PyTorch's LSTMs have two biases, of which only the sum counts and which Keras's have one of:
    asteroid's network has 3,652,865 parameters there and 3,640,577 here.
    """
    return core_model(_separate, sources, size, name="dual_path_rnn_core")


def build(
    sources: Sequence[str] = SPEAKERS,
    size: DualPathRNN = VARIANTS["asteroid"],
    *,
    samples: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    samples: None for any length; the last frame is filled up with silence.
    """
    network = core(sources, size)
    return waveform_model(network, sources, size, name="dual_path_rnn", samples=samples)


def _separate(mixture, sources: Sequence[str], size: DualPathRNN, past: Past):
    """`[batch, samples, channels]` to `[batch, sources, samples of whole frames, channels]`."""
    encoded = layers.Conv1D(
        size.filters, size.filter_length, strides=size.hop_length, use_bias=False, name="encoder"
    )(mixture)  # [batch, frames, filters]
    x = norm_layer(size.norm, name="input_norm")(encoded)
    x = layers.Dense(size.bottleneck, name="bottleneck")(x)
    lengths = {"length": size.segment_frames, "hop": size.hop_frames}
    segments = CutSegments(**lengths, name="segments")(x)
    for number in range(1, size.repeats + 1):
        for name, across in (("intra", False), ("inter", True)):
            segments = SegmentLSTM(
                size.hidden,
                across=across,
                bidirectional=size.bidirectional or not across,
                norm=size.norm,
                name=f"{name}{number}",
            )(segments)
    segments = layers.PReLU(Constant(0.25), shared_axes=[1, 2, 3], name="mask_prelu")(segments)
    segments = layers.Dense(len(sources) * size.bottleneck, name="mask_segments")(segments)
    joined = SumSegments(**lengths, name="joined")(segments, x)
    x = layers.Reshape((-1, len(sources), size.bottleneck), name="by_source")(joined)
    gate = layers.Dense(size.bottleneck, activation="sigmoid", name="mask_gate")(x)
    x = layers.Dense(size.bottleneck, activation="tanh", name="mask_dense")(x) * gate
    logits = layers.Dense(size.filters, use_bias=False, name="logits")(
        x
    )  # [batch, frames, sources, filters]
    return decode(encoded, logits, size)
