"""Many recordings: what a second costs a worker, part by part, and what more workers gain.

    python -m benchmarks.batches parts [PRESET]
    python -m benchmarks.batches workers separate [--recordings 8]
    python -m benchmarks.batches workers prepare [--recordings 16]

parts: processor time is that of all threads, so that a machine that is busy hardly changes it.
workers: `kzoo separate --manifest` by unet_2stems_mobile, or `kzoo data prepare` of FLAC stems at
44.1 kHz, by one process and by one and two workers of Beam (in the environment of
constraints-beam.txt). Each is run on as many recordings and on three times as many, since starting
takes seconds: what the others take is the time of one. Processor time is that of all processes.
"""

from __future__ import annotations

import argparse
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from benchmarks.training import machine
from kzoo import api, audio
from kzoo.files import file_sha256
from kzoo.separation import separate_file

SECONDS, RATE = 60, 44100
STEMS = ("vocals", "drums", "bass", "other")
# What a row is called -> words of its command.
WORKERS = {
    "one process": (),
    **{
        f"Beam, {n} worker{'s' * (n > 1)}": (
            "--runner", "direct", "--runner-option", f"direct_num_workers={n}",
        )
        for n in (1, 2)
    },
}  # fmt: skip


def cpu_ms(work: Callable[[], object]) -> float:
    """Milliseconds of processor time for a second of the recording, the better of two runs."""
    times = []
    for _ in range(2):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return 1000 * min(times) / SECONDS


def parts(options: argparse.Namespace) -> None:
    """Print a line for each part."""
    preset = options.preset
    separator = api.Separator.from_preset(preset, engine="tensorflow")
    noise = np.random.default_rng(0).standard_normal((SECONDS * RATE, 2))
    mixture = (0.1 * noise).astype(np.float32)
    with tempfile.TemporaryDirectory() as folder:
        song = Path(folder, "song.mp3")
        audio.write(song, mixture, RATE)
        wavs = [Path(folder, f"{k}.wav") for k in range(len(separator.sources))]
        targets = {name: Path(folder, f"{name}.wav") for name in separator.sources}

        def whole() -> None:
            for target in targets.values():
                target.unlink(missing_ok=True)
            separate_file(separator, song, targets)

        works = {
            "decoding": lambda: audio.read(song),
            "network": lambda: separator.separate(mixture, RATE),
            "writing": lambda: [audio.write(wav, mixture, RATE, overwrite=True) for wav in wavs],
            "sha256": lambda: [file_sha256(path) for path in (song, *wavs)],
            "separate_file": whole,
        }
        for name, work in works.items():
            print(f"{name}: {cpu_ms(work):.2f} ms a second")


def workers(options: argparse.Namespace) -> None:
    """Print a line for one process, one worker and two."""
    print(f"{options.verb}, recordings of {SECONDS} s: {machine()}")
    with tempfile.TemporaryDirectory() as scratch:
        commands = {n: _command(options.verb, Path(scratch, str(n)), n)
                    for n in (options.recordings, 3 * options.recordings)}  # fmt: skip
        _timed(commands[options.recordings], ())  # what is read once is read before
        for name, words in WORKERS.items():
            (few, few_cpu), (many, many_cpu) = (_timed(c, words) for c in commands.values())
            more = 2 * options.recordings
            print(
                f"{name:>16}: {few:.1f} s for {options.recordings}, {many:.1f} s for "
                f"{3 * options.recordings}; {(many - few) / more:.2f} s each, "
                f"{(many_cpu - few_cpu) / more:.2f} s of processors each",
                flush=True,
            )


def _command(verb: str, folder: Path, count: int) -> list[str]:
    """Words that do `count` recordings of noise, which are written to `folder`."""
    rng = np.random.default_rng(0)
    noise = (0.1 * rng.standard_normal((SECONDS * RATE, 2))).astype(np.float32)
    folder.mkdir()
    if verb == "separate":
        audio.write(folder / "0.mp3", noise, RATE)
        for number in range(1, count):
            shutil.copy(folder / "0.mp3", folder / f"{number}.mp3")
        rows = "".join(f"{number}.mp3\n" for number in range(count))
        (folder / "rows.csv").write_text(f"path\n{rows}")
        return ["separate", "--manifest", str(folder / "rows.csv"), "-p", "unet_2stems_mobile"]
    song = folder / "music" / "0"
    song.mkdir(parents=True)
    for stem in STEMS:
        audio.write(song / f"{stem}.flac", noise, RATE)
    for number in range(1, count):
        shutil.copytree(song, folder / "music" / str(number))
    return ["data", "prepare", str(folder / "music")]


def _timed(command: list[str], words: tuple[str, ...]) -> tuple[float, float]:
    """(seconds, seconds of processors) of a run into a new folder."""
    program = "from kzoo.cli import main; main()"
    with tempfile.TemporaryDirectory() as out:
        began, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(
            [sys.executable, "-c", program, *command, "-o", f"{out}/out", "-q", *words], check=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}, stdout=subprocess.DEVNULL,
        )  # fmt: skip
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        return time.perf_counter() - began, spent


def main() -> None:
    """One of the two."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("parts")
    verb.add_argument("preset", nargs="?", default="unet_2stems_mobile")
    verb.set_defaults(run=parts)
    verb = verbs.add_parser("workers")
    verb.add_argument("verb", choices=["separate", "prepare"])
    verb.add_argument("--recordings", type=int, default=8)
    verb.set_defaults(run=workers)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
