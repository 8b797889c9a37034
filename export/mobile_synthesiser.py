"""The bundle of a synthesiser, as `export.mobile` writes it.

    out/ddsp_violin/
        ddsp_violin_fp32.tflite  .json    controls of one block to its sound, in each precision
        ddsp_violin_stream.tflite         `step` and `reset`: blocks of 16 ms, for ever
        operators.txt                     for a LiteRT build with these kernels alone
        play_tflite.py                    a program around the stream, LiteRT and NumPy only

The program plays a melody with the stream, and is compared with `kzoo synthesize`.
"""

from __future__ import annotations

import csv
import math
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

CONSUMER = Path(__file__).parent / "consumers" / "play_tflite.py"
_LIMIT_DB = 50.0  # of a program that writes 16 bits
_SECONDS = 6.0


def bundle(options, card: dict[str, Any], target: Path) -> Iterator[str]:
    """Write the bundle `target`; yields what is to be said on the way. options: of `mobile.parser`.

    ValueError for --sound, which a synthesiser does not hear, for a model that does not stream, and
    where the program's sound is not that of `kzoo synthesize`.
    """
    if options.allow_flex:
        raise ValueError("a synthesiser needs no Flex: leave --allow-flex out")
    if options.sound is not None:
        raise ValueError("a synthesiser is compared on controls, not on a sound: leave --sound out")
    import kzoo
    from kzoo import audio
    from kzoo.deploy import parity
    from kzoo.deploy.bundle import put, write_operators
    from kzoo.deploy.tflite import operators
    from kzoo.synthesis.files import synthesize_file

    name = card["name"]
    options.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{name}.", dir=options.out) as scratch:
        folder = Path(scratch) / name
        needed = []
        for precision in options.precision:
            made = kzoo.export(options.preset, "tflite", folder, precision=precision,
                               block_seconds=options.block_seconds)  # fmt: skip
            figures = ", ".join(
                f"{part} {found['snr_db']:.1f} dB"
                for part, found in made["parity"]["sources"].items()
            )
            needed += made["operators"]
            yield f"{Path(made['path']).name}: against Keras on a melody: {figures}"
        if "stream" not in made:
            raise ValueError(f"{name}: does not stream; kzoo export --to tflite writes its block")
        stream = folder / made["stream"]["file"]
        yield write_operators(folder, [*needed, *operators(stream)])
        shutil.copyfile(CONSUMER, folder / CONSUMER.name)
        controls = melody(Path(scratch) / "melody.csv")
        command = [sys.executable, str(folder / CONSUMER.name), str(stream), str(controls)]
        command += ["-o", str(Path(scratch) / "app.wav")]
        run = subprocess.run(command, capture_output=True, text=True, check=False)
        if run.returncode:
            raise ValueError(f"{CONSUMER.name} failed: {run.stderr.strip().splitlines()[-1]}")
        synthesize_file(
            controls, Path(scratch) / "kzoo.wav", preset=options.preset, bit_depth="float32"
        )
        app, plain = (audio.read(Path(scratch) / f"{who}.wav")[0] for who in ("app", "kzoo"))
        expected = np.clip(plain, -1, 1)  # as the program's 16 bits hold it
        found = parity.compare({"audio": expected}, {"audio": app}, expected)["audio"]
        if not found.snr_db >= _LIMIT_DB:
            raise ValueError(f"{CONSUMER.name} plays something else than kzoo synthesize: "
                             f"{found.snr_db:.1f} dB")  # fmt: skip
        yield (
            f"{CONSUMER.name} with {stream.name}: {found.snr_db:.1f} dB against kzoo synthesize, "
            f"in 16 bits; {run.stdout.strip().split(': ')[-1]}"
        )
        yield put(folder, target)


def melody(path: Path) -> Path:
    """A CSV of a scale that swells, with a rest and a glide."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["time", "f0_hz", "loudness_db"])
        for k in range(round(100 * _SECONDS)):
            note = (0, 2, 4, 5, 7, 9, None, 12)[k // 50 % 8]
            f0_hz = 0 if note is None else 293.66 * 2 ** (note / 12)
            rows.writerow([k / 100, round(f0_hz, 3), round(-25 + 15 * math.sin(k / 40), 2)])
        rows.writerow([_SECONDS + 0.5, 293.66, -30])
    return path
