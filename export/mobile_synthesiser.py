"""What a synthesiser's bundle has beside its files: a program that plays its stream.

    out/ddsp_violin/
        ddsp_violin_fp32.tflite  .json    controls of one block to its sound, in each precision
        ddsp_violin_stream.tflite         `step` and `reset`: blocks of 16 ms, for ever
        play_tflite.py                    a program around the stream, LiteRT and NumPy only

The program plays a melody with the stream, and is compared with kzoo's own player.
"""

from __future__ import annotations

import csv
import math
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from kzoo.presets import Preset

CONSUMER = Path(__file__).parent / "consumers" / "play_tflite.py"
_LIMIT_DB = 50.0  # of a program that writes 16 bits
_SECONDS = 6.0
_D4_HZ = 293.66


def prove(
    preset: Preset,
    cards: Sequence[Mapping[str, Any]],
    folder: Path,
    scratch: Path,
    *,
    sound: Path | None = None,
) -> Iterator[str]:
    """Play a melody with the stream of the bundle `folder`; yields how that went.

    scratch: where it writes. sound: a synthesiser hears none. Raises ValueError for a model that
    does not stream, and where the program's sound is not that of kzoo.
    """
    from kzoo import audio
    from kzoo.deploy import parity
    from kzoo.synthesis import player
    from kzoo.synthesis.files import synthesize_file

    if "stream" not in cards[0]:
        raise ValueError(f"{preset}: does not stream; kzoo export --to tflite writes its block")
    stream = folder / cards[0]["stream"]["file"]
    controls, out = melody(scratch / "melody.csv"), scratch / "app.wav"
    command = [sys.executable, folder / CONSUMER.name, stream, controls, "-o", out]
    run = subprocess.run([*map(str, command)], capture_output=True, text=True, check=False)
    if run.returncode:
        raise ValueError(f"{CONSUMER.name} failed: {run.stderr.strip().splitlines()[-1]}")
    synthesize_file(
        controls, scratch / "kzoo.wav", bit_depth="float32",
        instrument=player.instrument(preset, engine="tensorflow"),
    )  # fmt: skip
    found, plain = (audio.read(path)[0] for path in (out, scratch / "kzoo.wav"))
    expected = np.clip(plain, -1, 1)  # as the program's 16 bits hold it
    level = parity.compare({"audio": expected}, {"audio": found})["audio"].snr_db
    if not level >= _LIMIT_DB:
        raise ValueError(f"{CONSUMER.name} plays something else than kzoo: {level:.1f} dB")
    yield (
        f"{CONSUMER.name} with {stream.name}: {level:.1f} dB against kzoo synthesize, in 16 bits; "
        f"{run.stdout.strip().split(': ')[-1]}"
    )


def melody(path: Path) -> Path:
    """A CSV of a scale that swells, with a rest and a glide."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["time", "f0_hz", "loudness_db"])
        for k in range(round(100 * _SECONDS)):
            note = (0, 2, 4, 5, 7, 9, None, 12)[k // 50 % 8]
            f0_hz = 0 if note is None else _D4_HZ * 2 ** (note / 12)
            rows.writerow([k / 100, round(f0_hz, 3), round(-25 + 15 * math.sin(k / 40), 2)])
        rows.writerow([_SECONDS + 0.5, _D4_HZ, -30])
    return path
