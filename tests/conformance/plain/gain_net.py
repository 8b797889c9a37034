"""A model that says nothing but its sizes and its graph: one gain a source."""

from __future__ import annotations

from dataclasses import dataclass, replace

import keras
from keras import layers, ops

from kzoo.layers.masks import Estimates
from kzoo.models.base.sizes import Sizes


@dataclass(frozen=True, kw_only=True)
class GainNet(Sizes):
    """units: width of the layer that is learned."""

    sample_rate: int = 8000
    channels: int = 2
    units: int = 8


VARIANTS = {"plain": GainNet(), "tiny": replace(GainNet(), units=3, block_seconds=0.5)}


def build(sources=("vocals", "accompaniment"), size=GainNet(), *, samples=None):
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`."""
    waveform = keras.Input((samples, size.channels), name="waveform")
    x = layers.Dense(size.units, activation="tanh", name="hidden")(waveform)
    stems = [layers.Dense(size.channels, name=f"{source}_gain")(x) for source in sources]
    stems = Estimates(sources, name="stems")(ops.stack(stems, axis=1))
    return keras.Model(waveform, stems, name="gain_net")
