"""How badly linear predictors of an estimate fit the target: spectral envelopes, frame by frame.

Itakura, 1975, Minimum prediction residual principle applied to speech recognition. The measure is
`kzoo.metrics.llr`, which opinions of signal distortion (CSIG) rest on.
"""

from __future__ import annotations

import numpy as np
from keras import ops

from kzoo.dsp.stft import stft
from kzoo.losses.shapes import over_examples, waveforms

# White noise in each frame, of its energy, as coders of speech add it: float32 cannot solve for
# envelopes much deeper than 40 dB.
_WHITE = 1e-4


def log_likelihood_ratio(
    target,
    estimate,
    *,
    order: int = 16,
    n_fft: int = 512,
    hop_length: int = 128,
    floor: float = 1e-3,
):
    """Mean log of the energy that the estimate's predictors leave of the target, `[batch]`.

    Relative to what the target's own leave, so it is 0 at best; the level counts for nothing above
    the floor. Waveforms are `[batch, ..., samples, channels]`; frames have Hann windows.
    floor: magnitude of white noise in the STFTs of both, below which there is no envelope.
    """
    target, estimate = waveforms(target, estimate)
    correlation, given = (
        _autocorrelation(x, order, n_fft, hop_length, floor) for x in (target, estimate)
    )
    matrices, given = _toeplitz(correlation), _toeplitz(given)
    own, found = _predictor(matrices), _predictor(given)
    # Of each frame what a predictor leaves, a R a with a = (1, -coefficients).
    errors = [ops.sum(a * ops.sum(matrices * ops.expand_dims(a, -2), -1), -1) for a in (found, own)]
    return over_examples(ops.log(errors[0] / errors[1]))


def _autocorrelation(waveform, order: int, n_fft: int, hop_length: int, floor: float):
    """`[batch, ..., samples, channels]` to `[batch, ..., channels, frames, order + 1]`."""
    real, imag = stft(ops.swapaxes(waveform, -2, -1), n_fft, hop_length)
    power = real * real + imag * imag + floor**2
    circle = ops.concatenate([power, ops.flip(power[..., 1:-1], axis=-1)], axis=-1)
    found = ops.rfft(circle)[0][..., : order + 1]
    white = np.eye(1, order + 1, dtype="float32")[0] * _WHITE
    return found * (1 + ops.convert_to_tensor(white, found.dtype))


def _toeplitz(correlation):
    """`[..., order + 1]` to `[..., order + 1, order + 1]`."""
    lags = range(correlation.shape[-1])
    return ops.take(correlation, [[abs(i - j) for j in lags] for i in lags], axis=-1)


def _predictor(matrices):
    """The filter `[..., order + 1]`, 1 at first, that leaves the least of the frame."""
    coefficients = ops.solve(matrices[..., :-1, :-1], matrices[..., 1:, :1])[..., 0]
    return ops.concatenate([ops.ones_like(coefficients[..., :1]), -coefficients], axis=-1)
