"""The three domains that translation_small learns: a recorded violin, a rendered guitar and piano.

python configs/generation/domains.py VIOLIN MIDI SOUNDFONT OUT
    VIOLIN has recordings, whose last one by name is held out. Of each file in MIDI the channel with
    the most notes is played, in turn by a nylon guitar and a grand piano of SOUNDFONT. Written are
    OUT/<domain>/<name>.flac at 8 kHz, some 10 minutes a domain, and OUT/<domain>/held_<name>.flac
    of three pieces, or of the held-out recording, 30 s a domain.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import mido
import numpy as np
import soundfile
import soxr

RATE = 8000
PROGRAMS = {"guitar": 24, "piano": 0}
SECONDS, HELD_SECONDS, HELD_PIECES = 600, 30, 3
LEAST_NOTES = 100  # of a channel
DRUMS = 9


def solo(path: Path, program: int, out: Path) -> bool:
    """Write the busiest channel of a MIDI file for a program; whether it has enough notes."""
    try:
        score = mido.MidiFile(path, clip=True)
    except (OSError, ValueError, EOFError, KeyError):
        return False
    messages = [message for track in score.tracks for message in track]
    notes = Counter(m.channel for m in messages if m.type == "note_on" and m.channel != DRUMS)
    if not notes or max(notes.values()) < LEAST_NOTES:
        return False
    channel = max(notes, key=notes.get)
    for track in score.tracks:
        rest = 0
        for message in list(track):
            other = hasattr(message, "channel") and message.channel != channel
            if other or message.type == "program_change":
                rest += message.time
                track.remove(message)
            else:
                message.time, rest = message.time + rest, 0
    score.tracks[0].insert(0, mido.Message("program_change", channel=channel, program=program))
    score.save(out)
    return True


def played(score: Path, soundfont: Path) -> np.ndarray:
    """What a synthesiser plays, `[samples]`, without the silence before it."""
    with tempfile.TemporaryDirectory() as folder:
        sound = Path(folder, "sound.wav")
        command = ["fluidsynth", "-ni", "-q", "-R", "0", "-C", "0", "-r", "44100", "-F", sound]
        subprocess.run([*command, soundfont, score], check=True, capture_output=True)
        waveform, rate = soundfile.read(sound)
    waveform = soxr.resample(waveform.mean(axis=1), rate, RATE)
    return waveform[np.argmax(np.abs(waveform) > 0.001) :]


def write(path: Path, waveform: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    peak = max(np.abs(waveform).max(), 1e-6)
    soundfile.write(path, 0.8 * waveform / peak, RATE, subtype="PCM_16")


def violin(recordings: Path, out: Path) -> None:
    *learned, held = sorted(recordings.iterdir())
    for path in [*learned, held]:
        waveform, rate = soundfile.read(path, always_2d=True)
        waveform = soxr.resample(waveform.mean(axis=1), rate, RATE)
        if path == held:
            start = 20 * RATE
            waveform = waveform[start : start + HELD_SECONDS * RATE]
        write(out / "violin" / f"{'held_' * (path == held)}{path.stem}.flac", waveform)


def rendered(midi: Path, soundfont: Path, out: Path) -> None:
    done, held, names = Counter(), Counter(), list(PROGRAMS)
    for path in sorted(midi.glob("*.mid")):
        name = names[0]
        with tempfile.TemporaryDirectory() as folder:
            score = Path(folder, "solo.mid")
            if not solo(path, PROGRAMS[name], score):
                continue
            waveform = played(score, soundfont)
        if held[name] < HELD_PIECES:
            length, prefix = HELD_SECONDS * RATE // HELD_PIECES, "held_"
            held[name] += 1
        else:
            length, prefix = 60 * RATE, ""
            done[name] += min(len(waveform), length) / RATE
        write(out / name / f"{prefix}{path.stem}.flac", waveform[:length])
        names = names[1:] + names[:1]
        if min(done[name] for name in PROGRAMS) > SECONDS:
            return


if __name__ == "__main__":
    if len(sys.argv) != 5:
        sys.exit(__doc__)
    recordings, midi, soundfont, out = map(Path, sys.argv[1:])
    violin(recordings, out)
    rendered(midi, soundfont, out)
