"""A network whose state stays from one batch to the next: truncated backpropagation."""

from __future__ import annotations

import keras
from keras import layers


class Carried(layers.Layer):
    """A network that goes on in each batch where it was after the one before.

    network: of a dictionary of inputs to one of outputs; what both have of one name is state,
    `[lanes, ...]`. Gradients do not reach the batch before. Training and validation have a state
    each, all zeros at first, in variables that do not learn, which a checkpoint keeps.
    output: the name of what is given.
    """

    def __init__(self, network: keras.Model, output: str, **kwargs):
        super().__init__(**kwargs)
        self.network, self.output_name = network, output
        self.learning, self.judged = (
            {
                name: self.add_weight(
                    tensor.shape, "zeros", trainable=False, name=f"{whose}_{name}"
                )
                for name, tensor in network.input.items()
                if name in network.output
            }
            for whose in ("learning", "judged")
        )

    def build(self, shapes):
        self.built = True

    def call(self, inputs, training=False):
        """`inputs`: those of the network that are no state."""
        kept = self.learning if training else self.judged
        found = self.network({**inputs, **{n: x.value for n, x in kept.items()}}, training=training)
        for name, variable in kept.items():
            variable.assign(found[name])
        return found[self.output_name]

    def compute_output_spec(self, inputs, training=False):
        return self.network.output[self.output_name]
