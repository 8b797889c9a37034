"""Virtual batch norm: statistics of a fixed reference batch, with a little of the live one.

Salimans et al., 2016, Improved techniques for training GANs, https://arxiv.org/abs/1606.03498,
in the form of SEGAN's program: of a reference batch of B examples and the live batch, means and
mean squares are mixed as B / (B + 1) and 1 / (B + 1), over all of the live batch's examples.
"""

from __future__ import annotations

import keras
from keras import ops


@keras.saving.register_keras_serializable("kzoo")
class ReferenceBatch(keras.layers.Layer):
    """Fixed examples `[examples, ...]` that a network sees beside its input; the input is ignored.

    They are weights that do not learn, zeros until `set_reference` gives them their values.
    """

    def __init__(self, examples: int, **kwargs):
        super().__init__(**kwargs)
        self.examples = examples

    def build(self, input_shape):
        self.reference = self.add_weight(
            shape=(self.examples, *input_shape[1:]),
            initializer="zeros",
            trainable=False,
            autocast=False,
            aggregation="only_first_replica",
            name="reference",
        )

    def call(self, x):
        return ops.cast(self.reference, self.compute_dtype)

    def compute_output_spec(self, x):
        return keras.KerasTensor((self.examples, *x.shape[1:]), self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "examples": self.examples}


def reference_layers(model: keras.Model) -> list[ReferenceBatch]:
    """The layers of `model` that want `set_reference`."""
    return [layer for layer in model._flatten_layers() if isinstance(layer, ReferenceBatch)]


def set_reference(model: keras.Model, examples) -> None:
    """Give every ReferenceBatch of `model` the first of `examples` `[batch, ...]`.

    Raises ValueError where there are fewer than a layer holds.
    """
    for layer in reference_layers(model):
        if len(examples) < layer.examples:
            raise ValueError(
                f"{layer.name} holds {layer.examples} reference examples; got {len(examples)}"
            )
        layer.reference.assign(ops.convert_to_tensor(examples[: layer.examples], "float32"))


@keras.saving.register_keras_serializable("kzoo")
class VirtualBatchNorm(keras.layers.Layer):
    """Norm of `[batch, ..., channels]` by a reference of `examples` examples.

    Called with (x, reference features) it gives both, normed: x by mixed statistics, the reference
    by its own. In training those are measured, and kept; otherwise, and without a reference, those
    that were kept are used: a network for inference needs no reference batch.
    """

    def __init__(self, examples: int, epsilon: float = 1e-5, **kwargs):
        super().__init__(**kwargs)
        self.examples, self.epsilon = examples, epsilon

    def build(self, x_shape, reference_shape=None):
        width = (x_shape[-1],)
        self.gamma = self.add_weight(
            shape=width,
            initializer=keras.initializers.RandomNormal(1.0, 0.02),
            autocast=False,
            name="gamma",
        )
        self.beta = self.add_weight(shape=width, initializer="zeros", autocast=False, name="beta")
        # Every replica sees the same reference.
        kept = {"trainable": False, "autocast": False, "aggregation": "only_first_replica"}
        self.reference_mean = self.add_weight(
            shape=width, initializer="zeros", name="reference_mean", **kept
        )
        self.reference_mean_square = self.add_weight(
            shape=width, initializer="ones", name="reference_mean_square", **kept
        )

    def call(self, x, reference=None, training=False):
        x = ops.cast(x, "float32")
        mean, square = self.reference_mean + 0.0, self.reference_mean_square + 0.0
        if reference is not None:
            reference = ops.cast(reference, "float32")
            if training:
                mean, square = _moments(reference)
                self.reference_mean.assign(mean)
                self.reference_mean_square.assign(square)
        live_mean, live_square = _moments(x)
        share = 1.0 / (self.examples + 1.0)
        mixed = (
            share * live_mean + (1 - share) * mean,
            share * live_square + (1 - share) * square,
        )
        normed = self._normed(x, *mixed)
        return normed if reference is None else (normed, self._normed(reference, mean, square))

    def _normed(self, x, mean, square):
        variance = ops.maximum(square - ops.square(mean), 0.0)
        scale = ops.rsqrt(variance + self.epsilon) * self.gamma
        return ops.cast((x - mean) * scale + self.beta, self.compute_dtype)

    def compute_output_spec(self, x, reference=None, training=False):
        found = keras.KerasTensor(x.shape, self.compute_dtype)
        if reference is None:
            return found
        return found, keras.KerasTensor(reference.shape, self.compute_dtype)

    def get_config(self):
        return {**super().get_config(), "examples": self.examples, "epsilon": self.epsilon}


def _moments(x):
    axes = list(range(len(x.shape) - 1))
    return ops.mean(x, axis=axes), ops.mean(ops.square(x), axis=axes)
