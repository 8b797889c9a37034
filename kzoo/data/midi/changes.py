"""What makes several recordings of one score: tempo, key, instruments, levels and a room, drawn."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from kzoo.data.midi.instruments import DRUM_CHANNEL, DRUMS, STEMS, alike, name_of, stem_of
from kzoo.data.midi.score import Note, Score


@dataclass(frozen=True, kw_only=True)
class Changes:
    """Ends of the uniform ranges from which each version of a score draws.

    tempo: factor of the score's own. transpose: whole semitones, of all but the drums.
    programs: probability that an instrument gives way to one alike, of its stem and register.
    gain_db: of each stem. reverb_seconds: the time in which the room falls by 60 dB, one room for
    all; 0 and 0 for none. direct_db: of each stem's direct sound over its reverberation.
    Raises ValueError for ends out of order or out of bounds.
    """

    tempo: Sequence[float] = (0.9, 1.1)
    transpose: Sequence[int] = (-2, 2)
    programs: float = 0.5
    gain_db: Sequence[float] = (-3.0, 3.0)
    reverb_seconds: Sequence[float] = (0.1, 0.5)
    direct_db: Sequence[float] = (6.0, 18.0)

    def __post_init__(self):
        bounds = {"tempo": (0.25, 4), "transpose": (-24, 24), "gain_db": (-60, 60),
                  "reverb_seconds": (0, 10), "direct_db": (-20, 60)}  # fmt: skip
        for name, (least, most) in bounds.items():
            low, high = getattr(self, name)
            if not least <= low <= high <= most:
                raise ValueError(
                    f"{name} must be two numbers from {least} to {most}, the lower one first; got "
                    f"{low:g} and {high:g}"
                )
        if not 0 <= self.programs <= 1:
            raise ValueError(f"programs must be a probability, 0 to 1; got {self.programs:g}")


NONE = Changes(tempo=(1, 1), transpose=(0, 0), programs=0.0, gain_db=(0, 0), reverb_seconds=(0, 0))


class Part(NamedTuple):
    """The notes of one program on one channel; name: its stem's, numbered where there are more."""

    name: str
    stem: str
    channel: int
    program: int
    notes: Sequence[Note]

    @property
    def instrument(self) -> str:
        """What plays it, such as "electric_bass_finger"."""
        return name_of(self.channel, self.program)


@dataclass(frozen=True)
class Version:
    """A score as it is played, and what was drawn for it; gain_db: by stem.

    reverb_seconds: 0 for no room.
    """

    score: Score
    tempo: float
    transpose: int
    reverb_seconds: float
    gain_db: dict[str, float]

    @property
    def parts(self) -> list[Part]:
        """The parts in the order of their stems, channels and programs."""
        notes: dict[tuple[int, int], list[Note]] = {}
        for note in self.score.notes:
            notes.setdefault((note.channel, note.program), []).append(note)
        by_stem: dict[str, list[tuple[int, int]]] = {}
        for key in sorted(notes, key=lambda key: (_ORDER[stem_of(*key)], key)):
            by_stem.setdefault(stem_of(*key), []).append(key)
        return [
            Part(f"{stem}_{number}" if len(keys) > 1 else stem, stem, *key, notes[key])
            for stem, keys in by_stem.items()
            for number, key in enumerate(keys, start=1)
        ]


_ORDER = {stem: place for place, stem in enumerate((DRUMS, *dict.fromkeys(STEMS)))}


def draw(
    score: Score,
    changes: Changes,
    rng: np.random.Generator,
    presets: Container[tuple[int, int]],
) -> Version:
    """A version of `score`; presets: (bank, program) of the soundfont, drums being bank 128.

    The key moves no note out of MIDI's range. Each range is drawn from in any case, so that one
    that is changed leaves the others' numbers as they were.
    """
    tempo = rng.uniform(*changes.tempo)
    transpose = _within(score, changes, rng.random())
    reverb_seconds = rng.uniform(*changes.reverb_seconds)
    gain_db = {stem: rng.uniform(*changes.gain_db) for stem in _ORDER}
    played = {
        key: _program(key, changes.programs, rng, presets)
        for key in sorted({(note.channel, note.program) for note in score.notes})
    }
    notes = [
        note._replace(
            pitch=note.pitch + (transpose if note.channel != DRUM_CHANNEL else 0),
            program=played[note.channel, note.program],
        )
        for note in score.notes
    ]
    stems = {stem_of(*key) for key in played}
    return Version(
        dataclasses.replace(score, notes=notes).faster(tempo), tempo, transpose, reverb_seconds,
        {stem: gain for stem, gain in gain_db.items() if stem in stems},
    )  # fmt: skip


def _within(score: Score, changes: Changes, drawn: float) -> int:
    """Semitones by which every note stays between 0 and 127."""
    pitches = [note.pitch for note in score.notes if note.channel != DRUM_CHANNEL] or [64]
    low, high = (math.trunc(end) for end in changes.transpose)
    low, high = max(low, -min(pitches)), min(high, 127 - max(pitches))
    return low + int(drawn * (high - low + 1)) if low <= high else 0


def _program(key: tuple[int, int], probability: float, rng, presets) -> int:
    """The program that plays the part: its own, unless another is drawn or it is not there."""
    channel, program = key
    bank = 128 if channel == DRUM_CHANNEL else 0
    others = [one for one in alike(*key) if one != program and (bank, one) in presets]
    drawn, which = rng.random(2)
    if others and (drawn < probability or (bank, program) not in presets):
        return others[int(which * len(others))]
    return program
