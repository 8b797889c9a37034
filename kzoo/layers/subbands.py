"""Small layers of networks that treat bands as an image: neighbours, shuffles, slopes, attention.

All take `[batch, frames, bands, channels]`. Rong et al., 2024, GTCRN,
https://doi.org/10.1109/ICASSP48485.2024.10448310, and 2025, UL-UNAS,
https://arxiv.org/abs/2503.00340
"""

from __future__ import annotations

import keras
from keras import layers, ops
from keras.initializers import Constant

from kzoo.layers.grouped_gru import BothWaysGRU


@keras.saving.register_keras_serializable("kzoo")
class SubbandFeatures(layers.Layer):
    """Each channel becomes three: the band below, the band itself and the band above.

    `[..., bands, channels]` to `[..., bands, 3 * channels]`, the three side by side; outside the
    bands are zeros.
    """

    def call(self, x):
        frames, (bands, channels) = ops.shape(x)[1], x.shape[2:]
        # Frames are examples here and below: GPUs take tensors of no more than four axes.
        padded = ops.pad(ops.reshape(x, (-1, bands, channels)), ((0, 0), (1, 1), (0, 0)))
        three = ops.stack([padded[:, k : k + bands] for k in range(3)], axis=-1)
        return ops.reshape(three, (-1, frames, bands, 3 * channels))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:3], 3 * input_shape[3])


@keras.saving.register_keras_serializable("kzoo")
class ChannelShuffle(layers.Layer):
    """Channels of `groups` equal parts in turn: the first of each part, then the second, ..."""

    def __init__(self, groups: int = 2, **kwargs):
        super().__init__(**kwargs)
        self.groups = groups

    def call(self, x):
        frames, (bands, channels) = ops.shape(x)[1], x.shape[2:]
        parts = ops.reshape(x, (-1, bands, self.groups, channels // self.groups))
        return ops.reshape(ops.swapaxes(parts, 2, 3), (-1, frames, bands, channels))

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "groups": self.groups}


@keras.saving.register_keras_serializable("kzoo")
class ZerosBetween(layers.Layer):
    """A band of zeros between each two, `2 * bands - 1` in all.

    A convolution behind it is a transposed one of stride 2, with its kernel flipped.
    """

    def call(self, x):
        frames, (bands, channels) = ops.shape(x)[1], x.shape[2:]
        pairs = ops.pad(x, ((0, 0), (0, 0), (0, 0), (0, channels)))
        return ops.reshape(pairs, (-1, frames, 2 * bands, channels))[:, :, :-1]

    def compute_output_shape(self, input_shape):
        batch, frames, bands, channels = input_shape
        return (batch, frames, 2 * bands - 1, channels)


@keras.saving.register_keras_serializable("kzoo")
class AffinePReLU(layers.Layer):
    """scale * x + offset + PReLU(x): scale and offset a band and channel, slope a channel."""

    def build(self, input_shape):
        shape = tuple(input_shape[2:])
        self.scale = self.add_weight(shape=shape, initializer="ones", name="scale")
        self.offset = self.add_weight(shape=shape, initializer="zeros", name="offset")
        self.slope = self.add_weight(shape=shape[1:], initializer=Constant(0.25), name="slope")

    def call(self, x):
        return self.scale * x + self.offset + ops.relu(x) - self.slope * ops.relu(-x)

    def compute_output_shape(self, input_shape):
        return input_shape


@keras.saving.register_keras_serializable("kzoo")
class BandPower(layers.Layer):
    """The mean square over the bands, `[batch, frames, channels]`."""

    def call(self, x):
        return ops.mean(ops.square(x), axis=2)


@keras.saving.register_keras_serializable("kzoo")
class TimesFrames(layers.Layer):
    """(x, weights `[batch, frames, channels]`) to x, each of its frames weighted."""

    def call(self, x, weights):
        return x * weights[:, :, None]

    def compute_output_shape(self, x_shape, weights_shape):
        return x_shape


@keras.saving.register_keras_serializable("kzoo")
class BandAttention(layers.Layer):
    """(x, y) to y times a weight for each band of each frame of x, the same for all channels.

    The mean squares of x over its channels are a sequence of `width` neighbouring bands a step; a
    GRU hears it both ways, and a dense layer with a sigmoid says the weights.
    """

    def __init__(self, width: int = 4, unroll: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.width, self.unroll = width, unroll

    def build(self, x_shape, y_shape):
        self.gru = BothWaysGRU(
            2 * self.width, unroll=self.unroll, dtype=self.dtype_policy, name="bands"
        )
        self.gru.build((None, -(-x_shape[2] // self.width), self.width))
        self.dense = layers.Dense(self.width, dtype=self.dtype_policy, name="dense")
        self.dense.build((None, None, 2 * self.width))

    def call(self, x, y):
        frames, bands = ops.shape(x)[1], x.shape[2]
        steps = -(-bands // self.width)
        power = ops.mean(ops.square(x), axis=3)  # [batch, frames, bands]
        power = ops.pad(power, ((0, 0), (0, 0), (0, steps * self.width - bands)))
        weights = self.dense(self.gru(ops.reshape(power, (-1, steps, self.width))))
        weights = ops.reshape(weights, (-1, frames, steps * self.width))[:, :, :bands]
        return y * ops.sigmoid(weights)[..., None]

    def compute_output_shape(self, x_shape, y_shape):
        return y_shape

    def get_config(self):
        return {**super().get_config(), "width": self.width, "unroll": self.unroll}
