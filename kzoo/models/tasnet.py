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

import keras
from keras import layers, ops

from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.filterbank import FrameLevels
from kzoo.layers.norms import NORMS, norm_layer
from kzoo.models import _filterbank
from kzoo.models._filterbank import MASKS, check, decode, sizes, waveform_model

_ASTEROID = {
    "filters": 64, "filter_length": 16, "stride": 8, "hidden": 512, "n_layers": 4,
    "bidirectional": True, "norm": "gln", "mask": "sigmoid", "gated": True, "dropout": 0.3,
    "segment_norm": False, "skips": False, "channels": 1, "sample_rate": 8000, "block_seconds": 4.0,
}  # fmt: skip
_PAPER = {
    **_ASTEROID, "filters": 500, "filter_length": 40, "stride": 40, "hidden": 500, "norm": "cln",
    "mask": "softmax", "dropout": 0.0, "segment_norm": True, "skips": True,
}  # fmt: skip
VARIANTS = {
    "asteroid": _ASTEROID,
    "causal": {**_ASTEROID, "bidirectional": False, "norm": "cumulative"},
    "paper": _PAPER,
    "paper_causal": {**_PAPER, "hidden": 1000, "bidirectional": False},
    "tiny": {**_ASTEROID, "filters": 10, "hidden": 7, "n_layers": 2, "block_seconds": 0.5},
}
SPEAKERS = ("speaker1", "speaker2")


def core(
    sources: Sequence[str] = SPEAKERS,
    *,
    variant: str = "asteroid",
    samples: int | None = None,
    filters: int | None = None,
    filter_length: int | None = None,
    stride: int | None = None,
    hidden: int | None = None,
    n_layers: int | None = None,
    bidirectional: bool | None = None,
    norm: str | None = None,
    mask: str | None = None,
    gated: bool | None = None,
    dropout: float | None = None,
    segment_norm: bool | None = None,
    skips: bool | None = None,
    channels: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    As in the references, frames start with the signal, and samples after the last whole frame
    come out as silence: `build` fills that frame up. Options left at None come from the variant.

    filters, filter_length, stride: N and L of the paper; its stride is L, asteroid's half of L.
    hidden: units of an LSTM, in each direction. norm: of the filterbank's output, "gln" (asteroid,
        BLSTM), "cumulative" (asteroid, LSTM), "cln", a frame by itself (the paper), or "batch".
    mask: "sigmoid" (asteroid), "softmax" over the sources (the paper) or "relu".
    gated: relu(U x) * sigmoid(V x), or relu(U x) alone. dropout: between the LSTMs.
    segment_norm: frames are divided by their L2 norm, and their estimates multiplied with it.
    skips: every second LSTM's output is added to that of two LSTMs later.
    Raises ValueError for unknown names and sizes that do not fit.

    PyTorch's LSTMs have two biases, of which only the sum counts and which Keras's have one of:
    asteroid's network has 21,400,832 parameters there and 21,384,448 here.
    """
    size = sizes(
        VARIANTS, variant, filters=filters, filter_length=filter_length, stride=stride,
        hidden=hidden, n_layers=n_layers, bidirectional=bidirectional, norm=norm, mask=mask,
        gated=gated, dropout=dropout, segment_norm=segment_norm, skips=skips, channels=channels,
    )  # fmt: skip
    check(sources, norm=(size["norm"], NORMS), mask=(size["mask"], MASKS))
    mixture = keras.Input((samples, size["channels"]), name="mixture")
    levels = None
    if size["segment_norm"]:
        levels = FrameLevels(
            size["filter_length"], size["stride"], dtype="float32", name="levels"
        )(mixture)  # [batch, frames, 1]  # fmt: skip
    encoded = _encoder(mixture, levels, size)  # [batch, frames, filters]
    x = norm_layer(size["norm"], name="input_norm")(encoded)
    before = None
    for number in range(1, size["n_layers"] + 1):
        x = _lstm(size["hidden"], size["bidirectional"], f"lstm{number}")(x)
        if size["skips"] and number % 2 == 0:
            x = x if before is None else layers.Add(name=f"skip{number}")([x, before])
            before = x
        if number < size["n_layers"]:
            x = layers.Dropout(size["dropout"], name=f"lstm{number}_dropout")(x)
    x = layers.Dense(len(sources) * size["filters"], name="mask_dense")(x)
    logits = layers.Reshape((-1, len(sources), size["filters"]), name="logits")(x)
    estimates = decode(mixture, encoded, logits, sources, size, levels)
    return keras.Model(mixture, estimates, name="tasnet_core")


def build(
    sources: Sequence[str] = SPEAKERS,
    *,
    variant: str = "asteroid",
    samples: int | None = None,
    filters: int | None = None,
    filter_length: int | None = None,
    stride: int | None = None,
    hidden: int | None = None,
    n_layers: int | None = None,
    bidirectional: bool | None = None,
    norm: str | None = None,
    mask: str | None = None,
    gated: bool | None = None,
    dropout: float | None = None,
    segment_norm: bool | None = None,
    skips: bool | None = None,
    channels: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    samples: None for any length; the last frame is filled up with silence. The other options are
    those of `core`.
    """
    network = core(
        sources, variant=variant, filters=filters, filter_length=filter_length, stride=stride,
        hidden=hidden, n_layers=n_layers, bidirectional=bidirectional, norm=norm, mask=mask,
        gated=gated, dropout=dropout, segment_norm=segment_norm, skips=skips, channels=channels,
    )  # fmt: skip
    size = sizes(VARIANTS, variant, filter_length=filter_length, stride=stride, channels=channels)
    return waveform_model(network, sources, size, name="tasnet", samples=samples)


