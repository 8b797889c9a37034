"""HPSS: what is steady in time is harmonic, what is broad in frequency is percussive.

Fitzgerald, 2010, https://doi.org/10.21427/eg8r-3f60; margins as Driedger, Müller and Disch, 2014.
The median filters are librosa's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kzoo.classical.base import Method, package
from kzoo.classical.spectra import Transform
from kzoo.separation import System


@dataclass(frozen=True, kw_only=True)
class Hpss(Method):
    """Median filtering of the spectrogram along time and along frequency.

    margin: how much louder one must be than the other; above 1 what is neither is the residual.
    kernel: length of both filters in frames and in bins.
    """

    summary: ClassVar[str] = "harmonic and percussive sound, and the residual with --margin"
    interchangeable: ClassVar[bool] = True  # neither is the stem of a corpus for sure

    margin: float = 1.0
    kernel: int = 31

    def __post_init__(self):
        if self.margin < 1:
            raise ValueError(f"margin must be at least 1; got {self.margin}")
        if self.kernel < 1:
            raise ValueError(f"kernel must be at least 1; got {self.kernel}")

    @property
    def sources(self) -> tuple[str, ...]:
        """The residual is there with a margin above 1 alone; they sum to the recording."""
        return ("harmonic", "percussive", "residual")[: 2 + (self.margin > 1)]

    def system(self, sample_rate: int, channels: int) -> System:
        """Same as `Method.system`; ImportError without librosa."""
        package("librosa", "hpss")
        transform = Transform.lasting(0.046, sample_rate)

        def function(block: np.ndarray) -> np.ndarray:
            spectra = transform.forward(block[0])
            estimates = transform.inverse(masks(spectra, self) * spectra, block.shape[1])
            return estimates[None]

        grid = transform.block_grid(10.0, sample_rate, context_frames=self.kernel // 2)
        return System(
            function=function,
            sources=self.sources,
            sample_rate=sample_rate,
            channels=channels,
            grid=grid,
        )


def masks(spectra: np.ndarray, options: Hpss = Hpss()) -> np.ndarray:
    """`[channels, bins, frames]` to the masks of `options.sources`, `[sources, channels, ...]`."""
    librosa = package("librosa", "hpss")
    both = np.stack(
        librosa.decompose.hpss(
            np.abs(spectra), kernel_size=options.kernel, margin=options.margin, mask=True
        )
    )
    rest = 1 - both.sum(axis=0, keepdims=True)
    return np.concatenate([both, rest]) if options.margin > 1 else both
