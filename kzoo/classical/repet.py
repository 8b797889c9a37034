"""REPET: what repeats at the period of the beat is the accompaniment, the rest are the vocals.

Rafii and Pardo, 2013, https://doi.org/10.1109/TASL.2012.2213249; as nussl has it. A recording that
is longer than a block is separated block by block, each with a period of its own, as the paper's
extension to full songs.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kzoo.classical.base import Method
from kzoo.classical.spectra import Transform, bins_below
from kzoo.dsp.blocks import BlockGrid
from kzoo.separation import System

SOURCES = ("vocals", "accompaniment")
_TINY = 1e-16


@dataclass(frozen=True, kw_only=True)
class Repet(Method):
    """REPET with the period of the beat spectrum.

    shortest_seconds, longest_seconds: of the period; no more than a third of what is heard.
    block_seconds: heard at a time. Blocks share a quarter.
    high_pass_hz: all below goes to the accompaniment.
    """

    summary: ClassVar[str] = "vocals over a background that repeats with a fixed period"

    shortest_seconds: float = 0.8
    longest_seconds: float = 8.0
    block_seconds: float = 30.0
    high_pass_hz: float = 100.0

    def __post_init__(self):
        if not 0 < self.shortest_seconds <= self.longest_seconds:
            raise ValueError(
                "shortest_seconds must be above 0 and at most longest_seconds; got "
                f"{self.shortest_seconds} and {self.longest_seconds}"
            )

    @property
    def sources(self) -> tuple[str, ...]:
        """Vocals and accompaniment, which sum to the recording."""
        return SOURCES

    def system(self, sample_rate: int, channels: int) -> System:
        """Same as `Method.system`."""
        transform = Transform.lasting(0.04, sample_rate, hops=2, window="sine")
        rate = sample_rate / transform.hop_length  # frames a second

        def masks(magnitude: np.ndarray) -> np.ndarray:
            frames = magnitude.shape[2]
            shortest = int(np.ceil(self.shortest_seconds * rate))
            longest = int(np.ceil(min(self.longest_seconds, frames / rate / 3) * rate))
            if shortest > longest:  # too short to hear a repetition
                background = np.ones_like(magnitude)
            else:
                period = repeating_period(beat_spectrum(magnitude**2), shortest, longest)
                background = background_mask(magnitude, period)
            return two_masks(background, transform, sample_rate, self.high_pass_hz)

        return block_system(masks, transform, sample_rate, channels, self.block_seconds)


def beat_spectrum(power: np.ndarray) -> np.ndarray:
    """Power spectrogram `[channels, bins, frames]` to its self-similarity at each lag, `[frames]`.

    It is the mean over bins of the unbiased autocorrelation over time, in float64.
    """
    power = power.mean(axis=0, dtype=np.float64)
    frames = power.shape[1]
    n_fft = 2 ** int(np.ceil(np.log2(2 * frames)))
    spectrum = sum(np.abs(np.fft.rfft(row, n_fft)) ** 2 for row in power)
    correlation = np.fft.irfft(spectrum, n_fft)[:frames]
    return correlation / (frames - np.arange(frames)) / len(power)


def repeating_period(beats: np.ndarray, shortest: int, longest: int) -> int:
    """The lag of the strongest beat from `shortest` to `longest` frames, both included.

    Raises ValueError where there is no such lag.
    """
    if not 1 <= shortest <= longest < len(beats):
        raise ValueError(
            f"a period must be between 1 and {len(beats) - 1} frames; got {shortest} to {longest}"
        )
    return shortest + int(np.argmax(beats[shortest : longest + 1]))


def background_mask(magnitude: np.ndarray, period: int) -> np.ndarray:
    """Soft mask, shaped as `magnitude` `[..., frames]`, of what is there in most periods."""
    frames = magnitude.shape[-1]
    repetitions, rest = divmod(frames, period)
    whole = magnitude[..., : repetitions * period]
    whole = whole.reshape(*magnitude.shape[:-1], repetitions, period)
    model = np.median(whole, axis=-2)
    if rest:  # frames that come once more, at the end
        last = magnitude[..., repetitions * period :][..., None, :]
        model[..., :rest] = np.median(np.concatenate([whole[..., :rest], last], axis=-2), axis=-2)
    return soft_mask(np.tile(model, repetitions + 1)[..., :frames], magnitude)


def soft_mask(model: np.ndarray, magnitude: np.ndarray) -> np.ndarray:
    """The share of `magnitude` that `model` explains, from 0 to 1; all of silence."""
    return (np.minimum(model, magnitude) + _TINY) / (magnitude + _TINY)


def two_masks(
    background: np.ndarray, transform: Transform, sample_rate: int, high_pass_hz: float
) -> np.ndarray:
    """Masks of `SOURCES` `[2, channels, bins, frames]`; no vocals are below `high_pass_hz`."""
    background[:, : bins_below(high_pass_hz, transform.n_fft, sample_rate)] = 1
    return np.stack([1 - background, background])


def block_system(
    masks, transform: Transform, sample_rate: int, channels: int, block_seconds: float
) -> System:
    """Blocks that share a quarter, masked by masks(magnitude `[channels, bins, frames]`).

    The silence that a recording's last block is filled up with is not heard.
    """
    samples = max(4, round(block_seconds * sample_rate))

    def function(block: np.ndarray) -> np.ndarray:
        estimates = np.zeros((1, len(SOURCES), *block.shape[1:]), np.float32)
        loud = np.flatnonzero(np.any(block[0], axis=1))
        if len(loud):
            end = loud[-1] + 1
            spectra = transform.forward(block[0, :end])
            masked = masks(np.abs(spectra)) * spectra
            estimates[0, :, :end] = transform.inverse(masked, end)
        return estimates

    grid = BlockGrid(samples, samples - samples // 4)
    return System(
        function=function,
        sources=SOURCES,
        sample_rate=sample_rate,
        channels=channels,
        grid=grid,
    )
