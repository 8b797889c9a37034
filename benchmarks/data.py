"""Data: what each step costs, and how quickly chunks are read.

    python -m benchmarks.data steps MUSIC [--sample-rate 44100] [--seconds 6] [--times 8]
    python -m benchmarks.data reading MUSDB [--wav] [--seconds 6] [--chunks 200]

steps: every step of `kzoo.data.STEPS` with its default options on stereo chunks of the first song
in folders of stems: milliseconds of the processor for a second of one source. What a step keeps for
later, such as the responses of rooms, is made beforehand.
reading: random chunks of all stems and the mixture of a MUSDB18 tree, by musdb (of its .stem.mp4
files, or with --wav of its wav tree), by soundfile (of the wav tree alone), and by kzoo: of the
same files, and of shards that it has made of them, all in turn.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import random
import statistics
import tempfile
import time
from pathlib import Path

import numpy as np

from benchmarks.training import machine, seconds_each
from kzoo import data

SOURCES = ("vocals", "accompaniment")
STEMS = ("vocals", "drums", "bass", "other")
# Beside the defaults.
ALSO = {
    "pitch, keep_formants": ("pitch", {"keep_formants": True}),
    "room, images": ("room", {"kind": "images"}),
    "spec_augment, tensorflow_io": ("spec_augment", {"masks": "tensorflow_io"}),
    "codec, mp3": ("codec", {"codecs": ["mp3"]}),
    "codec, vorbis": ("codec", {"codecs": ["vorbis"]}),
    "codec, opus": ("codec", {"codecs": ["opus"]}),
}


def steps(options: argparse.Namespace) -> None:
    """Print what a second of one source costs in each step, and in reading."""
    rate = options.sample_rate
    song = sorted(path for path in options.music.iterdir() if path.is_dir())[0]
    corpus = data.open_corpus(
        "stems", path=str(options.music), sources=list(SOURCES), include=[song.name],
        sample_rate=rate,
    )  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        shards = data.open_corpus("shards", path=str(data.prepare(corpus, folder)))
        examples = data.Examples(shards, samples=round(options.seconds * rate))
        chunks = [examples.example(number) for number in range(options.times)]
        seconds = options.times * options.seconds * len(SOURCES)
        chunk = f"{options.times} chunks of {options.seconds:g} s, {' and '.join(SOURCES)}"
        print(f"{song.name}, {chunk} in stereo at {rate} Hz: {machine()}")
        for name, (step, given) in {**{name: (name, {}) for name in data.STEPS}, **ALSO}.items():
            change = data.step(step, probability=1.0, **given)
            for _ in range(2):  # the first pass imports, and makes what is kept
                began = time.process_time()
                for number, chunk in enumerate(chunks):
                    change(chunk, np.random.default_rng(number), examples)
                spent = time.process_time() - began
            print(f"{name:28}{1000 * spent / seconds:8.2f} ms a second of a source")


def reading(options: argparse.Namespace) -> None:
    """Print chunks a second of each reader."""
    import soundfile

    with contextlib.redirect_stderr(io.StringIO()):
        import musdb
    tracks = musdb.DB(str(options.musdb), subsets="train", is_wav=options.wav).tracks
    corpus = data.open_corpus("musdb", path=str(options.musdb), sources=list(STEMS))
    rng = random.Random(0)

    def by_musdb():
        track = rng.choice(tracks)
        track.chunk_duration = options.seconds
        track.chunk_start = rng.uniform(0, track.duration - options.seconds)
        return [track.audio, *(track.targets[stem].audio for stem in STEMS)]

    def by_soundfile():
        track = Path(rng.choice(tracks).path)
        folder = track if track.is_dir() else track.parent
        found = []
        for part in ("mixture", *STEMS):
            with soundfile.SoundFile(folder / f"{part}.wav") as file:
                if not found:
                    length = round(options.seconds * file.samplerate)
                    start = rng.randrange(len(file) - length)
                file.seek(start)
                found.append(file.read(length, dtype="float32", always_2d=True))
        return found

    with tempfile.TemporaryDirectory() as folder:
        began = time.perf_counter()
        data.prepare(corpus, folder)
        prepared = time.perf_counter() - began
        samples = round(options.seconds * corpus.sample_rate)
        readers = {"musdb": by_musdb, **({"soundfile": by_soundfile} if options.wav else {})}
        for name, found in {
            "kzoo": corpus,
            "shards": data.open_corpus("shards", path=folder),
        }.items():
            numbers, examples = iter(range(options.chunks)), data.Examples(found, samples=samples)
            readers[name] = lambda numbers=numbers, examples=examples: examples.example(
                next(numbers)
            )
        runs = {name: [] for name in readers}
        for _ in range(5):  # in turn, so that a drifting machine is fair to all
            for name, read in readers.items():
                few = options.chunks // (50 if name == "musdb" else 5)
                runs[name] += seconds_each(read, few)
    kind = "wav" if options.wav else ".stem.mp4"
    print(
        f"{len(tracks)} tracks of {kind}, {corpus.seconds:.0f} s, chunks of {options.seconds:g} s, "
        f"mixture and {len(STEMS)} stems: {machine()}"
    )
    rates = ", ".join(f"{name} {1 / statistics.median(found):.1f}" for name, found in runs.items())
    print(f"chunks a second: {rates}; shards prepared once in {prepared:.1f} s")


def main() -> None:
    """One of the two."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("steps")
    verb.add_argument("music", type=Path)
    verb.add_argument("--sample-rate", type=int, default=44100)
    verb.add_argument("--seconds", type=float, default=6.0)
    verb.add_argument("--times", type=int, default=8)
    verb.set_defaults(run=steps)
    verb = verbs.add_parser("reading")
    verb.add_argument("musdb", type=Path)
    verb.add_argument("--wav", action="store_true")
    verb.add_argument("--seconds", type=float, default=6.0)
    verb.add_argument("--chunks", type=int, default=200)
    verb.set_defaults(run=reading)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
