"""The most likely states of a hidden Markov model, as observations come, in bounded memory.

Viterbi, 1967, https://doi.org/10.1109/TIT.1967.1054010. The best ways into all states of a frame
have come out of one state some frames before; up to there nothing that is heard later changes them,
and they are given out. Where they stay apart for too long, the best one of them is taken.
"""

from __future__ import annotations

import numpy as np


class Viterbi:
    """The best way through a chain of states, a stretch of frames at a time.

    prior `[states]`: the chance to begin in each. transitions `[states, states]`: the chance to be
    in the second in the frame after one in the first. latest: frames after which a state is given
    out, whatever is heard later.
    Raises ValueError for shapes that do not fit, and for a latest below 1.
    """

    def __init__(self, prior: np.ndarray, transitions: np.ndarray, *, latest: int = 1000):
        states = len(prior)
        if np.shape(transitions) != (states, states):
            raise ValueError(
                f"{states} states need transitions of ({states}, {states}); got "
                f"{np.shape(transitions)}"
            )
        if latest < 1:
            raise ValueError(f"latest must be at least 1 frame; got {latest}")
        with np.errstate(divide="ignore"):
            self._start = np.log(np.asarray(prior, np.float64))
            self._step = np.log(np.asarray(transitions, np.float64))
        self._latest = latest
        self._scores: np.ndarray | None = None
        self._origins: list[np.ndarray] = []  # of each frame but the first, the state before it

    def add(self, log_likelihoods: np.ndarray) -> np.ndarray:
        """Hear frames `[frames, states]`; the states that are certain now, after those before.

        log_likelihoods: of the frames in each state, up to a constant of each frame.
        """
        given = []
        for heard in np.asarray(log_likelihoods, np.float64):
            if self._scores is None:
                self._scores = self._start + heard
                continue
            ways = self._scores[:, None] + self._step
            origins = ways.argmax(axis=0)
            self._scores = ways[origins, np.arange(len(origins))] + heard
            self._scores -= self._scores.max()
            self._origins.append(origins)
            if len(self._origins) >= 2 * self._latest:
                given += self._certain()
        given += self._certain()
        return np.array(given, int)

    def finish(self) -> np.ndarray:
        """The states that are left at the end; the next frame begins anew."""
        if self._scores is None:
            return np.zeros(0, int)
        states = self._back(int(self._scores.argmax()))
        self._scores, self._origins = None, []
        return np.array(states, int)

    def _back(self, state: int) -> list[int]:
        """The way into `state` of the last frame, from the first one that is kept."""
        states = [state]
        for origins in reversed(self._origins):
            states.append(int(origins[states[-1]]))
        return states[::-1]

    def _certain(self) -> list[int]:
        if not self._origins:
            return []
        alive = np.flatnonzero(np.isfinite(self._scores))
        for back, origins in enumerate(reversed(self._origins), start=1):
            alive = np.unique(origins[alive])
            if len(alive) == 1:
                return self._given(int(alive[0]), len(self._origins) - back)
        if (late := len(self._origins) - self._latest) <= 0:
            return []
        best = self._back(int(self._scores.argmax()))
        given = best[:late]
        # Ways that have not come through the last state that was given are none any more.
        through = np.arange(len(self._scores))
        for origins in reversed(self._origins[late - 1 :]):
            through = origins[through]
        self._scores = np.where(through == best[late - 1], self._scores, -np.inf)
        self._origins = self._origins[late:]
        return given

    def _given(self, state: int, frame: int) -> list[int]:
        """The states of the frames before `frame`, of which the state is certain."""
        states = [state]
        for origins in reversed(self._origins[:frame]):
            states.append(int(origins[states[-1]]))
        self._origins = self._origins[frame:]
        return states[:0:-1]
