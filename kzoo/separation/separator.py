"""A System on blocks made into a separator of signals of any length.

Long audio is cut on the system's grid, each block goes through its callable, and the estimates are
joined by the grid's fades: as long as the input to the sample. On the grid of an STFT model the
result is that of one long transform. Sources without an order, as speakers are, come out of every
block in an order of its own; they are put in that of the block before.
"""

from __future__ import annotations

import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np

from kzoo.audio import StreamResampler, channel_groups, checked_waveform
from kzoo.dsp.blocks import BlockGrid
from kzoo.separation.joining import Cutter, Joiner, Queue

# (seconds done, seconds in all or None) -> False to cancel, anything else to go on
Progress = Callable[[float, float | None], object]
# Of a block, where the model's grid has no overlap by which to know the speakers again.
_SPEAKERS_OVERLAP = 0.25
ONE_IS_CONSISTENT = (
    "consistent makes the stems sum to the mixture, and {0} is the only one: it would be the "
    "mixture itself; leave it out"
)
LEAST_DEVIATION = 1e-8  # Demucs's, of a recording that is silent
_PIECE_SAMPLES = 1 << 18
_SHIFT_SECONDS = 0.5  # at most, as Demucs
_Result = TypeVar("_Result")


class Cancelled(Exception):
    """Raised where the progress callback has asked for an end."""


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """How recordings are cut into blocks, and what is made of one.

    sample_rate, channels: of the blocks of `grid`.
    interchangeable: the order of the sources means nothing, and may change from block to block.
    standardised: recordings are brought to mean 0 and deviation 1 first, those of their channels'
        mean, and back after it, as Demucs does; takes one more pass.
    delay: the estimates are so many samples late, which `BlockSeparator` makes good.
    """

    sources: Sequence[str]
    sample_rate: int
    channels: int
    grid: BlockGrid
    interchangeable: bool = False
    standardised: bool = False
    delay: int = 0


@dataclass(frozen=True, kw_only=True)
class System(Blocks):
    """What separates one block by `function`.

    function: float32 `[1, grid.samples, channels]` to `[1, sources, grid.samples, channels]`.
    survey: None, or (state, block) -> state over the whole signal before anything is separated,
        from the state None; `function` is then called with (block, state).
    joint_survey: one state for all channels, where each group of them has one by itself otherwise.
    smaller: None, or makes the same system on shorter blocks, for when one of `memory_errors`
        comes up; it returns None where blocks cannot be shorter.
    begin: None, or makes the function of one signal, which remembers the blocks before and is
        called with all of them in their order; in place of `function`, on a grid without overlap.
    """

    function: Callable[..., np.ndarray] | None
    survey: Callable[[object, np.ndarray], object] | None = None
    joint_survey: bool = False
    smaller: Callable[[], System | None] | None = None
    memory_errors: tuple[type[Exception], ...] = (MemoryError,)
    begin: Callable[[], Callable[..., np.ndarray]] | None = None


