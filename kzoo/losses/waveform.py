"""Signal-to-noise ratios of waveforms, as losses: negative, in dB.

SI-SDR and SD-SDR: Le Roux et al., "SDR - half-baked or well done?", 2019,
https://arxiv.org/abs/1811.02508. Weighted SDR: Choi et al., "Phase-aware speech enhancement with
deep complex U-Net", 2019, https://arxiv.org/abs/1903.03107.
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
    target, estimate = _centred(target, estimate, zero_mean)
    image = _image(target, estimate)
    return _negative_db(_energy(image), _energy(estimate - image), _energy(target))


def sd_sdr(target, estimate, *, zero_mean: bool = False):
    """Negative scale-dependent SDR in dB per example: as `si_sdr`, and a wrong level costs too.

    The image of the reference in the estimate over the whole difference; `snr` has the reference
    itself above the line, so it forgives an estimate that is too soft.
    """
    target, estimate = _centred(target, estimate, zero_mean)
    image = _image(target, estimate)
    return _negative_db(_energy(image), _energy(estimate - target), _energy(target))


def snr(target, estimate, *, zero_mean: bool = False):
    """Negative SNR in dB per example, level and all; a silent reference gives 0, zero gradient.

    A perfect estimate gives -80, a silent one 0. zero_mean: as for `si_sdr`.
    """
    target, estimate = _centred(target, estimate, zero_mean)
    energy = _energy(target)
    return _negative_db(energy, _energy(estimate - target), energy)


def weighted_sdr(target, estimate, mixture=None):
    """Choi's bounded SDR per example, -1 (perfect) to 1: of a source and of all that is not it.

    For each source y of the mixture x: -a cos(y, y') - (1 - a) cos(x - y, x - y'), where a is the
    share of y in the energies of y and x - y. mixture: `[batch, samples, channels]`; without one
    it is the sum of the targets, which must then be all the sources there are.
    """
    target, estimate = waveforms(target, estimate)
    if mixture is None:
        mixture = ops.sum(target, axis=1) if len(target.shape) > 3 else target
    mixture = ops.cast(mixture, target.dtype)
    if len(target.shape) > 3:
        mixture = ops.expand_dims(mixture, 1)
    rest = mixture - target
    energy, rest_energy = _energy(target), _energy(rest)
    share = energy / (energy + rest_energy + _SILENCE)
    own, other = _cosine(target, estimate), _cosine(rest, mixture - estimate)
    return over_examples(-share * own - (1 - share) * other)


def mixture_l1(target, estimate):
    """Mean absolute difference of the sums over sources, per example: what the estimates lose."""
    target, estimate = waveforms(target, estimate)
    return over_examples(ops.abs(ops.sum(estimate - target, axis=1)))


def mixture_l2(target, estimate):
    """Mean squared difference of the sums over sources, per example; see `mixture_l1`."""
    target, estimate = waveforms(target, estimate)
    return over_examples(ops.square(ops.sum(estimate - target, axis=1)))


def _centred(target, estimate, zero_mean: bool):
    target, estimate = waveforms(target, estimate)
    if zero_mean:
        target = target - ops.mean(target, axis=-2, keepdims=True)
        estimate = estimate - ops.mean(estimate, axis=-2, keepdims=True)
    return target, estimate


def _image(target, estimate):
    """The projection of the estimate on the target."""
    scale = _inner(estimate, target) / (_energy(target) + _SILENCE)
    return scale[..., None, None] * target


def _cosine(one, other):
    """Of the angle between two signals, 0 where one is silent."""
    energies = _energy(one) * _energy(other)
    heard = energies > _SILENCE**2
    # Twice "where": the square root must not see a zero, or its gradient there is not finite.
    norm = ops.sqrt(ops.where(heard, energies, 1.0))
    return ops.where(heard, _inner(one, other) / norm, 0.0)


def _negative_db(signal, noise, reference):
    ratio = signal / (noise + _FLOOR * signal + _SILENCE)
    decibels = ops.log(ratio + _FLOOR) * (-10.0 / math.log(10.0))
    return over_examples(ops.where(reference > _SILENCE, decibels, ops.zeros_like(decibels)))


def _inner(one, other):
    return ops.sum(one * other, axis=(-2, -1))  # [batch, sources]


def _energy(signal):
    return _inner(signal, signal)
