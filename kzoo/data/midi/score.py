"""A MIDI file as what it asks a synthesiser to play, in seconds.

What is kept is what can be told exactly: notes with the pedal worked into their ends, bends and
tunings in semitones, volume, expression and panning, beats. Modulation, aftertouch, portamento and
sound controllers are left out, so that a note's pitch is its number and its bend; so are banks and
system messages: what is played is General MIDI.
"""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kzoo.data.midi.instruments import DRUM_CHANNEL
from kzoo.extras import package

CONTROLS = {7: 100, 10: 64, 11: 127}  # volume, panning, expression: what they are before any
VOLUME, EXPRESSION = 7, 11
BEND_RANGE = 48  # semitones either way, beyond which bends and tunings together are cut
LONGEST_SECONDS = 1800.0
PITCHES = 128
_SUSTAIN, _SOUND_OFF, _RESET, _NOTES_OFF = 64, 120, 121, 123
_DATA, _DATA_FINE, _RPN_FINE, _RPN, _NRPNS = 6, 38, 100, 101, (98, 99)


class Note(NamedTuple):
    """offset: when key and pedal let it go; sound may ring on after it. program: from 0."""

    onset_seconds: float
    offset_seconds: float
    pitch: int
    velocity: int
    channel: int
    program: int


class Beat(NamedTuple):
    """position: in its bar, from 1, which is the downbeat."""

    seconds: float
    position: int


@dataclass(frozen=True)
class Score:
    """What is played; times in seconds from the beginning.

    notes: in the order of their onsets. bends: {channel: (seconds, semitones) of each change}.
    controls: {channel: (seconds, number, value)}, of `CONTROLS`. copyright: what the file says.
    """

    notes: Sequence[Note]
    bends: dict[int, list[tuple[float, float]]]
    controls: dict[int, list[tuple[float, int, int]]]
    beats: Sequence[Beat]
    copyright: str = ""

    @property
    def seconds(self) -> float:
        """When the last note is let go."""
        return max(note.offset_seconds for note in self.notes)

    def faster(self, factor: float) -> Score:
        """The same at `factor` times the tempo."""
        return dataclasses.replace(
            self,
            notes=[
                note._replace(
                    onset_seconds=note.onset_seconds / factor,
                    offset_seconds=note.offset_seconds / factor,
                )
                for note in self.notes
            ],
            bends={k: [(t / factor, *rest) for t, *rest in b] for k, b in self.bends.items()},
            controls={k: [(t / factor, *rest) for t, *rest in c] for k, c in self.controls.items()},
            beats=[beat._replace(seconds=beat.seconds / factor) for beat in self.beats],
        )

    def bend_at(self, channel: int, seconds: np.ndarray) -> np.ndarray:
        """Semitones by which the channel is bent at each of `seconds`."""
        return _steps(self.bends.get(channel, []), 0.0, seconds)


def read(path: str | Path) -> Score:
    """The score of a MIDI file of type 0 or 1.

    Raises ValueError for a file that is damaged, empty or of another kind, ImportError without
    mido.
    """
    mido = package("mido", "a MIDI file", "midi")
    try:
        file = mido.MidiFile(path, clip=True)
        messages = mido.merge_tracks(file.tracks, skip_checks=True)
    except FileNotFoundError:
        raise ValueError(f"{path}: there is no such file") from None
    # What mido raises on damaged bytes: it checks little itself.
    except (OSError, EOFError, ValueError, LookupError, TypeError, AttributeError) as error:
        words = " ".join(str(error).split()) or type(error).__name__
        raise ValueError(f"{path}: is no MIDI file, or a damaged one ({words})") from None
    if file.type not in (0, 1):
        raise ValueError(f"{path}: must be a MIDI file of type 0 or 1; got type {file.type}")
    if file.ticks_per_beat <= 0:
        raise ValueError(f"{path}: counts its time in film frames, not in beats: convert it")
    clock = _Clock(file.ticks_per_beat)
    reader, signatures, copyright, tick = _Reader(), [], [], 0
    for message in messages:
        tick += message.time
        seconds = clock.at(tick)
        if seconds > LONGEST_SECONDS and not message.is_meta:
            raise ValueError(
                f"{path}: goes on for {seconds / 60:.0f} minutes; at most "
                f"{LONGEST_SECONDS / 60:.0f} are rendered: is it damaged?"
            )
        if message.type == "set_tempo":
            clock.change(tick, message.tempo)
        elif message.type == "time_signature":
            signatures.append((tick, message.numerator, message.denominator))
        elif message.type == "copyright":
            copyright.append(" ".join(message.text.split()))
        elif not message.is_meta:
            reader.take(message, seconds)
    notes = reader.finished(clock.at(tick))
    if not notes:
        raise ValueError(f"{path}: holds no note that can be heard")
    end = max(note.offset_seconds for note in notes)
    beats = list(_beats(signatures, clock, end))
    return Score(notes, dict(reader.bends), dict(reader.controls), beats, "; ".join(copyright))


