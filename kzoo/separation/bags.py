"""Several separators as one: the mean of what they say, each weighted source by source.

So Demucs joins networks that were trained on, each for one of the sources, and Uhlich et al., 2017,
https://doi.org/10.1109/ICASSP.2017.7952158, blend theirs.
"""

from __future__ import annotations

import contextlib
import functools
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from kzoo.separation.separator import ONE_IS_CONSISTENT, Progress, Streamed, share_of


class Separating(Protocol):
    """What a part of a bag is made to: anything that streams, as `BlockSeparator` does."""

    sources: Sequence[str]
    stream: Callable[..., Iterator[tuple[np.ndarray, np.ndarray]]]


@dataclass(frozen=True)
class Part:
    """One of the separators of a bag.

    make: called once, for the first recording. weights: of its estimate of each source; a source
    that is left out has none.
    """

    make: Callable[[], Separating]
    weights: Mapping[str, float]

    @functools.cached_property
    def separator(self) -> Separating:
        """What `make` gives, kept for the recordings that follow."""
        return self.make()

    def __reduce__(self):
        return type(self), (self.make, self.weights)


@dataclass(frozen=True)
class Bag(Streamed):
    """The weighted mean of the parts, which hear a recording one after the other.

    Their sums lie in temporary files, so that the memory in use is that of all models and of one at
    work, whatever the length. consistent: as of `BlockSeparator`. notes: what a user should know.
    Raises ValueError for weights that are not above 0, and for a source without any.
    """

    sources: tuple[str, ...]
    parts: Sequence[Part]
    consistent: bool = False
    notes: Sequence[str] = ()

    def __post_init__(self):
        if self.consistent and len(self.sources) == 1:
            raise ValueError(ONE_IS_CONSISTENT.format(*self.sources))
        for part in self.parts:
            check_weights(part.weights, self.sources)
        without = [name for name in self.sources if not self._total(name)]
        if without:
            raise ValueError(f"a bag must weigh every source; none weighs {', '.join(without)}")

    def stream(
        self, pieces, sample_rate: int, channels: int, *, samples: int | None = None,
        progress: Progress | None = None, surveyed=None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
        """As `BlockSeparator.stream`, with as many passes over `pieces` as there are parts.

        surveyed: never called.
        """
        total = samples and samples / sample_rate
        with contextlib.ExitStack() as files:
            sums = [files.enter_context(tempfile.TemporaryFile()) for _ in self.sources]
            for number, part in enumerate(self.parts):
                report = share_of(progress, total, number, len(self.parts))
                self._add(part, sums, (pieces, sample_rate, channels), samples, report)
            for file in sums:
                file.seek(0)
            for piece in pieces():
                stems = np.stack([_read(file, piece.shape) for file in sums])
                if self.consistent:
                    stems = stems + (piece - stems.sum(axis=0)) / len(self.sources)
                yield piece, stems

    def _add(self, part: Part, sums: Sequence, sound, samples: int | None, report) -> None:
        separator = part.separator
        weighed = [
            (file, list(separator.sources).index(name), part.weights[name] / self._total(name))
            for name, file in zip(self.sources, sums, strict=True)
            if name in part.weights
        ]
        for file, _, _ in weighed:
            file.seek(0)
        for _, stems in separator.stream(
            *sound, samples=samples, progress=lambda seconds, _: report(seconds)
        ):
            for file, number, share in weighed:
                at = file.tell()
                so_far = _read(file, stems.shape[1:])
                file.seek(at)
                file.write(
                    (so_far + np.float32(share) * stems[number]).astype(np.float32).tobytes()
                )

    def _total(self, source: str) -> float:
        return sum(part.weights.get(source, 0.0) for part in self.parts)


def check_weights(weights: Mapping[str, float], sources: Sequence[str]) -> None:
    """Raise ValueError for weights of what is no source, or that are not above 0."""
    unknown = [str(name) for name in weights if name not in sources]
    if unknown:
        raise ValueError(
            f"a bag weighs its sources, {', '.join(sources)}; got {', '.join(unknown)}"
        )
    for name, weight in weights.items():
        if not 0 < weight < np.inf:
            raise ValueError(f"weights of a bag must be above 0; got {weight:g} for {name}")


def _read(file, shape: tuple[int, int]) -> np.ndarray:
    """The next float32 numbers of a file; 0 where it has none yet."""
    numbers = np.frombuffer(file.read(4 * shape[0] * shape[1]), np.float32)
    return np.pad(numbers, (0, shape[0] * shape[1] - len(numbers))).reshape(shape)
