"""Signal-to-noise ratios of waveforms, as losses: negative, in dB.

SI-SDR: Le Roux et al., "SDR - half-baked or well done?", 2019, https://arxiv.org/abs/1811.02508.
Waveforms are `[batch, sources, samples, channels]` or `[batch, samples, channels]`. The channels of
a source are one signal with one scale, so that the stereo image counts; the ratio is taken for each
source, and the loss is the mean over sources.
"""

from __future__ import annotations

import math

from keras import ops

from kzoo.losses.shapes import over_examples, waveforms

# Ratios stay within 80 dB: beyond, float32 has nothing to say and gradients only grow.
_FLOOR = 1e-8
# Energy that counts as silence: -160 dB full scale for a signal of 10 000 samples. Its inverse
# square is still a float32, which the gradient of a division needs on every backend.
_SILENCE = 1e-12


def si_sdr(target, estimate, *, zero_mean: bool = False):
    """Negative SI-SDR in dB per example; a silent reference gives 0 with zero gradient.

    zero_mean: remove the mean of each channel first, as asteroid does; museval and fast_bss_eval
    do not. A perfect estimate gives -80, a silent or orthogonal one +80. With a silent reference
    among several the mean still counts it, as 0.
    """
    target, estimate = waveforms(target, estimate)
    if zero_mean:
        target = target - ops.mean(target, axis=-2, keepdims=True)
        estimate = estimate - ops.mean(estimate, axis=-2, keepdims=True)
    energy = _energy(target)
    scale = _inner(estimate, target) / (energy + _SILENCE)
    image = scale[..., None, None] * target
    return _negative_db(_energy(image), _energy(estimate - image), energy)


def snr(target, estimate):
    """Negative SNR in dB per example, level and all; a silent reference gives 0, zero gradient.

    A perfect estimate gives -80, a silent one 0.
    """
    target, estimate = waveforms(target, estimate)
    energy = _energy(target)
    return _negative_db(energy, _energy(estimate - target), energy)


def _negative_db(signal, noise, reference):
    ratio = signal / (noise + _FLOOR * signal + _SILENCE)
    decibels = ops.log(ratio + _FLOOR) * (-10.0 / math.log(10.0))
    return over_examples(ops.where(reference > _SILENCE, decibels, ops.zeros_like(decibels)))


def _inner(one, other):
    return ops.sum(one * other, axis=(-2, -1))  # [batch, sources]


def _energy(signal):
    return _inner(signal, signal)
