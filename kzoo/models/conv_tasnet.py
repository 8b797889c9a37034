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

import keras
from keras import layers

from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.norms import NORMS, norm_layer
from kzoo.layers.temporal_conv import pointwise, prelu, temporal_block
from kzoo.models import _filterbank
from kzoo.models._filterbank import MASKS, PADDINGS, check, decode, sizes, waveform_model

_PAPER = {
    "filters": 512, "filter_length": 16, "bottleneck": 128, "hidden": 512, "skip": 128,
    "kernel_size": 3, "blocks": 8, "repeats": 3, "norm": "gln", "input_norm": None,
    "causal": False, "mask": "sigmoid", "encoder_activation": "linear", "biases": True,
    "mask_prelu": True, "channels": 1, "sample_rate": 8000, "block_seconds": 4.0,
}  # fmt: skip
VARIANTS = {
    "paper": _PAPER,
    "causal": {**_PAPER, "norm": "cumulative", "causal": True},
    "music": {
        **_PAPER, "filters": 256, "filter_length": 20, "bottleneck": 256, "skip": 0, "blocks": 10,
        "repeats": 4, "input_norm": "cln", "mask": "relu", "encoder_activation": "relu",
        "biases": False, "mask_prelu": False, "channels": 2, "sample_rate": 44100,
    },
    "small": {
        **_PAPER, "filters": 128, "bottleneck": 64, "hidden": 128, "skip": 64, "blocks": 6,
        "repeats": 2,
    },
    "speech": {  # for enhancement: frames of 2 ms, normed one by one, so that blocks have no seams
        **_PAPER, "filters": 128, "filter_length": 32, "bottleneck": 64, "hidden": 128, "skip": 64,
        "blocks": 6, "repeats": 2, "norm": "cln", "sample_rate": 16000,
    },
    "tiny": {
        **_PAPER, "filters": 12, "filter_length": 8, "bottleneck": 6, "hidden": 10, "skip": 8,
        "blocks": 2, "repeats": 2, "norm": "cln", "block_seconds": 0.5,
    },
}  # fmt: skip
ENCODER_ACTIVATIONS = ("linear", "relu")
SPEAKERS = ("speaker1", "speaker2")


