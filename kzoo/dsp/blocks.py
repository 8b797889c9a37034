"""Block grids: how a long signal is cut for a model, and how the blocks are joined again."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from kzoo.dsp import windows


@dataclass(frozen=True)
class BlockGrid:
    """Blocks of `samples` samples, one every `hop`, the first at `start` (<= 0: zeros before).

    `fade` `[samples - hop]`, float64, is the weight of a block where it enters over its
    predecessor, whose weight there is 1 - fade; by default a squared sine, or, if `linear`, what
    weights give that fall evenly from the middle of a block to its ends.
    step: a wider overlap moves blocks by multiples of it, so that their STFT frames coincide.
    context: the blocks carry all that an estimate depends on, and joined they equal the whole.
    centred: a block that the signal's end leaves unfilled begins earlier, by half of what is
    missing, with what is there.
    """

    samples: int
    hop: int
    start: int = 0
    fade: np.ndarray | None = None
    step: int = 1
    context: bool = False
    linear: bool = False
    centred: bool = False

    def __post_init__(self):
        if not 0 < self.hop <= self.samples or self.samples > 2 * self.hop:
            raise ValueError(
                "hop must be at least half of samples and at most samples; "
                f"got samples={self.samples}, hop={self.hop}"
            )
        if self.start > 0:
            raise ValueError(f"start must not be positive; got start={self.start}")
        if self.fade is None:
            fade = linear_fade if self.linear else sine_fade
            object.__setattr__(self, "fade", fade(self.overlap))

    @classmethod
    def with_context(cls, hop: int, before: int, after: int) -> BlockGrid:
        """Blocks of `hop` new samples, between the context that the estimates of these need.

        A block's estimates are wrong within its context, and are not used there.
        """
        fade = np.concatenate([np.zeros(before), np.ones(after)])
        return cls(before + hop + after, hop, start=-before, fade=fade, context=True)

    @property
    def overlap(self) -> int:
        """Samples that a block shares with the next."""
        return self.samples - self.hop

    def with_overlap(self, fraction: float) -> BlockGrid:
        """The same blocks, `fraction` (0 to 0.5) of each shared with the next, smoothly faded.

        The share is rounded down to whole `step`s. The grid stays as it is where blocks share as
        much already, and where they carry their context. Raises ValueError for a fraction outside
        that range.
        """
        if not 0 <= fraction <= 0.5:
            raise ValueError(f"overlap must be between 0 and 0.5 of a block; got {fraction}")
        hop = -(-(self.samples - int(self.samples * fraction)) // self.step) * self.step
        if self.context or hop >= self.hop:
            return self
        return replace(self, hop=hop, fade=None)

    def count(self, samples: int) -> int:
        """Number of blocks for a signal of `samples` samples."""
        return max(0, -(-(samples - self.start) // self.hop))


def sine_fade(samples: int) -> np.ndarray:
    """Squared sine from 0 to 1; with its mirror image it sums to one at every sample."""
    return np.sin(0.5 * np.pi * (np.arange(samples) + 0.5) / max(samples, 1)) ** 2


def linear_fade(samples: int) -> np.ndarray:
    """From 0 to 1 in even steps, both left out; with its mirror image it sums to one as well."""
    return np.arange(1, samples + 1) / (samples + 1)


def stft_grid(frames: int, n_fft: int, hop_length: int, window: str = "hann") -> BlockGrid:
    """Blocks of `frames` STFT frames whose joins are those of one long inverse STFT.

    A block made with padding="valid" and divided by its own overlap-added squared window, times
    `fade`, adds up with its neighbours to the inverse STFT over all frames: exact where the
    network treats blocks on their own. The first frame starts n_fft samples before the signal.
    """
    squared = windows.window(window, n_fft) ** 2
    gain = windows.overlap_gain(squared, hop_length, 2 * frames)
    alone = windows.overlap_gain(squared, hop_length, frames)
    overlap = n_fft - hop_length
    seam = slice(frames * hop_length, frames * hop_length + overlap)
    return BlockGrid(
        samples=(frames - 1) * hop_length + n_fft,
        hop=frames * hop_length,
        start=-n_fft,
        fade=alone[:overlap] / gain[seam],
        step=hop_length,
    )
