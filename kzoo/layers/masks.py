"""From magnitude estimates to sources: segments, masks, and the names that travel with a model."""

from __future__ import annotations

import keras
from keras import ops

from kzoo.dsp.framing import pad_last

MASK_EXTENSIONS = ("zeros", "average")


@keras.saving.register_keras_serializable("kzoo")
class Segments(keras.layers.Layer):
    """`[batch, frames, bins, channels]` to `[batch * segments, segment_frames, bins, channels]`.

    The last segment is filled with zeros.
    """

    def __init__(self, segment_frames: int, **kwargs):
        super().__init__(**kwargs)
        self.segment_frames = segment_frames

    def call(self, spectrum):
        frames, bins, channels = ops.shape(spectrum)[1:]
        missing = -frames % self.segment_frames
        spectrum = ops.moveaxis(pad_last(ops.moveaxis(spectrum, 1, -1), 0, missing), -1, 1)
        return ops.reshape(spectrum, (-1, self.segment_frames, bins, channels))

    def compute_output_shape(self, spectrum_shape):
        batch, frames, bins, channels = spectrum_shape
        known = batch is not None and frames is not None
        segments = batch * -(-frames // self.segment_frames) if known else None
        return (segments, self.segment_frames, bins, channels)

    def get_config(self):
        return {**super().get_config(), "segment_frames": self.segment_frames}


@keras.saving.register_keras_serializable("kzoo")
class JoinSegments(keras.layers.Layer):
    """The inverse of `Segments`, for estimates and cut to as many frames as `spectrum` has.

    `[batch * segments, sources, segment_frames, bins, channels]` and `spectrum`
    `[batch, frames, ...]` to `[batch, sources, frames, bins, channels]`.
    """

    def call(self, estimates, spectrum):
        batch, frames = ops.shape(spectrum)[:2]
        sources, segment_frames, bins, channels = estimates.shape[1:]
        segments = -(-frames // segment_frames)
        x = ops.reshape(estimates, (batch, segments, sources, segment_frames, bins, channels))
        x = ops.transpose(x, (0, 2, 1, 3, 4, 5))  # [batch, sources, segments, segment_frames, ...]
        x = ops.reshape(x, (batch, sources, segments * segment_frames, bins, channels))
        return x[:, :, :frames]

    def compute_output_shape(self, estimates_shape, spectrum_shape):
        _, sources, _, bins, channels = estimates_shape
        return (spectrum_shape[0], sources, spectrum_shape[1], bins, channels)


@keras.saving.register_keras_serializable("kzoo")
class RatioMasks(keras.layers.Layer):
    """Magnitude estimates to soft masks: each source's share of the summed power.

    mask_i = (y_i ** exponent + eps / sources) / (sum_j y_j ** exponent + eps), as Spleeter does;
    where no source claims anything, all share equally.
    `[batch, sources, frames, bins, channels]` to the same shape.
    """

    def __init__(self, exponent: float = 2.0, eps: float = 1e-10, **kwargs):
        super().__init__(**kwargs)
        self.exponent, self.eps = exponent, eps

    def call(self, estimates):
        power = ops.square(estimates) if self.exponent == 2 else estimates**self.exponent
        total = ops.sum(power, axis=1, keepdims=True) + self.eps
        return (power + self.eps / estimates.shape[1]) / total

    def compute_output_shape(self, estimates_shape):
        return estimates_shape

    def get_config(self):
        return {**super().get_config(), "exponent": self.exponent, "eps": self.eps}


@keras.saving.register_keras_serializable("kzoo")
class ExtendMasks(keras.layers.Layer):
    """Masks on the lowest bins to masks on all `bins`.

    mode "zeros": nothing above the network's band reaches any source; "average": there each
    frame's mask is its mean over the band, so the top is shared as the rest is.
    """

    def __init__(self, bins: int, mode: str = "zeros", **kwargs):
        super().__init__(**kwargs)
        if mode not in MASK_EXTENSIONS:
            raise ValueError(f"mode must be one of {', '.join(MASK_EXTENSIONS)}; got {mode!r}")
        self.bins, self.mode = bins, mode

    def call(self, masks):
        missing = self.bins - masks.shape[-2]
        if missing == 0:
            return masks
        if self.mode == "zeros":
            # Padded, not joined to zeros: TFLite would store those, 8 MB for two stems.
            width = [(0, 0)] * len(masks.shape)
            width[-2] = (0, missing)
            return ops.pad(masks, width)
        top = ops.mean(masks, axis=-2, keepdims=True)
        return ops.concatenate([masks, ops.repeat(top, missing, axis=-2)], axis=-2)

    def get_config(self):
        return {**super().get_config(), "bins": self.bins, "mode": self.mode}


@keras.saving.register_keras_serializable("kzoo")
class Estimates(keras.layers.Layer):
    """The last layer of a separation model: passes its input on and carries the sources' names.

    `[batch, sources, samples, channels]`; the names survive saving, and exports use them.
    """

    def __init__(self, sources, **kwargs):
        super().__init__(**kwargs)
        self.sources = tuple(sources)

    def call(self, estimates):
        return estimates

    def get_config(self):
        return {**super().get_config(), "sources": list(self.sources)}


def source_names(model: keras.Model) -> tuple[str, ...]:
    """The names that `model`'s Estimates layer carries; ValueError where it has none."""
    for layer in reversed(model.layers):
        if isinstance(layer, Estimates):
            return layer.sources
    raise ValueError(
        f"model {model.name!r} names no sources: end it with kzoo.layers.masks.Estimates"
    )
