"""What the models of learned filterbanks share: sizes, lengths of whole frames, and blocks."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, Self

import keras
from keras import layers, ops

from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.filterbank import FilterbankDecoder, FitToWaveform, PadToFrames
from kzoo.layers.masks import Estimates
from kzoo.models.base.sizes import Sizes, check_positive


@dataclass(frozen=True, kw_only=True)
class FilterbankSizes(Sizes):
    """Sizes of a network that masks a learned filterbank.

    filters, filter_length: how many filters there are, and their length in samples.
    stride: samples from a frame to the next; with None half of filter_length.
    norm: "gln" normalises over the whole signal; "cln" a frame by itself (cLN of asteroid and
        kaituoxu); "cumulative" a frame and all before it (the paper's cLN, asteroid's cgLN);
        "batch" as a batch norm does.
    mask: the activation of the masks; "softmax" is over the sources.
    block_seconds: the length of a block, to which comes the context where it is finite.
    """

    filters: int
    filter_length: int
    stride: int | None = None
    norm: Literal["gln", "cln", "cumulative", "batch"]
    mask: Literal["sigmoid", "relu", "softmax"]

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "filters", "filter_length")
        if not 0 < self.hop_length <= self.filter_length:
            raise ValueError(
                "stride must be from 1 to filter_length, or samples fall between the frames; got "
                f"stride={self.hop_length}, filter_length={self.filter_length}"
            )

    @property
    def hop_length(self) -> int:
        """Samples from a frame to the next."""
        return self.filter_length // 2 if self.stride is None else self.stride

    def grid(self) -> BlockGrid:
        """Blocks that join into the whole file's estimate where the context is finite.

        Where it is not, they are measured each by itself and fade into each other over a quarter.
        """
        context = self.context_samples()
        if context is None:
            return super().grid()
        hop = max(round(self.block_seconds * self.sample_rate), 2 * context)
        hop = -(-hop // self.hop_length) * self.hop_length
        return BlockGrid.with_context(hop, context, context)

    def whole(self, samples: int | None) -> int:
        wanted = self.block_seconds * self.sample_rate if samples is None else samples
        frames = 1 + max(0, round((wanted - self.filter_length) / self.hop_length))
        return self._samples(frames)

    def segment(self, samples: int) -> tuple[Self, dict[str, Any]]:
        """As many whole frames as hold `samples`, padded as a block is."""
        frames = 1 + max(0, -(-(samples - self.filter_length) // self.hop_length))
        return super().segment(self._samples(frames))

    def _samples(self, frames: int) -> int:
        return self.filter_length + (frames - 1) * self.hop_length


def decode(mixture, encoded, logits, sources: Sequence[str], size: FilterbankSizes, levels=None):
    """The end of a core: masks, the masked filterbank's way back, the mixture's length.

    mixture `[batch, samples, channels]`, encoded `[batch, frames, filters]`, logits `[batch,
    frames, sources, filters]` and, to multiply each frame with, levels `[batch, frames, 1]`.
    """
    # In mixed precision the networks end in half precision, and masks are float32.
    if size.mask == "softmax":
        masks = layers.Softmax(axis=2, dtype="float32", name="masks")(logits)
    else:
        masks = layers.Activation(size.mask, dtype="float32", name="masks")(logits)
    encoded = encoded if levels is None else encoded * levels
    masked = masks * ops.expand_dims(encoded, 2)  # [batch, frames, sources, filters]
    estimates = FilterbankDecoder(
        size.filter_length, size.hop_length, size.channels, name="decoder"
    )(masked)
    estimates = FitToWaveform(dtype="float32", name="fit")(estimates, mixture)
    return Estimates(sources, dtype="float32", name="estimates")(estimates)


def waveform_model(
    network: keras.Model,
    sources: Sequence[str],
    size: FilterbankSizes,
    *,
    name: str,
    samples: int | None,
    context: int = 0,
) -> keras.Model:
    """Waveforms of any length through a network of whole frames.

    context: samples of silence on both sides, a multiple of the stride.
    """
    waveform = keras.Input((samples, size.channels), name="waveform")
    # float32 whatever the policy: half precision has 66 dB for a waveform.
    padded = PadToFrames(
        size.filter_length, size.hop_length, context, context, dtype="float32", name="pad"
    )(waveform)
    stems = network(padded)
    stems = FitToWaveform(context, dtype="float32", name="fit")(stems, waveform)
    stems = Estimates(sources, dtype="float32", name="stems")(stems)
    return keras.Model(waveform, stems, name=name)