def pitched(notes: Sequence[Note]) -> np.ndarray:
    """What `piano_roll` takes, `[notes, 3]`: onset and offset in seconds, pitch; without drums."""
    rows = [note[:3] for note in notes if note.channel != DRUM_CHANNEL]
    return np.array(rows, np.float64).reshape(-1, 3)


def piano_roll(
    notes: np.ndarray, frames: int, *, frame_seconds: float, start_seconds: float = 0.0
) -> np.ndarray:
    """Which pitches sound in frames from a time on, `[frames, PITCHES]` of 0 and 1, float32.

    notes: as `pitched` has them; each sounds in all frames of which it has a part.
    """
    roll = np.zeros((frames, PITCHES), np.float32)
    starts, ends = (notes[:, :2].T - start_seconds) / frame_seconds
    starts = np.maximum(np.floor(starts + 1e-6), 0).astype(int)  # as 0.3 / 0.1 is not 3
    ends = np.clip(np.ceil(ends - 1e-6), 0, frames).astype(int)
    heard = starts < ends
    for start, end, pitch in zip(starts[heard], ends[heard], notes[heard, 2], strict=True):
        roll[start:end, int(pitch)] = 1
    return roll


class _Clock:
    """Seconds of ticks; the tempo changes in the order of time."""

    def __init__(self, ticks_per_beat: int):
        self._ticks_per_beat = ticks_per_beat
        self._changes = [(0, 0.0, 0.5 / ticks_per_beat)]  # (tick, seconds, seconds a tick)

    def change(self, tick: int, microseconds: int) -> None:
        if microseconds > 0:
            per_tick = microseconds / 1e6 / self._ticks_per_beat
            self._changes.append((tick, self.at(tick), per_tick))

    def at(self, tick: float) -> float:
        start, seconds, per_tick = next(c for c in reversed(self._changes) if c[0] <= tick)
        return seconds + (tick - start) * per_tick

    @property
    def ticks_per_beat(self) -> int:
        return self._ticks_per_beat


