"""Levels of the stems against the mixture, by which a useless stem is known."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

SILENT_DB = -80.0
SAME_DB = 40.0


class Levels:
    """Energies of a mixture and its stems, counted piece by piece."""

    def __init__(self, sources: Sequence[str]):
        self.sources = sources
        self._mixture = 0.0
        self._stems = np.zeros(len(sources))
        self._rests = np.zeros(len(sources))  # of the mixture minus the stem

    def add(self, mixture: np.ndarray, stems: np.ndarray) -> None:
        """Count in `mixture` [samples, channels] and `stems` [sources, samples, channels]."""
        self._mixture += float(np.sum(np.square(mixture, dtype=np.float64)))
        self._stems += np.sum(np.square(stems, dtype=np.float64), axis=(1, 2))
        self._rests += np.sum(np.square(mixture - stems, dtype=np.float64), axis=(1, 2))

    def warnings(self) -> list[str]:
        """A line for every stem that is silent or is the mixture; one line for a silent mixture."""
        if self._mixture == 0:
            return ["the input is silent, and so are the stems"]
        lines = []
        for name, stem, rest in zip(self.sources, self._stems, self._rests, strict=True):
            if 10 * np.log10(max(stem, 1e-300) / self._mixture) < SILENT_DB:
                lines.append(f"{name} is silent ({SILENT_DB:g} dB below the mixture or less)")
            elif 10 * np.log10(self._mixture / max(rest, 1e-300)) > SAME_DB:
                lines.append(
                    f"{name} is the mixture itself (they differ by less than -{SAME_DB:g} dB)"
                )
        return lines
