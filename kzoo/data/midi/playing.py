"""A score to sound by the fluidsynth program and a soundfont."""

from __future__ import annotations

import functools
import shutil
import struct
import subprocess
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np

from kzoo import audio
from kzoo.data.midi.instruments import DRUM_CHANNEL, stem_of
from kzoo.data.midi.score import BEND_RANGE, CONTROLS, Score
from kzoo.files import file_sha256

SAMPLE_RATES = (8000, 96000)
INSTALL = "apt-get install fluidsynth timgm6mb-soundfont (or fluid-soundfont-gm, which is larger)"
_PLACES = (
    "/usr/share/sounds/sf2", "/usr/share/sounds/sf3", "/usr/share/soundfonts",
    "/usr/local/share/soundfonts", "/usr/local/share/sounds/sf2", "/opt/homebrew/share/soundfonts",
    "~/.local/share/soundfonts",
)  # fmt: skip
_BEST = ("FluidR3_GM.sf2", "GeneralUser-GS.sf2", "MuseScore_General.sf3", "TimGM6mb.sf2")
_TICKS_A_SECOND = 10000
# The program plays what is due at the beginning of a block one block later.
_BLOCK = 64
_LEAD_SECONDS = 0.1  # programs, volumes and bends are set before the first note
_TAIL_SECONDS = 10.0


@dataclass(frozen=True)
class SoundFont:
    """presets: (bank, program), drums in bank 128. copyright: what the file says of itself."""

    path: Path
    name: str
    copyright: str
    presets: frozenset[tuple[int, int]]

    @functools.cached_property
    def sha256(self) -> str:
        """Of the file."""
        return file_sha256(self.path)


class Stopped(Exception):
    """Playing was given up because it was asked to."""


def open_soundfont(path: str | Path | None = None) -> SoundFont:
    """The soundfont at `path`, or else the best of those in the usual places.

    Raises ValueError where there is none, or the file is no SF2 or SF3.
    """
    path = _found() if path is None else Path(path)
    try:
        with open(path, "rb") as file:
            chunks = dict(_chunks(file, {b"INAM", b"ICOP", b"phdr"}))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read ({error.strerror})") from None
    except (struct.error, ValueError):
        chunks = {}
    records = chunks.get(b"phdr", b"")
    if len(records) < 2 * 38 or len(records) % 38:
        raise ValueError(f"{path}: is no soundfont (.sf2 or .sf3), or a damaged one")
    presets = (
        struct.unpack_from("<HH", records, at + 20) for at in range(0, len(records) - 38, 38)
    )
    name, copyright = (
        " ".join(chunks.get(key, b"").split(b"\0")[0].decode("latin-1").split())
        for key in (b"INAM", b"ICOP")
    )
    return SoundFont(
        path, name or path.stem, copyright or "not stated",
        frozenset((bank, program) for program, bank in presets),
    )  # fmt: skip


def fluidsynth() -> str:
    """The version of the program; ValueError with the way to it where there is none."""
    if shutil.which("fluidsynth") is None:
        raise ValueError(f"the program fluidsynth is not on PATH: {INSTALL}")
    run = subprocess.run(["fluidsynth", "--version"], capture_output=True, text=True, check=False)
    return next((word for word in run.stdout.split() if word[0].isdigit()), "unknown")


def play(
    score: Score,
    stem: str,
    soundfont: SoundFont,
    sample_rate: int,
    folder: Path,
    stop: threading.Event | None = None,
) -> np.ndarray:
    """The notes of a stem `[samples, 2]`, float32 and not limited to full scale, dry.

    It ends 10 s after the last note of the whole score is let go. Notes begin within 3 ms after
    their onsets at 44.1 kHz: the program plays in blocks of 64 samples. folder: for two files.
    Raises ValueError where the program fails, Stopped after `stop` is set.
    """
    midi, sound = folder / "stem.mid", folder / "stem.wav"
    _write_midi(score, stem, midi)
    command = [
        "fluidsynth", "--no-midi-in", "--no-shell", "--quiet", "--load-config=/dev/null",
        "--reverb=0", "--chorus=0", "--gain=0.2", f"--sample-rate={sample_rate}",
        "-o", "synth.polyphony=2048", "-o", "synth.dynamic-sample-loading=1",
        "-o", "synth.lock-memory=0", "--audio-file-type=wav", "--audio-file-format=float",
        f"--fast-render={sound}", str(soundfont.path.resolve()), str(midi),
    ]  # fmt: skip
    # In a session of its own, Ctrl-C reaches this program alone, which ends the other one.
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE,
        text=True, errors="replace", start_new_session=True,
    ) as program:  # fmt: skip
        while True:
            try:
                _, said = program.communicate(timeout=0.1)
                break
            except subprocess.TimeoutExpired:
                if stop is not None and stop.is_set():
                    program.kill()
                    raise Stopped from None
    if program.returncode or not sound.is_file():
        words = " ".join(said.split())[-200:] or f"exit status {program.returncode}"
        raise ValueError(f"fluidsynth did not play it: {words}")
    waveform, _ = audio.read(sound)
    midi.unlink()
    sound.unlink()
    start = round(_LEAD_SECONDS * sample_rate) + _BLOCK
    samples = round((score.seconds + _TAIL_SECONDS) * sample_rate)
    waveform = waveform[start : start + samples]
    return np.pad(waveform, ((0, samples - len(waveform)), (0, 0)))


