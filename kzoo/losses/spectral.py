"""Mean differences, of magnitudes or of samples, and the two forms that Spleeter trains with.

`l1` and `l2` ask nothing of their arguments but equal shapes `[batch, ...]`, so they serve masked
magnitudes `[batch, sources, frames, bins, channels]` and waveforms alike.
"""

from __future__ import annotations

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


def _each_source(values):
    if len(values.shape) < 3:
        raise ValueError(f"expected [batch, sources, ...]; got shape {tuple(values.shape)}")
    return ops.mean(values, axis=tuple(range(2, len(values.shape))))  # [batch, sources]
