"""What hears a recording window by window or in stretches of frames, whatever runs it."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np


class WindowNetwork(NamedTuple):
    """A listener's network.

    names: of what is heard. samples: of a window. hop_seconds: from one window's start to the next,
    None for a window's length. run: a window `[samples]` to probabilities `[names]` and an
    embedding `[features]`, or None where there is none.
    """

    names: tuple[str, ...]
    sample_rate: int
    samples: int
    hop_seconds: float | None
    run: Callable[[np.ndarray], tuple[np.ndarray, np.ndarray | None]]


class MelodyNetwork(NamedTuple):
    """A tracker of melodies, in parts that hear stretches of a recording.

    frequencies_hz: of the bins of the salience. transform: a waveform `[samples]` of `transformed`
    frames, with `context` more on both sides, to magnitudes
    `[transformed + 2 * neighbours, bins, harmonics]`. salience: `frames + 2 * neighbours` of them,
    and the loudest magnitude of the recording, to `[frames, bins]`.
    """

    sample_rate: int
    hop_length: int
    frequencies_hz: tuple[float, ...]
    context: int
    transformed: int
    neighbours: int
    frames: int
    transform: Callable[[np.ndarray], np.ndarray]
    salience: Callable[[np.ndarray, float], np.ndarray]
