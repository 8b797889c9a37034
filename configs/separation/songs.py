"""The songs behind the small separation presets: stems, and music without any voice.

python configs/separation/songs.py STEMS GAMES MIDI SOUNDFONT PROMPTS OUT

STEMS      folder of songs as {vocals,drums,bass,other}.ogg; 1.Hydrogen is held out
GAMES      .../fretsonfire/data/songs, of Debian's fretsonfire-songs-{muldjord,sectoid}
MIDI       folder of freedoom's General MIDI pieces; the first 33 by name are rendered
SOUNDFONT  FluidR3_GM.sf2, of Debian's fluid-soundfont-gm; needs the fluidsynth command
PROMPTS    .../asterisk/sounds, of Debian's asterisk-core-sounds-{en,es,fr,it,ru}-g722: speech

OUT/songs/<track>/{vocals,accompaniment}.wav  the stems as they are and at five other speeds
OUT/songs/<game or midi>/accompaniment.wav    music without a voice
OUT/songs/<speaker>/vocals.wav                voices without music, six minutes each at three speeds
OUT/untaught/<game>.wav                       songs with a voice whose stems a teacher has to make
OUT/four/<track>/{vocals,drums,bass,other}.wav
OUT/held_out/1.Hydrogen/...                   the song that no model learns from
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import av
import numpy as np
import soundfile
import soxr

RATE = 44100
HELD_OUT = "1.Hydrogen"
PARTS = ("vocals", "drums", "bass", "other")
SPEEDS = (-3.0, -1.5, 0.0, 1.5, 3.0)  # in semitones: pitch and tempo together
SPEECH_RATE, SPEECH_SECONDS = 16000, 360


def read(path: Path) -> np.ndarray:
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return sound if rate == RATE else soxr.resample(sound, rate, RATE)


def write(path: Path, sound: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, np.clip(sound, -1, 1), RATE, subtype="PCM_16")


def at_speed(sound: np.ndarray, rate: float, semitones: float) -> np.ndarray:
    rate *= 2 ** (semitones / 12)
    return sound if rate == RATE else soxr.resample(sound, rate, RATE)


def stems(folder: Path) -> dict[str, np.ndarray]:
    found = {
        name: read(folder / f"{name}.ogg") for name in PARTS if (folder / f"{name}.ogg").is_file()
    }
    length = max(map(len, found.values()))
    return {
        name: np.pad(sound, ((0, length - len(sound)), (0, 0))) for name, sound in found.items()
    }


def songs(root: Path, out: Path) -> None:
    for folder in sorted(p for p in root.iterdir() if (p / "vocals.ogg").is_file()):
        found = stems(folder)
        goal = out / ("held_out" if folder.name == HELD_OUT else "four") / folder.name
        for name, sound in found.items():
            write(goal / f"{name}.wav", sound)
        if folder.name == HELD_OUT:
            continue
        two = {
            "vocals": found["vocals"],
            "accompaniment": sum(found[n] for n in found if n != "vocals"),
        }
        for semitones in SPEEDS:
            for name, sound in two.items():
                goal = out / "songs" / f"{folder.name} {semitones:+}" / f"{name}.wav"
                write(goal, at_speed(sound, RATE, semitones))


def games(root: Path, out: Path) -> None:
    for folder in sorted(p.parent for p in root.glob("*/*/guitar.ogg")):
        guitar, song = read(folder / "guitar.ogg"), read(folder / "song.ogg")
        length = min(len(guitar), len(song))
        whole = guitar[:length] + song[:length]
        if folder.parent.name == "muldjord":
            write(out / "untaught" / f"{folder.name}.wav", whole)
        else:
            write(out / "songs" / folder.name / "accompaniment.wav", whole)


def midi(root: Path, soundfont: Path, out: Path) -> None:
    for piece in sorted(root.glob("freedoom*.mid"))[:33]:
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            command = ["fluidsynth", "-ni", "-q", "-r", str(RATE), "-g", "0.5", "-F", file.name]
            subprocess.run([*command, soundfont, piece], check=True, capture_output=True)
            write(out / "songs" / piece.stem / "accompaniment.wav", read(Path(file.name)))


def speech(root: Path, out: Path) -> None:
    for speaker in sorted(p for p in root.iterdir() if p.is_dir() and not p.is_symlink()):
        prompts = sorted(speaker.rglob("*.g722"))
        found, samples = [], 0
        for number in np.random.default_rng(0).permutation(len(prompts)):
            with av.open(str(prompts[number]), format="g722") as file:
                frames = [frame.to_ndarray()[0] for frame in file.decode(audio=0)]
            found.append(np.concatenate(frames).astype(np.float32) / 32768)
            samples += len(found[-1])
            if samples > SPEECH_SECONDS * SPEECH_RATE:
                break
        sound = np.repeat(np.concatenate(found)[:, None], 2, axis=1)
        for semitones in SPEEDS[::2]:
            goal = out / "songs" / f"{speaker.name} {semitones:+}" / "vocals.wav"
            write(goal, at_speed(sound, SPEECH_RATE, semitones))


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    stems_root, games_root, midi_root, soundfont, prompts, out = map(Path, sys.argv[1:])
    songs(stems_root, out)
    games(games_root, out)
    midi(midi_root, soundfont, out)
    speech(prompts, out)
