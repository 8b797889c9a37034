"""Predicted opinions of listeners: PESQ, the composite measures CSIG, CBAK and COVL, and DNSMOS.

ITU-T P.862.1 and P.862.2 (PESQ); Hu and Loizou, 2008, Evaluation of objective quality measures for
speech enhancement; Reddy, Gopal and Cutler, 2022, DNSMOS P.835, https://arxiv.org/abs/2110.01763
"""

from __future__ import annotations

import math
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kzoo.extras import package
from kzoo.metrics.segmental import llr, ssnr, wss
from kzoo.metrics.speech import mono, mono_pair

# P.862's program holds 50 utterances and writes past them. None is shorter than 0.4 s with the
# pause after it.
_PESQ_SECONDS = 19.0
_DNSMOS_RATE = 16000
_DNSMOS_SECONDS = 9.01
# What maps the network's outputs to opinions, in Microsoft's dnsmos_local.py: SIG, BAK, OVRL.
_CALIBRATION = (
    (-0.08397278, 1.22083953, 0.0052439),
    (-0.13166888, 1.60915514, -0.39604546),
    (-0.06766283, 1.11546468, 0.04602535),
)


def pesq(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, *, band: str = "wb"
) -> float:
    """Mean opinion, 1.04 to 4.64 (wideband, P.862.2) or 1.02 to 4.55 (narrowband, P.862.1).

    By the package pesq, ITU's own program. band: "wb", at 16000 Hz, is what the SEGAN literature
    reports (its noisy VoiceBank-DEMAND has 1.97); "nb" at 8000 or 16000 Hz. Signals are one
    channel, `[samples]`. A clip longer than 19 s, for which the program has no room, is measured
    in equal pieces, and the mean taken of those that have a value. NaN where the program finds no
    utterance or less than a quarter of a second, and for a silent reference or estimate.
    Raises ValueError for other rates and bands, ImportError without the package.
    """
    program = package("pesq", "PESQ", "speech")
    if band not in ("wb", "nb"):
        raise ValueError(f'band must be "wb" or "nb"; got {band!r}')
    rates = (16000,) if band == "wb" else (8000, 16000)
    if sample_rate not in rates:
        raise ValueError(
            f"PESQ {band} is defined at {' and '.join(map(str, rates))} Hz; got {sample_rate} Hz: "
            "resample both signals"
        )
    reference, estimate = mono_pair(reference, estimate)
    pieces = max(1, math.ceil(len(reference) / (_PESQ_SECONDS * sample_rate)))
    values = []
    for true, guess in zip(
        np.array_split(reference, pieces), np.array_split(estimate, pieces), strict=True
    ):
        if true.any() and guess.any():
            try:
                values.append(float(program.pesq(sample_rate, true, guess, band)))
            except (program.NoUtterancesError, program.BufferTooShortError):
                continue
    return float(np.mean(values)) if values else math.nan


class Composite(NamedTuple):
    """Predicted opinions from 1 to 5: of the speech, of the background, of the whole."""

    csig: float
    cbak: float
    covl: float


def composite(
    reference: np.ndarray, estimate: np.ndarray, sample_rate: int, *, pesq_wb: float | None = None
) -> Composite:
    """CSIG, CBAK and COVL of Hu and Loizou's regression on PESQ, LLR, WSS and SSNR.

    CSIG = 3.093 - 1.029 LLR + 0.603 PESQ - 0.009 WSS
    CBAK = 1.634 + 0.478 PESQ - 0.007 WSS + 0.063 SSNR
    COVL = 1.594 + 0.805 PESQ - 0.512 LLR - 0.007 WSS
    each held between 1 and 5. PESQ is the wideband one, as in SEGAN's table and those after it,
    though the regression was made with the raw narrowband one; so the rate must be 16000 Hz.
    pesq_wb: that value, where it is known already. NaN where a part is. Raises as `pesq`.
    """
    if sample_rate != 16000:
        raise ValueError(
            f"the composite measures need 16000 Hz, for wideband PESQ; got {sample_rate} Hz"
        )
    opinion = pesq(reference, estimate, sample_rate) if pesq_wb is None else pesq_wb
    distance = llr(reference, estimate, sample_rate)
    slope = wss(reference, estimate, sample_rate)
    noise = ssnr(reference, estimate, sample_rate)
    raw = (
        3.093 - 1.029 * distance + 0.603 * opinion - 0.009 * slope,
        1.634 + 0.478 * opinion - 0.007 * slope + 0.063 * noise,
        1.594 + 0.805 * opinion - 0.512 * distance - 0.007 * slope,
    )
    return Composite(*(float(np.clip(value, 1, 5)) for value in raw))


class Opinions(NamedTuple):
    """What DNSMOS predicts, from 1 to 5: of the speech, of the background, of the whole."""

    sig: float
    bak: float
    ovrl: float


class DNSMOS:
    """Opinions without a reference, by Microsoft's network sig_bak_ovr.onnx, which the user brings.

    Called with 16 kHz signals, `[samples]`: segments of 9.01 s every second, a shorter clip
    repeated until it fills one; each segment's three outputs are mapped by the published
    polynomials of the not personalised model, and their means taken. As in the published program,
    segments whose end rounds to a sample too few are left out (those that begin at 7 to 23 s, and
    some after 118 s). A silent signal has opinions, too: the network's.
    Raises ImportError without onnxruntime, ValueError for a file that is not this network.
    """

    def __init__(self, path: str | Path):
        runtime = package("onnxruntime", "DNSMOS", "speech")
        if not Path(path).is_file():
            raise ValueError(f"{path}: there is no such file; DNSMOS needs its sig_bak_ovr.onnx")
        options = runtime.SessionOptions()
        options.intra_op_num_threads = options.inter_op_num_threads = 1  # processes share the cores
        options.log_severity_level = 3
        try:
            self._session = runtime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"]
            )
        except (RuntimeError, runtime.capi.onnxruntime_pybind11_state.InvalidProtobuf) as error:
            raise ValueError(f"{path}: no network that can be read: {error}") from None
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        self._samples = round(_DNSMOS_SECONDS * _DNSMOS_RATE)
        if len(inputs) != 1 or inputs[0].shape[1:] != [self._samples] or outputs[0].shape[-1] != 3:
            raise ValueError(
                f"{path}: is not DNSMOS's sig_bak_ovr.onnx, which takes {self._samples} samples "
                "and gives three opinions"
            )

    def __call__(self, signal: np.ndarray, sample_rate: int) -> Opinions:
        """The opinions; ValueError for another rate."""
        if sample_rate != _DNSMOS_RATE:
            raise ValueError(f"DNSMOS hears {_DNSMOS_RATE} Hz; got {sample_rate} Hz: resample")
        signal = mono(signal, "signal").astype(np.float32)
        period = len(signal)
        while len(signal) < self._samples:
            signal = np.concatenate([signal, signal])
        count = int(len(signal) // sample_rate - _DNSMOS_SECONDS) + 1
        ends = [int((second + _DNSMOS_SECONDS) * sample_rate) for second in range(count)]
        name = self._session.get_inputs()[0].name
        found, known = [], {}  # segments of a repeated clip that begin alike are alike
        for second, end in enumerate(ends):
            segment, phase = signal[second * sample_rate : end], second * sample_rate % period
            if len(segment) == self._samples:
                if phase not in known:
                    known[phase] = self._session.run(None, {name: segment[None]})[0][0]
                outputs = known[phase]
                found.append([np.polyval(p, y) for p, y in zip(_CALIBRATION, outputs, strict=True)])
        return Opinions(*(float(value) for value in np.mean(found, axis=0)))
