"""Layers of which there are several, one for each domain; an example is given that of its own.

The last argument of each is the number of a domain, `[batch, 1]`, or an int for all examples.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from kzoo.layers.autoregressive import GatedBlock


@keras.saving.register_keras_serializable("kzoo")
class BankDense(layers.Layer):
    """`layers.Dense` of each domain: `[batch, samples, channels]` to `[batch, samples, units]`."""

    def __init__(self, units: int, domains: int, **kwargs):
        super().__init__(**kwargs)
        self.units, self.domains = units, domains

    def build(self, x_shape, domain_shape=None):
        def each(shape, dtype=None):  # Glorot's bounds are those of one domain
            single = [keras.initializers.GlorotUniform() for _ in range(shape[0])]
            return ops.stack([draw(shape[1:], dtype) for draw in single])

        shape = (self.domains, x_shape[-1], self.units)
        self.kernel = self.add_weight(shape, each, name="kernel")
        self.bias = self.add_weight((self.domains, self.units), "zeros", name="bias")

    def call(self, x, domain):
        if isinstance(domain, int):
            kernel, bias = self.kernel[domain], self.bias[domain]
        else:
            # A product, so that the gradient is dense and is clipped and averaged as any other.
            chosen = ops.one_hot(domain[:, 0], self.domains, dtype=self.compute_dtype)
            kernel = ops.tensordot(chosen, ops.cast(self.kernel, self.compute_dtype), 1)
            bias = ops.matmul(chosen, ops.cast(self.bias, self.compute_dtype))[:, None]
        return ops.matmul(x, kernel) + bias

    def compute_output_shape(self, x_shape, domain_shape=None):
        return (*x_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "domains": self.domains}


@keras.saving.register_keras_serializable("kzoo")
class BankGatedBlock(GatedBlock):
    """`GatedBlock` of each domain: (taps, what conditions add, domain) to (x, skip)."""

    def __init__(self, residual: int, gate: int, skip: int, domains: int, **kwargs):
        super().__init__(residual, gate, skip, **kwargs)
        self.domains = domains
        make = {"domains": domains, "dtype": self.dtype_policy}
        self.gates = BankDense(2 * gate, name="gates", **make)
        self.to_residual = BankDense(residual, name="residual", trainable=not self.last, **make)
        self.to_skip = BankDense(skip, name="skip", **make)

    def build(self, heard_shape, condition_shape=None, domain_shape=None):
        super().build(heard_shape)

    def call(self, heard, condition, domain):
        return self.passed(heard, condition, lambda layer, x: layer(x, domain=domain))

    def compute_output_shape(self, heard_shape, condition_shape=None, domain_shape=None):
        return super().compute_output_shape(heard_shape)

    def get_config(self):
        return {**super().get_config(), "domains": self.domains}


@keras.saving.register_keras_serializable("kzoo")
class ScaledCodes(layers.Layer):
    """Codes to numbers from -0.5 to 0.5; a code below 0 is nothing, 0.0."""

    def __init__(self, levels: int, **kwargs):
        super().__init__(**kwargs)
        self.levels = levels

    def call(self, codes):
        scaled = ops.cast(codes, "float32") / (self.levels - 1) - 0.5
        return ops.cast(ops.where(codes < 0, 0.0, scaled), self.compute_dtype)

    def compute_output_spec(self, codes):
        return keras.KerasTensor(codes.shape, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "levels": self.levels}
