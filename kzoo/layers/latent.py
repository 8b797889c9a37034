"""The random input of a generative network: drawn anew in training, settled afterwards."""

from __future__ import annotations

import keras
import numpy as np
from keras import ops

LATENTS = ("fixed", "zero")


@keras.saving.register_keras_serializable("kzoo")
class Latent(keras.layers.Layer):
    """Standard normal numbers `[batch, *shape]` for each example of its input, in training.

    mode: afterwards "fixed" gives every example the same ones, from `seed`, as a constant of the
        graph, and "zero" their mean.
    """

    def __init__(self, shape, mode: str = "fixed", seed: int = 0, **kwargs):
        super().__init__(**kwargs)
        if mode not in LATENTS:
            raise ValueError(f"mode must be one of {', '.join(LATENTS)}; got {mode!r}")
        self.shape, self.mode, self.seed = tuple(shape), mode, seed
        self.generator = keras.random.SeedGenerator()

    def call(self, x, training=False):
        shape = (ops.shape(x)[0], *self.shape)
        if training:
            return keras.random.normal(shape, dtype=self.compute_dtype, seed=self.generator)
        if self.mode == "zero":
            return ops.zeros(shape, dtype=self.compute_dtype)
        drawn = np.random.default_rng(self.seed).standard_normal((1, *self.shape))
        return ops.broadcast_to(ops.convert_to_tensor(drawn, self.compute_dtype), shape)

    def compute_output_spec(self, x, training=False):
        return keras.KerasTensor((x.shape[0], *self.shape), self.compute_dtype)

    def get_config(self):
        return {
            **super().get_config(),
            "shape": list(self.shape),
            "mode": self.mode,
            "seed": self.seed,
        }