class Streamed(ABC):
    """What separates recordings of any length as a stream of pieces."""

    sources: tuple[str, ...]

    @abstractmethod
    def stream(
        self, pieces, sample_rate: int, channels: int, *, samples=None, progress=None, surveyed=None
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """As `BlockSeparator.stream`."""

    def separate(
        self, waveform: np.ndarray, sample_rate: int, *, progress: Progress | None = None
    ) -> dict[str, np.ndarray]:
        """Separate `[samples, channels]` (or `[samples]`) to {source: array of the same shape}.

        Raises ValueError as `audio.checked_waveform`; Cancelled when `progress` says so.
        """
        mixture = checked_waveform(waveform, sample_rate)
        stems = np.empty((len(self.sources), *mixture.shape), np.float32)
        done = 0

        def pieces():
            for at in range(0, len(mixture), _PIECE_SAMPLES):
                yield mixture[at : at + _PIECE_SAMPLES]

        for _, part in self.stream(
            pieces, sample_rate, mixture.shape[1], samples=len(mixture), progress=progress
        ):
            stems[:, done : done + part.shape[1]] = part
            done += part.shape[1]
        single = np.ndim(waveform) == 1
        return {
            name: stem[:, 0] if single else stem
            for name, stem in zip(self.sources, stems, strict=True)
        }


class BlockSeparator(Streamed):
    """Separates signals with one System; many files, many threads, one compiled function.

    Each call keeps its own buffers. Threads take turns at the model, block by block, so that the
    memory in use is one block's, whatever their number. Another process makes its own: a model and
    its threads do not survive a fork, which is a RuntimeError here instead of a wait for ever.
    """

    def __init__(
        self,
        system: System,
        *,
        overlap: float = 0.0,
        consistent: bool = False,
        attenuation_limit_db: float | None = None,
        shifts: int = 0,
        seed: int = 0,
    ):
        """overlap: share of a block that fades into the next, 0 (the model's own grid) to 0.5.
        Interchangeable sources need some: on a grid without any 0 gives a quarter. `notes` says
        where it changes nothing.
        consistent: what the stems leave of the mixture is shared equally among them; ValueError
        for a single source, which would become the mixture.
        attenuation_limit_db: by how much at most the source "speech" loses what is no speech; so
        much of the mixture stays in it, and is taken from the others. None for all that the model
        takes. ValueError for a negative one, and for a system that gives no speech.
        shifts: the mean over so many passes, in each of which the recording begins up to half a
        second later, at random from `seed`; 0 for one pass in its place. ValueError for a negative
        one, and for systems that hear a stream or speakers.
        """
        if attenuation_limit_db is not None and "speech" not in system.sources:
            raise ValueError(
                f"attenuation_limit_db is of speech; the system gives {', '.join(system.sources)}"
            )
        self._kept = kept_share(attenuation_limit_db)
        if consistent and len(system.sources) == 1:
            raise ValueError(ONE_IS_CONSISTENT.format(*system.sources))
        if shifts < 0:
            raise ValueError(f"shifts must be at least 0; got {shifts}")
        if shifts and (system.begin or system.interchangeable):
            raise ValueError(
                "shifts are of models that hear each block by itself; this one hears a stream, or "
                "gives speakers in any order: leave them out"
            )
        self.overlap = overlap
        self.consistent = consistent
        self.shifts, self.seed = shifts, seed
        self._use(system)
        self._lock = threading.Lock()
        self._process = os.getpid()

    @property
    def sources(self) -> tuple[str, ...]:
        """Names of the stems, in their order."""
        return tuple(self.system.sources)

    @property
    def notes(self) -> list[str]:
        """A sentence for each option that changes nothing with this system."""
        grid = self.system.grid
        if not self.overlap or self.grid is not grid:
            return []
        if grid.context:
            reason = "the model's blocks carry their context, and joined they equal the whole"
        else:
            reason = f"the model's own blocks share {grid.overlap / grid.samples:.0%} already"
        return [f"overlap {self.overlap:g} changes nothing: {reason}"]

    def __reduce__(self):
        raise TypeError(
            "a Separator holds a model that cannot be sent to another process; make one there"
        )

    def stream(
        self,
        pieces: Callable[[], Iterable[np.ndarray]],
        sample_rate: int,
        channels: int,
        *,
        samples: int | None = None,
        progress: Progress | None = None,
        surveyed: Callable[[list], object] | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (mixture `[n, channels]`, stems `[sources, n, channels]`), n as it comes.

        pieces: called for a fresh pass over the input, float32 `[n, channels]`; a system with a
            survey makes two passes. samples: the input's length where it is known.
        surveyed: called between the passes with the survey's state of each group of channels.
        What is yielded adds up to exactly the input's length. Raises RuntimeError in a process
        that was forked from the one that made this Separator; Cancelled when `progress` says so.
        """
        if os.getpid() != self._process:
            raise RuntimeError(
                "this Separator was made before its process was forked, and its model does not "
                "work in the child: make one in each process, or start processes by 'spawn'"
            )
        width, total = self.system.channels, samples and samples / sample_rate
        groups = channel_groups(channels, width)
        states, scale = None, (np.float32(0), np.float32(1))
        report = share_of(progress, total, 0, 2)
        if self.system.survey is not None:
            states = self._surveyed(pieces(), sample_rate, channels, groups, report)
            if surveyed is not None:
                surveyed(states)
        elif self.system.standardised:
            scale = self._scale(pieces(), sample_rate, channels, groups, report)
        else:
            report = share_of(progress, total, 0, 1)
        if states is not None or self.system.standardised:
            report = share_of(progress, total, 1, 2)
        yield from self._separated(pieces(), sample_rate, channels, groups, states, scale, report)

    def _scale(self, pieces, sample_rate, channels, groups, report):
        """(mean, deviation) of the mean of each group's channels, `[channels]` each."""
        count, sums = 0, np.zeros((2, len(groups)))
        for _, signal, _ in self._at_own_rate(pieces, sample_rate, channels, report):
            mono = np.stack([signal[:, group].mean(axis=1, dtype=np.float64) for group in groups])
            count += mono.shape[1]
            sums += np.stack([mono.sum(axis=1), np.square(mono).sum(axis=1)])
        mean = sums[0] / max(count, 1)
        variance = np.maximum(sums[1] - count * mean**2, 0) / max(count - 1, 1)
        widths = [group.stop - group.start for group in groups]
        scale = mean, np.sqrt(variance) + LEAST_DEVIATION
        return tuple(np.repeat(part, widths).astype(np.float32) for part in scale)

    def _surveyed(self, pieces, sample_rate, channels, groups, report) -> list:
        """The survey's state after the whole input, one a group of channels."""
        states = [None] * len(groups)

        def survey(block: np.ndarray) -> list:
            found, joint = [], states[0]
            for state, group in zip(states, groups, strict=True):
                before = joint if self.system.joint_survey else state
                joint = self.system.survey(before, self._fitted(block[:, group]))
                found.append(joint)
            return found

        cutter = Cutter(self.grid, channels)
        for _, signal, last in self._at_own_rate(pieces, sample_rate, channels, report):
            for now, *_ in self._through(survey, cutter, signal, last):
                states[:] = now
        return states

    def _separated(self, pieces, sample_rate, channels, groups, states, scale, report):
        """What `stream` yields, in one pass."""
        begin, (mean, deviation) = self.system.begin, scale
        functions = [begin() for _ in groups] if begin else [self._function] * len(groups)

        def separate(block: np.ndarray) -> np.ndarray:
            estimates = []  # [sources, samples, channels of the group]
            for number, group in enumerate(groups):
                state = () if states is None else (states[number],)
                estimate = np.asarray(functions[number](self._fitted(block[:, group]), *state))
                narrower = group.stop - group.start < self.system.channels
                estimates.append(
                    estimate[0].mean(axis=2, keepdims=True) if narrower else estimate[0]
                )
            return np.concatenate(estimates, axis=2)

        mixture = Queue(channels)
        passages = [self._passage(separate, late, channels, groups) for late in self._late()]
        waiting = [np.zeros((len(self.sources), 0, channels), np.float32) for _ in passages]
        outwards = [
            StreamResampler(self.system.sample_rate, sample_rate, channels) for _ in self.sources
        ]
        for piece, signal, last in self._at_own_rate(pieces, sample_rate, channels, report):
            mixture.push(piece)
            signal = (signal - mean) / deviation
            waiting = [
                np.concatenate([before, passage(signal, last)], axis=1)
                for before, passage in zip(waiting, passages, strict=True)
            ]
            ready = min(part.shape[1] for part in waiting)
            joined = sum(part[:, :ready] for part in waiting[1:]) + waiting[0][:, :ready]
            joined = joined / np.float32(len(waiting)) * deviation + mean
            waiting = [part[:, ready:] for part in waiting]
            stems = np.stack([way.push(stem) for way, stem in zip(outwards, joined, strict=True)])
            if last:
                stems = np.concatenate([stems, np.stack([way.flush() for way in outwards])], axis=1)
                # A signal that was resampled there and back may have lost a sample.
                missing = max(0, len(mixture) - stems.shape[1])
                stems = np.pad(stems, ((0, 0), (0, missing), (0, 0)))
            stems = stems[:, : len(mixture)]  # or won one
            if stems.shape[1]:
                part = mixture.pop(stems.shape[1])
                if self.consistent:
                    stems = stems + (part - stems.sum(axis=0)) / len(self.sources)
                if self._kept:
                    stems = (1 - self._kept) * stems
                    stems[self.sources.index("speech")] += self._kept * part
                yield part, stems

    def _late(self) -> list[int]:
        """By how many samples each pass begins later."""
        most = int(_SHIFT_SECONDS * self.system.sample_rate)
        drawn = np.random.default_rng(self.seed).integers(0, most + 1, self.shifts)
        return [int(late) for late in drawn] or [0]

    def _passage(self, separate, late: int, channels: int, groups):
        """A function of (signal, whether it is the last) to the estimates that are done by then.

        late: so many samples of silence come before the signal.
        """
        cutter = Cutter(self.grid, channels)
        joiner = Joiner(groups if self.system.interchangeable else ())
        before, lost = late, late + self.system.delay

        def passage(signal: np.ndarray, last: bool) -> np.ndarray:
            nonlocal before, lost
            # Behind the signal silence, until what is late has come.
            signal = np.pad(signal, ((before, self.system.delay if last else 0), (0, 0)))
            before, parts = 0, [np.zeros((len(self.sources), 0, channels), np.float32)]
            for estimate, grid, early, new in self._through(separate, cutter, signal, last):
                if early:
                    estimate = np.pad(estimate[:, early:], ((0, 0), (0, early), (0, 0)))
                parts.append(joiner.join(estimate, grid)[:, new])
            joined = np.concatenate(parts, axis=1)
            lost, joined = max(0, lost - joined.shape[1]), joined[:, lost:]
            return joined

        return passage

    def _at_own_rate(self, pieces, sample_rate, channels, report):
        """Yield (piece, signal ready at the system's rate, False), then (none, rest, True)."""
        inwards = StreamResampler(sample_rate, self.system.sample_rate, channels)
        done = 0
        for piece in pieces:
            yield piece, inwards.push(piece), False
            done += len(piece)
            report(done / sample_rate)
        yield np.zeros((0, channels), np.float32), inwards.flush(), True

    def _through(
        self, function: Callable[[np.ndarray], _Result], cutter: Cutter, signal, last: bool
    ) -> Iterator[tuple[_Result, BlockGrid, int, slice]]:
        """Yield (function of a block, its grid, how early it begins, its part that is new)."""
        for block, early, new in cutter.blocks(signal, last=last):
            result, grid = None, cutter.grid
            with self._lock:
                if self.grid is grid:
                    try:
                        result = function(block)
                    except self.system.memory_errors as error:
                        self._use(self._smaller(error))
                cutter.grid = self.grid  # shorter where memory ran out, in this thread or another
            if cutter.grid is grid:
                yield result, grid, early, new

    def _use(self, system: System) -> None:
        self.system = system
        self.grid = joined_grid(system.grid, self.overlap, interchangeable=system.interchangeable)

    def _smaller(self, error: Exception) -> System:
        smaller = self.system.smaller() if self.system.smaller else None
        if smaller is None:
            raise MemoryError(
                f"a block of {self.system.grid.samples} samples does not fit in memory"
            ) from error
        return smaller

    def _function(self, *arguments) -> np.ndarray:
        return self.system.function(*arguments)  # the one in use: memory may have made it smaller

    def _fitted(self, signal: np.ndarray) -> np.ndarray:
        """`[samples, channels]` as the system takes it: a single channel is played on both sides.

        `[1, samples, system.channels]`.
        """
        missing = self.system.channels - signal.shape[1]
        return np.pad(signal, ((0, 0), (0, missing)), mode="edge")[None]


def joined_grid(grid: BlockGrid, overlap: float, *, interchangeable: bool) -> BlockGrid:
    """`grid` with blocks that share `overlap` of themselves.

    Interchangeable sources are told apart by what blocks share, so theirs always share something.
    """
    if interchangeable and not overlap and not grid.overlap:
        overlap = _SPEAKERS_OVERLAP
    return grid.with_overlap(overlap)


def kept_share(attenuation_limit_db: float | None) -> np.float32:
    """The share of the mixture that stays in what loses no more than this; 0 for None.

    Raises ValueError for a limit below 0.
    """
    if attenuation_limit_db is None:
        return np.float32(0)
    if not attenuation_limit_db >= 0:
        raise ValueError(f"attenuation_limit_db must be at least 0; got {attenuation_limit_db}")
    return np.float32(10 ** (-attenuation_limit_db / 20))


def share_of(progress: Progress | None, total: float | None, number: int, passes: int):
    """A report of one pass's seconds, as the seconds of all passes that the caller sees."""

    def report(seconds: float) -> None:
        whole = seconds if total is None else total
        done = (number * whole + min(seconds, whole)) / passes
        if progress is not None and progress(done, total) is False:
            raise Cancelled("cancelled by the progress callback")

    return report