def core(
    sources: Sequence[str] = SPEAKERS,
    *,
    variant: str = "paper",
    samples: int | None = None,
    filters: int | None = None,
    filter_length: int | None = None,
    stride: int | None = None,
    bottleneck: int | None = None,
    hidden: int | None = None,
    skip: int | None = None,
    kernel_size: int | None = None,
    blocks: int | None = None,
    repeats: int | None = None,
    norm: str | None = None,
    input_norm: str | None = None,
    causal: bool | None = None,
    mask: str | None = None,
    encoder_activation: str | None = None,
    biases: bool | None = None,
    mask_prelu: bool | None = None,
    channels: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    As in the references, frames start with the signal, and samples after the last whole frame
    come out as silence: `build` fills that frame up. Options left at None come from the variant.

    filters, filter_length, stride: N and L of the paper; stride is half of L where not given.
    bottleneck, hidden, skip: B, H and Sc; skip=0 masks by the sum of the residuals (kaituoxu).
    kernel_size, blocks, repeats: P, X (dilations 1, 2, ... 2 ** (X - 1)) and R.
    norm: "gln"; "cln", a frame by itself (cLN of asteroid and kaituoxu); "cumulative", a frame and
        all before it (the paper's cLN, asteroid's cgLN); "batch". input_norm: another one for the
        filterbank's output ("cln": kaituoxu).
    causal: convolutions look at the past only; with "gln" the norms look ahead all the same.
    mask: "sigmoid" (asteroid, paper), "relu" (kaituoxu, asteroid on WHAM) or "softmax" over the
        sources. encoder_activation: "linear" (asteroid) or "relu" (kaituoxu; the paper's option).
    biases: of the 1x1 and depthwise convolutions. mask_prelu: the PReLU before the masks.
    Raises ValueError for unknown names and for sizes that do not fit each other.

    With a skip path, the last block's residual convolution would reach no output. The references
    have it and count its bottleneck * (hidden + 1) parameters; here it does not exist: the paper's
    network has 4,984,881 parameters where asteroid reports 5,050,545.
    """
    size = sizes(
        VARIANTS, variant, filters=filters, filter_length=filter_length, stride=stride,
        bottleneck=bottleneck, hidden=hidden, skip=skip, kernel_size=kernel_size, blocks=blocks,
        repeats=repeats, norm=norm, input_norm=input_norm, causal=causal, mask=mask,
        encoder_activation=encoder_activation, biases=biases, mask_prelu=mask_prelu,
        channels=channels,
    )  # fmt: skip
    check(
        sources, norm=(size["norm"], NORMS), input_norm=(size["input_norm"], (None, *NORMS)),
        mask=(size["mask"], MASKS),
        encoder_activation=(size["encoder_activation"], ENCODER_ACTIVATIONS),
    )  # fmt: skip
    if size["kernel_size"] % 2 == 0 and not size["causal"]:
        raise ValueError(
            f"kernel_size must be odd to look as far back as ahead; got {size['kernel_size']}"
        )
    mixture = keras.Input((samples, size["channels"]), name="mixture")
    encoded = layers.Conv1D(
        size["filters"], size["filter_length"], strides=size["stride"], use_bias=False,
        activation=size["encoder_activation"], name="encoder",
    )(mixture)  # [batch, frames, filters]  # fmt: skip
    logits = _separator(encoded, len(sources), size)
    estimates = decode(mixture, encoded, logits, sources, size)
    return keras.Model(mixture, estimates, name="conv_tasnet_core")


def build(
    sources: Sequence[str] = SPEAKERS,
    *,
    variant: str = "paper",
    samples: int | None = None,
    padding: str = "full",
    filters: int | None = None,
    filter_length: int | None = None,
    stride: int | None = None,
    bottleneck: int | None = None,
    hidden: int | None = None,
    skip: int | None = None,
    kernel_size: int | None = None,
    blocks: int | None = None,
    repeats: int | None = None,
    norm: str | None = None,
    input_norm: str | None = None,
    causal: bool | None = None,
    mask: str | None = None,
    encoder_activation: str | None = None,
    biases: bool | None = None,
    mask_prelu: bool | None = None,
    channels: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    samples: None for any length. padding: "full" puts the silence around the signal that a network
    of finite context can hear; "valid", for blocks that carry their context, and every network
    with a "gln" or "cumulative" norm, only fill up the last frame. The other options: of `core`.
    """
    network = core(
        sources, variant=variant, filters=filters, filter_length=filter_length, stride=stride,
        bottleneck=bottleneck, hidden=hidden, skip=skip, kernel_size=kernel_size, blocks=blocks,
        repeats=repeats, norm=norm, input_norm=input_norm, causal=causal, mask=mask,
        encoder_activation=encoder_activation, biases=biases, mask_prelu=mask_prelu,
        channels=channels,
    )  # fmt: skip
    check(padding=(padding, PADDINGS))
    size = sizes(VARIANTS, variant, filter_length=filter_length, stride=stride, channels=channels)
    context = context_samples(
        variant=variant, filter_length=filter_length, stride=stride, kernel_size=kernel_size,
        blocks=blocks, repeats=repeats, norm=norm, input_norm=input_norm, causal=causal,
    )  # fmt: skip
    return waveform_model(
        network, sources, size, name="conv_tasnet", samples=samples,
        context=(context or 0) if padding == "full" else 0,
    )  # fmt: skip


def context_samples(
    *,
    variant: str = "paper",
    filter_length: int | None = None,
    stride: int | None = None,
    kernel_size: int | None = None,
    blocks: int | None = None,
    repeats: int | None = None,
    norm: str | None = None,
    input_norm: str | None = None,
    causal: bool | None = None,
) -> int | None:
    """How far a sample looks to the side where it looks farthest, in whole strides.

    None where a norm measures the whole signal ("gln") or all of its past ("cumulative").
    """
    size = sizes(
        VARIANTS, variant, filter_length=filter_length, stride=stride, kernel_size=kernel_size,
        blocks=blocks, repeats=repeats, norm=norm, input_norm=input_norm, causal=causal,
    )  # fmt: skip
    if not {size["norm"], size["input_norm"]} <= {"cln", "batch", None}:
        return None
    frames = size["repeats"] * (2 ** size["blocks"] - 1) * (size["kernel_size"] - 1)
    frames = frames if size["causal"] else frames // 2
    return (frames + -(-(size["filter_length"] - 1) // size["stride"])) * size["stride"]


def block_grid(
    *,
    variant: str = "paper",
    block_seconds: float | None = None,
    filter_length: int | None = None,
    stride: int | None = None,
    kernel_size: int | None = None,
    blocks: int | None = None,
    repeats: int | None = None,
    norm: str | None = None,
    input_norm: str | None = None,
    causal: bool | None = None,
) -> BlockGrid:
    """Blocks for `build(..., **block_options(...))`, a new one about every `block_seconds`.

    With finite context they join into exactly the whole file's estimate; with none, blocks are
    `block_seconds` long, measured each by itself, and fade into each other over a quarter.
    """
    size = sizes(VARIANTS, variant, block_seconds=block_seconds, filter_length=filter_length,
                 stride=stride)  # fmt: skip
    context = context_samples(
        variant=variant, filter_length=filter_length, stride=stride, kernel_size=kernel_size,
        blocks=blocks, repeats=repeats, norm=norm, input_norm=input_norm, causal=causal,
    )  # fmt: skip
    return _filterbank.grid(size, context)


def block_options(
    *,
    variant: str = "paper",
    block_seconds: float | None = None,
    filter_length: int | None = None,
    stride: int | None = None,
    kernel_size: int | None = None,
    blocks: int | None = None,
    repeats: int | None = None,
    norm: str | None = None,
    input_norm: str | None = None,
    causal: bool | None = None,
) -> dict:
    """What `build` needs beside the options here, to make the model of one block."""
    grid = block_grid(
        variant=variant, block_seconds=block_seconds, filter_length=filter_length, stride=stride,
        kernel_size=kernel_size, blocks=blocks, repeats=repeats, norm=norm, input_norm=input_norm,
        causal=causal,
    )  # fmt: skip
    return {"samples": grid.samples, "padding": "valid"}


def static_block(
    samples: int | None = None,
    *,
    variant: str = "paper",
    block_seconds: float | None = None,
    filter_length: int | None = None,
    stride: int | None = None,
) -> dict:
    """Options of `build` for a file of static shape, about `samples` or `block_seconds` long."""
    size = sizes(VARIANTS, variant, block_seconds=block_seconds, filter_length=filter_length,
                 stride=stride)  # fmt: skip
    return {"samples": _filterbank.whole(size, samples)}


def smaller_blocks(*, variant: str = "paper", block_seconds: float | None = None) -> dict | None:
    """As `_filterbank.smaller_blocks`."""
    return _filterbank.smaller_blocks(sizes(VARIANTS, variant, block_seconds=block_seconds))


def _separator(encoded, n_sources: int, size: dict):
    """`[batch, frames, filters]` to masks before their activation, `[..., sources, filters]`."""
    x = norm_layer(size["input_norm"] or size["norm"], name="input_norm")(encoded)
    x = pointwise(size["bottleneck"], size["biases"], "bottleneck")(x)
    skips = []
    count = size["repeats"] * size["blocks"]
    for number in range(count):
        repeat, block = divmod(number, size["blocks"])
        used = number < count - 1 or not size["skip"]
        x, side = temporal_block(
            x, hidden=size["hidden"], dilation=2**block, name=f"block{repeat + 1}_{block + 1}",
            residual=used, skip=size["skip"], kernel_size=size["kernel_size"],
            norm_kind=size["norm"], causal=size["causal"], biases=size["biases"],
        )  # fmt: skip
        skips.append(side)
    if size["skip"]:
        x = layers.Add(name="skips")(skips) if count > 1 else skips[0]
    x = prelu("mask_prelu")(x) if size["mask_prelu"] else x
    x = pointwise(n_sources * size["filters"], size["biases"], "mask_conv")(x)
    return layers.Reshape((-1, n_sources, size["filters"]), name="logits")(x)
