"""Errors of spectra: the log-spectral distance, and logWMSE, weighted as the ear hears.

Gray and Markel, 1976, Distance measures for speech processing (log-spectral distance)
Iver Jordal, 2023, https://github.com/nomonosound/log-wmse-audio-quality (logWMSE)
"""

from __future__ import annotations

import math

import numpy as np
import scipy.fft

_BLOCK_FRAMES = 1024  # that are transformed at a time
_WEIGHTING_RATE = 44100  # at which logWMSE's filters are made
_WEIGHTING_TAPS = 4000  # past which their impulse response is silent
_SCALE, _EPSILON = -4.0, 1e-8
_QUIETEST = 1e-8  # RMS of a mixture, so that a silent one has a score


def log_spectral_distance(
    reference: np.ndarray,
    estimate: np.ndarray,
    *,
    n_fft: int = 2048,
    hop_length: int = 512,
    range_db: float = 80.0,
) -> float:
    """Mean over frames of the RMS over bins of the difference of the spectra's levels, in dB.

    0 at best. Signals are `[samples]` or `[samples, channels]`, all channels' frames alike. Frames
    are Hann windows of n_fft samples every hop_length, whole ones alone, of a signal shorter than
    that one, filled with silence. Bins more than range_db below the loudest bin of the reference
    count as that level: it bounds the distance, and silence in both is alike.
    NaN for a silent reference. Raises ValueError for shapes that differ.
    """
    pair = [np.asarray(signal, np.float64) for signal in (reference, estimate)]
    if pair[0].shape != pair[1].shape or pair[0].ndim not in (1, 2) or not pair[0].size:
        raise ValueError(
            "reference and estimate must have one shape, [samples] or [samples, channels]; "
            f"got {pair[0].shape} and {pair[1].shape}"
        )
    true, guess = (signal.reshape(len(signal), -1).T for signal in pair)  # [channels, samples]
    loudest = max(power.max() for power in _powers(true, n_fft, hop_length))
    if loudest == 0:
        return math.nan
    floor = loudest * 10 ** (-range_db / 10)
    total, count = 0.0, 0
    spectra = zip(_powers(true, n_fft, hop_length), _powers(guess, n_fft, hop_length), strict=True)
    for both in spectra:
        levels = [10 * np.log10(np.maximum(power, floor)) for power in both]
        distances = np.sqrt(np.mean((levels[0] - levels[1]) ** 2, axis=-1))
        total, count = total + distances.sum(), count + distances.size
    return float(total / count)


