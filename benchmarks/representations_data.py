"""Clips for representations.py, made here: music played from MIDI, and voices of espeak-ng.

Music is learned from as one soundfont plays it, and tested as another plays other pieces. Voices
are tested on other texts than those that were learned from. All of it is drawn by a seed.
"""

from __future__ import annotations

import functools
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kzoo import audio, config
from kzoo.data import midi
from kzoo.data.midi.rendering import find_midi
from kzoo.extras import package
from kzoo.files import replacing

PARTS = ("train", "validation", "test")
_FULL_SCALE = 32767
_TOGETHER_SECONDS = 0.03  # notes that begin within it are one onset
_HEARD_SECONDS = 0.1  # of a note, for its instrument to be heard in a clip
_TEMPO, _TICKS = 500_000, 480  # microseconds and ticks of a beat
_SCALE = np.array([0, 2, 4, 5, 7, 9, 11])
_CONSONANTS = ("b", "d", "f", "g", "k", "l", "m", "n", "p", "r", "s", "t", "v", "z", "sh", "ch")
_VOWELS = ("a", "e", "i", "o", "u", "ai", "ee", "ou")


class Clips(NamedTuple):
    """sound: `[clips, samples]`, whole numbers of 16 bits. truth: `[clips, ...]` by its name."""

    sound: np.ndarray
    truth: dict[str, np.ndarray]

    def waveforms(self, chosen: Any = slice(None)) -> np.ndarray:
        """`[clips, samples, 1]`, float32."""
        return (self.sound[chosen] / np.float32(_FULL_SCALE))[..., None]


def prepared(
    path: Path, make: Callable[..., dict[str, Clips]], options: Mapping[str, Any]
) -> dict[str, Clips]:
    """{part: its clips}, made once and kept at `path`, an .npz.

    Raises SystemExit for a file that was made with other options.
    """
    identity = hashlib.sha256(config.yaml_text(config.plain(dict(options))).encode()).hexdigest()
    if not path.is_file():
        found = make(path.with_suffix(""), **options)
        arrays = {"identity": np.array(identity)}
        for part, clips in found.items():
            arrays[f"{part}.sound"] = clips.sound
            arrays |= {f"{part}.{name}": values for name, values in clips.truth.items()}
        with replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, **arrays)
    with np.load(path) as file:
        if str(file["identity"]) != identity:
            raise SystemExit(f"{path}: was made with other options; name another --work")
        arrays = {tuple(key.split(".")): file[key] for key in file.files if key != "identity"}
    return {
        part: Clips(
            arrays[part, "sound"],
            {name: v for (p, name), v in arrays.items() if p == part and name != "sound"},
        )
        for part in PARTS
    }


def music(
    work: Path, *, midi_files: Sequence[str], soundfonts: Mapping[str, str], tags: Sequence[str],
    pieces: int, seconds: float, clips: Mapping[str, int], rate: int, samples: int, hop: int,
    snr_db: Sequence[float], seed: int,
) -> dict[str, Clips]:  # fmt: skip
    """Clips with "tags" `[clips, tags]` and "onsets" `[clips, frames]` of 0 and 1.

    midi_files: files and folders, of which the first `seconds` are played; `pieces` more are made
    up. soundfonts: of "learned", which train and validation are made of, and of "test".
    """
    scores = work / "scores"
    scores.mkdir(parents=True, exist_ok=True)
    for name, path in (find_midi(midi_files) if midi_files else {}).items():
        _shorten(path, scores / f"{name}.mid", seconds)
    for number in range(pieces):
        _compose(scores / f"made_{number:04}.mid", np.random.default_rng([seed, number]), seconds)
    # A fourth of the scores are for each of validation and test, whatever else there is.
    sides = {part: [] for part in PARTS}
    for path in sorted(scores.glob("*.mid")):
        place = int(hashlib.sha256(f"{seed} {path.name}".encode()).hexdigest(), 16) % 8
        sides[("test", "test", "validation")[place] if place < 3 else "train"].append(path)
    if empty := [part for part in PARTS if not sides[part]]:
        raise SystemExit(f"no piece falls to {', '.join(empty)}: give more MIDI, or more pieces")
    found = {}
    for number, part in enumerate(PARTS):
        font = soundfonts["test" if part == "test" else "learned"]
        out = work / part
        rendered = midi.render(
            sides[part], out, soundfont=font, seed=seed, sample_rate=rate, shares=(1, 0, 0),
            say=print,
        )  # fmt: skip
        print(f"{part}: {sum(rendered.tracks.values())} pieces played by {Path(font).name}")
        rng = np.random.default_rng([seed, number])
        tracks = sorted((out / "train").iterdir())
        drawn = rng.choice(len(tracks), clips[part])
        rows = [_excerpt(tracks[k], rng, tags, rate, samples, hop, snr_db) for k in sorted(drawn)]
        order = rng.permutation(len(rows))
        sound, heard, onsets = (np.stack(column)[order] for column in zip(*rows, strict=True))
        found[part] = Clips(sound, {"tags": heard, "onsets": onsets})
    return found


