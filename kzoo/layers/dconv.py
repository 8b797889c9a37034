"""The residual branches of hybrid Demucs: dilated convolutions, an LSTM, attention that fades.

Defossez, 2021, Hybrid spectrogram and waveform source separation, section 3.2,
https://arxiv.org/abs/2111.03600; the parts DConv, BLSTM and LocalState of
https://github.com/adefossez/demucs

Each branch narrows the channels, looks along the frames, and adds what it finds to what it was
given, at first hardly anything.
"""

from __future__ import annotations

import keras
from keras import layers, ops
from keras.initializers import Constant, RandomUniform

from kzoo.dsp.framing import frame, pad_last
from kzoo.layers.attention import LocalAttention
from kzoo.layers.norms import BinNorm, GlobalNorm
from kzoo.layers.recurrent import LSTM
from kzoo.layers.rescaled import RescaledUniform, dense, rescaled_bias

EPSILON = 1e-5  # PyTorch's, of its norms
_KERNEL_SIZE = 3
_LSTM_LAYERS, _MOST_STEPS = 2, 200


def torch_uniform(fan_in: float) -> RandomUniform:
    """First weights as PyTorch draws those of linear and recurrent layers."""
    return RandomUniform(-(fan_in**-0.5), fan_in**-0.5)


def both_ways(units: int, name: str, **kwargs) -> layers.Bidirectional:
    """An LSTM of both directions, `[batch, frames, channels]` to twice `units`, as PyTorch's.

    kwargs: of both layers, such as their `dtype`.
    """
    lstm = LSTM(
        units,
        return_sequences=True,
        kernel_initializer=torch_uniform(units),
        recurrent_initializer=torch_uniform(units),
        unit_forget_bias=False,
        bias_initializer=torch_uniform(units / 2),  # one bias for PyTorch's two
        name="lstm",
        **kwargs,
    )
    return layers.Bidirectional(lstm, name=name, **kwargs)


def gated(x):
    """The first half of the channels times the sigmoid of the second."""
    x, gate = ops.split(x, 2, axis=-1)
    return x * ops.sigmoid(gate)


@keras.saving.register_keras_serializable("kzoo")
class DConv(layers.Layer):
    """`[batch, frames, channels]`, or `[batch, frames, bins, channels]` bin by bin, to that shape.

    depth: branches one after the other, of dilation 1, 2, 4, ... compress: a branch has so many
    times fewer channels. scale: of what a branch adds at first. recurrent: with two LSTMs of both
    directions; attentive: with `LocalAttention`. rescale: of the first weights.
    """

    def __init__(
        self,
        depth: int = 2,
        compress: float = 8,
        *,
        scale: float = 1e-3,
        recurrent: bool = False,
        attentive: bool = False,
        rescale: float = 0.1,
        **kwargs,
    ):
        super().__init__(**kwargs)
        self.depth, self.compress, self.scale = depth, compress, scale
        self.recurrent, self.attentive, self.rescale = recurrent, attentive, rescale

    def build(self, shape):
        channels = shape[-1]
        hidden = int(channels / self.compress)
        # An LSTM and attention take each bin as an example of its own.
        norm = BinNorm if len(shape) == 4 and not self._by_bins else GlobalNorm
        dtype, self.branches, self.scales = self.dtype_policy, [], []
        for number in range(self.depth):

            def named(part, number=number):
                return {"name": f"{part}{number}", "dtype": dtype}

            parts = {
                "conv": FramesConv(hidden, 2**number, rescale=self.rescale, **named("conv")),
                "norm": norm(epsilon=EPSILON, **named("norm")),
            }
            if self.recurrent:
                parts["lstm"] = LongBLSTM(**named("lstm"))
            if self.attentive:
                parts["attention"] = LocalAttention(rescale=self.rescale, **named("attention"))
            parts["expand"] = dense(
                2 * channels, hidden, self.rescale, f"expand{number}", dtype=dtype
            )
            parts["expand_norm"] = norm(epsilon=EPSILON, **named("expand_norm"))
            inside = (None,) * (2 if norm is BinNorm else 1)
            for part, layer in parts.items():
                width = {"conv": channels, "expand_norm": 2 * channels}.get(part, hidden)
                layer.build((None, *inside, width))
            self.branches.append(parts)
            self.scales.append(
                self.add_weight(
                    shape=(channels,), initializer=Constant(self.scale), name=f"scale{number}"
                )
            )

    @property
    def _by_bins(self) -> bool:
        return self.recurrent or self.attentive

    def call(self, x, training=False):
        if len(x.shape) == 4 and self._by_bins:
            batch, frames, bins, channels = ops.shape(x)
            rows = ops.reshape(ops.swapaxes(x, 1, 2), (batch * bins, frames, channels))
            rows = ops.reshape(self._through(rows, training), (batch, bins, frames, channels))
            return ops.swapaxes(rows, 1, 2)
        return self._through(x, training)

    def _through(self, x, training):
        for parts, scale in zip(self.branches, self.scales, strict=True):
            y = ops.gelu(parts["norm"](parts["conv"](x)), approximate=False)
            for part in ("lstm", "attention"):
                y = parts[part](y, training=training) if part in parts else y
            y = gated(parts["expand_norm"](parts["expand"](y)))
            x = x + ops.cast(scale, y.dtype) * y
        return x

    def compute_output_shape(self, shape):
        return shape

    def get_config(self):
        sizes = {"depth": self.depth, "compress": self.compress, "scale": self.scale}
        kinds = {"recurrent": self.recurrent, "attentive": self.attentive, "rescale": self.rescale}
        return {**super().get_config(), **sizes, **kinds}


