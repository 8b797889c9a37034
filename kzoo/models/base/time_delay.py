"""Waibel's time-delay network, which `tdnn` has of windows and `tdnn_frames` of every frame."""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers

from kzoo.dsp.mel import LogMel
from kzoo.models.base.listener import ListenerSizes
from kzoo.models.base.sizes import check_positive


@dataclass(frozen=True, kw_only=True)
class TimeDelaySizes(ListenerSizes):
    """Sizes of a time-delay network; of the paper's for b, d and g by default.

    units: of the first layer. filters: (frames that a unit of the first layer sees, and of the
        second). integrated: moments of the second layer that an output sums.
    hop_length: 10 ms; the paper takes means of pairs of frames of 5 ms.
    """

    names: tuple[str, ...] = ("b", "d", "g")
    sample_rate: int = 12000
    n_fft: int = 256
    hop_length: int = 120
    bands: int = 16
    units: int = 8
    filters: tuple[int, int] = (3, 5)
    integrated: int = 9

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "n_fft", "hop_length", "bands", "units", "integrated")
        if min(self.filters) < 1:
            raise ValueError(f"filters must be at least 1 frame each; got {self.filters}")

    @property
    def frames(self) -> int:
        """How many frames an output sees."""
        return sum(self.filters) - 2 + self.integrated


def mel_bands(waveform, size: TimeDelaySizes):
    """Waveform `[batch, samples, 1]` to dB `[batch, whole frames, bands]`."""
    x = LogMel(
        size.sample_rate, size.n_fft, size.hop_length, size.bands, padding="valid", name="mel"
    )(waveform)
    return layers.Reshape((-1, size.bands), name="bands")(x)


def delayed(x, size: TimeDelaySizes):
    """Bands `[batch, n, bands]` to what the names' units say, `[batch, n', names]`."""
    for level, (units, frames) in enumerate(
        zip((size.units, len(size.names)), size.filters, strict=True), start=1
    ):
        x = layers.Conv1D(units, frames, activation="sigmoid", name=f"delayed{level}")(x)
    return x


def summed(x, size: TimeDelaySizes):
    """Means over moments, `[batch, n, names]`, to logits: each name's gain and offset."""
    # The sum of a name's moments, about what half of them would give.
    sums = {"depthwise_initializer": keras.initializers.Constant(size.integrated)}
    centred = {"bias_initializer": keras.initializers.Constant(-size.integrated / 2)}
    return layers.DepthwiseConv1D(1, **sums, **centred, name="sum")(x)
