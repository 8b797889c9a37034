"""The end of a listener: probabilities that bear the names of what is heard."""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import ops


@keras.saving.register_keras_serializable("kzoo")
class Labels(keras.layers.Layer):
    """Logits `[..., names]` to probabilities, float32 whatever the policy.

    names: of the last axis, in its order; they are saved with the model. exclusive: one name is
    right and the probabilities sum to 1; otherwise each name is right or not by itself.
    Raises ValueError for logits of another number.
    """

    def __init__(self, names: Sequence[str], exclusive: bool = False, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.names, self.exclusive = list(names), exclusive

    def build(self, logits_shape):
        if logits_shape[-1] != len(self.names):
            raise ValueError(f"{len(self.names)} names need as many logits; got {logits_shape[-1]}")

    def call(self, logits):
        return ops.softmax(logits, axis=-1) if self.exclusive else ops.sigmoid(logits)

    def compute_output_shape(self, logits_shape):
        return logits_shape

    def get_config(self):
        return {**super().get_config(), "names": self.names, "exclusive": self.exclusive}