def _excerpt(track: Path, rng, tags, rate: int, samples: int, hop: int, snr_db):
    """(sound, tags, onsets) of a place of a track at which something is played."""
    truth = _truth(track)
    notes = truth.notes()
    begin = notes[rng.integers(len(notes))].onset_seconds
    start = max(0, round((begin - rng.uniform(0, samples / rate)) * rate))
    first, last = start / rate, (start + samples) / rate
    sound, _ = audio.read(
        track / "mixture.flac", start_seconds=first, duration_seconds=samples / rate,
        sample_rate=rate,
    )  # fmt: skip
    heard = [
        any(
            min(note.offset_seconds, last) - max(note.onset_seconds, first) >= least
            for note in truth.notes(tag)
        )
        for tag in tags
        for least in [0.0 if tag == "drums" else _HEARD_SECONDS]
    ]
    times, onsets = truth.onsets_seconds(), np.zeros(samples // hop, np.uint8)
    for before, time in zip([-1.0, *times[:-1]], times, strict=True):
        frame = round((time - first) * rate / hop)
        if 0 <= frame < len(onsets) and time - before > _TOGETHER_SECONDS:
            onsets[frame] = 1
    return _noisy(sound.mean(axis=1), samples, snr_db, rng), np.array(heard, np.uint8), onsets


@functools.lru_cache(maxsize=1)
def _truth(track: Path) -> midi.Truth:
    return midi.read_truth(track)


def _noisy(sound: np.ndarray, samples: int, snr_db: Sequence[float], rng) -> np.ndarray:
    """`samples` of 16 bits at a level drawn for it, under white noise that many dB below it."""
    sound = np.pad(sound, (0, max(0, samples - len(sound))))[:samples]
    power = max(float(np.mean(sound**2)), 1e-9)
    noise = rng.standard_normal(samples) * np.sqrt(power * 10 ** (-rng.uniform(*snr_db) / 10))
    both = (sound + noise) * 10 ** (rng.uniform(-35, -20) / 20) / np.sqrt(power)
    return np.rint(np.clip(both, -1, 1) * _FULL_SCALE).astype(np.int16)


def _shorten(path: Path, out: Path, seconds: float) -> None:
    """Write what the first `seconds` of a MIDI file hold."""
    mido = package("mido", "a MIDI file", "midi")
    whole, tempo, elapsed = mido.MidiFile(path, clip=True), _TEMPO, 0.0
    track = mido.MidiTrack()
    for message in mido.merge_tracks(whole.tracks, skip_checks=True):
        elapsed += mido.tick2second(message.time, whole.ticks_per_beat, tempo)
        if elapsed > seconds:
            break
        tempo = message.tempo if message.type == "set_tempo" else tempo
        track.append(message)
    mido.MidiFile(type=0, ticks_per_beat=whole.ticks_per_beat, tracks=[track]).save(out)


def _compose(path: Path, rng, seconds: float) -> None:
    """Write a piece of one to four instruments, each of another family, in a key and a tempo."""
    mido = package("mido", "a MIDI file", "midi")
    beat = rng.uniform(0.4, 0.9)
    key, lowest = int(rng.integers(12)), {32: 28}  # the bass is low
    families = rng.choice([0, 8, 16, 24, 32, 40, 56, 64, 72, 80, 88, -1], rng.integers(1, 5), False)
    events = []
    for channel, family in enumerate(map(int, families)):
        drums = family < 0
        channel = 9 if drums else channel
        program = 0 if drums else family + int(rng.integers(8))
        events.append((0.0, mido.Message("program_change", channel=channel, program=program)))
        register = lowest.get(family, 48 + 12 * int(rng.integers(3)))
        time = 0.0
        while time < seconds:
            length = float(rng.choice([0.25, 0.5, 0.5, 1.0, 1.0, 2.0])) * beat
            for _ in range(1 if rng.random() < 0.7 else 3):
                degree = int(rng.integers(10))
                pitch = register + key + int(_SCALE[degree % 7]) + 12 * (degree // 7)
                pitch = int(rng.choice([35, 38, 40, 42, 46, 49])) if drums else pitch
                note = {"channel": channel, "note": pitch}
                velocity = int(rng.integers(50, 120))
                events.append((time, mido.Message("note_on", velocity=velocity, **note)))
                events.append((time + 0.9 * length, mido.Message("note_off", **note)))
            time += length * (1 if rng.random() < 0.8 else 2)
    track, before = mido.MidiTrack(), 0
    for time, message in sorted(events, key=lambda event: event[0]):
        tick = round(mido.second2tick(time, _TICKS, _TEMPO))
        track.append(message.copy(time=tick - before))
        before = tick
    mido.MidiFile(type=0, ticks_per_beat=_TICKS, tracks=[track]).save(path)


def voices(
    work: Path, *, variants: Sequence[str], clips: Mapping[str, int], rate: int, samples: int,
    pitch: Sequence[int], speed: Sequence[int], snr_db: Sequence[float], seed: int,
) -> dict[str, Clips]:  # fmt: skip
    """Clips with "speakers" `[clips]`, numbers of `variants` of espeak-ng's English voice.

    Each clip has a text of its own, of syllables that are drawn, and a pitch and a speed: neither
    tells who speaks.
    """
    if shutil.which("espeak-ng") is None:
        raise SystemExit("the program espeak-ng is not on PATH: apt-get install espeak-ng")
    found = {}
    for number, part in enumerate(PARTS):
        rng = np.random.default_rng([seed, number])
        rounds = -(-clips[part] // len(variants))  # so that few clips hold all voices, too
        speakers = np.concatenate([rng.permutation(len(variants)) for _ in range(rounds)])
        speakers = speakers[: clips[part]]
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "said.wav"
            sound = [
                _noisy(_said(path, variants[k], rng, rate, samples, pitch, speed), samples, snr_db,
                       rng)
                for k in speakers
            ]  # fmt: skip
        found[part] = Clips(np.stack(sound), {"speakers": speakers})
    return found


def _said(path: Path, variant: str, rng, rate: int, samples: int, pitch, speed) -> np.ndarray:
    """Some seconds of a voice, cut to `samples` from somewhere in them."""
    words = [
        "".join(rng.choice(_CONSONANTS) + rng.choice(_VOWELS) for _ in range(rng.integers(2, 5)))
        for _ in range(6)
    ]
    subprocess.run(
        ["espeak-ng", "-v", f"en+{variant}", "-p", str(rng.integers(*pitch)), "-s",
         str(rng.integers(*speed)), "-w", str(path), " ".join(words)],
        check=True, capture_output=True,
    )  # fmt: skip
    sound, _ = audio.read(path, sample_rate=rate)
    room = max(1, len(sound) - samples - rate // 2)  # it ends in silence
    start = int(rng.integers(rate // 10, rate // 10 + room))
    return sound[start : start + samples].mean(axis=1)
