"""Estimates that add up to the mixture, whatever the network made of them.

Wisdom et al., 2019, https://arxiv.org/abs/1811.08521: the nearest estimates that sum to the
mixture; what they leave of it is shared out among them.
"""

from __future__ import annotations

import keras
from keras import ops

WEIGHTS = ("equal", "power")
_SILENCE = 1e-12


def mixture_consistency(mixture, estimates, *, weights: str = "equal"):
    """`[batch, samples, channels]` and `[batch, sources, samples, channels]` to the latter.

    weights: "equal", every source takes the same share of the rest; "power", a share that goes
    with its mean square, so that a silent source stays nearly silent. Both are projections:
    estimates that add up already stay as they are. Raises ValueError for other weights.
    """
    _check(weights)
    rest = ops.expand_dims(mixture - ops.sum(estimates, axis=1), 1)
    if weights == "equal":
        return estimates + rest / estimates.shape[1]
    # The floor makes the shares equal where all is silent, so that even then they sum to one.
    power = ops.mean(ops.square(estimates), axis=(2, 3), keepdims=True) + _SILENCE
    return estimates + rest * (power / ops.sum(power, axis=1, keepdims=True))


@keras.saving.register_keras_serializable("kzoo")
class MixtureConsistency(keras.layers.Layer):
    """`mixture_consistency` of [mixture, estimates], in float32 under any policy."""

    def __init__(self, weights: str = "equal", **kwargs):
        _check(weights)
        super().__init__(**{"dtype": "float32", **kwargs})
        self.weights_by = weights

    def call(self, inputs):
        mixture, estimates = inputs
        return mixture_consistency(mixture, estimates, weights=self.weights_by)

    def compute_output_shape(self, input_shape):
        return input_shape[1]

    def get_config(self):
        return {**super().get_config(), "weights": self.weights_by}


def _check(weights: str) -> None:
    if weights not in WEIGHTS:
        raise ValueError(f"weights must be one of {', '.join(WEIGHTS)}; got {weights!r}")