@keras.saving.register_keras_serializable("kzoo")
class FramesConv(layers.Layer):
    """A dilated convolution of three frames, `[batch, frames, ..., channels]` to `filters`.

    Silence stands before and after. The channels are narrowed for all three taps in one product,
    and what is narrow already is moved by the dilation and added.
    """

    def __init__(self, filters: int, dilation: int = 1, *, rescale: float = 0.1, **kwargs):
        super().__init__(**kwargs)
        self.filters, self.dilation, self.rescale = filters, dilation, rescale

    def build(self, shape):
        fan_in = _KERNEL_SIZE * shape[-1]
        self.kernel = self.add_weight(
            shape=(_KERNEL_SIZE, shape[-1], self.filters),
            initializer=RescaledUniform(fan_in, self.rescale),
            name="kernel",
        )
        self.bias = self.add_weight(
            shape=(self.filters,), initializer=rescaled_bias(fan_in, self.rescale), name="bias"
        )

    def call(self, x):
        taps = ops.reshape(ops.transpose(self.kernel, (1, 0, 2)), (x.shape[-1], -1))
        narrow = ops.matmul(x, ops.cast(taps, x.dtype))  # [batch, frames, ..., taps * filters]
        widths = [(0, 0)] * len(x.shape)
        widths[1] = (self.dilation, self.dilation)
        narrow, frames = ops.pad(narrow, widths), ops.shape(x)[1]
        moved = [
            part[:, tap * self.dilation : tap * self.dilation + frames]
            for tap, part in enumerate(ops.split(narrow, _KERNEL_SIZE, axis=-1))
        ]
        return sum(moved[1:], moved[0]) + ops.cast(self.bias, x.dtype)

    def compute_output_shape(self, shape):
        return (*shape[:-1], self.filters)

    def get_config(self):
        sizes = {"filters": self.filters, "dilation": self.dilation, "rescale": self.rescale}
        return {**super().get_config(), **sizes}


@keras.saving.register_keras_serializable("kzoo")
class LongBLSTM(layers.Layer):
    """`[batch, frames, channels]` and what two LSTMs of both directions add to it.

    Above 200 frames they hear pieces of so many, one every 100, of which the middle half counts.
    """

    def build(self, shape):
        channels = shape[-1]
        self.lstms = []
        for number in range(_LSTM_LAYERS):
            both = both_ways(channels, f"lstm{number + 1}", dtype=self.dtype_policy)
            both.build((None, None, channels * (2 if number else 1)))
            self.lstms.append(both)
        self.linear = layers.Dense(
            channels,
            kernel_initializer=torch_uniform(2 * channels),
            bias_initializer=torch_uniform(2 * channels),
            dtype=self.dtype_policy,
            name="linear",
        )
        self.linear.build((None, None, 2 * channels))

    def call(self, x, training=False):
        if x.shape[1] is not None:
            long = x.shape[1] > _MOST_STEPS
            return x + (self._in_pieces if long else self._heard)(x, training)
        return x + ops.cond(
            ops.shape(x)[1] > _MOST_STEPS,
            lambda: self._in_pieces(x, training),
            lambda: self._heard(x, training),
        )

    def _heard(self, x, training):
        for lstm in self.lstms:
            x = lstm(x, training=training)
        return self.linear(x)

    def _in_pieces(self, x, training):
        batch, frames, channels = ops.shape(x)
        hop = _MOST_STEPS // 2
        count = -(-frames // hop)
        flat = ops.reshape(x, (batch, frames * channels))
        flat = pad_last(flat, 0, ((count - 1) * hop + _MOST_STEPS - frames) * channels)
        pieces = frame(flat, _MOST_STEPS * channels, hop * channels)
        pieces = self._heard(ops.reshape(pieces, (-1, _MOST_STEPS, channels)), training)
        pieces = ops.reshape(pieces, (batch, count, _MOST_STEPS, channels))
        quarter = hop // 2
        middles = ops.reshape(pieces[:, :, quarter : quarter + hop], (batch, count * hop, channels))
        ends = pieces[:, 0, :quarter], pieces[:, -1, quarter + hop :]
        return ops.concatenate([ends[0], middles, ends[1]], axis=1)[:, :frames]

    def compute_output_shape(self, shape):
        return shape
