"""What the models of learned filterbanks share: sizes, lengths of whole frames, and blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
from keras import layers, ops

from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.filterbank import FilterbankDecoder, FitToWaveform, PadToFrames
from kzoo.layers.masks import Estimates

PADDINGS = ("full", "valid")
MASKS = ("sigmoid", "relu", "softmax")


def sizes(variants: Mapping[str, dict], variant: str, **options: Any) -> dict:
    """The variant's sizes, and over them the options that are not None; ValueError as `check`."""
    check(variant=(variant, tuple(variants)))
    given = {name: value for name, value in options.items() if value is not None}
    size = {**variants[variant], **given}
    size["stride"] = size.get("stride") or size["filter_length"] // 2
    if not 0 < size["stride"] <= size["filter_length"]:
        raise ValueError(
            "stride must be from 1 to filter_length, or samples fall between the frames; got "
            f"stride={size['stride']}, filter_length={size['filter_length']}"
        )
    return size


def check(sources: Sequence[str] | None = None, **choices: tuple) -> None:
    """ValueError for sources that are no list of names, or for an unknown choice.

    choices: name=(value, known values).
    """
    if sources is not None and (
        isinstance(sources, str) or not sources or len(set(sources)) != len(sources)
    ):
        raise ValueError(f"sources must be a sequence of different names; got {sources!r}")
    for what, (value, known) in choices.items():
        if value not in known:
            raise ValueError(f"{what} must be one of {', '.join(map(str, known))}; got {value!r}")


def decode(mixture, encoded, logits, sources: Sequence[str], size: Mapping[str, Any], levels=None):
    """The end of a core: masks, the masked filterbank's way back, the mixture's length.

    mixture `[batch, samples, channels]`, encoded `[batch, frames, filters]`, logits `[batch,
    frames, sources, filters]` and, to multiply each frame with, levels `[batch, frames, 1]`.
    """
    # In mixed precision the networks end in half precision, and masks are float32.
    if size["mask"] == "softmax":
        masks = layers.Softmax(axis=2, dtype="float32", name="masks")(logits)
    else:
        masks = layers.Activation(size["mask"], dtype="float32", name="masks")(logits)
    encoded = encoded if levels is None else encoded * levels
    masked = masks * ops.expand_dims(encoded, 2)  # [batch, frames, sources, filters]
    estimates = FilterbankDecoder(
        size["filter_length"], size["stride"], size["channels"], name="decoder"
    )(masked)
    estimates = FitToWaveform(dtype="float32", name="fit")(estimates, mixture)
    return Estimates(sources, dtype="float32", name="estimates")(estimates)


def waveform_model(
    network: keras.Model, sources: Sequence[str], size: Mapping[str, Any], *, name: str,
    samples: int | None, context: int = 0,
) -> keras.Model:  # fmt: skip
    """Waveforms of any length through a network of whole frames.

    context: samples of silence on both sides, a multiple of the stride.
    """
    waveform = keras.Input((samples, size["channels"]), name="waveform")
    # float32 whatever the policy: half precision has 66 dB for a waveform.
    padded = PadToFrames(
        size["filter_length"], size["stride"], context, context, dtype="float32", name="pad"
    )(waveform)
    stems = network(padded)
    stems = FitToWaveform(context, dtype="float32", name="fit")(stems, waveform)
    stems = Estimates(sources, dtype="float32", name="stems")(stems)
    return keras.Model(waveform, stems, name=name)


def grid(size: Mapping[str, Any], context: int | None) -> BlockGrid:
    """Blocks of `block_seconds`: exact ones where the context is known, else fading over 25 %."""
    stride, seconds = size["stride"], size["block_seconds"]
    if context is None:
        samples = whole(size)
        return BlockGrid(samples=samples, hop=samples - samples // 4)
    hop = max(round(seconds * size["sample_rate"]), 2 * context)
    hop = -(-hop // stride) * stride
    return BlockGrid.with_context(hop, context, context)


def whole(size: Mapping[str, Any], samples: int | None = None) -> int:
    """Whole frames, one at least, in samples: as many as `samples`, or `block_seconds`, hold."""
    wanted = size["block_seconds"] * size["sample_rate"] if samples is None else samples
    length, stride = size["filter_length"], size["stride"]
    return length + max(0, round((wanted - length) / stride)) * stride


def smaller_blocks(size: Mapping[str, Any]) -> dict | None:
    """Options for blocks of half the length, or None where they would last under a second."""
    half = size["block_seconds"] / 2
    return None if half < 1 else {"block_seconds": half}
