"""Feature-wise linear modulation (FiLM): a condition scales and shifts feature maps.

Perez et al., 2018, FiLM: visual reasoning with a general conditioning layer,
https://arxiv.org/abs/1709.07871
"""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable("kzoo")
class FiLM(keras.layers.Layer):
    """gamma * x + beta.

    x: `[batch, ..., channels]`; gamma and beta: `[batch, channels]`, one pair a feature map, or
    `[batch, 1]`, one pair for all of them.
    """

    def call(self, x, gamma, beta):
        between = [1] * (len(x.shape) - 2)
        wide = (-1, *between, gamma.shape[-1])
        return ops.reshape(gamma, wide) * x + ops.reshape(beta, wide)

    def compute_output_shape(self, x_shape, gamma_shape=None, beta_shape=None):
        return x_shape


@keras.saving.register_keras_serializable("kzoo")
class FixedConditions(keras.layers.Layer):
    """Every example once under each of fixed conditions, in their order.

    `[batch, ...]` to `[batch * conditions, ...]` and the conditions `[batch * conditions, width]`.
    """

    def __init__(self, conditions, **kwargs):
        super().__init__(**kwargs)
        self.conditions = [[float(value) for value in row] for row in conditions]

    def call(self, x):
        count = len(self.conditions)
        batch = x.shape[0] if x.shape[0] is not None else ops.shape(x)[0]
        repeated = ops.reshape(ops.stack([x] * count, axis=1), (-1, *x.shape[1:]))
        rows = ops.convert_to_tensor(self.conditions, self.compute_dtype)
        return repeated, ops.tile(rows, (batch, 1))

    def compute_output_spec(self, x):
        count, width = len(self.conditions), len(self.conditions[0])
        batch = None if x.shape[0] is None else x.shape[0] * count
        return (
            keras.KerasTensor((batch, *x.shape[1:]), self.compute_dtype),
            keras.KerasTensor((batch, width), self.compute_dtype),
        )

    def get_config(self):
        return {**super().get_config(), "conditions": self.conditions}


@keras.saving.register_keras_serializable("kzoo")
class ConditionOfSegments(keras.layers.Layer):
    """An example's condition for each of its segments.

    `[batch, width]` and `[batch * segments, ...]` to `[batch * segments, width]`.
    """

    def call(self, condition, segments):
        batch, width = ops.shape(condition)[0], condition.shape[-1]
        each = ops.shape(segments)[0] // batch
        wide = ops.broadcast_to(ops.expand_dims(condition, 1), (batch, each, width))
        return ops.reshape(wide, (-1, width))

    def compute_output_spec(self, condition, segments):
        return keras.KerasTensor((segments.shape[0], condition.shape[-1]), self.compute_dtype)
