"""Separating audio of any length in constant memory, at any rate and channel layout.

A Separator is given a callable and the grid its blocks lie on. Long audio is cut on the grid, each
block goes through the callable, and the estimates are joined by the grid's fades: as long as the
input to the sample. On the grid of an STFT model the result is that of one long transform. Sources
without an order, as speakers are, come out of every block in an order of its own; the joiner puts
them in that of the block before.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
from scipy.optimize import linear_sum_assignment

from kzoo.audio import StreamResampler
from kzoo.dsp.blocks import BlockGrid

# (seconds done, seconds in all or None) -> False to cancel, anything else to go on
Progress = Callable[[float, float | None], object]
SILENT_DB = -80.0
SAME_DB = 40.0
# Of a block, where the model's grid has no overlap by which to know the speakers again.
SPEAKERS_OVERLAP = 0.25


class Cancelled(Exception):
    """The progress callback asked for an end."""


@dataclass(frozen=True)
class System:
    """What separates one block: `function` on blocks of `grid`, at `sample_rate`, `channels` wide.

    function: float32 `[1, grid.samples, channels]` to `[1, sources, grid.samples, channels]`.
    survey: None, or (state, block) -> state over the whole signal before anything is separated,
        from the state None; `function` is then called with (block, state).
    smaller: None, or makes the same system on shorter blocks, for when one of `memory_errors`
        comes up; it returns None where blocks cannot be shorter.
    interchangeable: the order of the sources means nothing, and may change from block to block.
    """

    function: Callable[..., np.ndarray]
    sources: Sequence[str]
    sample_rate: int
    channels: int
    grid: BlockGrid
    survey: Callable[[object, np.ndarray], object] | None = None
    smaller: Callable[[], System | None] | None = None
    memory_errors: tuple[type[Exception], ...] = (MemoryError,)
    interchangeable: bool = False


@dataclass
class Levels:
    """Energies met on the way, from which a stem is known to be silent or the mixture itself."""

    sources: Sequence[str]
    mixture: float = 0.0
    stems: np.ndarray = field(default=None)
    rests: np.ndarray = field(default=None)

    def __post_init__(self):
        self.stems = np.zeros(len(self.sources))
        self.rests = np.zeros(len(self.sources))

    def add(self, mixture: np.ndarray, stems: np.ndarray) -> None:
        """Count in `mixture` [samples, channels] and `stems` [sources, samples, channels]."""
        self.mixture += float(np.sum(np.square(mixture, dtype=np.float64)))
        self.stems += np.sum(np.square(stems, dtype=np.float64), axis=(1, 2))
        self.rests += np.sum(np.square(mixture - stems, dtype=np.float64), axis=(1, 2))

    def warnings(self) -> list[str]:
        """A line for every stem that is silent, or is the mixture; none where nothing sounds."""
        lines = []
        if self.mixture == 0:
            return ["the input is silent, and so are the stems"]
        for name, stem, rest in zip(self.sources, self.stems, self.rests, strict=True):
            if 10 * np.log10(max(stem, 1e-300) / self.mixture) < SILENT_DB:
                lines.append(f"{name} is silent ({SILENT_DB:g} dB below the mixture or less)")
            elif 10 * np.log10(self.mixture / max(rest, 1e-300)) > SAME_DB:
                lines.append(
                    f"{name} is the mixture itself (they differ by less than -{SAME_DB:g} dB)"
                )
        return lines


class Separator:
    """Separates signals with one System; many files, many threads, one compiled function.

    Each call keeps its own buffers. Threads take turns at the model, block by block, so that the
    memory in use is one block's, whatever their number.
    """

    def __init__(self, system: System, *, overlap: float = 0.0, consistent: bool = False):
        """overlap: share of a block that fades into the next, 0 (the model's own grid) to 0.5.
        Interchangeable sources need some: on a grid without any 0 gives a quarter. `notes` says
        where it changes nothing.
        consistent: what the stems leave of the mixture is shared equally among them.
        """
        self.overlap = overlap
        self.consistent = consistent
        self._use(system)
        self._lock = threading.Lock()

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

    def separate(
        self, waveform: np.ndarray, sample_rate: int, *, progress: Progress | None = None
    ) -> dict[str, np.ndarray]:
        """`[samples, channels]` (or `[samples]`) to {source: array of the same shape}, float32.

        Raises ValueError for another shape, no samples, or NaN; Cancelled when `progress` says so.
        """
        waveform = np.asarray(waveform)
        single = waveform.ndim == 1
        mixture = waveform[:, None] if single else waveform
        if mixture.ndim != 2 or 0 in mixture.shape:
            raise ValueError(f"waveform must be [samples, channels]; got shape {waveform.shape}")
        if np.issubdtype(mixture.dtype, np.integer):
            raise ValueError(
                f"waveform must be floating point with full scale 1.0; got {mixture.dtype}"
            )
        if not np.isfinite(mixture).all():
            raise ValueError("waveform holds NaN or infinite samples")
        mixture = mixture.astype(np.float32, copy=False)
        stems = np.empty((len(self.sources), *mixture.shape), np.float32)
        done = 0

        def blocks():
            for at in range(0, len(mixture), 1 << 18):
                yield mixture[at : at + (1 << 18)]

        for _, part in self.stream(
            blocks, sample_rate, mixture.shape[1], samples=len(mixture), progress=progress
        ):
            stems[:, done : done + part.shape[1]] = part
            done += part.shape[1]
        return {
            name: stem[:, 0] if single else stem
            for name, stem in zip(self.sources, stems, strict=True)
        }

    def stream(
        self,
        blocks: Callable[[], Iterable[np.ndarray]],
        sample_rate: int,
        channels: int,
        *,
        samples: int | None = None,
        progress: Progress | None = None,
    ) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Yield (mixture `[n, channels]`, stems `[sources, n, channels]`), n as it comes.

        blocks: called for a fresh pass over the input, float32 `[n, channels]` pieces; a system
            with a survey makes two passes. samples: the input's length where it is known.
        The pieces add up to exactly the input's length.
        """
        passes = 1 if self.system.survey is None else 2
        width = self.system.channels
        groups = [range(at, min(at + width, channels)) for at in range(0, channels, width)]
        states = [None] * len(groups)
        for number in range(passes):
            survey = number < passes - 1
            joiners = [_Joiner(self, states[0], survey=survey)]
            joiners += [_Joiner(self, s, survey=survey, leader=joiners[0]) for s in states[1:]]
            yield from self._pass(
                blocks(), sample_rate, channels, groups, joiners,
                _share_of(progress, samples and samples / sample_rate, number, passes),
            )  # fmt: skip
            states = [joiner.state for joiner in joiners]

    def _pass(self, blocks, sample_rate, channels, groups, joiners, report):
        """One way through the input; a survey yields nothing."""
        system, n_sources = self.system, len(self.sources)
        survey = joiners[0].survey
        mixture = _Queue(channels)
        inwards = StreamResampler(sample_rate, system.sample_rate, channels)
        outwards = StreamResampler(system.sample_rate, sample_rate, channels * n_sources)

        def joined(signal: np.ndarray, last: bool) -> np.ndarray:
            """At the model's rate: `[n, channels]` to `[m, sources * channels]`."""
            parts = [
                _unfitted(joiner.push(_fitted(signal[:, group], system.channels), last), len(group))
                for joiner, group in zip(joiners, groups, strict=True)
            ]
            stems = np.concatenate(parts, axis=2)  # [sources, m, channels]
            return stems.transpose(1, 0, 2).reshape(-1, n_sources * channels)

        def given(stems: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            stems = stems[: len(mixture)]  # a resampled signal may be longer by a sample
            part = mixture.pop(len(stems))
            stems = stems.reshape(-1, n_sources, channels).transpose(1, 0, 2)
            if self.consistent:
                stems = stems + (part - stems.sum(axis=0)) / n_sources
            return part, np.ascontiguousarray(stems)

        done = 0
        for block in blocks:
            mixture.push(block)
            stems = joined(inwards.push(block), last=False)
            if not survey and len(stems := outwards.push(stems)):
                yield given(stems)
            done += len(block)
            report(done / sample_rate)
            if survey:
                mixture.pop(len(mixture))
        stems = joined(inwards.flush(), last=True)
        if survey:
            return
        for ready in (outwards.push(stems), outwards.flush()):
            if len(ready):
                yield given(ready)
        if len(mixture):  # or shorter by one
            yield given(np.zeros((len(mixture), n_sources * channels), np.float32))

    def _use(self, system: System) -> None:
        self.system = system
        overlap = self.overlap
        if system.interchangeable and not overlap and not system.grid.overlap:
            overlap = SPEAKERS_OVERLAP
        self.grid = system.grid.with_overlap(overlap)

    def _estimate(self, block: np.ndarray, joiner: _Joiner) -> np.ndarray | None:
        """One block through the system; None where it did not fit and blocks are shorter now."""
        system = self.system
        with self._lock:
            try:
                if joiner.survey:
                    joiner.state = system.survey(joiner.state, block[None])
                    return np.zeros((len(self.sources), len(block), system.channels), np.float32)
                if system.survey is not None:
                    return np.asarray(system.function(block[None], joiner.state))[0]
                return np.asarray(system.function(block[None]))[0]
            except system.memory_errors as error:
                smaller = system.smaller() if system.smaller else None
                if smaller is None:
                    raise MemoryError(
                        f"a block of {system.grid.samples} samples does not fit in memory"
                    ) from error
                self._use(smaller)
                return None


class _Joiner:
    """Cuts one stream of `system.channels` channels on the grid and joins the estimates.

    leader: the joiner of the first channels, in whose order interchangeable sources come out.
    """

    def __init__(
        self, separator: Separator, state: object, *, survey: bool, leader: _Joiner | None = None
    ):
        self.leader = leader
        self.estimates: list[np.ndarray] = []  # of the blocks of the last push, in their order
        self.previous: np.ndarray | None = None  # the last block where it overlaps, not faded
        self.separator, self.state, self.survey = separator, state, survey
        self.skip = -separator.grid.start  # zeros before the signal, not to be given out
        self.pending = np.zeros((self.skip, separator.system.channels), np.float32)
        self.tail: np.ndarray | None = None  # the last block's share of what comes next
        self.fade: np.ndarray | None = None

    def push(self, signal: np.ndarray, last: bool) -> np.ndarray:
        """`[n, channels]` in, the estimates that are now complete `[sources, m, channels]` out."""
        self.pending = np.concatenate([self.pending, signal])
        self.estimates = []
        out = []
        while len(self.pending) >= self.separator.grid.samples or (last and len(self.pending)):
            grid = self.separator.grid
            block = self.pending[: grid.samples]
            block = np.pad(block, ((0, grid.samples - len(block)), (0, 0)))
            estimate = self.separator._estimate(block, self)
            if estimate is None:
                continue
            final = last and len(self.pending) <= grid.hop
            given = min(len(self.pending), grid.hop)
            out.append(self._join(estimate, grid, final)[:, :given])
            self.pending = self.pending[given:]
        sources, channels = len(self.separator.sources), self.separator.system.channels
        joined = np.concatenate([np.zeros((sources, 0, channels), np.float32), *out], axis=1)
        skipped = min(self.skip, joined.shape[1])
        self.skip -= skipped
        return joined[:, skipped:]

    def _join(self, estimate: np.ndarray, grid: BlockGrid, final: bool) -> np.ndarray:
        estimate = np.array(estimate, np.float32)
        if self.separator.system.interchangeable and not self.survey:
            estimate = self._in_order(estimate)
            self.estimates.append(estimate.copy())
            self.previous = self.estimates[-1][:, grid.hop :]
        if self.tail is not None:
            n = len(self.fade)
            estimate[:, :n] = estimate[:, :n] * self.fade[:, None] + self.tail
        if final:
            return estimate
        self.fade = grid.fade.astype(np.float32)
        self.tail = estimate[:, grid.hop :] * (1 - self.fade)[:, None]
        return estimate[:, : grid.hop]

    def _in_order(self, estimate: np.ndarray) -> np.ndarray:
        """Sources in the order that is nearest, in squares, to what they are joined with.

        That is the block before where both count in the fade, and the same block of the leader.
        """
        likeness = np.zeros((len(estimate), len(estimate)))
        if self.previous is not None:
            both = (self.fade * (1 - self.fade))[:, None]
            likeness += _products(self.previous * both, estimate[:, : len(both)])
        if self.leader is not None and len(self.leader.estimates) > len(self.estimates):
            likeness += _products(self.leader.estimates[len(self.estimates)], estimate)
        rows, order = linear_sum_assignment(likeness, maximize=True)
        if likeness[rows, order].sum() <= likeness.trace():  # nothing to tell them by
            return estimate
        return estimate[order]


class _Queue:
    """Samples waiting for their stems, `[n, channels]`."""

    def __init__(self, channels: int):
        self._pieces: list[np.ndarray] = [np.zeros((0, channels), np.float32)]
        self._length = 0

    def __len__(self) -> int:
        return self._length

    def push(self, piece: np.ndarray) -> None:
        self._pieces.append(piece)
        self._length += len(piece)

    def pop(self, samples: int) -> np.ndarray:
        whole = np.concatenate(self._pieces)
        self._pieces = [whole[samples:]]
        self._length -= samples
        return whole[:samples]


def _products(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """`[sources, samples, channels]` twice to their inner products `[sources, sources]`."""
    samples = min(one.shape[1], other.shape[1])
    rows, columns = (x[:, :samples].reshape(len(x), -1).astype(np.float64) for x in (one, other))
    return rows @ columns.T


def _fitted(signal: np.ndarray, channels: int) -> np.ndarray:
    """A single channel for a stereo model is played on both sides."""
    missing = channels - signal.shape[1]
    return signal if not missing else np.repeat(signal[:, -1:], channels, axis=1)


def _unfitted(stems: np.ndarray, channels: int) -> np.ndarray:
    return stems if stems.shape[2] == channels else stems.mean(axis=2, keepdims=True)


def _share_of(progress: Progress | None, total: float | None, number: int, passes: int):
    """A report of one pass's seconds, as the seconds of all passes that the caller sees."""

    def report(seconds: float) -> None:
        whole = seconds if total is None else total
        done = (number * whole + min(seconds, whole)) / passes
        if progress is not None and progress(done, total) is False:
            raise Cancelled("cancelled by the progress callback")

    return report
