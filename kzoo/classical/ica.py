"""FastICA: sources that reach several microphones at once, told apart by their independence.

Hyvärinen, 1999, https://doi.org/10.1109/72.761722, by scikit-learn, on the samples themselves: for
mixtures without delay and echo, such as stereo made with level controls. In a room see `iva`.
"""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kzoo.classical.base import BlindMethod, learning_system, package
from kzoo.dsp.blocks import BlockGrid
from kzoo.separation import System

_BLOCK = 1 << 16


@dataclass(frozen=True, kw_only=True)
class FastIca(BlindMethod):
    """As many sources as microphones; each comes out as it reaches them.

    fun: the contrast, "logcosh", "exp" or "cube".
    iterations: at most.
    learned_samples: of a recording, spread evenly over all of it.
    seed: of the first guess.
    """

    summary: ClassVar[str] = "as many sources as microphones, mixed without delay"
    several_channels: ClassVar[bool] = True

    fun: str = "logcosh"
    iterations: int = 200
    learned_samples: int = 1_000_000
    seed: int = 0

    def system(self, sample_rate: int, channels: int) -> System:
        """Same as `Method.system`; ImportError without scikit-learn."""
        self.refuse(channels)
        package("sklearn.decomposition", "fastica")

        def separate(waveform: np.ndarray, images: np.ndarray) -> np.ndarray:
            return np.einsum("jcd,td->jtc", images, waveform)

        return learning_system(
            self.sources,
            sample_rate,
            channels,
            BlockGrid(_BLOCK, _BLOCK),
            rows=lambda waveform: waveform[waveform.any(axis=1)],
            most=self.learned_samples,
            learn=self._images,
            separate=separate,
        )

    def _images(self, rows: np.ndarray) -> np.ndarray:
        """`[sources, channels, channels]`: from a sample to each source at the microphones."""
        refuse_dependent(np.cov(rows.T.astype(np.float64)))
        unmixing = unmixed(rows, self)
        mixing = np.linalg.inv(unmixing)
        images = np.einsum("cj,jd->jcd", mixing, unmixing)
        energies = np.sum(mixing**2, axis=0)  # the sources have unit variance
        return images[np.argsort(energies)[::-1]].astype(np.float32)


def unmixed(
    rows: np.ndarray,
    options: FastIca,
    *,
    components: int | None = None,
    w_init: np.ndarray | None = None,
) -> np.ndarray:
    """Samples `[n, channels]` to the matrix `[sources, channels]` that gives unit variances.

    components: sources, of the strongest directions; by default as many as channels.
    """
    decomposition = package("sklearn.decomposition", "fastica")
    ica = decomposition.FastICA(
        components, whiten="unit-variance", fun=options.fun, max_iter=options.iterations,
        random_state=options.seed, w_init=w_init,
    )  # fmt: skip
    with warnings.catch_warnings():  # the last of its iterations is the best there is
        warnings.filterwarnings("ignore", message="FastICA did not converge")
        ica.fit(rows.astype(np.float64))
    return ica.components_


def refuse_dependent(covariance: np.ndarray) -> None:
    """Raise ValueError where a channel is the sum of others, as in a single sound on both sides."""
    if np.linalg.cond(covariance) > 1e12:
        raise ValueError(
            "its channels are no different microphones: one is silent, or a sum of the others; "
            "nmf and isa take a single channel"
        )
