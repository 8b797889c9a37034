"""Weight normalisation: the direction of a weight and its length are learned apart.

Salimans and Kingma, 2016, https://arxiv.org/abs/1602.07868.
"""

from __future__ import annotations

from typing import Literal

import keras
from keras import initializers, layers, ops


@keras.saving.register_keras_serializable("kzoo")
class NormedDense(layers.Layer):
    """Dense, with the kernel g v / |v|: `[..., inputs]` to `[..., units]`.

    normed: whose weights have one length g: those of each of the "outputs", or of the "inputs", as
    PyTorch has it for a transposed convolution. At first g is |v|.
    """

    def __init__(
        self, units: int, use_bias: bool = True, normed: Literal["outputs", "inputs"] = "outputs",
        kernel_initializer="lecun_uniform", **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.units, self.use_bias, self.normed = units, use_bias, normed
        self.kernel_initializer = initializers.get(kernel_initializer)

    def build(self, shape):
        self.v = self.add_weight((shape[-1], self.units), self.kernel_initializer, name="v")
        lengths = self._lengths()
        self.g = self.add_weight(lengths.shape, "ones", name="g")
        self.g.assign(lengths)
        self.bias = self.add_weight((self.units,), "zeros", name="bias") if self.use_bias else None

    def _lengths(self):
        axis = 0 if self.normed == "outputs" else 1
        return ops.sqrt(ops.sum(ops.square(self.v), axis=axis, keepdims=True))

    def call(self, x):
        y = ops.matmul(x, self.g * self.v / self._lengths())
        return y if self.bias is None else y + self.bias

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.units)

    def get_config(self):
        own = {"units": self.units, "use_bias": self.use_bias, "normed": self.normed}
        initializer = initializers.serialize(self.kernel_initializer)
        return {**super().get_config(), **own, "kernel_initializer": initializer}
