"""What a second of a recording costs a worker of a manifest, part by part, in processor time.

    python -m benchmarks.batches [PRESET]

Processor time is that of all threads, so that a machine that is busy hardly changes it.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from kzoo import api, audio
from kzoo.files import file_sha256
from kzoo.separation import separate_file

SECONDS, RATE = 60, 44100


def cpu_ms(work: Callable[[], object]) -> float:
    """Milliseconds of processor time for a second of the recording, the better of two runs."""
    times = []
    for _ in range(2):
        began = time.process_time()
        work()
        times.append(time.process_time() - began)
    return 1000 * min(times) / SECONDS


def main(preset: str = "unet_2stems_mobile") -> None:
    """Print a line for each part."""
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

        parts = {
            "decoding": lambda: audio.read(song),
            "network": lambda: separator.separate(mixture, RATE),
            "writing": lambda: [audio.write(wav, mixture, RATE, overwrite=True) for wav in wavs],
            "sha256": lambda: [file_sha256(path) for path in (song, *wavs)],
            "separate_file": whole,
        }
        for name, work in parts.items():
            print(f"{name}: {cpu_ms(work):.2f} ms a second")


if __name__ == "__main__":
    main(*sys.argv[1:])
