"""What the measures of speech share: one channel against one channel, and packages as extras."""

from __future__ import annotations

import numpy as np


def mono_pair(reference: np.ndarray, estimate: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Both as float64 `[samples]`; given so, or as `[samples, 1]`.

    Raises ValueError for several channels, lengths that differ, and NaN.
    """
    signals = [mono(reference, "reference"), mono(estimate, "estimate")]
    if len(signals[0]) != len(signals[1]):
        raise ValueError(
            "reference and estimate must be equally long; "
            f"got {len(signals[0])} and {len(signals[1])} samples"
        )
    return signals[0], signals[1]


def mono(signal: np.ndarray, name: str) -> np.ndarray:
    """One channel as float64 `[samples]`; ValueError for more of them, none, and NaN."""
    flat = np.asarray(signal, np.float64)
    if flat.ndim == 2 and flat.shape[1] == 1:
        flat = flat[:, 0]
    if flat.ndim != 1 or not len(flat):
        raise ValueError(
            f"{name} must be one channel, [samples] or [samples, 1]; got shape {np.shape(signal)}: "
            "score channels one by one, or their mean"
        )
    if not np.isfinite(flat).all():
        raise ValueError(f"{name} holds NaN or infinite samples")
    return flat
