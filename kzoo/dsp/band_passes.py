"""Band-passes that are given by their edges in hertz: sinc and Gabor filters, and harmonic ones.

Ravanelli and Bengio, Speaker recognition from raw waveform with SincNet, 2018,
https://arxiv.org/abs/1808.00158; Noé, Parcollet and Morchid, CGCNN: complex Gabor convolutional
neural network on raw speech, 2020, https://arxiv.org/abs/2002.04569; Won, Chun, Nieto and Serra,
Data-driven harmonic filters for audio representation learning, 2020.
"""

from __future__ import annotations

import math

import numpy as np
from keras import ops

from kzoo.dsp.notes import hz_to_midi, midi_to_hz

C1_HZ = 32.7031956625748


def mel_edges(count: int, sample_rate: int, low_hz: float, high_hz: float) -> np.ndarray:
    """`count + 1` frequencies, float64, even on the mel scale 2595 log10(1 + f / 700).

    Raises ValueError for a range outside 0 Hz to Nyquist.
    """
    if not 0 <= low_hz < high_hz <= sample_rate / 2:
        raise ValueError(
            f"bands must lie between 0 Hz and {sample_rate / 2:g} Hz; got {low_hz:g} to {high_hz:g}"
        )
    low, high = (2595 * np.log10(1 + hz / 700) for hz in (low_hz, high_hz))
    return 700 * (10 ** (np.linspace(low, high, count + 1) / 2595) - 1)


def sinc_filters(low_hz, high_hz, kernel_size: int, sample_rate: int):
    """Ideal band-passes under a Hamming window: `[filters]` edges to `[kernel_size, filters]`.

    The tap in the middle is 1. Raises ValueError for a kernel of even length.
    """
    _check_odd(kernel_size)
    half = kernel_size // 2
    seconds = np.arange(-half, 0) / sample_rate
    # The reference's window: a symmetric one of half the kernel, by the kernel's whole length.
    turns = np.linspace(0, kernel_size / 2 - 1, half) / kernel_size
    weights = 0.54 - 0.46 * np.cos(2 * np.pi * turns)
    angles, weights = (
        ops.convert_to_tensor(x[:, None], low_hz.dtype)
        for x in (2 * np.pi * seconds, weights / (np.pi * seconds))
    )
    width = high_hz - low_hz
    left = (ops.sin(high_hz * angles) - ops.sin(low_hz * angles)) * weights / (2 * width)
    return ops.concatenate([left, ops.ones_like(width)[None], ops.flip(left, axis=0)], axis=0)


def gabor_filters(low_hz, high_hz, kernel_size: int, sample_rate: int):
    """Complex exponentials under Gaussians: (real, imag), each `[kernel_size, filters]`.

    g(t) = N(t; 0, sigma) exp(2 pi i f t) with f midway between the edges `[filters]`, and
    sigma = A / (pi (high - low)). The paper leaves A open; sqrt(ln 2) makes the edges those of
    half the power. Gains are 1 at f where the kernel is long enough for its Gaussian. Raises
    ValueError for a kernel of even length.
    """
    _check_odd(kernel_size)
    seconds = np.arange(-(kernel_size // 2), kernel_size // 2 + 1)[:, None] / sample_rate
    seconds = ops.convert_to_tensor(seconds, low_hz.dtype)
    sigma = math.sqrt(math.log(2)) / (math.pi * (high_hz - low_hz))
    gaussian = ops.exp(-0.5 * ops.square(seconds / sigma))
    gaussian = gaussian / (sigma * math.sqrt(2 * math.pi) * sample_rate)
    angles = math.pi * (low_hz + high_hz) * seconds
    return gaussian * ops.cos(angles), gaussian * ops.sin(angles)


def semitone_centres(
    sample_rate: int, harmonics: int, per_semitone: int, lowest_hz: float = C1_HZ
) -> np.ndarray:
    """Frequencies, float64, from `lowest_hz` upwards, `per_semitone` of them a semitone.

    They end below the note nearest to where the highest harmonic would reach Nyquist.
    """
    low = hz_to_midi(lowest_hz)
    high = round(float(hz_to_midi(sample_rate / 2 / harmonics)))
    return midi_to_hz(low + np.arange(round((high - low) * per_semitone)) / per_semitone)


def harmonic_filters(centres_hz, quality, *, sample_rate: int, n_fft: int, harmonics: int):
    """Triangles around multiples of `centres_hz` `[bands]`: `[bins, bands, harmonics]`.

    Around f a triangle is (0.1079 f + 24.7) / quality hertz wide, an ear's critical band where
    quality, a scalar, is 1.
    """
    multiples = ops.expand_dims(centres_hz, -1) * ops.convert_to_tensor(
        np.arange(1, harmonics + 1), centres_hz.dtype
    )  # [bands, harmonics]
    width = (0.1079 * multiples + 24.7) / quality
    hertz = np.linspace(0, sample_rate / 2, n_fft // 2 + 1)[:, None, None]
    distance = ops.abs(ops.convert_to_tensor(hertz, centres_hz.dtype) - multiples)
    return ops.maximum(1 - 2 * distance / width, 0)


def _check_odd(kernel_size: int) -> None:
    if kernel_size < 3 or kernel_size % 2 == 0:
        raise ValueError(f"kernel_size must be odd, and 3 at least; got {kernel_size}")
