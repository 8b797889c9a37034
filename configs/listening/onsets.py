"""What the preset onset_cnn learns from beside whole pieces, and drums that it is judged by.

python configs/listening/onsets.py stems CORPUS
    CORPUS was written by kzoo data render. CORPUS/<subset>.csv becomes a table, of kind events, of
    every mixture, of its drums alone, and of one other stem, each with its own onsets.

python configs/listening/onsets.py drums KITS OUT
    KITS is .../hydrogen/data/drumkits, of Debian's hydrogen-drumkits: recorded strokes. OUT/
    <kit>_<k>.wav becomes 20 s of strokes on a grid of sixteenths, with their times beside them.
"""

import csv
import sys
from pathlib import Path

import numpy as np
import soundfile
import soxr

RATE = 44100
SECONDS, SEQUENCES = 20, 3  # of each kit
LONGEST_SECONDS = 4  # of a stroke; longer files are loops
BEGINS = 0.05  # of a stroke's peak: where it begins to be heard


def stems(corpus: Path) -> None:
    rng = np.random.default_rng(0)
    for subset in sorted(path for path in corpus.iterdir() if path.is_dir()):
        rows = []
        for track in sorted(subset.iterdir()):
            rows.append((track / "mixture.flac", track / "onsets.csv"))
            with open(track / "onsets.csv", newline="") as file:
                onsets = [(row["time_s"], row["stem"]) for row in csv.DictReader(file)]
            names = sorted({stem for _, stem in onsets})
            others = [name for name in names if name != "drums"]
            chosen = ["drums"] if "drums" in names else []
            for stem in [*chosen, *rng.choice(others, min(1, len(others)), replace=False)]:
                times = [time for time, other in onsets if other == stem]
                text = track / f"{stem}.onsets"
                text.write_text("".join(f"{time}\n" for time in times))
                rows.append((track / f"{stem}.flac", text))
        with open(corpus / f"{subset.name}.csv", "w", newline="") as file:
            writer = csv.writer(file)
            writer.writerow(["file", "events"])
            writer.writerows([path.relative_to(corpus) for path in row] for row in rows)


def drums(kits: Path, out: Path) -> None:
    out.mkdir(parents=True)
    rng = np.random.default_rng(0)
    for kit in sorted(path for path in kits.iterdir() if path.is_dir()):
        strokes = [stroke for path in sorted(kit.rglob("*")) if (stroke := read(path)) is not None]
        if len(strokes) < 4:
            continue
        for number in range(SEQUENCES):
            name = f"{kit.name.replace(' ', '_')}_{number}"
            sound, times = sequence(strokes, rng)
            soundfile.write(out / f"{name}.wav", sound, RATE, subtype="PCM_16")
            (out / f"{name}.onsets").write_text("".join(f"{time:.4f}\n" for time in times))


def read(path: Path) -> np.ndarray | None:
    """A stroke with a peak of 1, mono; None for what is none."""
    if path.suffix.lower() not in (".flac", ".wav", ".aiff"):
        return None
    sound, rate = soundfile.read(path, dtype="float32", always_2d=True)
    sound = soxr.resample(sound.mean(axis=1), rate, RATE)
    if not 0.05 * RATE < len(sound) < LONGEST_SECONDS * RATE or np.abs(sound).max() < 1e-3:
        return None
    return sound / np.abs(sound).max()


def sequence(strokes: list[np.ndarray], rng: np.random.Generator) -> tuple[np.ndarray, list[float]]:
    """A sound of strokes at a tempo of its own, and when they begin to be heard."""
    chosen = [strokes[k] for k in rng.choice(len(strokes), min(6, len(strokes)), replace=False)]
    chances = rng.uniform(0.05, 0.4, len(chosen))
    step = 15 / rng.uniform(70, 170)  # of a sixteenth, in seconds
    sound, times = np.zeros(SECONDS * RATE), []
    for place in np.arange(0.5, SECONDS - 1, step):
        for stroke, chance in zip(chosen, chances, strict=True):
            if rng.random() < chance:
                start = round((place + rng.normal(0, 0.004)) * RATE)
                part = stroke[: len(sound) - start] * 10 ** (rng.uniform(-15, 0) / 20)
                sound[start : start + len(part)] += part
                times.append((start + np.argmax(np.abs(stroke) > BEGINS)) / RATE)
    return 0.9 * sound / np.abs(sound).max(), sorted(times)


if __name__ == "__main__":
    if sys.argv[1:2] == ["stems"] and len(sys.argv) == 3:
        stems(Path(sys.argv[2]))
    elif sys.argv[1:2] == ["drums"] and len(sys.argv) == 4:
        drums(Path(sys.argv[2]), Path(sys.argv[3]))
    else:
        sys.exit(__doc__)
