"""The noise behind the speech enhancement presets, one folder a kind, 16 kHz mono.

python configs/enhancement/noisy.py NOISE MIDI SOUNDFONT KEYS SAMPLES OUT

NOISE      folder of recorded noises (wav); those in UNSEEN are for tests alone
MIDI       folder of freedoom's General MIDI pieces
SOUNDFONT  FluidR3_GM.sf2, of Debian's fluid-soundfont-gm; needs the fluidsynth command
KEYS       .../buckle/wav, of Debian's bucklespring-data: keys of a keyboard, pressed and released
SAMPLES    .../sonic-pi/samples, of Debian's sonic-pi-samples: drums, clangs, hiss

OUT/recorded/<name>.wav            as they are
OUT/music/<piece>.wav              the first minute of 33 pieces
OUT/keyboard/, impacts/            single sounds at random times, a minute a file
OUT/unseen_{kitchen,various,music,tabla}/   what no training may name
The speech is Debian's asterisk-core-sounds-{en,es,fr,it,ru}-g722, as `kzoo data prepare` reads it;
the other noises are made up while training, see kzoo/data/mixing/noises.py.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 16000
UNSEEN = {
    "doing_the_dishes": "unseen_kitchen", "noise_freesound_573577": "unseen_various",
    "speechbrain_noise2": "unseen_various", "speechbrain_noise5": "unseen_various",
}  # fmt: skip
TRAINING_PIECES, UNSEEN_PIECES = 33, 6
MINUTE = 60 * RATE


def read(path: Path) -> np.ndarray:
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    mono = sound.mean(axis=1)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE)


def write(path: Path, sound: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    sound = sound / max(1.0, np.abs(sound).max())
    soundfile.write(path, sound, RATE, subtype="PCM_16")


def recorded(root: Path, out: Path) -> None:
    for path in sorted(root.glob("*.wav")):
        write(out / UNSEEN.get(path.stem, "recorded") / path.name, read(path))


def music(root: Path, soundfont: Path, out: Path) -> None:
    pieces = sorted(root.glob("freedoom*.mid"))
    kinds = ["music"] * TRAINING_PIECES + ["unseen_music"] * UNSEEN_PIECES
    for piece, kind in zip(pieces, kinds, strict=False):
        with tempfile.NamedTemporaryFile(suffix=".wav") as file:
            command = ["fluidsynth", "-ni", "-q", "-r", str(RATE), "-g", "0.5", "-F", file.name]
            subprocess.run([*command, soundfont, piece], check=True, capture_output=True)
            write(out / kind / f"{piece.stem}.wav", read(Path(file.name))[:MINUTE])


def scattered(rng, sounds: list[np.ndarray], gap_seconds: tuple[float, float]) -> np.ndarray:
    """A minute of single sounds, each louder or softer by up to 12 dB, at random times."""
    minute, at = np.zeros(MINUTE, np.float32), 0
    while at < MINUTE:
        sound = sounds[rng.integers(len(sounds))][: MINUTE - at]
        minute[at : at + len(sound)] += sound * 10 ** (rng.uniform(-12, 0) / 20)
        at += int(rng.uniform(*gap_seconds) * RATE)
    return minute


def single_sounds(keys: Path, samples: Path, out: Path) -> None:
    rng = np.random.default_rng(0)
    drums = [p for name in ("drum", "elec", "perc", "glitch", "sn", "misc", "vinyl")
             for p in sorted(samples.glob(f"{name}_*.flac"))]  # fmt: skip
    kinds = {
        "keyboard": (sorted(keys.glob("*.wav")), (0.05, 0.35), 3),
        "impacts": (drums, (0.1, 1.0), 4),
        "unseen_tabla": (sorted(samples.glob("tabla_*.flac")), (0.1, 0.8), 1),
    }
    for kind, (paths, gap_seconds, minutes) in kinds.items():
        sounds = [read(path)[: 2 * RATE] for path in paths]
        for number in range(minutes):
            write(out / kind / f"{number}.wav", scattered(rng, sounds, gap_seconds))


if __name__ == "__main__":
    if len(sys.argv) != 7:
        sys.exit(__doc__)
    noise, midi, soundfont, keys, samples, out = map(Path, sys.argv[1:])
    recorded(noise, out)
    music(midi, soundfont, out)
    single_sounds(keys, samples, out)
