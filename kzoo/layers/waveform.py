"""What surrounds a network of waveforms: silence before and after, cuts, clipping, level."""

from __future__ import annotations

import keras
from keras import layers, ops

from kzoo.dsp.framing import pad_last
from kzoo.dsp.sums import long_sum


@keras.saving.register_keras_serializable("kzoo")
class ClipAfterTraining(layers.Layer):
    """Clips to full scale, -1 to 1, except in training, where it would stop the gradient."""

    def call(self, x, training=False):
        return x if training else ops.clip(x, -1.0, 1.0)


@keras.saving.register_keras_serializable("kzoo")
class RandomGain(layers.Layer):
    """In training, each example times a number drawn between 1 - spread and 1 + spread."""

    def __init__(self, spread: float, seed: int | None = None, **kwargs):
        super().__init__(**kwargs)
        self.spread, self.seed = spread, seed
        self.generator = keras.random.SeedGenerator(seed)

    def call(self, x, training=False):
        if not training or not self.spread:
            return x
        shape = (ops.shape(x)[0],) + (1,) * (len(x.shape) - 1)
        low, high = 1 - self.spread, 1 + self.spread
        return x * keras.random.uniform(shape, low, high, self.compute_dtype, self.generator)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "spread": self.spread, "seed": self.seed}


@keras.saving.register_keras_serializable("kzoo")
class SilenceAround(layers.Layer):
    """`[batch, samples, channels]` with `before` zeros before it, and zeros after it.

    It becomes outer + k * step samples long, k >= 0 the first for which inner + k * step are
    enough for the signal.
    """

    def __init__(self, before: int, inner: int, outer: int, step: int, **kwargs):
        super().__init__(**kwargs)
        self.before, self.inner, self.outer, self.step = before, inner, outer, step

    def call(self, waveform):
        samples = ops.shape(waveform)[1]
        steps = -((self.inner - samples) // self.step)
        after = self.outer + steps * self.step - self.before - samples
        if isinstance(after, int):
            # Padded, not joined to zeros: TFLite would store those.
            return ops.pad(waveform, ((0, 0), (self.before, after), (0, 0)))
        return ops.swapaxes(pad_last(ops.swapaxes(waveform, 1, 2), self.before, after), 1, 2)

    def get_config(self):
        return {
            **super().get_config(),
            "before": self.before,
            "inner": self.inner,
            "outer": self.outer,
            "step": self.step,
        }


@keras.saving.register_keras_serializable("kzoo")
class CutToMixture(layers.Layer):
    """Estimates `[batch, sources, samples, channels]` from `start`, as long as the mixture."""

    def __init__(self, start: int, **kwargs):
        super().__init__(**kwargs)
        self.start = start

    def call(self, estimates, mixture):
        return estimates[:, :, self.start : self.start + ops.shape(mixture)[1]]

    def get_config(self):
        return {**super().get_config(), "start": self.start}


@keras.saving.register_keras_serializable("kzoo")
class WholeStatistics(layers.Layer):
    """Mean and deviation (unbiased) of all numbers of an example, each `[batch, 1, ...]`."""

    def call(self, x):
        flat = ops.reshape(x, (ops.shape(x)[0], -1))
        count = ops.cast(ops.shape(flat)[1], x.dtype)
        mean = long_sum(flat) / count
        variance = long_sum(ops.square(flat - mean[:, None])) / ops.maximum(count - 1, 1)
        std = ops.sqrt(ops.maximum(variance, 1e-20))  # silence has a gradient, of zero
        shape = (-1, *(1 for _ in x.shape[1:]))
        return ops.reshape(mean, shape), ops.reshape(std, shape)

    def compute_output_shape(self, shape):
        return ((shape[0], *(1 for _ in shape[1:])),) * 2


@keras.saving.register_keras_serializable("kzoo")
class MonoStatistics(WholeStatistics):
    """Those of the mean of the channels of `[batch, samples, channels]`, each `[batch, 1, 1]`."""

    def call(self, waveform):
        return super().call(ops.mean(waveform, axis=2, keepdims=True))
