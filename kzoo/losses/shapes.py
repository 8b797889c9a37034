"""What all losses ask of their arguments, and how values become one number an example."""

from __future__ import annotations

import keras
from keras import ops


def same_shape(target, estimate):
    """Both as tensors of one type, float32 or wider: sums of squares overflow in half precision.

    Raises ValueError where the shapes are known to differ: broadcasting would hide the mistake.
    """
    # A copy reads a tf.Variable, which convert_to_tensor leaves as it is.
    target, estimate = ops.copy(target), ops.copy(estimate)
    if not _may_be_equal(target.shape, estimate.shape):
        raise ValueError(
            "target and estimate must have the same shape; "
            f"got {tuple(target.shape)} and {tuple(estimate.shape)}"
        )
    dtype = keras.backend.result_type(target.dtype, estimate.dtype, "float32")
    return ops.cast(target, dtype), ops.cast(estimate, dtype)


def waveforms(target, estimate):
    """Same as `same_shape`, for `[batch, ..., samples, channels]`."""
    target, estimate = same_shape(target, estimate)
    if len(target.shape) < 3:
        raise ValueError(
            "waveforms must be [batch, sources, samples, channels] or [batch, samples, channels]; "
            f"got shape {tuple(target.shape)}"
        )
    return target, estimate


def over_examples(values):
    """Mean over everything but the batch: `[batch, ...]` to `[batch]`."""
    axes = tuple(range(1, len(values.shape)))
    return ops.mean(values, axis=axes) if axes else values


def _may_be_equal(one, other) -> bool:
    if len(one) != len(other):
        return False
    return all(a == b or a is None or b is None for a, b in zip(one, other, strict=True))