def log_wmse(
    reference: np.ndarray, estimate: np.ndarray, mixture: np.ndarray, sample_rate: int
) -> float:
    """logWMSE: a frequency-weighted squared error on a scale like that of SDR in dB; 73.68 at best.

    -4 ln(E + 1e-8), with E the mean square of the weighted error over that of the weighted mixture,
    for each channel, and the mean over channels. Signals are `[samples]` or `[samples, channels]`;
    silent references and silent mixtures are allowed. The weighting is a high shelf of 5 dB from
    1.5 kHz, a high-pass at 120 Hz, a peak of 2.5 dB at 500 Hz and a low-pass at 10 kHz, as they are
    at 44.1 kHz; nothing above 22.05 kHz counts. One gain on all three signals changes nothing; one
    on the estimate alone does, as does polarity. Written from the definition, less the original's
    rule that samples below -68 dB are no error; with torch-log-wmse 1.1.0, which has none either,
    it agrees to 1e-4 at 44.1 kHz. Raises ValueError for shapes that differ.
    """
    signals = [np.asarray(signal, np.float64) for signal in (reference, estimate, mixture)]
    shapes = {signal.shape for signal in signals}
    if len(shapes) > 1 or signals[0].ndim not in (1, 2) or not signals[0].size:
        raise ValueError(
            "reference, estimate and mixture must have one shape, [samples] or [samples, channels];"
            f" got {', '.join(str(signal.shape) for signal in signals)}"
        )
    true, guess, heard = (signal.reshape(len(signal), -1).T for signal in signals)
    tail = math.ceil(_WEIGHTING_TAPS * sample_rate / _WEIGHTING_RATE)
    n_fft = scipy.fft.next_fast_len(len(signals[0]) + tail, real=True)
    weights = _hearing(scipy.fft.rfftfreq(n_fft, 1 / sample_rate))
    weights[1 : (n_fft + 1) // 2] *= 2  # the other half of the spectrum, by Parseval's theorem
    scores = []
    for error, whole in zip(guess - true, heard, strict=True):
        energies = [_weighted_energy(x, weights, n_fft) for x in (error, whole)]
        quietest = _QUIETEST**2 * n_fft * len(error)  # the energies are n_fft times those in time
        relative = energies[0] / max(energies[1], quietest)
        scores.append(_SCALE * math.log(relative + _EPSILON))
    return float(np.mean(scores))


def _powers(signals: np.ndarray, n_fft: int, hop_length: int):
    """Power spectra `[channels, frames, bins]` of `[channels, samples]`, block by block."""
    if signals.shape[1] < n_fft:
        signals = np.pad(signals, ((0, 0), (0, n_fft - signals.shape[1])))
    frames = np.lib.stride_tricks.sliding_window_view(signals, n_fft, axis=1)[:, ::hop_length]
    window = np.hanning(n_fft + 1)[:-1]
    for first in range(0, frames.shape[1], _BLOCK_FRAMES):
        spectrum = scipy.fft.rfft(frames[:, first : first + _BLOCK_FRAMES] * window)
        yield spectrum.real**2 + spectrum.imag**2


def _weighted_energy(signal: np.ndarray, weights: np.ndarray, n_fft: int) -> float:
    spectrum = scipy.fft.rfft(signal, n_fft)
    return float(np.sum(weights * (spectrum.real**2 + spectrum.imag**2)))


def _hearing(frequencies_hz: np.ndarray) -> np.ndarray:
    """The power response of logWMSE's weighting; the phase of its filters does not matter."""
    import scipy.signal  # takes half a second, and few measures need it

    rate = _WEIGHTING_RATE
    filters = [
        _shelf(1500, 5.0, 1 / math.sqrt(2)),
        _peak(500, 2.5, 1.5 / math.sqrt(2)),
        scipy.signal.butter(2, 120, "high", fs=rate),
        *[scipy.signal.butter(1, 10_000, "low", fs=rate)] * 2,  # forwards and backwards
    ]
    audible = frequencies_hz <= rate / 2
    power = np.zeros(len(frequencies_hz))
    power[audible] = 1
    for b, a in filters:
        response = scipy.signal.freqz(b, a, worN=frequencies_hz[audible], fs=rate)[1]
        power[audible] *= response.real**2 + response.imag**2
    return power


def _shelf(centre_hz: float, gain_db: float, q: float) -> tuple[list[float], list[float]]:
    """A high shelf of the Audio EQ Cookbook (Bristow-Johnson)."""
    amplitude, angle, alpha = _cookbook(centre_hz, gain_db, q)
    cosine, width = math.cos(angle), 2 * math.sqrt(amplitude) * alpha
    up, down = amplitude + 1, amplitude - 1
    b = [
        amplitude * (up + down * cosine + width),
        -2 * amplitude * (down + up * cosine),
        amplitude * (up + down * cosine - width),
    ]
    return b, [up - down * cosine + width, 2 * (down - up * cosine), up - down * cosine - width]


def _peak(centre_hz: float, gain_db: float, q: float) -> tuple[list[float], list[float]]:
    """A peaking filter of the same book."""
    amplitude, angle, alpha = _cookbook(centre_hz, gain_db, q)
    middle = -2 * math.cos(angle)
    b = [1 + alpha * amplitude, middle, 1 - alpha * amplitude]
    return b, [1 + alpha / amplitude, middle, 1 - alpha / amplitude]


def _cookbook(centre_hz: float, gain_db: float, q: float) -> tuple[float, float, float]:
    angle = 2 * math.pi * centre_hz / _WEIGHTING_RATE
    return 10 ** (gain_db / 40), angle, math.sin(angle) / (2 * q)
