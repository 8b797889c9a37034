"""Recordings in stretches that follow each other, for a network whose state goes on with them."""

from __future__ import annotations

import functools

import numpy as np

from kzoo.data.corpus import Corpus
from kzoo.data.examples import Example


class Lanes:
    """Stretches of a corpus, without end: example `index` is of lane `index % lanes`.

    Each lane goes through all recordings again and again, each time in another order, and begins at
    another place: batch after batch of `lanes` examples, a lane's stretch begins where its last one
    ended. samples: of a stretch; overlap: samples that are given behind it, of the next one. What
    is left at the end of a recording, less than a stretch, is left out; a recording that is
    shorter than one goes on in silence.
    """

    def __init__(
        self, corpus: Corpus, *, samples: int, lanes: int, overlap: int = 1, seed: int = 0
    ):
        self.corpus, self.samples, self.lanes = corpus, samples, lanes
        self.overlap, self.seed = overlap, seed
        lengths = np.array([length for _, length in corpus.tracks])
        self._stretches = np.maximum((lengths - overlap) // samples, 1)
        self._lap = int(self._stretches.sum())
        self._order = functools.lru_cache(maxsize=2 * lanes)(self._order_of)

    def example(self, index: int) -> Example:
        """Same as `Corpus.read`, of `samples` + `overlap` samples, and "begins" `[1]`.

        begins: 1 in the first stretch of a recording, and of a lane; else 0.
        """
        step, lane = divmod(index, self.lanes)
        lap, place = divmod(step + lane * self._lap // self.lanes, self._lap)
        return self._stretch(*self._order(lane, lap), place, first=step == 0)

    def _stretch(self, order: np.ndarray, ends: np.ndarray, place: int, first: bool) -> Example:
        which = int(np.searchsorted(ends, place, side="right"))
        track, number = int(order[which]), place - int(ends[which - 1] if which else 0)
        found = read(self.corpus, track, number * self.samples, self.samples + self.overlap)
        return {**found, "begins": np.array([first or number == 0], np.float32)}

    def _order_of(self, lane: int, lap: int) -> tuple[np.ndarray, np.ndarray]:
        """(tracks in the order of one lap, how many stretches there are up to the end of each)."""
        order = np.random.default_rng((self.seed, lane, lap)).permutation(len(self._stretches))
        return order, np.cumsum(self._stretches[order])


class LaneWindows(Lanes):
    """The stretches of a corpus in its own order, for validation: no chance in it.

    Each lane has an equal part of them, of which it plays the first, so many that all lanes
    together have no more than `most`. What does not fill all lanes is left out.
    """

    def __init__(self, corpus: Corpus, *, samples: int, lanes: int, overlap: int = 1, most: int):
        super().__init__(corpus, samples=samples, lanes=lanes, overlap=overlap)
        self._part = self._lap // lanes
        self._steps = min(self._part, -(-most // lanes))

    def __len__(self) -> int:
        return self._steps * self.lanes

    def example(self, index: int) -> Example:
        """Same as that of `Lanes`."""
        step, lane = divmod(index, self.lanes)
        order = np.arange(len(self._stretches))
        place = lane * self._part + step
        return self._stretch(order, np.cumsum(self._stretches), place, first=step == 0)


def read(corpus: Corpus, track: int, start: int, samples: int) -> Example:
    """{"waveform" `[samples, channels]`} of a track from `start` on, within a frame too."""
    hop = getattr(corpus, "hop_length", 1)
    before = start % hop
    found = corpus.read(track, start - before, -(-(before + samples) // hop) * hop)
    waveform = found["waveform"] if "waveform" in found else found["mixture"]
    return {"waveform": waveform[before : before + samples]}
