"""What is kept of a recording of any length, in bounded memory, to learn a model of it."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property
from typing import Any

import numpy as np


class Survey:
    """Rows of a stream, evenly spread over all of it and never more than `most`.

    So a model of a recording of any length is learned in bounded memory: every row is kept while
    there is room, then every second, every fourth.
    """

    def __init__(self, most: int):
        self._most = most
        self._step = 1
        self._seen = 0
        self._kept: list[np.ndarray] = []

    def add(self, rows: np.ndarray) -> None:
        """Take the next rows, `[n, ...]`."""
        first = -self._seen % self._step
        self._seen += len(rows)
        self._kept.append(rows[first :: self._step].copy())
        while sum(map(len, self._kept)) > self._most:
            self._step *= 2
            self._kept = [np.concatenate(self._kept)[::2].copy()]

    @property
    def rows(self) -> np.ndarray:
        """Those that were kept, in their order."""
        return np.concatenate(self._kept)


class Learned(Survey):
    """A survey with what `learn(rows)` makes of it once; None where no row was added."""

    def __init__(self, most: int, learn: Callable[[np.ndarray], Any]):
        super().__init__(most)
        self._learn = learn

    @cached_property
    def model(self) -> Any:
        """None where the recording is silent."""
        rows = self.rows
        return self._learn(rows) if len(rows) else None
