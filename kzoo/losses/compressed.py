"""Differences of spectra whose magnitudes are compressed: as loud as they are heard, with phase."""

from __future__ import annotations

from keras import ops

from kzoo.dsp.stft import stft
from kzoo.losses.shapes import over_examples, waveforms


def compressed_stft(
    target,
    estimate,
    *,
    n_fft: int = 512,
    hop_length: int = 128,
    power: float = 0.3,
    complex_weight: float = 0.3,
    floor: float = 1e-3,
):
    """Mean squared difference of STFTs with their magnitudes raised to `power`, `[batch]`.

    Of the magnitudes alone with the weight 1 - complex_weight, and of the complex numbers, which
    keep their phases, with complex_weight. Braun and Tashev, 2021,
    https://arxiv.org/abs/2009.12286. Waveforms are `[batch, ..., samples, channels]`; the Hann
    window is not scaled.
    floor: the magnitude below which the slope no longer rises.
    """
    target, estimate = waveforms(target, estimate)
    wanted = _compressed(target, n_fft, hop_length, power, floor)
    given = _compressed(estimate, n_fft, hop_length, power, floor)
    magnitude, real, imag = (
        over_examples(ops.square(a - b)) for a, b in zip(wanted, given, strict=True)
    )
    return (1 - complex_weight) * magnitude + complex_weight * (real + imag)


def _compressed(waveform, n_fft: int, hop_length: int, power: float, floor: float):
    """(magnitude, real, imag), each `[batch, ..., channels, frames, bins]`."""
    real, imag = stft(ops.swapaxes(waveform, -2, -1), n_fft, hop_length)
    magnitude = ops.sqrt(ops.square(real) + ops.square(imag) + floor**2)
    scale = magnitude ** (power - 1)
    return magnitude * scale, real * scale, imag * scale
