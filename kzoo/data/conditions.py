"""Examples for conditioned separation: what is asked for, and what should come out.

Meseguer-Brocal and Peeters, 2019, https://arxiv.org/abs/1907.01277
"""

from __future__ import annotations

import numpy as np

from kzoo.data.examples import Example, Examples, Windows

_SALT = 0xF11  # conditions are drawn apart from the segments, which they leave as they are


class Conditioned:
    """`Examples`, each with a condition and the target that belongs to it.

    A condition asks for one source; where `zero` for nothing, and where `all` for everything, as
    often as for each source. With probability `progressive` it is scaled, and its target with it,
    by a uniform number from 0 to 1. target = sum over sources of condition * source.
    """

    def __init__(
        self, examples: Examples, *, progressive: float = 0.25, zero: bool = False,
        all: bool = False,
    ):  # fmt: skip
        if not 0 <= progressive <= 1:
            raise ValueError(f"progressive must be a probability from 0 to 1; got {progressive}")
        self._examples, self.progressive = examples, progressive
        count = len(examples.corpus.sources)
        self._choices = [*np.eye(count)]
        self._choices += [np.zeros(count)] * zero + [np.ones(count)] * all

    def example(self, index: int) -> Example:
        """That of the examples, and condition `[sources]` and target `[1, samples, channels]`."""
        rng = np.random.default_rng((_SALT, self._examples.seed, index))
        condition = self._choices[rng.integers(len(self._choices))].astype(np.float32)
        if rng.random() < self.progressive:
            condition = condition * np.float32(rng.random())
        return _with_target(self._examples.example(index), condition)


class ConditionedWindows:
    """`Windows`, each once for every source, for validation."""

    def __init__(self, windows: Windows):
        self.corpus = windows.corpus
        self._windows, self._count = windows, len(windows.corpus.sources)

    def __len__(self) -> int:
        return len(self._windows) * self._count

    def example(self, index: int) -> Example:
        """Same as `Conditioned.example`."""
        window, source = divmod(index, self._count)
        condition = np.eye(self._count, dtype=np.float32)[source]
        return _with_target(self._windows.example(window), condition)


def _with_target(example: Example, condition: np.ndarray) -> Example:
    target = np.tensordot(condition, example["sources"], axes=1)[None]
    return {**example, "condition": condition, "target": target.astype(np.float32)}
