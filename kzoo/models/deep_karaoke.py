"""A dense network that says which bins are the voice, window by window: Deep Karaoke.

Simpson, Roma and Plumbley, 2015, Deep karaoke: extracting vocals from musical mixtures using a
convolutional deep neural network, https://arxiv.org/abs/1504.04658

The magnitudes of 20 frames are one long vector, which goes through a dense layer as wide as itself
into a mask as wide again, of values between 0 and 1. Windows overlap, what they say of a bin is
averaged, and a bin whose average is above a threshold is the first source's. The paper states two
matrices of 20,500 x 20,500; here they have biases besides.
"""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import keras
from keras import layers, ops

from kzoo.layers.masks import Estimates
from kzoo.models.base import domains
from kzoo.models.base.frames import WindowSizes, averaged_windows
from kzoo.models.base.sizes import check_padding, check_sources
from kzoo.models.base.spectrogram import masked_model


@dataclass(frozen=True, kw_only=True)
class DeepKaraoke(WindowSizes):
    """The paper's network by default, 840,541,000 weights: 3.4 GB, and four times that to train.

    hidden: units of the layers between a window and its mask. activation: of these layers.
    threshold: the first source has the bins whose averaged mask is above it, and the second the
        others: a lower one leaves more of the first and more of the second in it. With None the
        average is the mask.
    log_input: the network sees log(1 + magnitude).
    The fields that are not named here are those of `WindowSizes`.
    """

    sample_rate: int = 44100
    n_fft: int = 2048
    hop_length: int = 512
    window_frames: int = 20
    hop_frames: int = 1
    hidden: tuple[int, ...] = (20500,)
    activation: Literal["sigmoid", "relu"] = "sigmoid"
    threshold: float | None = 0.5
    log_input: bool = False

    def __post_init__(self):
        super().__post_init__()
        if any(units < 1 for units in self.hidden):
            raise ValueError(f"hidden must name the units of each layer; got {self.hidden}")
        if self.threshold is not None and not 0 <= self.threshold <= 1:
            raise ValueError(
                f"threshold must lie between 0 and 1, or be None; got {self.threshold}"
            )

    def count_weights(self, sources: int) -> int:
        """The sum of all matrices and biases; the number of sources changes nothing."""
        ends = self.window_frames * self.bins * self.channels
        units = (ends, *self.hidden, ends)
        return sum((before + 1) * after for before, after in itertools.pairwise(units))

    def training(self, system: keras.Model, *, inference_mode: bool = False) -> domains.Training:
        """Train on the ideal binary masks of windows, for `losses.binary_cross_entropy`."""
        graph, magnitudes = self.windows_training(
            system, core="deep_karaoke_core", inference_mode=inference_mode
        )

        def ideal_masks(sources):
            first, second = ops.unstack(magnitudes(sources), axis=1)
            return _both(ops.cast(first > second, "float32"))

        return graph, ideal_masks


_SMALL = DeepKaraoke(
    sample_rate=16000,
    n_fft=1024,
    window_frames=10,
    hop_frames=5,
    hidden=(128,),
    activation="relu",
    threshold=None,
    log_input=True,
)
VARIANTS = {
    "paper": DeepKaraoke(),
    "small": _SMALL,
    "tiny": replace(
        _SMALL,
        n_fft=64,
        hop_length=16,
        window_frames=6,
        hop_frames=2,
        hidden=(9,),
        sample_rate=8000,
        block_seconds=0.1,
    ),
}
SOURCES = ("vocals", "accompaniment")


def core(sources: Sequence[str] = SOURCES, size: DeepKaraoke = VARIANTS["paper"]) -> keras.Model:
    """The network: magnitudes of windows `[batch, frames, bins, channels]` to masks of two sources.

    `[batch, 2, frames, bins, channels]`, which sum to 1. Raises ValueError for other than two
    sources.
    """
    check_sources(sources)
    if len(sources) != 2:
        raise ValueError(f"one mask is for two sources, its own and the rest; got {sources!r}")
    mixture = keras.Input((size.window_frames, size.bins, size.channels), name="magnitude")
    x = ops.log1p(mixture) if size.log_input else mixture
    x = layers.Flatten(name="window")(x)
    for number, units in enumerate(size.hidden, start=1):
        x = layers.Dense(units, activation=size.activation, name=f"hidden{number}")(x)
    width = size.window_frames * size.bins * size.channels
    x = layers.Dense(width, activation="sigmoid", name="mask")(x)
    x = layers.Reshape(mixture.shape[1:], name="mask_window")(x)
    masks = Estimates(sources, dtype="float32", name="estimates")(_both(ops.cast(x, "float32")))
    return keras.Model(mixture, masks, name="deep_karaoke_core")


def build(
    sources: Sequence[str] = SOURCES,
    size: DeepKaraoke = VARIANTS["paper"],
    *,
    samples: int | None = None,
    padding: Literal["full", "valid"] = "full",
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, 2, samples, channels]`.

    samples: None for any length. padding: "valid" adds no silence, for segments to train on.
    """
    check_padding(padding)
    network = core(sources, size)

    def masks(mixture):
        mask = averaged_windows(network, mixture, size)
        if size.threshold is None:
            return mask
        return _both(ops.cast(mask[:, 0] > size.threshold, "float32"))

    return masked_model(
        masks, sources, size, name="deep_karaoke", samples=samples, padding=padding,
        window=size.window,
    )  # fmt: skip


def _both(mask):
    """A mask `[batch, ...]` and what it leaves, `[batch, 2, ...]`."""
    return ops.stack([mask, 1 - mask], axis=1)
