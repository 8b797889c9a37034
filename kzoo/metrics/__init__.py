"""Scores in float64 and decibels, with NumPy and SciPy alone: independent witnesses of the losses.

Three figures are called SDR in the literature and must not share a column: BSS Eval's (`bss_eval`,
median over frames of 1 s, then over tracks), the plain energy ratio of a track (`snr`), and the
scale-invariant one (`si_sdr`).
"""

from kzoo.metrics.bsseval import BSSEval, bss_eval, track_medians
from kzoo.metrics.energy import si_sdr, snr

__all__ = ["BSSEval", "bss_eval", "si_sdr", "snr", "track_medians"]
