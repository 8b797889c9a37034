"""The three domains that translation_small learns: a recorded violin, a rendered guitar and piano.

python configs/generation/domains.py VIOLIN MIDI SOUNDFONT OUT
    VIOLIN has recordings, whose last one by name is held out. Of each file in MIDI the channel with
    the most notes is played, in turn by a nylon guitar and a grand piano of SOUNDFONT. Written are
    OUT/<domain>/<name>.flac at 8 kHz, some 10 minutes a domain, and OUT/<domain>/held_<name>.flac
    of three pieces, or of the held-out recording, 30 s a domain.

python configs/generation/domains.py scores RUN OUT
    What the header of translation_small.yaml says of a run: bits a sample of what is held out,
    whether its latent vectors tell the domain, and of translations of it whether they play the
    same notes, by whose sound. Written are RUN/<domain>_to_<domain>.wav.
"""

import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

import librosa
import mido
import numpy as np
import soundfile
import soxr
from scipy.stats import laplace
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from kzoo.dsp.quantisation import mu_law_amplitudes, mu_law_codes

RATE = 8000
PROGRAMS = {"guitar": 24, "piano": 0}
SECONDS, HELD_SECONDS, HELD_PIECES = 600, 30, 3
LEAST_NOTES = 100  # of a channel
DRUMS = 9
ORDER = 32  # samples that the linear predictor hears


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


def scores(run: Path, domains: Path) -> None:
    import kzoo
    from kzoo import presets

    names = presets.load_card(run)["domains"]
    model, (size, _) = kzoo.from_preset(run), presets.open_preset(run).sizes()
    sounds = {
        (name, held): [
            soundfile.read(path, dtype="float32")[0]
            for path in sorted((domains / name).iterdir())
            if path.name.startswith("held_") == held
        ]
        for name in names
        for held in (False, True)
    }
    for name, found in bits(model, size, sounds, names).items():
        print("bits a sample,", name, ", ".join(f"{k} {v:.2f}" for k, v in found.items()))

    def latents(waveform):
        codes = mu_law_codes(waveform, size.levels, rounding="down")
        codes = codes[: len(codes) // size.pool * size.pool, None]
        return np.asarray(model.get_layer("encoder")(codes[None]))[0]

    _, told = teller(sounds, names, latents)
    print(f"a regression knows the domain of {100 * told:.0f} % of held-out latent vectors")
    regression, told = teller(sounds, names, timbres)
    print(f"one of cepstra over 1 s that of {100 * told:.0f} % of held-out sound")
    for name in names:
        for other in names:
            recorded = np.concatenate([x[: 2 * RATE] for x in sounds[name, True]])[: 6 * RATE]
            sound, _ = kzoo.translate(recorded, RATE, run, to=other)
            soundfile.write(run / f"{name}_to_{other}.wav", sound, RATE)
            heard = regression.predict(timbres(sound))
            shares = ", ".join(
                f"{k} {100 * (heard == i).mean():.0f} %" for i, k in enumerate(names)
            )
            alike, else_ = chroma_similarity(recorded, sound)
            print(
                f"{name} to {other}: chroma {alike:.2f} ({else_:.2f} by chance), heard as {shares}"
            )


def bits(model, size, sounds, names) -> dict[str, dict[str, float]]:
    """Of held-out codes: the model's, the training's histogram's, a linear predictor's of ORDER."""
    found = {}
    for number, name in enumerate(names):
        learned, held = (np.concatenate(sounds[name, k]) for k in (False, True))
        codes = mu_law_codes(held, size.levels, rounding="down")
        codes = codes[: len(codes) // size.pool * size.pool]
        given = {"heard": codes[1:], "past": codes[:-1]}
        length = 10 * size.pool
        nats = []
        for start in range(0, len(codes) - length - 1, length):
            part = {k: x[None, start : start + length, None] for k, x in given.items()}
            logits = np.asarray(model({**part, "domain": np.array([[number]])}))[0]
            right = given["heard"][start : start + length]
            nats.append(np.logaddexp.reduce(logits, -1) - logits[np.arange(length), right])
        seen = mu_law_codes(learned, size.levels, rounding="down")
        shares = (np.bincount(seen, minlength=size.levels) + 1) / (len(seen) + size.levels)
        found[name] = {
            "model": np.mean(nats) / np.log(2),
            "unigram": -np.log2(shares[codes]).mean(),
            "linear": predictor(
                mu_law_amplitudes(seen), mu_law_amplitudes(codes), codes, size.levels
            ),
        }
    return found


def predictor(learned: np.ndarray, held: np.ndarray, codes: np.ndarray, levels: int) -> float:
    """Bits of codes by a Laplace distribution around a linear prediction, both of the training."""

    def rows(x):
        return np.lib.stride_tricks.sliding_window_view(x, ORDER)[:-1], x[ORDER:]

    past, present = rows(learned[: 120 * RATE].astype(float))
    weights = np.linalg.lstsq(past[::4], present[::4], rcond=None)[0]
    scale = np.abs(present - past @ weights).mean() + 1e-6
    past, _ = rows(held.astype(float))
    expected = past @ weights
    # Codes are rounded down: of each the amplitudes from its own to that of the next.
    edges = mu_law_amplitudes(np.arange(levels + 1) - 0.0, levels)
    below, above = edges[codes[ORDER:]], edges[codes[ORDER:] + 1]
    share = laplace.cdf(above, expected, scale) - laplace.cdf(below, expected, scale)
    return -np.log2(0.999 * share + 0.001 / levels).mean()


def teller(sounds, names, features):
    """(A regression that tells domains by features of sound, its share of right held-out ones)."""
    seen = {
        held: [
            np.concatenate([features(x[: 10 * RATE]) for x in sounds[name, held]]) for name in names
        ]
        for held in (False, True)
    }
    least = min(map(len, seen[False]))
    rng = np.random.default_rng(0)
    learned = [x[rng.permutation(len(x))[:least]] for x in seen[False]]
    regression = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    regression.fit(np.concatenate(learned), np.repeat(np.arange(len(names)), least))
    right = [(regression.predict(x) == k).mean() for k, x in enumerate(seen[True])]
    return regression, np.mean(right)


def timbres(waveform: np.ndarray) -> np.ndarray:
    """Mean and deviation of 20 cepstra of each second, without the first, the level."""
    cepstra = librosa.feature.mfcc(y=waveform, sr=RATE, n_mfcc=20, n_fft=512, hop_length=200)[1:]
    seconds = cepstra[:, : cepstra.shape[1] // 40 * 40].reshape(19, -1, 40)
    return np.concatenate([seconds.mean(axis=2), seconds.std(axis=2)]).T


def chroma_similarity(one: np.ndarray, other: np.ndarray) -> tuple[float, float]:
    """Mean cosine of both sounds' chroma, frame by frame, and of frames half of the sound apart."""
    x, y = (
        librosa.util.normalize(
            librosa.feature.chroma_stft(y=z, sr=RATE, n_fft=2048), norm=2, axis=0
        )
        for z in (one, other)
    )
    return (x * y).sum(0).mean(), (x * np.roll(y, y.shape[1] // 2, axis=1)).sum(0).mean()


if __name__ == "__main__":
    if len(sys.argv) == 4 and sys.argv[1] == "scores":
        scores(Path(sys.argv[2]), Path(sys.argv[3]))
    elif len(sys.argv) == 5:
        recordings, midi, soundfont, out = map(Path, sys.argv[1:])
        violin(recordings, out)
        rendered(midi, soundfont, out)
    else:
        sys.exit(__doc__)
