"""Differences of spectrograms at several resolutions at once, deaf to phase.

Engel et al., DDSP, 2020, https://arxiv.org/abs/2001.04643 (L1 of magnitudes and of log
magnitudes); Yamamoto et al., Parallel WaveGAN, 2020, https://arxiv.org/abs/1910.11480 (spectral
convergence). No single window resolves both a drum hit and a bass note; a sum of six does.
"""

from __future__ import annotations

from collections.abc import Sequence

from keras import ops

from kzoo.dsp.framing import pad_last
from kzoo.dsp.stft import stft
from kzoo.losses.shapes import over_examples, waveforms

FFT_SIZES = (2048, 1024, 512, 256, 128, 64)
# Power under which a bin is empty: there the square root has no gradient.
_EMPTY = 1e-20
_LOG_OF_EMPTY = 1e-5


def multi_resolution_stft(
    target,
    estimate,
    *,
    fft_sizes: Sequence[int] = FFT_SIZES,
    magnitude_weight: float = 1.0,
    log_magnitude_weight: float = 1.0,
    convergence_weight: float = 0.0,
    log_floor: float = 0.0,
):
    """Per example, the sum over `fft_sizes` of the mean differences of Hann STFTs, 75 % overlap.

    Waveforms are `[batch, ..., samples, channels]`; the defaults are DDSP's with log magnitudes on.
    Magnitudes are not scaled by the window, so a longer one weighs more: DDSP's sums, kept.
    log_floor: magnitudes below it count as it in the logarithm, which bounds the gradient there
        by 1 / log_floor. At 0, DDSP's way, only empty bins are replaced (by 1e-5), and the rounding
        noise between the partials of a clean tone counts as much as the partials.
    convergence_weight: of the Frobenius norm of the difference over that of the target, for each
        source; a silent target gives 0 there.
    Raises ValueError for an FFT size that is not a positive multiple of 4.
    """
    target, estimate = waveforms(target, estimate)
    loss = 0.0
    for n_fft in fft_sizes:
        wanted, given = _magnitudes(target, n_fft), _magnitudes(estimate, n_fft)
        if magnitude_weight:
            loss += magnitude_weight * over_examples(ops.abs(wanted - given))
        if log_magnitude_weight:
            difference = _log(wanted, log_floor) - _log(given, log_floor)
            loss += log_magnitude_weight * over_examples(ops.abs(difference))
        if convergence_weight:
            loss += convergence_weight * over_examples(_convergence(wanted, given))
    return loss


def _magnitudes(waveform, n_fft: int):
    """`[batch, ..., samples, channels]` to `[batch, ..., channels, frames, bins]`."""
    if n_fft < 4 or n_fft % 4:
        raise ValueError(f"fft_sizes must be multiples of 4 for 75 % overlap; got {n_fft}")
    signal = ops.swapaxes(waveform, -2, -1)
    hop_length = n_fft // 4
    samples = ops.shape(signal)[-1]
    frames = -(-samples // hop_length)
    signal = pad_last(signal, 0, (frames - 1) * hop_length + n_fft - samples)
    real, imag = stft(signal, n_fft, hop_length, padding="valid")
    power = real * real + imag * imag
    empty = power <= _EMPTY
    # Twice "where": the square root must not see the zeros, or its gradient there is not finite.
    return ops.where(empty, 0.0, ops.sqrt(ops.where(empty, 1.0, power)))


def _log(magnitude, floor: float):
    if floor > 0:
        return ops.log(ops.maximum(magnitude, floor))
    return ops.log(ops.where(magnitude > 0, magnitude, _LOG_OF_EMPTY))


def _convergence(wanted, given):
    axes = (-3, -2, -1)
    difference = ops.sum(ops.square(wanted - given), axis=axes)
    energy = ops.sum(ops.square(wanted), axis=axes)
    safe = (difference > _EMPTY) & (energy > _EMPTY)
    ratio = ops.where(safe, difference, 1.0) / ops.where(safe, energy, 1.0)
    return ops.where(safe, ops.sqrt(ratio), 0.0)
