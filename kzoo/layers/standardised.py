"""Levels less their mean over the training, in units of their deviation."""

from __future__ import annotations

import itertools
from collections.abc import Iterable

import keras
import numpy as np
from keras import layers, ops

MEASURED_EXAMPLES = 64


@keras.saving.register_keras_serializable("kzoo")
class Standardised(layers.Layer):
    """`[batch, frames, ...]` less a mean, times a scale, both measured once and never trained."""

    def __init__(self, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)

    def build(self, shape):
        def weight(name, initializer):
            return self.add_weight(
                shape=shape[2:], initializer=initializer, trainable=False, name=name
            )

        self.mean, self.scale = weight("mean", "zeros"), weight("scale", "ones")

    def call(self, x):
        return (x - self.mean) * self.scale

    def adapt_in(
        self,
        system: keras.Model,
        mixtures: Iterable[np.ndarray],
        *,
        silence: float,
        least_deviation: float,
    ) -> None:
        """Measure what reaches this layer of `system` of the first 64 mixtures.

        mixtures: `[samples, channels]` each; see `models.base.sizes.Signal.adapt`. silence: the
        level at and below which there is no sound. least_deviation: what a smaller one is taken
        for. Raises ValueError where all that was measured is silent.
        """
        before = keras.Model(system.input, self.input)
        measured = [
            ops.convert_to_numpy(before(mixture[None]))[0]
            for mixture in itertools.islice(mixtures, MEASURED_EXAMPLES)
        ]
        levels = np.concatenate(measured).astype(np.float64)
        if levels.max() <= silence:
            raise ValueError(f"the first {MEASURED_EXAMPLES} examples of the training are silent")
        self.mean.assign(levels.mean(axis=0))
        self.scale.assign(1 / np.maximum(levels.std(axis=0), least_deviation))
