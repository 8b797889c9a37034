"""What the models of learned filterbanks share: sizes, lengths of whole frames, and blocks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras

from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.filterbank import FitToWaveform, PadToFrames
from kzoo.layers.masks import Estimates

PADDINGS = ("full", "valid")


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


def grid(size: Mapping[str, Any], seconds: float, context: int | None) -> BlockGrid:
    """Blocks of about `seconds`: exact ones where the context is known, else fading over 25 %."""
    stride = size["stride"]
    if context is None:
        samples = whole(size, seconds * size["sample_rate"])
        return BlockGrid(samples=samples, hop=samples - samples // 4)
    hop = max(round(seconds * size["sample_rate"]), 2 * context)
    hop = -(-hop // stride) * stride
    fade = [0.0] * context + [1.0] * context
    return BlockGrid(samples=hop + 2 * context, hop=hop, start=-context, fade=fade)


def whole(size: Mapping[str, Any], samples: float) -> int:
    """The whole number of frames nearest to `samples`, in samples; one frame at least."""
    length, stride = size["filter_length"], size["stride"]
    return length + max(0, round((samples - length) / stride)) * stride
