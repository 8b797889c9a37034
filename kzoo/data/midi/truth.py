"""What is true of a rendered track: files beside its stems, and their reader."""

from __future__ import annotations

import csv
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from kzoo import config
from kzoo.data.midi.changes import Part
from kzoo.data.midi.instruments import is_pitched
from kzoo.data.midi.score import PITCHES, Beat, Note, Score
from kzoo.dsp.notes import midi_to_hz

TRACK, NOTES, ONSETS, BEATS, F0 = "track.yaml", "notes.csv", "onsets.csv", "beats.csv", "f0"
HOP_SECONDS = 0.01
# Players bind notes: while the next one begins, the last may still be held for so long.
_LEGATO_SECONDS = 0.05
_COLUMNS = {
    NOTES: ("onset_s", "offset_s", "pitch", "velocity", "program", "stem", "part"),
    ONSETS: ("time_s", "stem"),
    BEATS: ("time_s", "beat"),
    F0: ("time_s", "f0_hz"),
}


@dataclass(frozen=True)
class Truth:
    """What `read` gives of a track; times in seconds from the beginning of its stems.

    parts: {part: its notes}, a part being the notes of one instrument; pitches of drums are keys of
        General MIDI, their channel is 9. stems: {part: the stem that it is in}.
    beats: position 1 is a downbeat. f0_hz: {part: hertz at each of `frames_seconds`, 0 in rests},
        of parts that have a pitch and play one note at a time. about: what track.yaml holds.
    """

    parts: dict[str, list[Note]]
    stems: dict[str, str]
    beats: list[Beat]
    f0_hz: dict[str, np.ndarray]
    about: dict[str, Any]

    @property
    def frames_seconds(self) -> np.ndarray:
        """The times of the frames of `f0_hz`, every 10 ms."""
        frames = max((len(f0_hz) for f0_hz in self.f0_hz.values()), default=0)
        return HOP_SECONDS * np.arange(frames)

    @property
    def instruments(self) -> dict[str, list[str]]:
        """{stem: the instruments that play it}."""
        return self.about["instruments"]

    def notes(self, stem: str | None = None) -> list[Note]:
        """The notes of a stem, or of all, in the order of their onsets."""
        parts = [notes for part, notes in self.parts.items() if stem in (None, self.stems[part])]
        return sorted(note for notes in parts for note in notes)

    def onsets_seconds(self, stem: str | None = None) -> np.ndarray:
        """When notes of a stem, or of any, begin, each time once."""
        return np.unique([note.onset_seconds for note in self.notes(stem)])


def write(
    folder: Path, score: Score, parts: Sequence[Part], seconds: float, about: dict[str, Any]
) -> None:
    """Write the truth of a track whose stems are `seconds` long; `about` goes into track.yaml."""
    rows = sorted(
        (*note[:4], note.program, part.stem, part.name) for part in parts for note in part.notes
    )
    _write(folder / NOTES, NOTES, ((f"{on:.4f}", f"{off:.4f}", *rest) for on, off, *rest in rows))
    onsets = sorted(
        {(f"{row[0]:.4f}", row[5]) for row in rows}, key=lambda row: (float(row[0]), row)
    )
    _write(folder / ONSETS, ONSETS, onsets)
    _write(folder / BEATS, BEATS, ((f"{b.seconds:.4f}", b.position) for b in score.beats))
    times = HOP_SECONDS * np.arange(int(seconds / HOP_SECONDS + 1e-9) + 1)
    (folder / F0).mkdir()
    for part in parts:
        if is_pitched(part.channel, part.program) and _is_monophonic(part.notes):
            f0_hz = _f0_hz(score, part, times)
            rows = ((f"{t:.2f}", f"{hz:.3f}") for t, hz in zip(times, f0_hz, strict=True))
            _write(folder / F0 / f"{part.name}.csv", F0, rows)
    instruments: dict[str, list[str]] = {}
    for part in parts:
        playing = instruments.setdefault(part.stem, [])
        if part.instrument not in playing:
            playing.append(part.instrument)
    listed = {
        part.name: {"stem": part.stem, "instrument": part.instrument, "program": part.program,
                    "channel": part.channel, "notes": len(part.notes)}
        for part in parts
    }  # fmt: skip
    config.dump_yaml({**about, "instruments": instruments, "parts": listed}, folder / TRACK)


def read(folder: str | Path) -> Truth:
    """The truth of a track that `kzoo data render` wrote.

    Raises ValueError where a file is missing or is no such table.
    """
    folder = Path(folder)
    about = config.load_yaml(folder / TRACK)
    listed = about.get("parts")
    if not isinstance(listed, dict):
        raise ValueError(f"{folder / TRACK}: is none that kzoo data render wrote: it has no parts")
    parts: dict[str, list[Note]] = {name: [] for name in listed}
    for on, off, pitch, velocity, program, _, part in _read(folder / NOTES, NOTES):
        if part not in listed:
            raise ValueError(
                f"{folder / NOTES}: has notes of {part!r}, which {TRACK} does not list"
            )
        if not 0 <= int(pitch) < PITCHES:
            raise ValueError(f"{folder / NOTES}: pitches are 0 to {PITCHES - 1}; got {pitch}")
        numbers = int(pitch), int(velocity), listed[part]["channel"], int(program)
        parts[part].append(Note(float(on), float(off), *numbers))
    return Truth(
        parts,
        {name: part["stem"] for name, part in listed.items()},
        [Beat(float(time), int(beat)) for time, beat in _read(folder / BEATS, BEATS)],
        {
            name: np.array([float(hz) for _, hz in _read(folder / F0 / f"{name}.csv", F0)])
            for name in listed
            if (folder / F0 / f"{name}.csv").is_file()
        },
        about,
    )


def _is_monophonic(notes: Sequence[Note]) -> bool:
    return all(
        note.offset_seconds - following.onset_seconds <= _LEGATO_SECONDS
        and note.onset_seconds < following.onset_seconds
        for note, following in itertools.pairwise(notes)
    )


def _f0_hz(score: Score, part: Part, times: np.ndarray) -> np.ndarray:
    """Hertz at `times` of the note that began last, with its channel's bends; 0 where none is."""
    pitch = np.zeros(len(times))
    sounding = np.zeros(len(times), bool)
    for note in part.notes:
        start, end = np.searchsorted(times, [note.onset_seconds, note.offset_seconds])
        pitch[start:end], sounding[start:end] = note.pitch, True
    return np.where(sounding, midi_to_hz(pitch + score.bend_at(part.channel, times)), 0.0)


def _write(path: Path, kind: str, rows: Iterable[Sequence[object]]) -> None:
    with open(path, "w", newline="", encoding="ascii") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(_COLUMNS[kind])
        writer.writerows(rows)


def _read(path: Path, kind: str) -> list[list[str]]:
    try:
        with open(path, newline="", encoding="ascii") as file:
            header, *rows = csv.reader(file)
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except ValueError:  # no row at all, or bytes beyond ASCII
        header = []
    if tuple(header) != _COLUMNS[kind]:
        raise ValueError(f"{path}: must be a table of {', '.join(_COLUMNS[kind])}")
    return rows
