"""What the models of magnitude spectrograms share: the way in from a waveform, and out again."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import keras
from keras import ops

from kzoo.dsp.stft import STFT, InverseSTFT, magnitude
from kzoo.layers.masks import Estimates, ExtendMasks, JoinSegments, RatioMasks, Segments

MASKINGS = ("ratio", "direct")


def sizes(variants: Mapping[str, dict], variant: str, **options: Any) -> dict:
    """The variant's sizes, and over them the options that are not None."""
    if variant not in variants:
        raise ValueError(f"variant must be one of {', '.join(variants)}; got {variant!r}")
    given = {name: value for name, value in options.items() if value is not None}
    return {**variants[variant], **given}


def check(sources: Sequence[str], size: Mapping[str, Any], **choices: tuple) -> None:
    """ValueError for sources that are no list of names, an unknown choice, or odd sizes.

    choices: name=(value, known values).
    """
    if isinstance(sources, str) or not sources or len(set(sources)) != len(sources):
        raise ValueError(f"sources must be a sequence of different names; got {sources!r}")
    for what, (value, known) in choices.items():
        if value not in known:
            raise ValueError(f"{what} must be one of {', '.join(known)}; got {value!r}")
    step = 2 ** len(size["filters"])
    if size["frames"] % step or size["bins"] % step:
        raise ValueError(
            f"frames and bins must be multiples of {step}, which {len(size['filters'])} levels "
            f"halve; got frames={size['frames']}, bins={size['bins']}"
        )


def waveform_model(
    separate: Callable, sources: Sequence[str], size: Mapping[str, Any], *, name: str,
    samples: int | None, padding: str, mask_extension: str, inputs: Sequence = (),
) -> keras.Model:  # fmt: skip
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    The spectrogram is cut into segments of `frames` frames, the last one filled with zeros;
    separate takes them, `[segments, frames, bins, channels]`, to estimates of the sources'
    magnitudes, `[segments, sources, frames, bins, channels]`, which mask the mixture.

    size: channels, n_fft, hop_length, frames, bins and masking, "ratio" or "direct".
    inputs: of the model, after the waveform.
    """
    if size["masking"] not in MASKINGS:
        known = ", ".join(MASKINGS)
        raise ValueError(f"masking must be one of {known}; got {size['masking']!r}")
    # float32 whatever the policy: spectra in half precision have 60 dB of range.
    transform = {"n_fft": size["n_fft"], "hop_length": size["hop_length"], "padding": padding,
                 "dtype": "float32"}  # fmt: skip
    waveform = keras.Input((samples, size["channels"]), name="waveform")
    real, imag = STFT(**transform, name="stft")(waveform)  # [batch, frames, bins, channels] twice
    band = magnitude(real[:, :, : size["bins"]], imag[:, :, : size["bins"]])
    estimates = separate(Segments(size["frames"], dtype="float32", name="segments")(band))
    estimates = JoinSegments(dtype="float32", name="join_segments")(estimates, band)
    if size["masking"] == "ratio":
        mask = RatioMasks(dtype="float32", name="ratio_masks")(estimates)
    else:
        mask = estimates / ops.maximum(ops.expand_dims(band, 1), 1e-10)
    mask = ExtendMasks(
        size["n_fft"] // 2 + 1, mask_extension, dtype="float32", name="extend_masks"
    )(mask)
    stems = InverseSTFT(**transform, name="inverse_stft")(
        mask * ops.expand_dims(real, 1), mask * ops.expand_dims(imag, 1), waveform
    )
    stems = Estimates(sources, dtype="float32", name="stems")(stems)
    return keras.Model([waveform, *inputs] if inputs else waveform, stems, name=name)


def static_block(size: Mapping[str, Any], samples: int | None) -> dict:
    """Options of `build` for a file of static shape, about `samples` long, no frame wasted.

    A block of one segment whose first frame lies before the signal, as padding="full" has it:
    frames * hop_length - n_fft samples, of the variant's frames where `samples` is None.
    """
    frames = size["frames"]
    if samples is not None:
        step = 2 ** len(size["filters"])
        frames = -(-(samples + size["n_fft"]) // (size["hop_length"] * step)) * step
    return {"frames": frames, "samples": frames * size["hop_length"] - size["n_fft"]}


def smaller_blocks(size: Mapping[str, Any]) -> dict | None:
    """Options for blocks of half the frames, or None where they cannot be halved."""
    half = size["frames"] // 2
    return None if half % 2 ** len(size["filters"]) else {"frames": half}
