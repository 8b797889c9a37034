"""The scores of one system on one clip of speech, as papers on enhancement publish them.

Everything is heard at 16 kHz and in one channel, the mean of several; recordings below 16 kHz at
8 kHz, where there is no wideband PESQ, and nothing of what is made from it. Clips are averaged by
their mean, which is what SEGAN's table and those after it do.

A clip whose speech or whose estimate is silent throughout is not scored, and the report says so. A
measure that a clip does not have (PESQ found no utterance, STOI fewer than 30 frames, SI-SDR of an
exact estimate is infinite) is left out of that measure's mean, and noted.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kzoo import audio, metrics
from kzoo.data.recordings import Recording, Track, recordings_sha256
from kzoo.extras import package

RATES = (16000, 8000)
WIDEBAND = ("PESQ-WB", "CSIG", "CBAK", "COVL")
MEASURES = ("PESQ-WB", "PESQ-NB", "STOI", "ESTOI", "SI-SDR", "SSNR", "CSIG", "CBAK", "COVL")
OPINIONS = ("SIG", "BAK", "OVRL")
_DEFINITION = (
    "heard at 16 kHz (recordings below that at 8 kHz), several channels as their mean",
    "PESQ-WB: ITU-T P.862.2, 1.04 to 4.64; PESQ-NB: P.862.1, 1.02 to 4.55 (package pesq; "
    "clips over 19 s in pieces)",
    "STOI, ESTOI: at most 1 (package pystoi)",
    "SI-SDR: dB, whole clip, no mean removed",
    "SSNR: dB, mean of 30 ms frames every 7.5 ms, each held to -10 .. 35",
    "CSIG, CBAK, COVL: 1 to 5, Hu and Loizou's composite of wideband PESQ, SSNR, and the lowest "
    "95 % of the frames' LLR (order 16) and WSS",
)
_DNSMOS_DEFINITION = (
    "SIG, BAK, OVRL: 1 to 5, DNSMOS P.835 without reference, segments of 9.01 s every second, "
    "calibrated"
)
_PACKAGES = {"pesq": "PESQ", "pystoi": "STOI"}


@dataclass(frozen=True)
class Speech:
    """Score by the measures of speech; dnsmos: path of Microsoft's sig_bak_ovr.onnx, or none."""

    dnsmos: str | None = None

    @property
    def measures(self) -> tuple[str, ...]:
        """The columns."""
        return (*MEASURES, *OPINIONS) if self.dnsmos else MEASURES

    @property
    def definition(self) -> tuple[str, ...]:
        """Sentences that define the columns, for the header of a table."""
        return (*_DEFINITION, _DNSMOS_DEFINITION) if self.dnsmos else _DEFINITION

    @property
    def packages(self) -> tuple[str, ...]:
        """Names of the packages that the scores depend on."""
        return (*_PACKAGES, "onnxruntime") if self.dnsmos else tuple(_PACKAGES)

    def check(self) -> None:
        """ImportError for a package that is missing, ValueError for a file that is not DNSMOS."""
        for name, what in _PACKAGES.items():
            package(name, what, "speech")
        if self.dnsmos:
            _network(self.dnsmos)

    def identity(self) -> dict[str, Any]:
        """What the scores depend on beside the sound."""
        network = {"dnsmos": Recording(Path(self.dnsmos))} if self.dnsmos else {}
        return {"speech": self.measures, "network_sha256": recordings_sha256(network)}


def heard_at(track: Track) -> int:
    """The rate at which a track is scored; ValueError for one below 8 kHz."""
    recorded = min(audio.info(recording.path).sample_rate for recording in track.recordings)
    for rate in RATES:
        if recorded >= rate:
            return rate
    raise ValueError(f"{track.name}: speech is scored from {RATES[-1]} Hz on; got {recorded} Hz")


def clip_scores(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, speech: Speech
) -> dict[str, float]:
    """{measure: value} of `[samples, channels]` signals; NaN for what is not defined.

    Raises ValueError for a reference or an estimate that is silent throughout, or holds NaN.
    """
    true, guess = reference.mean(axis=1, dtype=np.float64), estimate.mean(axis=1, dtype=np.float64)
    if not guess.any():
        raise ValueError("the estimate is silent throughout, so its scores are undefined")
    scores = dict.fromkeys(speech.measures, math.nan)
    scores["PESQ-NB"] = metrics.pesq(true, guess, sample_rate, band="nb")
    scores["STOI"] = metrics.stoi(true, guess, sample_rate)
    scores["ESTOI"] = metrics.stoi(true, guess, sample_rate, extended=True)
    scores["SI-SDR"] = metrics.si_sdr(true, guess)
    scores["SSNR"] = metrics.ssnr(true, guess, sample_rate)
    if sample_rate == RATES[0]:
        scores["PESQ-WB"] = metrics.pesq(true, guess, sample_rate)
        opinions = metrics.composite(true, guess, sample_rate, pesq_wb=scores["PESQ-WB"])
        scores.update(zip(WIDEBAND[1:], opinions, strict=True))
        if speech.dnsmos:
            heard = _network(speech.dnsmos)(guess, sample_rate)
            scores.update(zip(OPINIONS, heard, strict=True))
    return scores


@functools.lru_cache(maxsize=1)
def _network(path: str) -> metrics.DNSMOS:
    return metrics.DNSMOS(path)
