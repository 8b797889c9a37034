"""Convolutional denoising autoencoders: one small network a source, which says its magnitudes.

Grais and Plumbley, 2017, Single channel audio source separation using convolutional denoising
autoencoders, https://arxiv.org/abs/1703.08019

Windows of 15 frames are pooled, convolved and spread out again, into a source's own magnitudes and
not into a mask: the other sources are the noise. The magnitudes of all sources share the mixture by
their power. The authors' code was never published; the layers are those that give the 37,101
weights which the paper states. How far its windows overlap it does not say: here by two thirds, and
what three windows say of a frame is averaged.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers, ops

from kzoo.layers.masks import Estimates, RatioMasks
from kzoo.models.base import domains
from kzoo.models.base.frames import WindowSizes, averaged_windows
from kzoo.models.base.sizes import check_padding, check_sources
from kzoo.models.base.spectrogram import masked_model


@dataclass(frozen=True, kw_only=True)
class CDAE(WindowSizes):
    """The paper's network by default.

    filters: of the convolutions from the first to the middle one, before which there is a pooling
        behind each of the first; on the way out they come again in reverse, down to one.
    pools: (frames, bins) of each pooling, which the way out repeats. Their products must divide
        window_frames and the bins, n_fft / 2 + 1.
    The fields that are not named here are those of `WindowSizes`.
    """

    sample_rate: int = 44100
    n_fft: int = 2048
    hop_length: int = 512
    window_frames: int = 15
    hop_frames: int = 5
    filters: tuple[int, ...] = (12, 20, 30, 40)
    pools: tuple[tuple[int, int], ...] = ((3, 5), (1, 5))

    def __post_init__(self):
        super().__post_init__()
        if len(self.pools) >= len(self.filters):
            raise ValueError(
                f"there must be fewer pools than filters; got pools={self.pools}, "
                f"filters={self.filters}"
            )
        for axis, name in enumerate(("window_frames", "bins")):
            step, length = math.prod(pool[axis] for pool in self.pools), getattr(self, name)
            if length % step:
                raise ValueError(f"{name} must be a multiple of {step}, as pooled; got {length}")

    def training(self, system: keras.Model, *, inference_mode: bool = False) -> domains.Training:
        """Train on the magnitudes of windows."""
        return self.windows_training(system, core="cdae_core", inference_mode=inference_mode)


VARIANTS = {
    "paper": CDAE(),
    "tiny": CDAE(
        n_fft=64,
        hop_length=16,
        window_frames=6,
        hop_frames=2,
        filters=(3, 4, 5),
        pools=((3, 3), (1, 11)),
        sample_rate=8000,
        block_seconds=0.1,
    ),
}
SOURCES = ("vocals", "drums", "bass", "other")


def core(sources: Sequence[str] = SOURCES, size: CDAE = VARIANTS["paper"]) -> keras.Model:
    """The networks: magnitudes of windows `[batch, frames, bins, channels]`, to the sources' own.

    `[batch, sources, frames, bins, channels]`. Raises ValueError for sources of one name.
    """
    check_sources(sources)
    mixture = keras.Input((size.window_frames, size.bins, size.channels), name="magnitude")
    found = ops.stack([_autoencoder(mixture, source, size) for source in sources], axis=1)
    estimates = Estimates(sources, dtype="float32", name="estimates")(ops.cast(found, "float32"))
    return keras.Model(mixture, estimates, name="cdae_core")


def build(
    sources: Sequence[str] = SOURCES,
    size: CDAE = VARIANTS["paper"],
    *,
    samples: int | None = None,
    padding: Literal["full", "valid"] = "full",
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    samples: None for any length. padding: "valid" adds no silence, for segments to train on.
    """
    check_padding(padding)
    network = core(sources, size)

    def masks(mixture):
        estimates = averaged_windows(network, mixture, size)
        return RatioMasks(dtype="float32", name="ratio_masks")(estimates)

    return masked_model(
        masks, sources, size, name="cdae", samples=samples, padding=padding, window=size.window
    )


def _autoencoder(x, source: str, size: CDAE):
    """Magnitudes `[batch, frames, bins, channels]` to those of one source."""
    channels, numbers = x.shape[-1], itertools.count(1)

    def convolved(x, filters):
        name = f"{source}_conv{next(numbers)}"
        return layers.Conv2D(filters, 3, padding="same", activation="relu", name=name)(x)

    for level, filters in enumerate(size.filters):
        x = convolved(x, filters)
        if level < len(size.pools):
            x = layers.MaxPooling2D(size.pools[level], name=f"{source}_pool{level + 1}")(x)
    for level, filters in reversed(list(enumerate(size.filters[:-1]))):
        x = convolved(x, filters)
        if level < len(size.pools):
            x = layers.UpSampling2D(size.pools[level], name=f"{source}_up{level + 1}")(x)
    return convolved(x, channels)
