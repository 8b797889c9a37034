"""Mean differences, of magnitudes or of samples, and the two forms that Spleeter trains with.

`l1` and `l2` ask nothing of their arguments but equal shapes `[batch, ...]`, so they serve masked
magnitudes `[batch, sources, frames, bins, channels]` and waveforms alike.
"""

from __future__ import annotations

from typing import Literal

from keras import ops

from kzoo.losses.shapes import over_examples, same_shape


def l1(target, estimate):
    """Mean absolute difference of each example, `[batch]`."""
    target, estimate = same_shape(target, estimate)
    return over_examples(ops.abs(estimate - target))


def l2(target, estimate):
    """Mean squared difference of each example, `[batch]`."""
    target, estimate = same_shape(target, estimate)
    return over_examples(ops.square(estimate - target))


def compressed_l2(target, estimate, *, power: float = 0.3, floor: float = 1e-3):
    """Mean squared difference of magnitudes raised to `power`, `[batch]`; as loud as it is heard.

    By plain differences a network loses nothing when it silences what is weak; by these it does,
    and weak consonants stay. Braun and Tashev, 2021, https://arxiv.org/abs/2009.12286.
    floor: added before, so that the slope ends where sound does.
    """
    target, estimate = same_shape(target, estimate)
    loudness = [ops.power(values + floor, power) for values in (target, estimate)]
    return over_examples(ops.square(loudness[1] - loudness[0]))


def l1_mask(target, estimate):
    """Spleeter's L1_mask: the mean absolute difference of each source, summed over sources.

    Takes `[batch, sources, ...]`; it is `l1` times the number of sources, so that a learning rate
    from Spleeter's configurations means the same here.
    """
    target, estimate = same_shape(target, estimate)
    return ops.sum(_each_source(ops.abs(estimate - target)), axis=1)


def weighted_l1_mask(target, estimate):
    """Spleeter's weighted_L1_mask: as `l1_mask`, each source weighted by its mean target magnitude.

    Targets must be magnitudes (a waveform's mean says nothing); loud passages then count more,
    and a source that is silent in an example counts nothing there.
    """
    target, estimate = same_shape(target, estimate)
    weights = _each_source(target)
    return ops.sum(weights * _each_source(ops.abs(estimate - target)), axis=1)


def discriminative(
    target,
    estimate,
    *,
    gamma: float = 0.05,
    distance: Literal["squared", "kl"] = "squared",
    floor: float = 1e-3,
):
    """The mean distance to each source, less gamma times that to the other sources, `[batch]`.

    So a network is also taught to be unlike what it must leave out: Huang et al., 2014 and 2015,
    https://arxiv.org/abs/1502.04149, for magnitudes `[batch, sources, ...]`; of more than two
    sources the others' distances are averaged. It may be negative.

    distance: "squared", (y - t)**2, or "kl", the generalised Kullback-Leibler divergence with the
    authors' floor c inside, t log(t / (y + c) + c) - t + y + c. Their costs are sums over bins and
    frames, the squared one of halves.
    Raises ValueError for one source, or none.
    """
    target, estimate = same_shape(target, estimate)
    count = target.shape[1] if len(target.shape) > 2 else 0
    if count < 2:
        raise ValueError(
            f"expected [batch, sources, ...] of two sources or more; got {tuple(target.shape)}"
        )

    def away(wanted):
        if distance == "squared":
            return over_examples(ops.square(estimate - wanted))
        level = estimate + floor
        return over_examples(wanted * ops.log(wanted / level + floor) - wanted + level)

    others = sum(away(ops.roll(target, shift, axis=1)) for shift in range(1, count))
    return away(target) - gamma * others / (count - 1)


def binary_cross_entropy(target, estimate, *, floor: float = 1e-7):
    """Mean cross-entropy of masks between 0 and 1, `[batch]`, in nats.

    floor: how far from 0 and 1 an estimate is taken to be at least, so that the loss is finite.
    """
    target, estimate = same_shape(target, estimate)
    estimate = ops.clip(estimate, floor, 1 - floor)
    likely = target * ops.log(estimate) + (1 - target) * ops.log(1 - estimate)
    return over_examples(-likely)


def weighted_cross_entropy(target, estimate, *, floor: float = 1e-7):
    """Cross-entropy in which a target between 0 and 1 is a positive of that weight, `[batch]`.

    So frames beside an annotated onset are learned as onsets that count less: Schlüter and Böck,
    2014. By `binary_cross_entropy` a target of 0.25 asks for an estimate of 0.25; by this one it
    asks for 1, a quarter as firmly. A mean, in nats; floor: as there.
    """
    target, estimate = same_shape(target, estimate)
    estimate = ops.clip(estimate, floor, 1 - floor)
    likely = target * ops.log(estimate) + ops.where(target > 0, 0.0, ops.log(1 - estimate))
    return over_examples(-likely)


def categorical_cross_entropy(target, estimate, *, floor: float = 1e-7):
    """Cross-entropy of probabilities `[..., names]` that sum to 1, a mean `[batch]` in nats.

    floor: the least that an estimate is taken for, so that the loss is finite.
    """
    target, estimate = same_shape(target, estimate)
    likely = ops.sum(target * ops.log(ops.maximum(estimate, floor)), axis=-1)
    return over_examples(-likely)


def _each_source(values):
    if len(values.shape) < 3:
        raise ValueError(f"expected [batch, sources, ...]; got shape {tuple(values.shape)}")
    return ops.mean(values, axis=tuple(range(2, len(values.shape))))  # [batch, sources]
