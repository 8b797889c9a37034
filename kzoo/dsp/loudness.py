"""Loudness of a signal as the ear weighs it, frame by frame, in dB.

Hantrakul et al., Fast and flexible neural audio synthesis, 2019, as DDSP computes it: power in
each bin, weighted by IEC 61672's curve A, its mean over the bins in dB.
"""

from __future__ import annotations

from keras import ops

from kzoo.dsp.stft import stft
from kzoo.dsp.units import RANGE_DB, power_to_db
from kzoo.dsp.weighting import a_weights


def loudness_db(
    waveform, *, sample_rate: int, hop_length: int, n_fft: int = 512, range_db: float = RANGE_DB
):
    """Measure A-weighted loudness in dB: `[..., samples]` to `[..., 1 + samples // hop_length]`.

    Frame k is centred on sample k * hop_length, with silence around the signal. A sine of full
    scale at 1 kHz has 19.8 dB at the default n_fft; silence has -range_db.
    """
    real, imag = stft(waveform, n_fft, hop_length)
    weights = ops.convert_to_tensor(a_weights(sample_rate, n_fft), real.dtype)
    power = ops.mean((real * real + imag * imag) * weights, axis=-1)
    return power_to_db(power, range_db)
