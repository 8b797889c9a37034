"""TDNN: phones by convolutions over time alone, whose weights are the same at each moment.

Waibel, Hanazawa, Hinton, Shikano and Lang, 1989, Phoneme recognition using time-delay neural
networks, https://doi.org/10.1109/29.21701: 15 frames of 16 mel bands, 8 units that see 3 frames
each, 3 units (one a phone) that see 5 frames of those, and an output that sums a phone's unit over
the 9 moments that are left, so that it does not matter when the phone was heard.
"""

from __future__ import annotations

from dataclasses import dataclass

import keras
from keras import layers, ops

from kzoo.dsp.mel import LogMel
from kzoo.dsp.phones import PHONES
from kzoo.layers.labels import Labels
from kzoo.models.base.listener import EMBEDDING, ListenerSizes
from kzoo.models.base.sizes import check_positive


@dataclass(frozen=True, kw_only=True)
class TDNN(ListenerSizes):
    """The paper's network for b, d and g by default: 392 and 123 weights, and 6 of its outputs.

    units: of the first layer. filters: (frames that a unit of the first layer sees, and of the
        second). integrated: moments of the second layer that an output sums.
    hop_length: 10 ms; the paper takes means of pairs of frames of 5 ms. Choices, where the paper
        is open: the mean that is taken from a window is that of all its bands together, what is
        left is divided by its largest, and an output has a gain and an offset of its own.
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
        """How many frames a window is."""
        return sum(self.filters) - 2 + self.integrated

    def whole(self, samples: int | None) -> int:
        """A window, whatever is asked."""
        return self.n_fft + (self.frames - 1) * self.hop_length


VARIANTS = {
    "paper": TDNN(),
    # All phones at 16 kHz, with more bands and units for them: a choice.
    "phones": TDNN(
        names=PHONES, exclusive=True, sample_rate=16000, n_fft=512, hop_length=160, bands=32,
        units=64,
    ),
    "tiny": TDNN(names=("low", "high"), sample_rate=8000, n_fft=256, hop_length=80),
}  # fmt: skip


def core(size: TDNN = VARIANTS["paper"]) -> keras.Model:
    """Normalised bands `[batch, 15, 16]`, each in -1 to 1, to probabilities `[batch, names]`."""
    bands = keras.Input((size.frames, size.bands), name="bands")
    return keras.Model(bands, _network(bands, size), name="tdnn_core")


def build(size: TDNN = VARIANTS["paper"], *, samples: int | None = None) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, names]`.

    samples: None for the window. Raises ValueError for another length.
    """
    if samples not in (None, size.whole(None)):
        raise ValueError(f"samples must be {size.whole(None)}, a window; got {samples}")
    waveform = keras.Input((size.whole(None), 1), name="waveform")
    x = LogMel(
        size.sample_rate, size.n_fft, size.hop_length, size.bands, padding="valid", name="mel"
    )(waveform)
    x = layers.Reshape((size.frames, size.bands), name="bands")(x)
    x = WindowNorm(name="window_norm")(x)
    return keras.Model(waveform, _network(x, size), name="tdnn")


def _network(x, size: TDNN):
    for level, (units, frames) in enumerate(
        zip((size.units, len(size.names)), size.filters, strict=True), start=1
    ):
        x = layers.Conv1D(units, frames, activation="sigmoid", name=f"delayed{level}")(x)
    x = layers.GlobalAveragePooling1D(name=EMBEDDING)(x)
    # The sum of a name's moments, about what half of them would give.
    sums = {"depthwise_initializer": keras.initializers.Constant(size.integrated)}
    centred = {"bias_initializer": keras.initializers.Constant(-size.integrated / 2)}
    x = layers.Reshape((1, len(size.names)), name="moment")(x)
    x = layers.DepthwiseConv1D(1, **sums, **centred, name="sum")(x)
    x = layers.Reshape((len(size.names),), name="logits")(x)
    return Labels(size.names, size.exclusive, name="labels")(x)


@keras.saving.register_keras_serializable("kzoo")
class WindowNorm(layers.Layer):
    """Bands `[batch, frames, bands]` less the mean of all of them, the farthest of them 1 away.

    Silence gives 0.
    """

    def __init__(self, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)

    def call(self, levels):
        centred = levels - ops.mean(levels, axis=(1, 2), keepdims=True)
        return centred / ops.maximum(ops.max(ops.abs(centred), axis=(1, 2), keepdims=True), 1e-3)
