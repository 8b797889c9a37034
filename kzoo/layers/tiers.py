"""The tiers of SampleRNN: recurrent ones over frames of samples, and one that says of each sample.

What a tier says to the one below it is a vector for each of that one's frames.
"""

from __future__ import annotations

from typing import Literal

import keras
from keras import layers, ops

from kzoo.layers import recurrent
from kzoo.layers.weight_norm import NormedDense


@keras.saving.register_keras_serializable("kzoo")
class FrameTier(layers.Layer):
    """Codes `[batch, frames * frame, 1]` to (`[batch, frames * ratio, width]`, states after).

    upper: what the tier above says, `[batch, frames, width]`. states: `[batch, width]` each, as
    `state_names` has them; without them, and in examples whose `begins` `[batch, 1]` is 1, those
    that are learned. learned_state: or zeros. levels: codes, which are heard as -2 to 2.
    """

    def __init__(
        self, frame: int, ratio: int, width: int, levels: int, *,
        rnn: Literal["gru", "lstm"] = "gru", rnn_layers: int = 1,
        learned_state: bool = True, weight_norm: bool = True, **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.frame, self.ratio, self.width, self.levels = frame, ratio, width, levels
        self.rnn, self.rnn_layers = rnn, rnn_layers
        self.learned_state, self.weight_norm = learned_state, weight_norm
        policy = self.dtype_policy
        self.expand = dense(width, weight_norm, "he_uniform", name="expand", dtype=policy)
        make = recurrent.GRU if rnn == "gru" else recurrent.LSTM
        self.rnns = [
            make(width, return_sequences=True, return_state=True, name=f"rnn{k + 1}", dtype=policy)
            for k in range(rnn_layers)
        ]
        self.upsampling = dense(
            ratio * width, weight_norm, "lecun_uniform", normed="inputs", name="upsampling",
            dtype=policy,
        )  # fmt: skip

    @property
    def state_names(self) -> list[str]:
        """The states in their order; an LSTM's cell stands behind what it gives."""
        kinds = ("",) if self.rnn == "gru" else ("", "_cell")
        names = [f"rnn{k + 1}{kind}" for k in range(self.rnn_layers) for kind in kinds]
        return [f"{self.name}_{name}" for name in names]

    def build(self, codes_shape, upper_shape=None, states_shape=None, begins_shape=None):
        self.expand.build((None, None, self.frame))
        for rnn in (*self.rnns, self.upsampling):
            rnn.build((None, None, self.width))
        self.initial = [
            self.add_weight((self.width,), "zeros", trainable=self.learned_state, name=name)
            for name in self.state_names
        ]

    def initial_states(self, batch: int) -> list:
        """`[batch, width]` each, before the first sample of a recording."""
        shape = (batch, self.width)
        return [ops.broadcast_to(ops.cast(x, self.compute_dtype), shape) for x in self.initial]

    def call(self, codes, upper=None, states=None, begins=None, training=False):
        batch, samples, _ = ops.shape(codes)
        frames = ops.reshape(codes, (batch, samples // self.frame, self.frame))
        amplitudes = 2 * (ops.cast(frames, "float32") / (self.levels / 2) - 1)
        x = self.expand(ops.cast(amplitudes, self.compute_dtype))
        x = x if upper is None else x + upper
        initial = self.initial_states(batch)
        if states is None:
            states = initial
        elif begins is not None:
            states = [ops.where(begins > 0, a, b) for a, b in zip(initial, states, strict=True)]
        after = []
        each = len(states) // self.rnn_layers
        for number, rnn in enumerate(self.rnns):
            before = states[number * each : (number + 1) * each]
            if codes.shape[1] == self.frame:  # without a loop over one step
                one, own = rnn.cell(x[:, 0], before, training=training)
                x = one[:, None]
            else:
                x, *own = rnn(x, initial_state=before, training=training)
            after += own
        x = self.upsampling(x)
        return ops.reshape(x, (batch, samples // self.frame * self.ratio, self.width)), after

    def compute_output_shape(self, codes_shape, *shapes):
        batch, samples, _ = codes_shape
        said = None if samples is None else samples // self.frame * self.ratio
        return (batch, said, self.width), [(batch, self.width) for _ in self.state_names]

    def get_config(self):
        own = ("frame", "ratio", "width", "levels", "rnn", "rnn_layers", "learned_state")
        config = {**super().get_config(), **{name: getattr(self, name) for name in own}}
        return {**config, "weight_norm": self.weight_norm}


@keras.saving.register_keras_serializable("kzoo")
class SampleTier(layers.Layer):
    """The codes before each sample, and what the lowest frame tier says of it, to logits.

    codes: `[batch, taps - 1 + samples, 1]`; upper: `[batch, samples, width]`; to `[batch, samples,
    levels]` of the samples that come behind each of the last `samples`.
    """

    def __init__(
        self, taps: int, width: int, levels: int, embedding: int, *, weight_norm: bool = True,
        **kwargs,
    ):  # fmt: skip
        super().__init__(**kwargs)
        self.taps, self.width, self.levels = taps, width, levels
        self.embedding, self.weight_norm = embedding, weight_norm
        policy = self.dtype_policy
        self.vectors = layers.Embedding(levels, embedding, name="vectors", dtype=policy)
        make = {"weight_norm": weight_norm, "dtype": policy}
        self.heard = dense(width, initializer="he_uniform", use_bias=False, name="heard", **make)
        self.hidden = dense(width, initializer="he_uniform", name="hidden", **make)
        self.logits = dense(levels, initializer="lecun_uniform", name="logits", **make)

    def build(self, codes_shape, upper_shape):
        self.vectors.build((None, None))
        self.heard.build((None, None, self.taps * self.embedding))
        self.hidden.build((None, None, self.width))
        self.logits.build((None, None, self.width))

    def call(self, codes, upper):
        vectors = self.vectors(ops.cast(codes[..., 0], "int32"))
        samples = ops.shape(upper)[1]
        # Oldest first, as a convolution of the vectors has it.
        x = [vectors[:, tap : tap + samples] for tap in range(self.taps)]
        x = ops.relu(self.heard(ops.concatenate(x, axis=-1)) + upper)
        return self.logits(ops.relu(self.hidden(x)))

    def compute_output_shape(self, codes_shape, upper_shape):
        return (*upper_shape[:2], self.levels)

    def get_config(self):
        own = ("taps", "width", "levels", "embedding", "weight_norm")
        return {**super().get_config(), **{name: getattr(self, name) for name in own}}


def dense(units: int, weight_norm: bool, initializer: str, *, normed: str = "outputs", **named):
    """Dense, its weights normalised or not; the options are those of `NormedDense`."""
    if weight_norm:
        return NormedDense(units, normed=normed, kernel_initializer=initializer, **named)
    return layers.Dense(units, kernel_initializer=initializer, **named)
