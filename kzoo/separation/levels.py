"""Levels: of stems against the mixture, by which useless ones are known, and of a recording."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from kzoo.separation.separator import System

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
        self._mixture += _energy(mixture)
        self._stems += [_energy(stem) for stem in stems]
        self._rests += [_energy(mixture - stem) for stem in stems]

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


def _energy(signal: np.ndarray) -> float:
    return float(np.vdot(signal, signal))


GATE_DB = 30.0  # frames so far below the loudest are pauses
FRAME_SECONDS = 0.05
FAINTEST_DB = -140.0


class GatedLevel:
    """The level of what is no pause, in dBFS (0: a mean square of 1), counted block by block.

    It is the mean power of the 50 ms frames that are at most 30 dB below the loudest; their powers
    are kept in classes of 1 dB, so memory does not grow.
    """

    def __init__(self, sample_rate: int):
        self._samples = max(1, round(FRAME_SECONDS * sample_rate))
        self._powers: dict[int, float] = {}
        self._counts: dict[int, int] = {}

    def add(self, signal: np.ndarray) -> None:
        """Count in `signal` `[samples, channels]`; the rest behind the last whole frame is left."""
        whole = len(signal) // self._samples * self._samples
        frames = np.square(signal[:whole], dtype=np.float64).reshape(
            -1, self._samples, signal.shape[1]
        )
        for power in frames.mean(axis=(1, 2)):
            if power > 10 ** (FAINTEST_DB / 10):
                class_db = int(np.floor(10 * np.log10(power)))
                self._powers[class_db] = self._powers.get(class_db, 0.0) + power
                self._counts[class_db] = self._counts.get(class_db, 0) + 1

    @property
    def db(self) -> float | None:
        """None where everything was silent."""
        if not self._powers:
            return None
        loud = [class_db for class_db in self._powers if class_db >= max(self._powers) - GATE_DB]
        power = sum(self._powers[k] for k in loud) / sum(self._counts[k] for k in loud)
        return float(10 * np.log10(power))


def at_level(system: System, level_db: float) -> System:
    """`system` on signals brought to the gated level `level_db` first, and back after it.

    So it does the same for a recording however far it was turned up. What is wholly silent stays
    silent, whatever the system would make of it. Takes one more pass.
    Raises ValueError for a system that has a survey of its own.
    """
    if system.survey is not None:
        raise ValueError("the system has a survey of its own, which a level cannot be put before")

    def survey(state: GatedLevel | None, block: np.ndarray) -> GatedLevel:
        state = GatedLevel(system.sample_rate) if state is None else state
        state.add(block[0])
        return state

    def levelled(function: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
        def call(block: np.ndarray, level: GatedLevel | None) -> np.ndarray:
            # None of a recording so short that not a sample is left of it at the system's rate.
            now_db = None if level is None else level.db
            gain = 0.0 if now_db is None else 10 ** ((level_db - now_db) / 20)
            estimates = np.asarray(function(np.float32(block * gain)))
            quiet = gain == 0 or not (system.begin or np.any(block))
            return np.zeros_like(estimates) if quiet else estimates / np.float32(gain)

        return call

    begin, smaller = system.begin, system.smaller
    return dataclasses.replace(
        system,
        survey=survey,
        function=system.function and levelled(system.function),
        begin=begin and (lambda: levelled(begin())),
        smaller=smaller and (lambda: (less := smaller()) and at_level(less, level_db)),
    )
