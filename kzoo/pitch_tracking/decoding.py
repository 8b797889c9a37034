"""From the activations of a pitch network to hertz: where the pitch lies, and how sure it is.

Bin b of 360 stands for 20 * b + 1997.3794 cents above 10 Hz, C1 to B6 in steps of 20 cents. The
pitch is the mean of the bins around one of them, weighted by their activations, as in CREPE's own
program. Which bin is, frame by frame, the strongest, or lies on the likeliest path (Viterbi).

The path's transition is that of CREPE and torchcrepe, which falls linearly to nothing over 12 bins,
240 cents, a frame; but its rows are not made to sum to 1 where the range of bins cuts them off. In
theirs they are, so that the outermost bins cost 0.6 nats a frame less to stay in than any other.
With torchcrepe's softmax over activations, which sets a sure bin apart from a dark one by one nat
at most, that held the path at the edge for half of a violin's movement. What the path gathers here
is the log of the activations, from a floor of 0.01 up.
"""

from __future__ import annotations

import numpy as np

BINS = 360
CENTS_PER_BIN = 20.0
FIRST_CENTS = 1997.3794084376191
REFERENCE_HZ = 10.0
NEIGHBOURS = 4  # bins to either side that share in the mean
ALL_BINS = slice(0, BINS)
REACH = 12  # bins beyond which no path goes from one frame to the next
FLOOR = 0.01  # activation of a bin that says nothing
_OUT_OF_REACH, _NEVER = -1e9, -1e4


def bin_cents(bins: np.ndarray) -> np.ndarray:
    """Centres of bins in cents above 10 Hz."""
    return FIRST_CENTS + CENTS_PER_BIN * np.asarray(bins, np.float64)


def cents_to_hz(cents: np.ndarray) -> np.ndarray:
    """Cents above 10 Hz to hertz."""
    return REFERENCE_HZ * 2.0 ** (np.asarray(cents) / 1200.0)


def hz_to_cents(hz: np.ndarray) -> np.ndarray:
    """Hertz to cents above 10 Hz."""
    return 1200.0 * np.log2(np.asarray(hz, np.float64) / REFERENCE_HZ)


def bin_range(fmin_hz: float | None, fmax_hz: float | None) -> slice:
    """The bins from the one at or under `fmin_hz` to the one at or under `fmax_hz`.

    None is no limit. Raises ValueError where no bin is left.
    """
    start, stop = 0, BINS
    if fmin_hz is not None and fmin_hz > 0:
        start = max(0, int(np.floor((hz_to_cents(fmin_hz) - FIRST_CENTS) / CENTS_PER_BIN)))
    if fmax_hz is not None:
        if fmax_hz > 0:
            stop = int(np.ceil((hz_to_cents(fmax_hz) - FIRST_CENTS) / CENTS_PER_BIN))
        else:
            stop = 0
    stop = min(BINS, stop)
    if start >= stop:
        lowest, highest = cents_to_hz(bin_cents([0, BINS - 1]))
        raise ValueError(
            f"the range of pitches must lie within {lowest:.1f} to {highest:.1f} Hz and hold one "
            f"bin of 20 cents at least; got fmin {fmin_hz} and fmax {fmax_hz}"
        )
    return slice(start, stop)


def local_average_hz(activations: np.ndarray, bins: np.ndarray) -> np.ndarray:
    """Hertz, `[frames]`: mean cents of the bins around `bins`, weighted by the activations.

    activations: `[frames, 360]`, 0 where no pitch may lie. Where all around are 0, a bin's centre.
    """
    around = np.asarray(bins)[:, None] + np.arange(-NEIGHBOURS, NEIGHBOURS + 1)
    inside = (around >= 0) & (around < BINS)
    around = np.clip(around, 0, BINS - 1)
    weights = np.take_along_axis(np.asarray(activations, np.float64), around, axis=1) * inside
    total = weights.sum(axis=1)
    mean = (weights * bin_cents(around)).sum(axis=1) / np.where(total > 0, total, 1.0)
    return cents_to_hz(np.where(total > 0, mean, bin_cents(bins)))


def strongest(activations: np.ndarray, allowed: slice = ALL_BINS) -> np.ndarray:
    """The `allowed` bin of the highest activation of each frame; of equals, the lowest."""
    return allowed.start + np.argmax(np.asarray(activations)[:, allowed], axis=1)


