"""What a method without training is to those that run it."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np

from kzoo import extras
from kzoo.dsp.blocks import BlockGrid
from kzoo.separation import System
from kzoo.separation.surveys import Learned

# Imports one of the packages that methods need: (its name, which method needs it).
package = functools.partial(extras.package, extra="librosa")


@dataclass(frozen=True, kw_only=True)
class Method:
    """A method and its options, which are the fields of a subclass.

    interchangeable: the names of its sources mean nothing, as those of speakers do not.
    several_channels: it compares microphones, one for each source.
    """

    summary: ClassVar[str]
    interchangeable: ClassVar[bool] = False
    several_channels: ClassVar[bool] = False

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the estimates, in their order."""
        raise NotImplementedError

    def refuse(self, channels: int) -> None:
        """Raise ValueError for recordings of so many channels that it cannot separate."""
        needed = len(self.sources)
        if self.several_channels and channels != needed:
            if channels == 1:
                way = "one channel holds no directions; nmf and isa take it"
            else:
                way = f"--n-sources {channels} takes them all"
            raise ValueError(
                f"it takes one microphone for each of its {needed} sources; got {channels} "
                f"channel{'s' * (channels > 1)}: {way}"
            )

    def system(self, sample_rate: int, channels: int) -> System:
        """What a `BlockSeparator` runs on recordings of this rate and width."""
        raise NotImplementedError

    def identity(self) -> dict[str, Any]:
        """What its estimates depend on beside the options, as JSON holds it."""
        return {}


@dataclass(frozen=True, kw_only=True)
class BlindMethod(Method):
    """A method that gives so many sources and knows nothing of what they are.

    n_sources: how many; of microphones, as many as there are.
    """

    interchangeable: ClassVar[bool] = True

    n_sources: int = 2

    def __post_init__(self):
        if self.n_sources < 2:
            raise ValueError(f"n_sources must be at least 2; got {self.n_sources}")

    @property
    def sources(self) -> tuple[str, ...]:
        """They are numbered, the loudest first."""
        return tuple(f"source{k + 1}" for k in range(self.n_sources))


def learning_system(
    sources: Sequence[str],
    sample_rate: int,
    channels: int,
    grid: BlockGrid,
    *,
    rows: Callable[[np.ndarray], np.ndarray],
    most: int,
    learn: Callable[[np.ndarray], Any],
    separate: Callable[[np.ndarray, Any], np.ndarray],
) -> System:
    """What hears a recording twice: to learn a model of it, and to separate it by that.

    rows: of a block `[samples, channels]`, those that `learn` makes the model of, no more than
    `most` of the whole recording. separate: a block and the model to estimates
    `[sources, samples, channels]`; where nothing was learned they are silent.
    """

    def survey(state: Learned | None, block: np.ndarray) -> Learned:
        state = state or Learned(most, learn)
        state.add(rows(block[0]))
        return state

    def function(block: np.ndarray, state: Learned) -> np.ndarray:
        if state.model is None:
            return np.zeros((1, len(sources), *block.shape[1:]), np.float32)
        return separate(block[0], state.model)[None]

    return System(
        function=function,
        sources=sources,
        sample_rate=sample_rate,
        channels=channels,
        grid=grid,
        survey=survey,
    )
