"""Envelopes: from values a frame to values a sample.

Frame k stands at sample k * hop_length, and between two frames one fades into the other, along a
line or along half a Hann window (two of which, overlapping, make up DDSP's). After the last frame
its value is held. A hop is a whole number of samples, so nothing is gathered or searched.
"""

from __future__ import annotations

import numpy as np
from keras import ops

FADES = ("linear", "hann")


def fade_in(fade: str, hop_length: int) -> np.ndarray:
    """Weight of the next frame at each sample of a hop, float64 `[hop_length]`, 0 at the first.

    Raises ValueError for a fade that is not in FADES.
    """
    part = np.arange(hop_length) / hop_length
    if fade == "linear":
        return part
    if fade == "hann":
        return 0.5 - 0.5 * np.cos(np.pi * part)
    raise ValueError(f"fade must be one of {', '.join(FADES)}; got {fade!r}")


def next_frames(frames):
    """`[batch, frames, channels]` one frame on, the last one held."""
    return ops.concatenate([frames[:, 1:], frames[:, -1:]], axis=1)


def upsample(frames, hop_length: int, *, fade: str = "linear"):
    """`[batch, frames, channels]` to `[batch, frames * hop_length, channels]`."""
    weight = ops.convert_to_tensor(fade_in(fade, hop_length)[:, None], frames.dtype)
    here, after = ops.expand_dims(frames, 2), ops.expand_dims(next_frames(frames), 2)
    samples = here + weight * (after - here)  # [batch, frames, hop_length, channels]
    count, channels = ops.shape(frames)[1], frames.shape[-1]
    return ops.reshape(samples, (-1, count * hop_length, channels))