def _write_midi(score: Score, stem: str, path: Path) -> None:
    """The notes of a stem at a steady 0.1 ms a tick, by which no tempo is rounded by the player."""
    import mido

    events: list[tuple[float, int, mido.Message]] = []
    notes = [note for note in score.notes if stem_of(note.channel, note.program) == stem]
    for channel in sorted({note.channel for note in notes}):
        events += [(-_LEAD_SECONDS, 0, message) for message in _opening(channel)]
        for seconds, bend in score.bends.get(channel, []):
            value = min(max(round(bend / BEND_RANGE * 8192), -8192), 8191)
            events.append((seconds, 1, mido.Message("pitchwheel", channel=channel, pitch=value)))
        for seconds, control, value in score.controls.get(channel, []):
            events.append((seconds, 1, _control(channel, control, value)))
    for note in notes:
        key = {"channel": note.channel, "note": note.pitch}
        program = mido.Message("program_change", channel=note.channel, program=note.program)
        start = mido.Message("note_on", velocity=note.velocity, **key)
        # One tick at least: a note that ended as it began would never end.
        end = max(note.offset_seconds, note.onset_seconds + 1 / _TICKS_A_SECOND)
        events += [(note.onset_seconds, 3, program), (note.onset_seconds, 4, start)]
        events.append((end, 2, mido.Message("note_off", **key)))
    # A controller without a meaning, up to which the program goes on playing.
    events.append((score.seconds + _TAIL_SECONDS, 5, _control(0, 3, 0)))
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=500_000)])
    last = 0
    ticks = [(round((t + _LEAD_SECONDS) * _TICKS_A_SECOND), *rest) for t, *rest in events]
    for tick, _, message in sorted(ticks, key=lambda event: event[:2]):
        track.append(message.copy(time=tick - last))
        last = tick
    file = mido.MidiFile(ticks_per_beat=_TICKS_A_SECOND // 2)
    file.tracks.append(track)
    file.save(path)


def _opening(channel: int) -> Iterator:
    """What a channel is told first: the range of its bends, and its controls before any."""
    if channel != DRUM_CHANNEL:
        for control, value in (
            (101, 0),
            (100, 0),
            (6, BEND_RANGE),
            (38, 0),
            (101, 127),
            (100, 127),
        ):
            yield _control(channel, control, value)
    for control, value in CONTROLS.items():
        yield _control(channel, control, value)


def _control(channel: int, control: int, value: int):
    import mido

    return mido.Message("control_change", channel=channel, control=control, value=value)


def _found() -> Path:
    found = {
        path.name: path
        for place in reversed(_PLACES)
        for path in sorted(Path(place).expanduser().glob("*.sf[23]"))
    }
    if not found:
        raise ValueError(
            f"there is no soundfont in {', '.join(_PLACES)}: name one by --soundfont, or {INSTALL}"
        )
    return next((found[name] for name in _BEST if name in found), found[min(found)])


def _chunks(file: BinaryIO, wanted: set[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """The chunks of these names in a RIFF file and its lists."""
    kind, size, form = struct.unpack("<4sI4s", file.read(12))
    if (kind, form) != (b"RIFF", b"sfbk"):
        raise ValueError("no soundfont")
    while len(header := file.read(8)) == 8:
        kind, size = struct.unpack("<4sI", header)
        if kind == b"LIST":
            file.seek(4, 1)  # its chunks follow one by one
        elif kind in wanted:
            yield kind, file.read(size)
            file.seek(size % 2, 1)
        else:
            file.seek(size + size % 2, 1)
