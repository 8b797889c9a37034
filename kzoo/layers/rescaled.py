"""Initial weights as PyTorch draws them, and rescaled as Demucs does.

Defossez et al., 2019, section 4.4, https://arxiv.org/abs/1911.13254: convolutions start with
weights and bias divided by sqrt(std(weights) / reference).
"""

from __future__ import annotations

import math

import keras
from keras import ops


@keras.saving.register_keras_serializable("kzoo")
class RescaledUniform(keras.initializers.RandomUniform):
    """Uniform between -1 and 1 over sqrt(fan_in), divided by sqrt(std / reference).

    std is that of the very numbers drawn (unbiased). reference 0: not rescaled.
    """

    def __init__(self, fan_in: int, reference: float = 0.1, seed=None):
        bound = fan_in**-0.5
        super().__init__(-bound, bound, seed=seed)
        self.fan_in, self.reference = fan_in, reference

    def __call__(self, shape, dtype=None):
        drawn = super().__call__(shape, dtype)
        if not self.reference:
            return drawn
        count = math.prod(shape)
        std = ops.std(drawn) * math.sqrt(count / max(count - 1, 1))
        return drawn / ops.sqrt(std / self.reference)

    def get_config(self):
        seed = super().get_config()["seed"]
        return {"fan_in": self.fan_in, "reference": self.reference, "seed": seed}


def rescaled_bias(fan_in: int, reference: float = 0.1) -> keras.initializers.Initializer:
    """For the bias beside a RescaledUniform kernel: its bound divided by the expected scale.

    The scale of a kernel of n numbers lies within about 0.5 / sqrt(n) of the expected one.
    """
    bound = fan_in**-0.5
    if reference:
        bound /= math.sqrt(bound / math.sqrt(3) / reference)
    return keras.initializers.RandomUniform(-bound, bound)


def dense(units: int, fan_in: int, rescale: float, name: str, **kwargs) -> keras.layers.Dense:
    """A convolution of one frame, with first weights as above."""
    return keras.layers.Dense(
        units,
        kernel_initializer=RescaledUniform(fan_in, rescale),
        bias_initializer=rescaled_bias(fan_in, rescale),
        name=name,
        **kwargs,
    )
