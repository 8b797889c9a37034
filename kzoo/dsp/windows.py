"""Analysis windows, computed in float64 so that every format ships the same constants."""

from __future__ import annotations

import numpy as np

WINDOWS = ("hann", "hamming", "sqrt_hann", "vorbis", "ones")


def window(name: str, length: int) -> np.ndarray:
    """Periodic window of `length` samples, float64 `[length]`.

    Periodic windows (a period of `length`, not `length - 1`) are what overlap-add needs.
    Raises ValueError for a name that is not in WINDOWS.
    """
    turns = np.arange(length) / length
    if name == "hann":
        return 0.5 - 0.5 * np.cos(2 * np.pi * turns)
    if name == "hamming":
        return 0.54 - 0.46 * np.cos(2 * np.pi * turns)
    if name == "sqrt_hann":
        return np.sin(np.pi * turns)
    if name == "vorbis":  # between two samples, not on the first: symmetric
        return np.sin(np.pi / 2 * np.sin(np.pi * (turns + 0.5 / length)) ** 2)
    if name == "ones":
        return np.ones(length)
    raise ValueError(f"window must be one of {', '.join(WINDOWS)}; got {name!r}")


def overlap_gain(shape: np.ndarray, hop_length: int, frames: int) -> np.ndarray:
    """Sum of `frames` windows of this `shape`, a hop apart: float64 `[samples]`, as overlap_add."""
    gain = np.zeros((frames - 1) * hop_length + len(shape))
    for m in range(frames):
        gain[m * hop_length : m * hop_length + len(shape)] += shape
    return gain


def repeated_gain(shape: np.ndarray, hop_length: int) -> np.ndarray:
    """Sum of windows of this `shape` that go on for ever: float64, as long as one of them.

    Raises ValueError for a hop at whose samples all windows are 0.
    """
    parts = -(-len(shape) // hop_length)
    padded = np.pad(shape, (0, parts * hop_length - len(shape)))
    gain = padded.reshape(parts, hop_length).sum(axis=0)
    if not np.all(gain > 1e-6 * gain.max()):
        raise ValueError(
            f"windows must overlap: with hop_length={hop_length} all of length {len(shape)} are 0 "
            "at some samples"
        )
    return np.tile(gain, parts)[: len(shape)]
