"""PEASS: perceptual scores of source separation, by the package python-peass.

Emiya, Vincent, Harlander and Hohmann, 2011, Subjective and objective quality assessment of audio
source separation
"""

from __future__ import annotations

import contextlib
import io
import tempfile
from typing import NamedTuple

import numpy as np

from kzoo.extras import package

PEASS_NOTICE = (
    "by python-peass, an unofficial port of PEASS 2.0.1 under the GPL-3, not checked against the "
    "authors' MATLAB program"
)


class PEASS(NamedTuple):
    """Scores from 0 to 100: overall, target, interference and artefacts."""

    ops: float
    tps: float
    ips: float
    aps: float


def peass(references: np.ndarray, estimate: np.ndarray, sample_rate: int) -> PEASS:
    """The four perceptual scores, 0 to 100, of an estimate of the first of `references`.

    references: `[sources, samples, channels]` or `[sources, samples]`, the target first; estimate
    likewise without sources. The estimate is taken apart in gammatone sub-bands, and an auditory
    model and a small network, fitted to listeners' opinions, score the parts.

    The package is an unofficial port under the GPL-3 of the authors' program; kzoo neither contains
    nor installs it unless asked (pip install 'kzoo[peass]') and imports it here alone. Its scores
    saturate: good estimates get the same ones, an exact one less than 100, and an untouched mixture
    an IPS above 90. Do not rank systems by it alone. It takes two to three seconds for each second
    of one channel. Raises ValueError for shapes that do not fit, for one reference alone and for
    silence; ImportError without the package.
    """
    port = package("peass", "PEASS", "peass")
    references, estimate = np.asarray(references, np.float64), np.asarray(estimate, np.float64)
    if references.ndim not in (2, 3) or references.shape[1:] != estimate.shape:
        raise ValueError(
            "references must be [sources, samples, channels] of an estimate's [samples, channels]; "
            f"got {references.shape} and {estimate.shape}"
        )
    if len(references) < 2:
        raise ValueError("PEASS needs the other sources beside the target; got one reference")
    if not estimate.any() or not references.any(axis=tuple(range(1, references.ndim))).all():
        raise ValueError("PEASS is not defined for silence; leave silent sources out")
    channels = estimate.reshape(len(estimate), -1)
    sources = list(references.reshape(len(references), *channels.shape))
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        found = port.predict_perceptual_evaluation_scores(
            sources,
            channels,
            configuration=port.DecompositionConfiguration(destination_directory=folder),
            sampling_frequency_hz=float(sample_rate),
        )
    return PEASS(
        float(found.overall_perceptual_score),
        float(found.target_perceptual_score),
        float(found.interference_perceptual_score),
        float(found.artifact_perceptual_score),
    )
