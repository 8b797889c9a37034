"""Streams cut into blocks on a grid, and the estimates of the blocks joined into streams."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from kzoo.dsp.blocks import BlockGrid


class Cutter:
    """Cuts a stream into blocks of `grid`, with zeros before its start and after its end.

    The grid may be exchanged for one of shorter blocks while `blocks` waits: the block that it
    gave last is then cut anew.
    """

    def __init__(self, grid: BlockGrid, channels: int):
        self.grid = grid
        self._before = -grid.start  # zeros before the signal, which are not given out
        self._pending = np.zeros((self._before, channels), np.float32)
        self._past = np.zeros((0, channels), np.float32)  # of blocks that begin earlier

    def blocks(
        self, signal: np.ndarray, *, last: bool = False
    ) -> Iterator[tuple[np.ndarray, int, slice]]:
        """Take `[n, channels]`; yield the blocks `[grid.samples, channels]` that are full now.

        With each comes the number of samples by which it begins before its place on the grid, and
        the part, counted from there, that no other block gives out. last: the signal ends here.
        """
        self._pending = np.concatenate([self._pending, signal])
        while len(self._pending) >= self.grid.samples or (last and len(self._pending)):
            grid = self.grid
            block = self._pending[: grid.samples]
            new = min(len(self._pending), grid.hop)
            before, missing = min(self._before, new), grid.samples - len(block)
            early = missing // 2 if grid.centred else 0
            past = self._past[max(0, len(self._past) - early) :]
            around = ((early - len(past), missing - early), (0, 0))
            yield np.pad(np.concatenate([past, block]), around), early, slice(before, new)
            if self.grid is grid:
                self._before -= before
                if grid.centred:
                    seen = np.concatenate([self._past, self._pending[:new]])
                    self._past = seen[-(grid.samples // 2) :]
                self._pending = self._pending[new:]


class Joiner:
    """Joins the estimates of successive blocks by the fades of their grids.

    groups: of channels that were separated together, given where the sources have no order, as
    speakers have none: they are put in that of the block before, and in that of the first group.
    """

    def __init__(self, groups: Sequence[slice] = ()):
        self._groups = groups
        self._fade = np.zeros((0, 1), np.float32)
        self._tail: np.ndarray | float = 0.0  # the last block's share of what comes next
        self._previous: np.ndarray | None = None  # the last block where it overlaps, not faded

    def join(self, estimate: np.ndarray, grid: BlockGrid) -> np.ndarray:
        """`[sources, grid.samples, channels]` of the next block to its first `grid.hop` samples."""
        estimate = np.array(estimate, np.float32)
        if self._groups:
            self._reorder(estimate)
            self._previous = estimate[:, grid.hop :].copy()
        entering = estimate[:, : len(self._fade)]
        entering *= self._fade
        entering += self._tail
        self._fade = grid.fade.astype(np.float32)[:, None]
        self._tail = estimate[:, grid.hop :] * (1 - self._fade)
        return estimate[:, : grid.hop]

    def _reorder(self, estimate: np.ndarray) -> None:
        """Put the sources in the order that is nearest, in squares, to what they are joined with.

        That is the block before, where both count in the fade, and the first group's estimate.
        """
        from scipy.optimize import linear_sum_assignment  # takes half a second, and few need it

        both = self._fade * (1 - self._fade)
        leader = None
        for group in self._groups:
            own = estimate[:, :, group]
            likeness = np.zeros((len(own), len(own)))
            if self._previous is not None:
                likeness += _products(self._previous[:, :, group] * both, own[:, : len(both)])
            if leader is not None:
                likeness += _products(leader[:, :, : own.shape[2]], own)
            rows, order = linear_sum_assignment(likeness, maximize=True)
            if likeness[rows, order].sum() > likeness.trace():  # else nothing tells them apart
                estimate[:, :, group] = own[order]
            leader = estimate[:, :, group] if leader is None else leader


class Queue:
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
