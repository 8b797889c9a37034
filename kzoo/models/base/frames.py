"""What the networks on single STFT frames, or on windows of a few, share: their sizes."""

from __future__ import annotations

import dataclasses
from typing import Any, Literal, Self

import keras
from keras import layers

from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.overlapping import JoinWindows, OverlappingWindows
from kzoo.models.base import domains
from kzoo.models.base.sizes import Sizes, check_positive


@dataclasses.dataclass(frozen=True, kw_only=True)
class FrameSizes(Sizes):
    """Sizes of a network on the magnitudes of all bins of an STFT.

    n_fft, hop_length: window and hop of the STFT, in samples. window: "hann", or "sqrt_hann", which
        is half a sine.
    """

    channels: int = 1
    n_fft: int
    hop_length: int
    window: Literal["hann", "sqrt_hann"] = "hann"

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "n_fft", "hop_length")

    @property
    def bins(self) -> int:
        """All of the STFT, from 0 Hz to the highest frequency."""
        return self.n_fft // 2 + 1

    @property
    def reach_frames(self) -> int | None:
        """How many frames to either side an estimate depends on; None for all."""
        return None

    @property
    def step_frames(self) -> int:
        """Blocks of a signal begin at multiples of so many frames."""
        return 1

    def context_samples(self) -> int | None:
        if self.reach_frames is None:
            return None
        return self.n_fft + self.reach_frames * self.hop_length

    def grid(self) -> BlockGrid:
        """Blocks of `block_seconds` with the context that is needed, or that fade without one."""
        context = self.context_samples()
        if context is None:
            return super().grid()
        step = self.step_frames * self.hop_length
        context = -(-context // step) * step
        samples = round(self.block_seconds * self.sample_rate) - 2 * context
        return BlockGrid.with_context(max(2 * context, samples // step * step), context, context)

    def whole(self, samples: int | None) -> int:
        """The length nearest to `samples`, or to `block_seconds`, that leaves no frame over."""
        frames = round((super().whole(samples) + self.n_fft) / self.hop_length)
        return max(frames * self.hop_length - self.n_fft, self.hop_length)

    def segment(self, samples: int) -> tuple[Self, dict[str, Any]]:
        """As many whole frames as `samples` needs, none of which looks outside of them."""
        frames = max(1, -(-(samples - self.n_fft) // self.hop_length) + 1)
        return self, {"samples": self._samples_of(frames), "padding": "valid"}

    def _samples_of(self, frames: int) -> int:
        return (frames - 1) * self.hop_length + self.n_fft


@dataclasses.dataclass(frozen=True, kw_only=True)
class WindowSizes(FrameSizes):
    """Sizes of a network that hears a window of some frames and says something of each of them.

    window_frames: of a window. hop_frames: from one window to the next, a divisor of it; what the
        overlapping windows say of a frame is averaged. In training windows lie side by side.
    """

    window_frames: int
    hop_frames: int

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "window_frames", "hop_frames")
        if self.window_frames % self.hop_frames:
            raise ValueError(
                f"hop_frames must divide window_frames; got hop_frames={self.hop_frames}, "
                f"window_frames={self.window_frames}"
            )

    @property
    def reach_frames(self) -> int:
        return self.window_frames - 1

    @property
    def step_frames(self) -> int:
        return self.hop_frames

    def segment(self, samples: int) -> tuple[Self, dict[str, Any]]:
        """As many whole windows as `samples` needs."""
        frames = max(1, -(-(samples - self.n_fft) // self.hop_length) + 1)
        frames = -(-frames // self.window_frames) * self.window_frames
        return self, {"samples": self._samples_of(frames), "padding": "valid"}

    def windows_training(self, system, *, core: str, inference_mode: bool) -> domains.Training:
        """`domains.magnitudes` of a core that hears windows."""
        return domains.magnitudes(
            system, core=core, inference_mode=inference_mode, window_frames=self.window_frames
        )


def averaged_windows(network: keras.Model, spectrum, size: WindowSizes):
    """What `network` says of a spectrum `[batch, frames, bins, channels]` of any number of frames.

    network: windows `[batch, window_frames, bins, channels]` to `[batch, sources, ...]` of each.
    Gives `[batch, sources, frames, bins, channels]`; outside of the signal is silence.
    """
    bins, channels = spectrum.shape[2:]
    frames = layers.Reshape((-1, bins * channels), name="frames")(spectrum)
    x = OverlappingWindows(size.window_frames, size.hop_frames, name="windows")(frames)
    x = layers.Reshape((size.window_frames, bins, channels), name="window_spectra")(x)
    x = network(x)  # [batch * windows, sources, window_frames, bins, channels]
    sources = x.shape[1]
    x = layers.Reshape((sources, size.window_frames, bins * channels), name="window_frames")(x)
    x = JoinWindows(size.hop_frames, "mean", dtype="float32", name="join_windows")(x, frames)
    return layers.Reshape((sources, -1, bins, channels), name="joined")(x)
