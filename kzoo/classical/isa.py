"""ISA: the independent parts of a spectrogram, grouped to sources.

Casey and Westner, 2000, https://hdl.handle.net/2027/spo.bbp2372.2000.137: a magnitude spectrogram
is reduced to its strongest directions and these are turned until they come and go independently of
each other (FastICA, scikit-learn). What sounds alike is one source; where the paper compares
distributions, spectra are compared here, as for `nmf`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kzoo.classical.base import BlindMethod, package
from kzoo.classical.components import component_system, grouped, loudest_first
from kzoo.classical.ica import FastIca, unmixed
from kzoo.separation import System


@dataclass(frozen=True, kw_only=True)
class Isa(BlindMethod):
    """Independent subspaces of the spectrogram.

    components: independent parts in all.
    learned_seconds: of a recording, spread evenly over all of it.
    seed: of the first guess.
    """

    summary: ClassVar[str] = "parts of the spectrogram that come and go independently"

    components: int = 16
    iterations: int = 200
    learned_seconds: float = 60.0
    seed: int = 0

    def __post_init__(self):
        super().__post_init__()
        if self.components < self.n_sources:
            raise ValueError(f"components must be at least {self.n_sources}; got {self.components}")

    def system(self, sample_rate: int, channels: int) -> System:
        """Same as `Method.system`; ImportError without scikit-learn and librosa."""
        package("sklearn.decomposition", "isa")

        def learn(frames: np.ndarray) -> list[Subspace]:
            unmixing, spectra = independent(frames, self)
            groups = grouped(np.abs(spectra), self.n_sources, sample_rate, seed=self.seed)
            subspaces = [Subspace(unmixing[members], spectra[members]) for members in groups]
            return loudest_first(subspaces, modelled(frames, subspaces))

        return component_system(
            self.sources,
            sample_rate,
            channels,
            learn=learn,
            modelled=modelled,
            learned_seconds=self.learned_seconds,
        )


@dataclass(frozen=True)
class Subspace:
    """Components of one source: `unmixing` and `spectra`, both `[components, bins]`.

    A frame times the former is how much of each of the latter is in it.
    """

    unmixing: np.ndarray
    spectra: np.ndarray


def independent(frames: np.ndarray, options: Isa) -> tuple[np.ndarray, np.ndarray]:
    """`[frames, bins]` to the unmixing matrix and the spectra, `[components, bins]` both.

    Weights are independent over the frames, and of unit variance.
    """
    components = min(options.components, *frames.shape)
    ica = FastIca(iterations=options.iterations, seed=options.seed)
    unmixing = unmixed(frames, ica, components=components)
    return unmixing, np.linalg.pinv(unmixing).T


def modelled(frames: np.ndarray, subspaces: Sequence[Subspace]) -> list[np.ndarray]:
    """The magnitudes `[frames, bins]` that each subspace explains of `frames`.

    Weights and spectra of a component have signs, which its magnitude has not.
    """
    return [np.abs(frames @ s.unmixing.T) @ np.abs(s.spectra) for s in subspaces]
