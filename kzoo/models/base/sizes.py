"""What the sizes of every architecture share: every option once, and what follows from them."""

from __future__ import annotations

import dataclasses
import typing
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any, ClassVar, Self

import keras
import numpy as np

from kzoo.dsp.blocks import BlockGrid
from kzoo.models.base import domains

if TYPE_CHECKING:
    from kzoo.layers.boltzmann import Stage

SMALLEST_SECONDS = 0.25  # blocks that do not fit in memory are halved down to here


@dataclasses.dataclass(frozen=True, kw_only=True)
class Signal(ABC):
    """The sound that a model takes, and what running, training and exporting ask of its sizes.

    sample_rate: in Hz. channels: of the waveform.
    A subclass without one of the abstract methods raises TypeError where its file makes VARIANTS.
    """

    sample_rate: int
    channels: int

    task: ClassVar[str] = "separation"  # what the model is for: a name in `kzoo.tasks`
    streams: ClassVar[bool] = False  # whether `build_step` takes these sizes
    standardised: ClassVar[bool] = (
        False  # whether whole recordings are, as `separation.Blocks` says
    )

    def __post_init__(self):
        check_positive(self, "sample_rate", "channels")
        hints = typing.get_type_hints(type(self))
        for name, hint in hints.items():
            choices = typing.get_args(hint) if typing.get_origin(hint) is typing.Literal else ()
            if choices and getattr(self, name) not in choices:
                known = ", ".join(map(str, choices))
                raise ValueError(f"{name} must be one of {known}; got {getattr(self, name)!r}")

    def count_weights(self, sources: int) -> int | None:
        """How many weights there are for so many sources, where sizes can be too large for memory.

        None where they cannot: nothing is asked then before the network is drawn.
        """
        return None

    def context_samples(self) -> int | None:
        """How far an estimate looks to either side; None where it depends on the whole signal."""
        return None

    @abstractmethod
    def grid(self) -> BlockGrid:
        """The grid on which long signals are cut into blocks for `build(..., **self.block())`."""

    def block(self) -> dict[str, Any]:
        """The arguments that make `build` give the model of one block of `grid`."""
        return {"samples": self.grid().samples}

    @abstractmethod
    def segment(self, samples: int) -> tuple[Self, dict[str, Any]]:
        """(sizes, arguments of `build`) of a model that trains on about `samples` samples.

        Its weights are those of these sizes. A segment has sound on both sides, not the silence
        around a whole recording, and is as long as the network can be: the next length possible.
        """

    @abstractmethod
    def static(self, samples: int | None = None) -> tuple[Self, int]:
        """(sizes, samples) for a file of static shape, about `samples` long, no frame wasted."""

    @abstractmethod
    def smaller(self) -> Self | None:
        """The same network on shorter blocks; None where they cannot be shorter."""

    def bandwidth_hz(self) -> int:
        """The frequency above which the network changes nothing."""
        return self.sample_rate // 2

    def adapt(self, system: keras.Model, mixtures: Iterable[np.ndarray]) -> None:
        """Give `system` what it measures of the training's mixtures before its first step.

        mixtures: `[samples, channels]` each, without end. By default nothing is measured. A run
        that starts from a preset has its measures, and is not asked.
        """
        return

    def adapt_to_labels(self, system: keras.Model, labels: Iterable[np.ndarray]) -> None:
        """Give `system` what it measures of the labels of a listener's training, as `adapt` does.

        labels: as examples have them, 256 of them. By default nothing is measured.
        """
        return

    def stages(self, system: keras.Model) -> Sequence[Stage]:
        """The layers of `system` that learn without labels first, in their order; none by default.

        See the section `pretraining` of a configuration.
        """
        return ()

    def carrying(self, system: keras.Model, lanes: int) -> keras.Model:
        """What is trained of `system` with fit.carried_state, in batches of `lanes` examples.

        Its input "begins" `[lanes, 1]` is 1 where nothing is known of the past. Raises ValueError
        for a model that does not learn so, as by default.
        """
        raise ValueError(
            f"fit.carried_state is for recurrent generators, such as sample_rnn; {system.name} has "
            "no state that goes on: leave it out"
        )

    def training(
        self, system: keras.Model, *, inference_mode: bool = False
    ) -> tuple[keras.Model, Callable]:
        """(graph, domain): what is trained of `system`, and what it is compared with.

        By default the system itself, on waveforms; see `models.base.domains` for the others.
        """
        return domains.waveforms(system, inference_mode=inference_mode)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Sizes(Signal):
    """Sizes of a model that says nothing more: blocks of some seconds that fade into each other.

    block_seconds: the length of a block of a long signal; the network does not depend on it.
    """

    block_seconds: float = 4.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "block_seconds")

    def grid(self) -> BlockGrid:
        """Blocks of `block_seconds`, each by itself, that fade into each other over a quarter."""
        samples = self.whole(None)
        return BlockGrid(samples=samples, hop=samples - samples // 4)

    def whole(self, samples: int | None) -> int:
        """The length nearest to `samples`, or to `block_seconds`, that leaves no frame over."""
        return max(1, round(self.block_seconds * self.sample_rate)) if samples is None else samples

    def segment(self, samples: int) -> tuple[Self, dict[str, Any]]:
        """Give a segment as long as `whole` says, padded as a block is."""
        return self, {**self.block(), "samples": self.whole(samples)}

    def static(self, samples: int | None = None) -> tuple[Self, int]:
        return self, self.whole(samples)

    def smaller(self) -> Self | None:
        half = self.block_seconds / 2
        less = dataclasses.replace(self, block_seconds=half)
        shorter = less.grid().samples < self.grid().samples
        return less if half >= SMALLEST_SECONDS and shorter else None


def check_sources(sources: Sequence[str]) -> None:
    """Raise ValueError for sources that are no sequence of different names."""
    if isinstance(sources, str) or not sources or len(set(sources)) != len(sources):
        raise ValueError(f"sources must be a sequence of different names; got {sources!r}")


def check_positive(size: Signal, *names: str) -> None:
    """Raise ValueError where one of the fields `names` is not above 0."""
    for name in names:
        if not getattr(size, name) > 0:
            raise ValueError(f"{name} must be above 0; got {getattr(size, name)}")


def check_padding(padding: str) -> None:
    """Raise ValueError for a `padding` of `build` that is neither "full" nor "valid"."""
    if padding not in ("full", "valid"):
        raise ValueError(f"padding must be one of full, valid; got {padding!r}")
