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

from kzoo.dsp.phones import PHONES
from kzoo.layers.labels import Labels
from kzoo.models.base.listener import EMBEDDING
from kzoo.models.base.time_delay import TimeDelaySizes, delayed, mel_bands, summed


@dataclass(frozen=True, kw_only=True)
class TDNN(TimeDelaySizes):
    """The paper's network for b, d and g by default: 392 and 123 weights, and 6 of its outputs.

    Choices, where the paper is open: the mean that is taken from a window is that of all its bands
    together, what is left is divided by its largest, and an output has a gain and an offset of its
    own.
    """

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
    x = WindowNorm(name="window_norm")(mel_bands(waveform, size))
    return keras.Model(waveform, _network(x, size), name="tdnn")


def _network(x, size: TDNN):
    x = layers.GlobalAveragePooling1D(name=EMBEDDING)(delayed(x, size))
    x = layers.Reshape((1, len(size.names)), name="moment")(x)
    x = layers.Reshape((len(size.names),), name="logits")(summed(x, size))
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