def context_samples() -> int | None:
    """None: an LSTM remembers all of the past, and a second one all of the future."""


def block_grid(
    *,
    variant: str = "asteroid",
    block_seconds: float | None = None,
    filter_length: int | None = None,
    stride: int | None = None,
) -> BlockGrid:
    """Blocks of about `block_seconds`, each by itself, that fade into each other over a quarter."""
    size = sizes(VARIANTS, variant, block_seconds=block_seconds, filter_length=filter_length,
                 stride=stride)  # fmt: skip
    return _filterbank.grid(size, context_samples())


def block_options(
    *,
    variant: str = "asteroid",
    block_seconds: float | None = None,
    filter_length: int | None = None,
    stride: int | None = None,
) -> dict:
    """What `build` needs beside the options here, to make the model of one block."""
    grid = block_grid(
        variant=variant, block_seconds=block_seconds, filter_length=filter_length, stride=stride
    )
    return {"samples": grid.samples}


def static_block(
    samples: int | None = None,
    *,
    variant: str = "asteroid",
    block_seconds: float | None = None,
    filter_length: int | None = None,
    stride: int | None = None,
) -> dict:
    """Options of `build` for a file of static shape, about `samples` or `block_seconds` long."""
    size = sizes(VARIANTS, variant, block_seconds=block_seconds, filter_length=filter_length,
                 stride=stride)  # fmt: skip
    return {"samples": _filterbank.whole(size, samples)}


def smaller_blocks(*, variant: str = "asteroid", block_seconds: float | None = None) -> dict | None:
    """As `_filterbank.smaller_blocks`."""
    return _filterbank.smaller_blocks(sizes(VARIANTS, variant, block_seconds=block_seconds))


def _encoder(mixture, levels, size: dict):
    """`[batch, samples, channels]` to `[batch, frames, filters]`, none of them negative."""

    def filterbank(name):
        x = layers.Conv1D(
            size["filters"], size["filter_length"], strides=size["stride"], use_bias=False,
            name=name,
        )(mixture)  # fmt: skip
        return x if levels is None else x / levels  # as if the frames had been divided

    encoded = ops.relu(filterbank("encoder"))
    return encoded * ops.sigmoid(filterbank("encoder_gate")) if size["gated"] else encoded


def _lstm(hidden: int, bidirectional: bool, name: str):
    one = layers.LSTM(hidden, return_sequences=True, name="lstm" if bidirectional else name)
    return layers.Bidirectional(one, name=name) if bidirectional else one
