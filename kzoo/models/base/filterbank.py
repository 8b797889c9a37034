"""What the models of learned filterbanks share: sizes, lengths of whole frames, and blocks."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import keras
from keras import layers, ops

from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.filterbank import FilterbankDecoder, FitToWaveform, PadToFrames
from kzoo.layers.masks import Estimates
from kzoo.models.base.causal import UNROLLED_FRAMES, FrameStreamSizes, Past, step_model
from kzoo.models.base.sizes import Sizes, check_positive, check_sources


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

    stream_differs: ClassVar[bool] = False

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

    @property
    def delay_samples(self) -> int:
        """How much later a stream says what the model of the whole signal says."""
        return self.filter_length - self.hop_length

    @property
    def live_frames(self) -> int:
        """Frames of a block of live sound: 5 ms, and no more than LSTMs are unrolled for."""
        return min(max(1, int(0.005 * self.sample_rate / self.hop_length)), UNROLLED_FRAMES)

    latency_ms = FrameStreamSizes.latency_ms

    def grid(self) -> BlockGrid:
        """Blocks that join into the whole file's estimate where the context is finite.

        Where it is not, and where the network streams, they are each by itself and fade into each
        other over a quarter.
        """
        context = self.context_samples()
        if context is None or self.streams:
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


Network = Callable[[Any, Sequence[str], FilterbankSizes, Past], Any]


def core_model(
    network: Network, sources: Sequence[str], size: FilterbankSizes, *, name: str
) -> keras.Model:
    """Waveform `[batch, samples, channels]`, whose first frame begins with it, to its sources.

    network: (waveform, sources, size, past) to `[batch, sources, n, channels]`, n samples of whole
    frames. Raises ValueError for sources of one name.
    """
    check_sources(sources)
    mixture = keras.Input((None, size.channels), name="mixture")
    estimates = network(mixture, sources, size, Past())
    estimates = FitToWaveform(dtype="float32", name="fit")(estimates, mixture)
    estimates = Estimates(sources, dtype="float32", name="estimates")(estimates)
    return keras.Model(mixture, estimates, name=name)


def stream_model(
    network: Network, sources: Sequence[str], size: FilterbankSizes, *, frames: int, name: str
) -> keras.Model:
    """The same for `frames` hops of a stream and a state, as `models.base.causal` has it.

    {"waveform" `[batch, frames * hop_length, channels]`, "state_<name>"} to {source: the same
    shape, "state_<name>"}. It begins with silence, and is late by `size.delay_samples`. Raises
    ValueError for sizes that hear more than the past.
    """
    check_sources(sources)
    if not size.streams:
        raise ValueError(
            f"{name} hears what is to come with these sizes, and has no stream; one has causal "
            "layers and a norm that is not gln"
        )
    past, late = Past(stream=frames), size.delay_samples
    waveform = keras.Input((frames * size.hop_length, size.channels), name="waveform")
    signal = network(past.before(waveform, late, "samples"), sources, size, past)
    signal = past.add_tail(signal, late, "tail")  # [batch, sources, samples, channels]
    estimates = {source: signal[:, number] for number, source in enumerate(sources)}
    return step_model({"waveform": waveform}, estimates, past, name=f"{name}_step")


def decode(encoded, logits, size: FilterbankSizes, levels=None):
    """The end of a network: masks, and the masked filterbank's way back.

    encoded `[batch, frames, filters]`, logits `[batch, frames, sources, filters]` and, to multiply
    each frame with, levels `[batch, frames, 1]`, to `[batch, sources, samples, channels]`.
    """
    # In mixed precision the networks end in half precision, and masks are float32.
    if size.mask == "softmax":
        masks = layers.Softmax(axis=2, dtype="float32", name="masks")(logits)
    else:
        masks = layers.Activation(size.mask, dtype="float32", name="masks")(logits)
    encoded = encoded if levels is None else encoded * levels
    masked = masks * ops.expand_dims(encoded, 2)  # [batch, frames, sources, filters]
    return FilterbankDecoder(size.filter_length, size.hop_length, size.channels, name="decoder")(
        masked
    )


def waveform_model(
    network: keras.Model,
    sources: Sequence[str],
    size: FilterbankSizes,
    *,
    name: str,
    samples: int | None,
    silence: int = 0,
) -> keras.Model:
    """Waveforms of any length through a network of whole frames.

    silence: samples on both sides; by it, too, frames begin earlier than the waveform.
    """
    waveform = keras.Input((samples, size.channels), name="waveform")
    # float32 whatever the policy: half precision has 66 dB for a waveform.
    padded = PadToFrames(
        size.filter_length, size.hop_length, silence, silence, dtype="float32", name="pad"
    )(waveform)
    stems = network(padded)
    stems = FitToWaveform(silence, dtype="float32", name="fit")(stems, waveform)
    stems = Estimates(sources, dtype="float32", name="stems")(stems)
    return keras.Model(waveform, stems, name=name)
