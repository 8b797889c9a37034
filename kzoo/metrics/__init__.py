"""Scores in float64, with NumPy and SciPy alone: independent witnesses of the losses.

Three figures are called SDR in the literature and must not share a column: BSS Eval's (`bss_eval`,
median over frames of 1 s, then over tracks), the plain energy ratio of a track (`snr`), and the
scale-invariant one (`si_sdr`).

Of the measures of speech, those of Loizou's book (`ssnr`, `llr`, `wss`) are computed here; `pesq`,
`composite` (which holds PESQ), `stoi` and `DNSMOS` need packages: pip install 'kzoo[speech]'.
"""

from kzoo.metrics.bsseval import (
    BSSEval,
    bss_eval,
    bss_eval_images,
    bss_eval_sources,
    track_medians,
)
from kzoo.metrics.energy import si_sdr, snr
from kzoo.metrics.intelligibility import stoi
from kzoo.metrics.opinion import DNSMOS, Composite, Opinions, composite, pesq
from kzoo.metrics.segmental import llr, ssnr, wss

__all__ = [
    "DNSMOS",
    "BSSEval",
    "Composite",
    "Opinions",
    "bss_eval",
    "bss_eval_images",
    "bss_eval_sources",
    "composite",
    "llr",
    "pesq",
    "si_sdr",
    "snr",
    "ssnr",
    "stoi",
    "track_medians",
    "wss",
]
