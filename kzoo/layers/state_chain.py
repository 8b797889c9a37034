"""What a hidden Markov model knows beside a network: how often states come, and after which."""

from __future__ import annotations

from collections.abc import Iterable

import keras
import numpy as np


@keras.saving.register_keras_serializable("kzoo")
class StateChain(keras.layers.Layer):
    """Logits `[batch, frames, states]` as they are; its weights, never trained, are for decoders.

    prior `[states]`: the share of the frames that are in a state. transitions `[states, states]`:
    the chance to be in the second state in the frame after one in the first. Before `adapt` all
    are the same.
    """

    def __init__(self, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)

    def build(self, logits_shape):
        states = logits_shape[-1]
        even = keras.initializers.Constant(1 / states)
        self.prior = self.add_weight((states,), even, trainable=False, name="prior")
        self.transitions = self.add_weight(
            (states, states), even, trainable=False, name="transitions"
        )

    def call(self, logits):
        return logits

    def adapt(self, labels: Iterable[np.ndarray], *, unseen: float = 0.01) -> None:
        """Measure the chain of `labels`, `[frames, states]` of 0 and 1 each.

        A frame without a state ends the chain, and another begins behind it. unseen: how often
        what never came counts as having come. Raises ValueError where no frame has a state.
        """
        count = self.prior.shape[0]
        seen, after = np.zeros(count), np.zeros((count, count))
        for frames in labels:
            states = np.where(frames.max(axis=1) > 0, frames.argmax(axis=1), -1)
            np.add.at(seen, states[states >= 0], 1)
            pairs = np.stack([states[:-1], states[1:]])
            np.add.at(after, tuple(pairs[:, (pairs >= 0).all(axis=0)]), 1)
        if not seen.any():
            raise ValueError("the examples of the training have no labels")
        seen, after = seen + unseen, after + unseen
        self.prior.assign(seen / seen.sum())
        self.transitions.assign(after / after.sum(axis=1, keepdims=True))
