"""Conv-TasNet: masks on a learned filterbank, by dilated convolutions over time.

Luo and Mesgarani, 2019, Conv-TasNet: surpassing ideal time-frequency magnitude masking for speech
separation, https://arxiv.org/abs/1809.07454

The references differ. asteroid follows the paper: a skip path, biases, a PReLU before the masks,
sigmoid masks, and the input normed as the blocks are. kaituoxu's program, which the music version
of Demucs' authors took over, has no skip path, no biases and no PReLU before the masks; its
encoder and masks end in ReLU, and its input norm is always "cln". Each is an option here.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import keras
from keras import layers

from kzoo.layers.filterbank import SourceGains
from kzoo.layers.temporal_conv import normed, pointwise, prelu, temporal_block
from kzoo.models.base import domains
from kzoo.models.base.causal import Past, silent_state
from kzoo.models.base.filterbank import (
    FilterbankSizes,
    core_model,
    decode,
    stream_model,
    waveform_model,
)
from kzoo.models.base.sizes import check_padding, check_positive


@dataclass(frozen=True, kw_only=True)
class ConvTasNet(FilterbankSizes):
    """The paper's network by default; its letters stand behind the fields.

    bottleneck, hidden, skip: channels between, in and beside the blocks; with skip=0 the sum of
        the residuals makes the masks (kaituoxu).
    kernel_size, blocks, repeats: each repeat has `blocks` blocks of dilations 1, 2, 4, ...
    input_norm: another norm than `norm` for the filterbank's output ("cln": kaituoxu).
    causal: convolutions look at the past only; with "gln" the norms look ahead all the same.
    encoder_activation: "linear" (asteroid) or "relu" (kaituoxu; the paper's option).
    biases: of the 1x1 and depthwise convolutions. mask_prelu: whether there is a PReLU before the
        masks.
    source_gains: a learned gain for each source, behind the decoder.
    The fields that are not named here are those of `FilterbankSizes`; masks are "sigmoid" in
    asteroid and the paper, "relu" in kaituoxu and in asteroid on WHAM.
    """

    sample_rate: int = 8000
    channels: int = 1
    filters: int = 512  # N
    filter_length: int = 16  # L
    bottleneck: int = 128  # B
    hidden: int = 512  # H
    skip: int = 128  # Sc
    kernel_size: int = 3  # P
    blocks: int = 8  # X
    repeats: int = 3  # R
    norm: Literal["gln", "cln", "cumulative", "batch"] = "gln"
    input_norm: Literal["gln", "cln", "cumulative", "batch"] | None = None
    causal: bool = False
    mask: Literal["sigmoid", "relu", "softmax"] = "sigmoid"
    encoder_activation: Literal["linear", "relu"] = "linear"
    biases: bool = True
    mask_prelu: bool = True
    source_gains: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "bottleneck", "hidden", "kernel_size", "blocks", "repeats")
        if self.kernel_size % 2 == 0 and not self.causal:
            raise ValueError(
                f"kernel_size must be odd to look as far back as ahead; got {self.kernel_size}"
            )

    @property
    def streams(self) -> bool:
        """Whether it hears the past alone, norms and all."""
        return self.causal and "gln" not in (self.norm, self.input_norm)

    def context_samples(self) -> int | None:
        """How far a sample looks to the side where it looks farthest, in whole strides.

        None where a norm measures the whole signal ("gln") or all of its past ("cumulative").
        """
        if not {self.norm, self.input_norm} <= {"cln", "batch", None}:
            return None
        frames = self.repeats * (2**self.blocks - 1) * (self.kernel_size - 1)
        frames = frames if self.causal else frames // 2
        return (frames + -(-(self.filter_length - 1) // self.hop_length)) * self.hop_length

    def block(self) -> dict[str, Any]:
        return {**super().block(), "padding": "valid"}

    def training(self, system: keras.Model, *, inference_mode: bool = False) -> domains.Training:
        """Train on the waveform that the network takes, without the silence around it."""
        return domains.core_waveforms(
            system, core="conv_tasnet_core", inference_mode=inference_mode
        )


_SMALL = ConvTasNet(filters=128, bottleneck=64, hidden=128, skip=64, blocks=6, repeats=2)
VARIANTS = {
    "paper": ConvTasNet(),
    "causal": ConvTasNet(norm="cumulative", causal=True),
    "music": ConvTasNet(
        filters=256,
        filter_length=20,
        bottleneck=256,
        skip=0,
        blocks=10,
        repeats=4,
        input_norm="cln",
        mask="relu",
        encoder_activation="relu",
        biases=False,
        mask_prelu=False,
        channels=2,
        sample_rate=44100,
    ),
    "small": _SMALL,
    # Live: every frame normed by itself, so that hours of a stream are as its first seconds.
    "live": ConvTasNet(
        filters=256,
        filter_length=20,
        hidden=256,
        repeats=2,
        norm="cln",
        causal=True,
        source_gains=True,
    ),
    # For enhancement: frames of 2 ms, normed one by one, so that blocks have no seams.
    "speech": replace(_SMALL, filter_length=32, norm="cln", sample_rate=16000),
    "tiny": ConvTasNet(
        filters=12,
        filter_length=8,
        bottleneck=6,
        hidden=10,
        skip=8,
        blocks=2,
        repeats=2,
        norm="cln",
        block_seconds=0.5,
    ),
}
SPEAKERS = ("speaker1", "speaker2")


def core(sources: Sequence[str] = SPEAKERS, size: ConvTasNet = VARIANTS["paper"]) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    As in the references, frames start with the signal, and samples after the last whole frame
    come out as silence: `build` fills that frame up. Raises ValueError for sources of one name.

    With a skip path, the last block's residual convolution would reach no output. The references
    have it and count its bottleneck * (hidden + 1) parameters; here it does not exist: the paper's
    network has 4,984,881 parameters where asteroid reports 5,050,545.
    """
    return core_model(_separate, sources, size, name="conv_tasnet_core")


def build(
    sources: Sequence[str] = SPEAKERS,
    size: ConvTasNet = VARIANTS["paper"],
    *,
    samples: int | None = None,
    padding: Literal["full", "valid"] = "full",
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    samples: None for any length. padding: "full" puts the silence around the signal that a network
    of finite context can hear, and for one that streams a frame's, as before its stream; "valid",
    for blocks that carry their context, and a "gln" or "cumulative" norm that looks ahead only fill
    up the last frame.
    """
    check_padding(padding)
    silence = size.delay_samples if size.streams else size.context_samples() or 0
    return waveform_model(
        core(sources, size),
        sources,
        size,
        name="conv_tasnet",
        samples=samples,
        silence=silence if padding == "full" else 0,
    )


def build_step(
    sources: Sequence[str] = SPEAKERS, size: ConvTasNet = VARIANTS["live"], *, frames: int = 1
) -> keras.Model:
    """The same for `frames` hops of a stream, see `models.base.filterbank.stream_model`."""
    return stream_model(_separate, sources, size, frames=frames, name="conv_tasnet")


initial_state = silent_state  # of a step model: {name: array `[1, ...]`}


def _separate(waveform, sources: Sequence[str], size: ConvTasNet, past: Past):
    """`[batch, samples, channels]` to `[batch, sources, samples of whole frames, channels]`."""
    encoded = layers.Conv1D(
        size.filters,
        size.filter_length,
        strides=size.hop_length,
        use_bias=False,
        activation=size.encoder_activation,
        name="encoder",
    )(waveform)  # [batch, frames, filters]
    logits = _separator(encoded, len(sources), size, past)
    estimates = decode(encoded, logits, size)
    if size.source_gains:
        estimates = SourceGains(dtype="float32", name="source_gains")(estimates)
    return estimates


def _separator(encoded, n_sources: int, size: ConvTasNet, past: Past):
    """`[batch, frames, filters]` to masks before their activation, `[..., sources, filters]`."""
    x = normed(encoded, size.input_norm or size.norm, past, "input_norm")
    x = pointwise(size.bottleneck, size.biases, "bottleneck")(x)
    skips = []
    count = size.repeats * size.blocks
    for number in range(count):
        repeat, block = divmod(number, size.blocks)
        used = number < count - 1 or not size.skip
        x, side = temporal_block(
            x,
            hidden=size.hidden,
            dilation=2**block,
            name=f"block{repeat + 1}_{block + 1}",
            residual=used,
            skip=size.skip,
            kernel_size=size.kernel_size,
            norm_kind=size.norm,
            past=past if size.causal else None,
            biases=size.biases,
        )
        skips.append(side)
    if size.skip:
        x = layers.Add(name="skips")(skips) if count > 1 else skips[0]
    x = prelu("mask_prelu")(x) if size.mask_prelu else x
    x = pointwise(n_sources * size.filters, size.biases, "mask_conv")(x)
    return layers.Reshape((-1, n_sources, size.filters), name="logits")(x)