class _Reader:
    """Messages of channels to notes, bends and controls."""

    def __init__(self):
        self.bends = defaultdict(list)
        self.controls = defaultdict(list)
        self._notes: list[Note] = []
        self._sounding: dict[tuple[int, int], Note] = {}  # by channel and key
        self._let_go: set[tuple[int, int]] = set()  # of these, the ones that the pedal holds
        self._pedal: set[int] = set()
        self._programs = defaultdict(int)
        self._wheel = defaultdict(float)  # -1 to 1
        self._range = defaultdict(lambda: 2.0)
        self._tuning = defaultdict(lambda: {"coarse": 0.0, "fine": 0.0})
        self._parameter = defaultdict(lambda: [127, 127])  # 127 127 is none
        self._data = defaultdict(lambda: [0, 0])

    def take(self, message, seconds: float) -> None:
        kind = message.type
        if kind == "note_on" and message.velocity > 0:
            key = message.channel, message.note
            self._end(key, seconds)
            program = self._programs[message.channel]
            self._sounding[key] = Note(
                seconds, seconds, message.note, message.velocity, message.channel, program
            )
        elif kind in ("note_on", "note_off"):
            self._release((message.channel, message.note), seconds)
        elif kind == "program_change":
            self._programs[message.channel] = message.program
        elif kind == "pitchwheel":
            self._wheel[message.channel] = message.pitch / 8192
            self._bend(message.channel, seconds)
        elif kind == "control_change":
            self._control(message.channel, message.control, message.value, seconds)

    def finished(self, seconds: float) -> list[Note]:
        """The notes that can be heard; what still sounds ends now."""
        for key in list(self._sounding):
            self._end(key, seconds)
        notes = sorted(self._notes, key=lambda note: (note.onset_seconds, note.channel, note.pitch))
        silent = {channel: list(self._silences(channel)) for channel in self.controls}
        return [
            note for note in notes
            if not any(start <= note.onset_seconds and note.offset_seconds <= end
                       for start, end in silent.get(note.channel, ()))
        ]  # fmt: skip

    def _control(self, channel: int, control: int, value: int, seconds: float) -> None:
        if control in CONTROLS:
            self.controls[channel].append((seconds, control, value))
        elif control == _SUSTAIN and value >= 64:
            self._pedal.add(channel)
        elif control == _SUSTAIN:
            self._pedal_up(channel, seconds)
        elif control in (_SOUND_OFF, _NOTES_OFF):
            for key in [key for key in self._sounding if key[0] == channel]:
                (self._end if control == _SOUND_OFF else self._release)(key, seconds)
        elif control == _RESET:
            self._pedal_up(channel, seconds)
            self._wheel[channel] = 0.0
            self._bend(channel, seconds)
            self.controls[channel].append((seconds, EXPRESSION, CONTROLS[EXPRESSION]))
        elif control in (_RPN, _RPN_FINE):
            self._parameter[channel][control == _RPN_FINE] = value
        elif control in _NRPNS:
            self._parameter[channel] = [127, 127]
        elif control in (_DATA, _DATA_FINE):
            self._data[channel][control == _DATA_FINE] = value
            self._tune(channel, fine=control == _DATA_FINE)
            self._bend(channel, seconds)

    def _tune(self, channel: int, *, fine: bool) -> None:
        """Data for the registered parameter: range of the wheel, fine or coarse tuning."""
        coarse_value, fine_value = self._data[channel]
        if not fine:
            fine_value = self._data[channel][1] = 0
        if self._parameter[channel] == [0, 0]:
            self._range[channel] = coarse_value + fine_value / 100
        elif self._parameter[channel] == [0, 1]:
            self._tuning[channel]["fine"] = (coarse_value * 128 + fine_value) / 8192 - 1
        elif self._parameter[channel] == [0, 2]:
            self._tuning[channel]["coarse"] = coarse_value - 64.0

    def _bend(self, channel: int, seconds: float) -> None:
        bend = self._wheel[channel] * self._range[channel] + sum(self._tuning[channel].values())
        bend = min(max(bend, -BEND_RANGE), BEND_RANGE)
        last = self.bends[channel][-1][1] if self.bends[channel] else 0.0
        if bend != last:
            self.bends[channel].append((seconds, bend))

    def _pedal_up(self, channel: int, seconds: float) -> None:
        self._pedal.discard(channel)
        for key in [key for key in self._let_go if key[0] == channel]:
            self._end(key, seconds)

    def _release(self, key: tuple[int, int], seconds: float) -> None:
        if key[0] not in self._pedal:
            self._end(key, seconds)
        elif key in self._sounding:
            self._let_go.add(key)

    def _end(self, key: tuple[int, int], seconds: float) -> None:
        self._let_go.discard(key)
        if note := self._sounding.pop(key, None):
            self._notes.append(note._replace(offset_seconds=seconds))

    def _silences(self, channel: int) -> Iterator[tuple[float, float]]:
        """From when to when the volume or the expression of a channel is zero."""
        for number in (VOLUME, EXPRESSION):
            start = None
            for seconds, _, value in [c for c in self.controls[channel] if c[1] == number]:
                if value == 0 and start is None:
                    start = seconds
                elif value > 0 and start is not None:
                    yield start, seconds
                    start = None
            if start is not None:
                yield start, float("inf")


def _steps(changes: Sequence[tuple[float, float]], before: float, seconds: np.ndarray):
    """The value that holds at each of `seconds`, which changes at once."""
    times = np.array([time for time, _ in changes])
    values = np.array([before, *(value for _, value in changes)])
    return values[np.searchsorted(times, seconds, side="right")]


def _beats(signatures: Sequence[tuple[int, int, int]], clock: _Clock, end: float) -> Iterator[Beat]:
    """Beats up to `end`: of the signature's denominator, of three of them in 6/8, 9/8 and 12/8."""
    if not signatures or signatures[0][0] > 0:
        signatures = [(0, 4, 4), *signatures]
    for (start, numerator, denominator), following in zip(
        signatures, [*signatures[1:], None], strict=True
    ):
        compound = numerator > 3 and numerator % 3 == 0 and denominator >= 8
        length = clock.ticks_per_beat * 4 / denominator * (3 if compound else 1)
        in_bar = max(numerator // 3 if compound else numerator, 1)
        number, tick = 0, float(start)
        while (seconds := clock.at(tick)) < end and (following is None or tick < following[0]):
            yield Beat(seconds, 1 + number % in_bar)
            number += 1
            tick = start + number * length
