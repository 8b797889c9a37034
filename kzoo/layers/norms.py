"""Layer norms of time-domain separation: over all of the signal, a frame, or all so far.

Luo and Mesgarani, 2019, Conv-TasNet, https://arxiv.org/abs/1809.07454

All but `BinNorm` take `[batch, frames, channels]` to the same shape, with a gain and an offset a
channel. What they measure is float32 under any policy. `StepNorm`, SincNet's, has a gain for each
number.
"""

from __future__ import annotations

import keras
from keras import layers, ops

from kzoo.dsp.sums import long_sum

NORMS = ("gln", "cln", "cumulative", "batch")


def norm_layer(kind: str, *, epsilon: float = 1e-8, name: str) -> keras.layers.Layer:
    """The layer of a norm by its name; ValueError for an unknown one.

    "gln": `GlobalNorm`. "cln": `ChannelNorm`, what asteroid and kaituoxu call cLN. "cumulative":
    `CumulativeNorm`, the paper's cLN and asteroid's cgLN. "batch": batch norm with PyTorch's
    epsilon, 1e-5, and momentum, where the model's own is not used.
    """
    if kind not in NORMS:
        raise ValueError(f"norm must be one of {', '.join(NORMS)}; got {kind!r}")
    if kind == "batch":
        return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=name)
    made = {"gln": GlobalNorm, "cln": ChannelNorm, "cumulative": CumulativeNorm}[kind]
    return made(epsilon=epsilon, name=name)


def mean_of_signal(x):
    """The mean over frames and channels, `[batch, frames, channels]` to `[batch, 1, 1]`.

    Over channels first; then frames are summed after a division by the root of their number, and
    the sum is divided by it again. Where an accelerator computes in half precision whatever the
    graph says, the plain sum of minutes would overflow.
    """
    root = ops.shape(x)[1] ** 0.5 if x.shape[1] else ops.sqrt(ops.cast(ops.shape(x)[1], x.dtype))
    return (long_sum(ops.mean(x, axis=2) / root) / root)[:, None, None]


class _Norm(keras.layers.Layer):
    """(x - mean) / sqrt(variance + epsilon) * gamma + beta, by a child's mean and variance."""

    def __init__(self, epsilon: float = 1e-8, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        width = (input_shape[-1],)
        self.gamma = self.add_weight(shape=width, initializer="ones", autocast=False, name="gamma")
        self.beta = self.add_weight(shape=width, initializer="zeros", autocast=False, name="beta")

    def call(self, x):
        return self.scaled(*self.measure(ops.cast(x, "float32")))

    def scaled(self, centred, variance):
        scale = ops.rsqrt(variance + self.epsilon) * self.gamma
        return ops.cast(centred * scale + self.beta, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}


@keras.saving.register_keras_serializable("kzoo")
class GlobalNorm(_Norm):
    """gLN: mean and variance of each example, over all its frames and channels."""

    def measure(self, x):
        centred = x - mean_of_signal(x)
        return centred, mean_of_signal(ops.square(centred))


@keras.saving.register_keras_serializable("kzoo")
class BinNorm(_Norm):
    """Mean and variance of each bin of `[batch, frames, bins, channels]`, over frames and channels.

    SCNet's, https://arxiv.org/abs/2401.13276.
    """

    def measure(self, x):
        centred = x - self._mean(x)
        return centred, self._mean(ops.square(centred))

    def _mean(self, x):  # channels first: what half precision could sum over frames is less
        return ops.mean(ops.mean(x, axis=3, keepdims=True), axis=1, keepdims=True)


@keras.saving.register_keras_serializable("kzoo")
class ChannelNorm(_Norm):
    """cLN of asteroid and kaituoxu: mean and variance of each frame, over its channels."""

    def measure(self, x):
        centred = x - ops.mean(x, axis=2, keepdims=True)
        return centred, ops.mean(ops.square(centred), axis=2, keepdims=True)


@keras.saving.register_keras_serializable("kzoo")
class CumulativeNorm(_Norm):
    """The paper's cLN, cgLN in asteroid: over the channels of each frame and all before it.

    In a stream it takes, beside a block, what was measured before it, `[batch, 3]`: frames, mean
    and mean square. Zeros are the beginning. It then gives (block, what is measured after it).
    A stream is the more exact way: float32 sums of a whole signal come to 60 dB after ten minutes.
    Beyond `MOST_FRAMES` the past counts as so many: float32 could count no further than four times
    that, and a mean would come to a halt.
    """

    MOST_FRAMES = 2.0**22  # 87 minutes of 800 frames a second

    def call(self, x, before=None):
        x = ops.cast(x, "float32")
        seen = ops.cumsum(ops.ones_like(x[:, :, :1]), axis=1)  # [batch, frames, 1]
        mean = ops.mean(x, axis=2, keepdims=True)
        power = ops.mean(ops.square(x), axis=2, keepdims=True)
        if before is None:
            mean, power = ops.cumsum(mean, axis=1) / seen, ops.cumsum(power, axis=1) / seen
        else:
            count, past_mean, past_power = ops.split(ops.expand_dims(before, 1), 3, axis=2)
            seen = seen + count
            # Sums of differences, which stay small: those of an hour would lose a frame's digits.
            mean = past_mean + ops.cumsum(mean - past_mean, axis=1) / seen
            power = past_power + ops.cumsum(power - past_power, axis=1) / seen
        # Rounding may leave the difference of two almost equal numbers below zero.
        variance = ops.maximum(power - ops.square(mean), 0.0)
        y = self.scaled(x - mean, variance)
        if before is None:
            return y
        last = ops.concatenate([ops.minimum(seen, self.MOST_FRAMES), mean, power], axis=2)[:, -1]
        return y, last

    def compute_output_spec(self, x, before=None):
        y = keras.KerasTensor(x.shape, self.compute_dtype)
        return y if before is None else (y, keras.KerasTensor(before.shape, "float32"))


@keras.saving.register_keras_serializable("kzoo")
class StepNorm(keras.layers.Layer):
    """(x - mean) / (deviation + epsilon) * gamma + beta over the first axis behind the batch.

    `[batch, steps, ...]` to the same shape; the number of steps is fixed, as each number of an
    example has a gain and an offset of its own. The deviation is the unbiased one, as in
    https://github.com/mravanelli/SincNet.
    """

    def __init__(self, epsilon: float = 1e-6, **kwargs):
        super().__init__(**kwargs)
        self.epsilon = epsilon

    def build(self, input_shape):
        shape = tuple(input_shape[1:])
        if None in shape or shape[0] < 2:
            raise ValueError(f"a fixed number of steps is needed, two at least; got {shape}")
        self.gamma = self.add_weight(shape=shape, initializer="ones", autocast=False, name="gamma")
        self.beta = self.add_weight(shape=shape, initializer="zeros", autocast=False, name="beta")

    def call(self, x):
        x = ops.cast(x, "float32")
        centred = x - ops.mean(x, axis=1, keepdims=True)
        variance = ops.sum(ops.square(centred), axis=1, keepdims=True) / (x.shape[1] - 1)
        # Of silence the root would have no finite slope.
        deviation = ops.sqrt(ops.maximum(variance, 1e-20))
        y = centred / (deviation + self.epsilon) * self.gamma + self.beta
        return ops.cast(y, self.compute_dtype)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "epsilon": self.epsilon}
