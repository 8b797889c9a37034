"""What hears a recording window by window, whatever runs it."""

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
