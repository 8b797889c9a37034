"""Scores in float64, with NumPy and SciPy alone: independent witnesses of the losses.

Three figures are called SDR in the literature and must not share a column: BSS Eval's (`bss_eval`,
median over frames of 1 s, then over tracks), the plain energy ratio of a track (`usdr`, and `snr`
without its epsilon), and the scale-invariant one (`si_sdr`). `MEASURES` says of each measure by its
name what it is, and `score_track` computes those that are named. `decompose` gives the errors as
signals.

Of the measures of speech, those of Loizou's book (`ssnr`, `llr`, `wss`) are computed here; `pesq`,
`composite` (which holds PESQ), `stoi` and `DNSMOS` need packages: pip install 'kzoo[speech]'.
`peass` needs python-peass, which is under the GPL-3: pip install 'kzoo[peass]'. What is heard in
recordings is scored by packages alone (`hearing`): pip install 'kzoo[listen]'.
"""

from kzoo.metrics.bsseval import (
    BSSEval,
    bss_eval,
    bss_eval_images,
    bss_eval_sources,
    track_medians,
)
from kzoo.metrics.decomposition import Decomposition, Ratios, decompose
from kzoo.metrics.energy import (
    ScaleInvariant,
    improvement,
    scale_invariant,
    sd_sdr,
    si_sdr,
    snr,
    usdr,
)
from kzoo.metrics.hearing import melody_scores, name_scores, onset_scores, phone_errors
from kzoo.metrics.intelligibility import stoi
from kzoo.metrics.opinion import DNSMOS, Composite, Opinions, composite, pesq
from kzoo.metrics.order import best_order, pairwise
from kzoo.metrics.perceptual import PEASS, peass
from kzoo.metrics.segmental import llr, ssnr, wss
from kzoo.metrics.spectral import log_spectral_distance, log_wmse
from kzoo.metrics.table import MEASURES, Measure, score_track

__all__ = [
    "DNSMOS",
    "MEASURES",
    "PEASS",
    "BSSEval",
    "Composite",
    "Decomposition",
    "Measure",
    "Opinions",
    "Ratios",
    "ScaleInvariant",
    "best_order",
    "bss_eval",
    "bss_eval_images",
    "bss_eval_sources",
    "composite",
    "decompose",
    "improvement",
    "llr",
    "log_spectral_distance",
    "log_wmse",
    "melody_scores",
    "name_scores",
    "onset_scores",
    "pairwise",
    "peass",
    "pesq",
    "phone_errors",
    "scale_invariant",
    "score_track",
    "sd_sdr",
    "si_sdr",
    "snr",
    "ssnr",
    "stoi",
    "track_medians",
    "usdr",
    "wss",
]
