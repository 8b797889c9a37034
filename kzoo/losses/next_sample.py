"""Losses of a network that gives the distribution of each next sample, `[batch]` in nats."""

from __future__ import annotations

import math

from keras import ops

from kzoo.losses.shapes import over_examples

_EDGE = 0.999  # amplitudes beyond which all that lies further out counts as one step
_TINY = 1e-5


def code_cross_entropy(target, estimate):
    """Mean negative log-likelihood of codes, `[batch]`, in nats.

    target: codes `[batch, samples, 1]`; estimate: logits `[batch, samples, levels]`.
    Divided by ln 2 it is bits a sample.
    """
    _check(target, estimate, 1)
    codes = ops.cast(target[..., 0], "int32")
    estimate = ops.cast(estimate, "float32")
    found = ops.take_along_axis(estimate, codes[..., None], axis=-1)[..., 0]
    return over_examples(ops.logsumexp(estimate, axis=-1) - found)


def logistic_mixture(target, estimate, *, levels: int = 65536, least_log_scale: float = -14.0):
    """Negative log-likelihood of amplitudes in equal steps under logistics, `[batch]`, in nats.

    Salimans et al., 2017, PixelCNN++, https://arxiv.org/abs/1701.05517. target: `[batch, samples,
    1]`, -1 to 1. estimate: of K components all logits, all means, all log scales, `[batch, samples,
    3 K]`. levels: of the amplitudes. least_log_scale: log scales are taken to be no less.
    """
    logits, means, log_scales = _components(target, estimate, least_log_scale)
    centred = ops.cast(target, "float32") - means
    inverse, half = ops.exp(-log_scales), 1 / (levels - 1)
    above, below = inverse * (centred + half), inverse * (centred - half)
    within = ops.sigmoid(above) - ops.sigmoid(below)
    middle = inverse * centred
    density = middle - log_scales - 2 * ops.softplus(middle)
    inside = ops.where(
        within > _TINY,
        ops.log(ops.maximum(within, 1e-12)),
        density - math.log((levels - 1) / 2),
    )
    lowest, highest = above - ops.softplus(above), -ops.softplus(below)
    likely = ops.where(target < -_EDGE, lowest, ops.where(target > _EDGE, highest, inside))
    return over_examples(-ops.logsumexp(likely + _log_shares(logits), axis=-1))


def gaussian_mixture(target, estimate, *, least_log_scale: float = -7.0):
    """Negative log density of amplitudes under Gaussians, `[batch]`, in nats; it may be below 0.

    Shapes as those of `logistic_mixture`.
    """
    logits, means, log_scales = _components(target, estimate, least_log_scale)
    distance = (ops.cast(target, "float32") - means) * ops.exp(-log_scales)
    likely = -0.5 * (math.log(2 * math.pi) + ops.square(distance)) - log_scales
    return over_examples(-ops.logsumexp(likely + _log_shares(logits), axis=-1))


def _components(target, estimate, least_log_scale: float):
    _check(target, estimate, 3)
    logits, means, log_scales = ops.split(ops.cast(estimate, "float32"), 3, axis=-1)
    return logits, means, ops.maximum(log_scales, least_log_scale)


def _log_shares(logits):
    return logits - ops.logsumexp(logits, axis=-1, keepdims=True)


def _check(target, estimate, of: int) -> None:
    if len(estimate.shape) != 3 or target.shape[-1] != 1 or estimate.shape[-1] % of:
        raise ValueError(
            "expected samples [batch, samples, 1] and what is said of each, [batch, samples, "
            f"{'levels' if of == 1 else '3 * components'}]; got {tuple(target.shape)} and "
            f"{tuple(estimate.shape)}"
        )