def log_emissions(activations: np.ndarray, allowed: slice = ALL_BINS) -> np.ndarray:
    """What a path gathers in each frame, `[frames, 360]`: log(activation + 0.01) where allowed."""
    found = np.full(np.shape(activations), _NEVER)
    found[:, allowed] = np.log(np.asarray(activations, np.float64)[:, allowed] + FLOOR)
    return found


def transition_matrix() -> np.ndarray:
    """Weights `[from, to]`, 12 less the distance in bins, over 144: rows but the outer sum to 1."""
    bins = np.arange(BINS)
    return np.maximum(REACH - np.abs(bins[:, None] - bins), 0) / REACH**2


class Viterbi:
    """The likeliest path through the bins, frame after frame, in bounded memory.

    A frame is settled once all paths that may still win share it; what `push` and `flush` return,
    joined, is then the path that the whole signal at once would give. Where paths have not met
    after `patience` frames, as in long silence, the best so far decides on the older half.
    """

    def __init__(self, patience: int = 2500):
        self.patience = patience
        reach = np.arange(1 - REACH, REACH)
        origins = np.arange(BINS)[:, None] + reach  # [to, reach]
        inside = (origins >= 0) & (origins < BINS)
        origins = np.clip(origins, 0, BINS - 1)
        steps = np.where(inside, transition_matrix()[origins, np.arange(BINS)[:, None]], 1.0)
        self._steps = np.where(inside, np.log(steps), _OUT_OF_REACH)
        self._reset()

    def push(self, emissions: np.ndarray) -> np.ndarray:
        """Take `log_emissions` `[frames, 360]`; the bins of the frames settled, perhaps none."""
        padded = np.full(BINS + 2 * (REACH - 1), _OUT_OF_REACH)
        windows = np.lib.stride_tricks.sliding_window_view(padded, 2 * REACH - 1)
        every = np.arange(BINS)
        for emission in np.asarray(emissions, np.float64):
            if self._scores is None:
                self._scores = emission
                self._origins.append(every)
                continue
            padded[REACH - 1 : 1 - REACH] = self._scores
            ways = windows + self._steps
            best = ways.argmax(axis=1)
            self._origins.append((every + best + 1 - REACH).astype(np.int16))
            self._scores = ways[every, best] + emission
            self._scores -= self._scores.max()
        return self._settled()

    def flush(self) -> np.ndarray:
        """The bins of all frames left; afterwards a new signal may begin."""
        path = np.zeros(0, np.int64)
        if self._origins:
            path = self._path_back(int(np.argmax(self._scores)), len(self._origins))
        self._reset()
        return path

    def _reset(self) -> None:
        self._scores: np.ndarray | None = None
        self._origins: list[np.ndarray] = []  # of each unsettled frame: the bins it is reached from

    def _settled(self) -> np.ndarray:
        paths = np.arange(BINS)
        for frame in range(len(self._origins) - 1, 0, -1):
            paths = np.unique(self._origins[frame][paths])
            if len(paths) == 1:  # the bin that all paths have in the frame before
                return self._settle(int(paths[0]), frame)
        if len(self._origins) > self.patience:
            count = len(self._origins) - self.patience // 2
            path = self._path_back(int(np.argmax(self._scores)), len(self._origins))
            return self._settle(int(path[count - 1]), count)
        return np.zeros(0, np.int64)

    def _settle(self, last: int, count: int) -> np.ndarray:
        path = self._path_back(last, count)
        self._origins = self._origins[count:]
        return path

    def _path_back(self, last: int, count: int) -> np.ndarray:
        """The bins of the first `count` unsettled frames, of which `last` is the last."""
        path = np.empty(count, np.int64)
        for frame in range(count - 1, -1, -1):
            path[frame] = last
            last = self._origins[frame][last]
        return path


def viterbi(activations: np.ndarray, allowed: slice = ALL_BINS) -> np.ndarray:
    """The likeliest path of bins through activations `[frames, 360]`, at once."""
    path = Viterbi(patience=max(1, len(activations)))
    return np.concatenate([path.push(log_emissions(activations, allowed)), path.flush()])
