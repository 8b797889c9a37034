"""The melody of a recording as a CSV, a picture, a tone and MIDI: whole or not at all."""

from __future__ import annotations

import contextlib
import csv
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Protocol

import numpy as np

from kzoo.audio import AudioReader, AudioWriter
from kzoo.extras import package
from kzoo.files import replacing_all
from kzoo.pitch_tracking.melody import Melody, MelodyTracker, notes

COLUMNS = ("time_s", "f0_hz", "voiced", "confidence")
_TICKS_A_SECOND = 960
_AMPLITUDE = 0.3


class Picture(Protocol):
    """What watches a melody go by and draws it at the end, as `pictures.melody.Overview` does."""

    def follow(self, melody: Melody, voiced: np.ndarray) -> None:
        """Take the next frames."""

    def draw(self, path: Path, title: str) -> None:
        """Write the picture as PNG."""


def follow_melody(
    tracker: MelodyTracker,
    path: Path,
    targets: Mapping[str, Path],
    *,
    threshold: float,
    picture: Picture | None = None,
    progress: Callable[[float, float | None], object] | None = None,
) -> tuple[str, list[str]]:
    """Write a recording's melody to `targets`; a line about it, and what its reader warns of.

    targets: "csv", and "png" for the picture, "wav" for a tone that plays the melody, "mid" for
    its notes. threshold: frames of less confidence are not voiced; their f0 is written all the
    same. progress: called with (seconds done, seconds in all or None); a recording is read twice.
    Whatever is raised, nothing half-written stays.
    """
    voiced, frames, done, warnings = 0, 0, 0.0, []
    with replacing_all(targets) as new:
        with AudioReader(path) as reader:
            rate = reader.sample_rate
            total = reader.samples and reader.samples / rate

        def reading() -> Iterable[np.ndarray]:
            nonlocal done, warnings
            with AudioReader(path) as reader:
                for block in reader.blocks():
                    done += len(block) / rate / 2
                    if progress:
                        progress(done, total)
                    yield block
                warnings = reader.warnings

        def stretches(writer, tone):
            nonlocal voiced, frames
            for melody in tracker.track(reading, rate):
                is_voiced = melody.confidence >= threshold
                writer.writerows(_rows(melody, is_voiced))
                if tone:
                    tone.play(melody.f0_hz, is_voiced)
                if picture:
                    picture.follow(melody, is_voiced)
                voiced, frames = voiced + is_voiced.sum(), frames + len(is_voiced)
                yield melody

        with contextlib.ExitStack() as stack:
            file = stack.enter_context(open(new["csv"], "w", newline="", encoding="ascii"))
            writer = csv.writer(file, lineterminator="\n")
            writer.writerow(COLUMNS)
            tone = None
            if "wav" in new:
                sound = stack.enter_context(AudioWriter(new["wav"], tracker.sample_rate, 1))
                tone = Tone(sound, tracker.hop_length)
            played = list(notes(stretches(writer, tone), tracker.frame_rate, threshold))
        if "mid" in new:
            write_midi(new["mid"], played)
        if picture:
            picture.draw(new["png"], f"{path.name}, {tracker.preset}")
    share = 100 * voiced / frames
    return f"{done:.1f} s, melody in {share:.0f} % of it, {len(played)} notes", list(warnings)


def _rows(melody: Melody, voiced: np.ndarray):
    for time, hz, sounds, confidence in zip(
        melody.times_seconds, melody.f0_hz, voiced, melody.confidence, strict=True
    ):
        yield f"{time:.4f}", f"{hz:.3f}", int(sounds), f"{confidence:.4f}"


class Tone:
    """A sine that plays a melody into `writer`: its phase goes on, and it is silent between."""

    def __init__(self, writer: AudioWriter, hop_length: int):
        self._writer, self._ramp = writer, np.arange(1, hop_length + 1) / hop_length
        self._turns, self._hz, self._gain = 0.0, None, 0.0

    def play(self, f0_hz: np.ndarray, voiced: np.ndarray) -> None:
        """Write the sound of the hops that lead to these frames."""
        with_before = np.concatenate([f0_hz[:1] if self._hz is None else [self._hz], f0_hz])
        gains = np.concatenate([[self._gain], voiced * _AMPLITUDE])
        # A tone glides within a semitone, and else jumps: no note is heard on the way.
        end = with_before[1:]
        start = np.where(gains[:-1] > 0, with_before[:-1], end)
        end_here = np.where(np.abs(np.log2(end / start)) < 1 / 12, end, start)
        hz = start[:, None] + (end_here - start)[:, None] * self._ramp
        gain = gains[:-1, None] + np.diff(gains)[:, None] * self._ramp
        turns = self._turns + np.cumsum(hz.ravel() / self._writer.sample_rate)
        self._writer.write((np.sin(2 * np.pi * turns) * gain.ravel())[:, None].astype(np.float32))
        self._turns, self._hz, self._gain = turns[-1] % 1, f0_hz[-1], gains[-1]


def write_midi(path: Path, played: Iterable[tuple[int, float, float, float]]) -> None:
    """Write (note, start, end, confidence) as a MIDI file, confidence as velocity.

    Raises ImportError with the pip line without mido.
    """
    mido = package("mido", "a MIDI file", "midi")
    events = []
    for note, start, end, confidence in played:
        velocity = int(np.clip(round(127 * confidence), 1, 127))
        events.append((start, "note_on", note, velocity))
        events.append((end, "note_off", note, 0))
    track = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=500_000)])
    before = 0
    for seconds, kind, note, velocity in sorted(events):
        ticks = round(seconds * _TICKS_A_SECOND)
        track.append(mido.Message(kind, note=note, velocity=velocity, time=ticks - before))
        before = ticks
    file = mido.MidiFile(ticks_per_beat=_TICKS_A_SECOND // 2)
    file.tracks.append(track)
    file.save(path)
