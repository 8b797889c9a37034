"""Attention: transformers whose tokens hear each other or another sequence, and one that fades.

Rouard, Massa and Defossez, 2023, Hybrid transformers for music source separation,
https://arxiv.org/abs/2211.08553: norms before each part, small scales behind it, and a norm over
all tokens at the end. `LocalAttention` is that of Defossez, 2021, Hybrid spectrogram and waveform
source separation, https://arxiv.org/abs/2111.03600
"""

from __future__ import annotations

import math

import keras
import numpy as np
from keras import layers, ops
from keras.initializers import Constant, RandomUniform

from kzoo.layers.norms import GlobalNorm
from kzoo.layers.rescaled import dense

_EPSILON = 1e-5  # PyTorch's
_SCALE = 1e-4  # of what a part adds at first
_HEADS = _DECAYS = 4  # of `LocalAttention`
_FIRST_DECAY = -2.0  # before the sigmoid: almost no fading


@keras.saving.register_keras_serializable("kzoo")
class Attention(layers.Layer):
    """Tokens `[batch, n, channels]` ask others, `[batch, m, channels]`; to `[batch, n, channels]`.

    heads: that ask apart, each with a share of the channels. dropout: of the weights.
    Heads are computed one after the other, as the weights of all would take their memory at once.
    """

    def __init__(self, heads: int, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.dropout = heads, dropout

    def build(self, tokens_shape, others_shape):
        channels = tokens_shape[-1]
        bound = math.sqrt(6 / (4 * channels))  # PyTorch draws the three kernels as one
        self.parts = {
            name: layers.Dense(
                channels,
                kernel_initializer=RandomUniform(-bound, bound),
                dtype=self.dtype_policy,
                name=name,
            )
            for name in ("query", "key", "value")
        }
        bound = channels**-0.5
        self.parts["out"] = layers.Dense(
            channels,
            kernel_initializer=RandomUniform(-bound, bound),
            dtype=self.dtype_policy,
            name="out",
        )
        for part in self.parts.values():
            part.build((None, None, channels))
        self.weights_dropout = layers.Dropout(self.dropout, dtype=self.dtype_policy)

    def call(self, tokens, others, training=False):
        query = self.parts["query"](tokens) / math.sqrt(tokens.shape[-1] // self.heads)
        key, value = self.parts["key"](others), self.parts["value"](others)
        split = (ops.split(x, self.heads, axis=-1) for x in (query, key, value))
        found = []
        for asked, offered, given in zip(*split, strict=True):
            weights = _shares(ops.matmul(asked, ops.swapaxes(offered, 1, 2)))
            weights = self.weights_dropout(weights, training=training)
            found.append(ops.matmul(weights, given))
        return self.parts["out"](ops.concatenate(found, axis=-1))

    def compute_output_shape(self, tokens_shape, others_shape):
        return tokens_shape

    def get_config(self):
        return {**super().get_config(), "heads": self.heads, "dropout": self.dropout}


@keras.saving.register_keras_serializable("kzoo")
class TransformerLayer(layers.Layer):
    """Tokens `[batch, n, channels]`, and others where there are any, to `[batch, n, channels]`.

    heads, dropout: of `Attention`. hidden: units of the layer that each token goes through.
    """

    def __init__(self, heads: int, hidden: int, dropout: float = 0.0, **kwargs):
        super().__init__(**kwargs)
        self.heads, self.hidden, self.dropout = heads, hidden, dropout

    def build(self, tokens_shape, others_shape=None):
        channels, dtype = tokens_shape[-1], self.dtype_policy
        names = ["norm", "hidden_norm", *(["others_norm"] if others_shape else [])]
        for name in names:
            layer = layers.LayerNormalization(epsilon=_EPSILON, dtype=dtype, name=name)
            layer.build((None, None, channels))
            setattr(self, name, layer)
        self.attention = Attention(self.heads, self.dropout, dtype=dtype, name="attention")
        self.attention.build((None, None, channels), (None, None, channels))
        widths = {"widen": (channels, self.hidden), "narrow": (self.hidden, channels)}
        for name, (fan_in, units) in widths.items():
            bound = fan_in**-0.5
            layer = layers.Dense(
                units,
                kernel_initializer=RandomUniform(-bound, bound),
                bias_initializer=RandomUniform(-bound, bound),
                dtype=dtype,
                name=name,
            )
            layer.build((None, None, fan_in))
            setattr(self, name, layer)
        self.drop = layers.Dropout(self.dropout, dtype=dtype)
        self.scales = [
            self.add_weight(shape=(channels,), initializer=Constant(_SCALE), name=name)
            for name in ("attention_scale", "hidden_scale")
        ]
        self.norm_out = GlobalNorm(epsilon=_EPSILON, dtype=dtype, name="norm_out")
        self.norm_out.build((None, None, channels))

    def call(self, tokens, others=None, training=False):
        asking = self.norm(tokens)
        asked = asking if others is None else self.others_norm(others)
        found = self.attention(asking, asked, training=training)
        first, second = (ops.cast(scale, found.dtype) for scale in self.scales)
        x = tokens + first * self.drop(found, training=training)
        found = ops.gelu(self.widen(self.hidden_norm(x)), approximate=False)
        found = self.narrow(self.drop(found, training=training))
        return self.norm_out(x + second * self.drop(found, training=training))

    def compute_output_shape(self, tokens_shape, others_shape=None):
        return tokens_shape

    def get_config(self):
        sizes = {"heads": self.heads, "hidden": self.hidden, "dropout": self.dropout}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable("kzoo")
class SpectrumTokens(layers.Layer):
    """`[batch, frames, bins, channels]` to tokens `[batch, frames * bins, channels]`.

    Those of a frame stand together. Each is told where it is: half of its channels the frame, the
    others the bin.
    """

    def call(self, x):
        _, _, bins, channels = x.shape
        half = channels // 2
        frames = ops.cast(_interleaved(ops.shape(x)[1], half), x.dtype)[:, None, :]
        bins = ops.cast(_interleaved(bins, half), x.dtype)[None, :, :]
        x = ops.concatenate([x[..., :half] + frames, x[..., half:] + bins], axis=-1)
        return ops.reshape(x, (ops.shape(x)[0], -1, channels))

    def compute_output_shape(self, shape):
        batch, frames, bins, channels = shape
        return (batch, None if frames is None else frames * bins, channels)


@keras.saving.register_keras_serializable("kzoo")
class SignalTokens(layers.Layer):
    """`[batch, frames, channels]` to the same, where each frame is told its place."""

    def call(self, x):
        half = x.shape[2] // 2
        periods = 10000.0 ** (np.arange(half) / (half - 1))
        phases = _phases(ops.shape(x)[1], 1 / periods)
        place = ops.concatenate([ops.cos(phases), ops.sin(phases)], axis=-1)
        return x + ops.cast(place, x.dtype)

    def compute_output_shape(self, shape):
        return shape


@keras.saving.register_keras_serializable("kzoo")
class TokensOfBins(layers.Layer):
    """Tokens `[batch, frames * bins, channels]` to `[batch, frames, bins, channels]`."""

    def __init__(self, bins: int, **kwargs):
        super().__init__(**kwargs)
        self.bins = bins

    def call(self, x):
        return ops.reshape(x, (ops.shape(x)[0], -1, self.bins, x.shape[2]))

    def compute_output_shape(self, shape):
        batch, tokens, channels = shape
        return (batch, None if tokens is None else tokens // self.bins, self.bins, channels)

    def get_config(self):
        return {**super().get_config(), "bins": self.bins}


@keras.saving.register_keras_serializable("kzoo")
class LocalAttention(layers.Layer):
    """`[batch, frames, channels]` and what each frame finds in all others, the nearer the more.

    Four heads; how fast what is far away fades each frame says itself, for four rates.
    """

    def __init__(self, *, rescale: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.rescale = rescale

    def build(self, shape):
        channels = shape[-1]
        if channels % _HEADS:
            raise ValueError(
                f"attention has {_HEADS} heads, which must divide its channels; got {channels}"
            )
        self.parts = {
            name: dense(channels, channels, self.rescale, name, dtype=self.dtype_policy)
            for name in ("content", "query", "key", "proj")
        }
        std = 0.01 * channels**-0.5 / math.sqrt(3)
        scale = math.sqrt(std / self.rescale) if self.rescale else 1.0
        self.parts["query_decay"] = layers.Dense(
            _HEADS * _DECAYS,
            kernel_initializer=RandomUniform(-(std * 3**0.5) / scale, std * 3**0.5 / scale),
            bias_initializer=Constant(_FIRST_DECAY / scale),
            dtype=self.dtype_policy,
            name="query_decay",
        )
        for part in self.parts.values():
            part.build((None, None, channels))

    def call(self, x, training=False):
        frames, channels = ops.shape(x)[1], x.shape[2]
        places = ops.arange(frames, dtype="float32")
        distance = ops.abs(places[:, None] - places[None, :])  # [queries, keys]
        itself = ops.cast(ops.eye(frames), "bool")

        def by_heads(name):
            return ops.split(self.parts[name](x), _HEADS, axis=-1)

        rates = ops.sigmoid(ops.cast(self.parts["query_decay"](x), "float32")) / 2
        rates = ops.split(rates, _HEADS, axis=-1)
        found = []
        for query, key, content, rate in zip(
            *map(by_heads, ("query", "key", "content")), rates, strict=True
        ):
            likeness = ops.matmul(query, ops.swapaxes(key, 1, 2)) / math.sqrt(channels // _HEADS)
            fading = rate * np.arange(1, _DECAYS + 1, dtype=np.float32) / math.sqrt(_DECAYS)
            fading = ops.sum(fading, axis=-1, keepdims=True)  # [batch, queries, 1]
            likeness = ops.cast(likeness, "float32") - fading * distance
            weights = _shares(ops.where(itself, -100.0, likeness))
            found.append(ops.matmul(ops.cast(weights, content.dtype), content))
        return x + self.parts["proj"](ops.concatenate(found, axis=-1))

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        return {**super().get_config(), "rescale": self.rescale}


def _shares(likeness):
    """Softmax over the last axis; what is alone there has all, of which Keras would warn."""
    return ops.ones_like(likeness) if likeness.shape[-1] == 1 else ops.softmax(likeness, axis=-1)


def _interleaved(count, channels: int):
    """Sine and cosine in turn of `count` places, `[count, channels]`."""
    steps = np.exp(np.arange(0, channels, 2) * -(math.log(10000.0) / channels))
    phases = _phases(count, steps)
    waves = ops.stack([ops.sin(phases), ops.cos(phases)], axis=-1)
    return ops.reshape(waves, (-1, channels))


def _phases(count, steps: np.ndarray):
    places = ops.arange(count, dtype="float32")
    return places[:, None] * steps.astype(np.float32)[None, :]
