"""Listeners that tell of each frame by some spectra in a row, of recordings and of streams."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np
from keras import layers

from kzoo.layers.standardised import Standardised
from kzoo.models.base.causal import Past
from kzoo.models.base.listener import FrameListenerSizes
from kzoo.models.base.sizes import check_padding

_RANGE_DB = 100.0  # below a power of 1, where `log_mel` ends


@dataclass(frozen=True, kw_only=True)
class StreamedFrameSizes(FrameListenerSizes):
    """Sizes of a model each of whose frames sees `frames` spectra in a row, and which may stream.

    lookahead_frames: how many of the spectra lie behind the one in the middle of which the frame
        is. With 0 it hears what happens at once, but for half of the longest spectrum.
    """

    streams: ClassVar[bool] = True
    stream_differs: ClassVar[bool] = False
    live_frames: ClassVar[int] = 1

    lookahead_frames: int

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.lookahead_frames < self.frames:
            raise ValueError(
                f"lookahead_frames must be at least 0 and below frames={self.frames}; got "
                f"{self.lookahead_frames}"
            )

    @property
    def longest_samples(self) -> int:
        """How many samples the longest spectrum is of, an even number."""
        raise NotImplementedError(f"{type(self).__name__} does not say how long its spectra are")

    @property
    def before_samples(self) -> int:
        earlier = self.frames - 1 - self.lookahead_frames
        return self.longest_samples // 2 + earlier * self.hop_length

    @property
    def after_samples(self) -> int:
        return self.longest_samples // 2 + self.lookahead_frames * self.hop_length

    @property
    def delay_samples(self) -> int:
        """How much later the stream tells of a frame than its time is, in whole hops."""
        return (-(-self.after_samples // self.hop_length) - 1) * self.hop_length

    @property
    def latency_ms(self) -> float:
        """From a sound to what is said of it: the delay, and the block that must be full before."""
        return 1000 * (self.delay_samples + self.live_frames * self.hop_length) / self.sample_rate

    def adapt(self, system: keras.Model, mixtures: Iterable[np.ndarray]) -> None:
        """Give each band of each spectrum a mean of 0 and a deviation of 1 over 64 mixtures.

        Where a band never changes its deviation is taken for 1 dB. Raises ValueError where all that
        was measured is silent.
        """
        system.get_layer("standardised").adapt_in(
            system, mixtures, silence=-_RANGE_DB, least_deviation=1.0
        )


def whole_levels(waveform, measure: Callable, size: StreamedFrameSizes, padding: str):
    """Standardised dB `[batch, n, ...]` of a whole waveform `[batch, samples, 1]`.

    measure: samples to the levels of all whole spectra in them. padding: see `FrameListenerSizes`.
    """
    check_padding(padding)
    if padding == "full":
        around = (size.before_samples, size.after_samples)
        waveform = layers.ZeroPadding1D(around, name="silence")(waveform)
    return _standardised(measure(waveform))


def stream_levels(waveform, measure: Callable, size: StreamedFrameSizes, past: Past):
    """The same of a block of a stream, behind those of its past: `frames` - 1 more than hops."""
    longest = size.longest_samples
    late = -(longest // 2) % size.hop_length  # so that spectra are centred on whole hops
    sound = past.before(waveform, longest - size.hop_length + late, "sound")
    levels = measure(sound[:, : longest + (past.stream - 1) * size.hop_length])
    # Counted from silence up, so that a stream begins with zeros.
    return _standardised(past.before(levels + _RANGE_DB, size.frames - 1, "levels") - _RANGE_DB)


def _standardised(levels):
    return Standardised(name="standardised")(levels)
