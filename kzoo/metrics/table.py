"""The measures by name: what each is, and one way to ask for any of them.

`MEASURES` is the one place from which tables, pages and programs take names, units, directions and
definitions; `score_track` computes those that are named. Each is one figure a source and track.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import numpy as np

from kzoo.metrics.bsseval import bss_eval, track_medians
from kzoo.metrics.energy import improvement, scale_invariant, si_sdr, snr, usdr
from kzoo.metrics.intelligibility import stoi
from kzoo.metrics.opinion import composite, pesq
from kzoo.metrics.perceptual import PEASS_NOTICE, peass
from kzoo.metrics.segmental import llr, ssnr, wss
from kzoo.metrics.spectral import log_spectral_distance, log_wmse

Scores = dict[str, np.ndarray]
_SPEECH_RATES = (16000, 8000)
_ONE_CHANNEL = "mean of the channels at 16 kHz (at 8 kHz below that)"
_GAINS = "whole track, its channels as one signal with one scale, no mean removed"


@dataclass(frozen=True)
class Measure:
    """A measure of one source on one track.

    unit: "dB", or the range of a score, such as "1 to 5"; empty where it has none.
    definition: what it is and how a track's figure is made, without a full stop.
    over_tracks: the average over tracks with which it is published.
    score: (references, estimates, mixture, sample_rate) to {name: `[sources]`}, of this measure and
        of those that come with it; signals as in `score_track`.
    mixture: it needs the mixture.
    extra: the extra of kzoo whose packages it needs, or none.
    """

    name: str
    unit: str
    higher_is_better: bool
    definition: str
    over_tracks: Literal["mean", "median"]
    score: Callable[[np.ndarray, np.ndarray, np.ndarray | None, int], Scores]
    mixture: bool = False
    extra: str | None = None


def score_track(
    names: Iterable[str],
    references: np.ndarray,
    estimates: np.ndarray,
    mixture: np.ndarray | None,
    sample_rate: int,
) -> Scores:
    """{name: float64 `[sources]`} of those named, in their order.

    references and estimates are `[sources, samples, channels]`, mixture `[samples, channels]`, or
    None where no measure needs it. NaN where a measure is not defined, as PESQ of silence.
    Raises ValueError for a name that is not one of `MEASURES`, a mixture that is missing, shapes
    that differ, and as the measures do; ImportError for the package of an extra that is missing.
    """
    names = list(dict.fromkeys(names))
    for name in names:
        if name not in MEASURES:
            raise ValueError(f"measures are {', '.join(MEASURES)}; got {name!r}")
    references, estimates = np.asarray(references), np.asarray(estimates)
    if references.ndim != 3 or references.shape != estimates.shape:
        raise ValueError(
            "references and estimates must have one shape [sources, samples, channels]; "
            f"got {references.shape} and {estimates.shape}"
        )
    if mixture is None:
        if lacking := [name for name in names if MEASURES[name].mixture]:
            raise ValueError(f"{', '.join(lacking)}: needs the mixture; got None")
    elif np.shape(mixture) != references.shape[1:]:
        raise ValueError(
            f"mixture must be [samples, channels] as the references, {references.shape[1:]}; "
            f"got {np.shape(mixture)}"
        )
    scores: Scores = {}
    for name in names:
        if name not in scores:
            scores |= MEASURES[name].score(references, estimates, mixture, sample_rate)
    return {name: scores[name] for name in names}


def _each(score: Callable[..., float], *signals: np.ndarray) -> np.ndarray:
    """`score` of every source, `[sources]`."""
    return np.array([score(*pair) for pair in zip(*signals, strict=True)], np.float64)


def _bss_eval(references, estimates, mixture, sample_rate) -> Scores:
    scores = bss_eval(references, estimates, window=sample_rate, hop=sample_rate)
    return {name.upper(): values for name, values in track_medians(scores).items()}


def _ratios(references, estimates, mixture, sample_rate) -> Scores:
    ratios = scale_invariant(references, estimates)
    return {f"SI-{name.upper()}": values for name, values in ratios._asdict().items()}


def _plain(name: str, score: Callable[..., float]):
    """A family of one: `score(reference, estimate)` of every source."""
    return lambda references, estimates, mixture, sample_rate: {
        name: _each(score, references, estimates)
    }


def _gain(name: str, score: Callable[..., float]):
    """The improvement of `score` over the mixture."""

    def gained(references, estimates, mixture, sample_rate) -> Scores:
        def gain(true, guess):
            return improvement(score, true, guess, mixture)

        return {name: _each(gain, references, estimates)}

    return gained


def _log_wmse(references, estimates, mixture, sample_rate) -> Scores:
    def weighted(true, guess):
        return log_wmse(true, guess, mixture, sample_rate)

    return {"logWMSE": _each(weighted, references, estimates)}


def _speech(names: tuple[str, ...], score: Callable[..., float | tuple[float, ...]]):
    """A family of measures of speech: `score(reference, estimate, sample_rate)`, one for a name."""

    def scores(references, estimates, mixture, sample_rate) -> Scores:
        rate = next((rate for rate in _SPEECH_RATES if sample_rate >= rate), None)
        if rate is None:
            raise ValueError(
                f"{', '.join(names)}: speech is scored from {_SPEECH_RATES[-1]} Hz on; "
                f"got {sample_rate} Hz"
            )
        signals = [_heard(given, sample_rate, rate) for given in (references, estimates)]
        values = np.array([score(*pair, rate) for pair in zip(*signals, strict=True)], np.float64)
        return dict(zip(names, values.reshape(len(references), -1).T, strict=True))

    return scores


def _heard(signals: np.ndarray, sample_rate: int, rate: int) -> np.ndarray:
    """One channel of each source at another rate, `[sources, samples]`."""
    import soxr

    mono = signals.mean(axis=2, dtype=np.float64)
    return mono if rate == sample_rate else soxr.resample(mono.T, sample_rate, rate).T


def _wideband(true, guess, rate) -> tuple[float, ...]:
    if rate != _SPEECH_RATES[0]:
        return (np.nan,) * 4
    opinion = pesq(true, guess, rate)
    return (opinion, *composite(true, guess, rate, pesq_wb=opinion))


def _peass(references, estimates, mixture, sample_rate) -> Scores:
    found = []
    for j, estimate in enumerate(estimates):
        others = np.delete(references, j, axis=0)
        found.append(peass(np.concatenate([references[j : j + 1], others]), estimate, sample_rate))
    return dict(zip(("OPS", "TPS", "IPS", "APS"), np.transpose(found), strict=True))


def _db(name, definition, over_tracks, score, **needs) -> Measure:
    return Measure(name, "dB", True, definition, over_tracks, score, **needs)


def _v4(name: str, what: str) -> Measure:
    definition = f"{what}: BSS Eval v4 (museval), median over whole seconds, 512-tap filters"
    return _db(name, definition, "median", _bss_eval)


def _opinion(name: str, unit: str, definition: str, score, higher_is_better=True) -> Measure:
    definition = f"{definition}; {_ONE_CHANNEL}"
    return Measure(name, unit, higher_is_better, definition, "mean", score, extra="speech")


def _listener(name: str, what: str) -> Measure:
    definition = f"{what}: PEASS, {PEASS_NOTICE}"
    return Measure(name, "0 to 100", True, definition, "mean", _peass, extra="peass")


_WIDEBAND = _speech(("PESQ-WB", "CSIG", "CBAK", "COVL"), _wideband)
_REGRESSION = "Hu and Loizou's composite of wideband PESQ, LLR, WSS and SSNR"
_FRAMES = "30 ms frames every 7.5 ms"

MEASURES: Mapping[str, Measure] = {
    measure.name: measure
    for measure in (
        _v4("SDR", "all that is wrong"),
        _v4("ISR", "filtering and panning of the source itself"),
        _v4("SIR", "other sources"),
        _v4("SAR", "what no source explains"),
        _db(
            "uSDR",
            "(|s|² + 1e-7) / (|s - e|² + 1e-7) of the whole track, the SDR of the Music Demixing "
            "Challenges",
            "mean",
            _plain("uSDR", usdr),
        ),
        _db(
            "uSDRi",
            "uSDR less that of the mixture, called NSDR too",
            "mean",
            _gain("uSDRi", usdr),
            mixture=True,
        ),
        _db("SNR", "|s|² / |s - e|² of the whole track, no epsilon", "mean", _plain("SNR", snr)),
        _db("SI-SDR", f"all that no gain mends: {_GAINS}", "mean", _ratios),
        _db("SI-SIR", f"other sources, a gain each: {_GAINS}", "mean", _ratios),
        _db("SI-SAR", f"what no gains of the sources explain: {_GAINS}", "mean", _ratios),
        _db(
            "SI-SDRi",
            "SI-SDR less that of the mixture",
            "mean",
            _gain("SI-SDRi", si_sdr),
            mixture=True,
        ),
        Measure(
            "logWMSE",
            "",
            True,
            "-4 ln of the mean square of the error over that of the mixture, both weighted as the "
            "ear hears, at most 73.68; mean over channels",
            "mean",
            _log_wmse,
            mixture=True,
        ),
        Measure(
            "LSD",
            "dB",
            False,
            "log-spectral distance: mean over frames of the RMS over bins of the level difference, "
            "2048 samples every 512, levels down to 80 dB below the reference's loudest bin",
            "mean",
            _plain("LSD", log_spectral_distance),
        ),
        _opinion("PESQ-WB", "1.04 to 4.64", "ITU-T P.862.2 (package pesq)", _WIDEBAND),
        _opinion(
            "PESQ-NB",
            "1.02 to 4.55",
            "ITU-T P.862.1 (package pesq)",
            _speech(("PESQ-NB",), lambda *pair: pesq(*pair, band="nb")),
        ),
        _opinion("STOI", "at most 1", "intelligibility (pystoi)", _speech(("STOI",), stoi)),
        _opinion(
            "ESTOI",
            "at most 1",
            "intelligibility, extended (pystoi)",
            _speech(("ESTOI",), lambda *pair: stoi(*pair, extended=True)),
        ),
        _opinion("CSIG", "1 to 5", f"speech: {_REGRESSION}", _WIDEBAND),
        _opinion("CBAK", "1 to 5", f"background: {_REGRESSION}", _WIDEBAND),
        _opinion("COVL", "1 to 5", f"the whole: {_REGRESSION}", _WIDEBAND),
        Measure(
            "SSNR",
            "dB",
            True,
            f"mean of {_FRAMES}, each held to -10 .. 35; {_ONE_CHANNEL}",
            "mean",
            _speech(("SSNR",), ssnr),
        ),
        Measure(
            "LLR",
            "",
            False,
            f"log-likelihood ratio of linear predictors, lowest 95 % of {_FRAMES}; {_ONE_CHANNEL}",
            "mean",
            _speech(("LLR",), llr),
        ),
        Measure(
            "WSS",
            "",
            False,
            f"weighted spectral slope, lowest 95 % of {_FRAMES}; {_ONE_CHANNEL}",
            "mean",
            _speech(("WSS",), wss),
        ),
        _listener("OPS", "overall"),
        _listener("TPS", "the target kept"),
        _listener("IPS", "other sources gone"),
        _listener("APS", "no artefacts"),
    )
}
