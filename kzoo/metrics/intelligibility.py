"""Short-time objective intelligibility, STOI and ESTOI, by the package pystoi.

Taal, Hendriks, Heusdens and Jensen, 2011, An algorithm for intelligibility prediction of
time-frequency weighted noisy speech
Jensen and Taal, 2016, An algorithm for predicting the intelligibility of speech masked by modulated
noise maskers
"""

from __future__ import annotations

import warnings

import numpy as np

from kzoo.extras import package
from kzoo.metrics.speech import mono_pair


def stoi(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, *, extended: bool = False
) -> float:
    """Predicted intelligibility, 1 at best; extended: ESTOI, for noise that fluctuates.

    Signals are one channel, `[samples]`; the package resamples to 10 kHz and leaves out frames in
    which the reference is 40 dB below its loudest. A silent estimate gives 0. NaN where fewer than
    30 frames (384 ms) are left, as of a silent reference.
    Raises ValueError for lengths that differ, ImportError without pystoi.
    """
    pystoi = package("pystoi", "STOI", "speech")
    reference, estimate = mono_pair(reference, estimate)
    if not reference.any():
        return float("nan")
    if not estimate.any():  # ESTOI would be that of the package's own regularising noise
        return 0.0
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="Not enough STFT frames", category=RuntimeWarning)
        try:
            return float(pystoi.stoi(reference, estimate, sample_rate, extended=extended))
        except (RuntimeWarning, np.exceptions.AxisError):  # the latter where no frame is left
            return float("nan")
