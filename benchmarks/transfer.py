"""Time and memory of `kzoo transfer` and `kzoo synthesize` against the length of what they play.

    python benchmarks/transfer.py voice.wav -p PRESET [--seconds 10 100 1000] [--method crepe_tiny]

Each command is started afresh: the recording repeated up to each length and played by the preset,
and as long a melody of 100 points a second, by the preset and by the plain sinusoidal-plus-noise
model. The real-time factor is wall seconds of the whole process, its start with it, for a second of
sound; the memory is its peak. The load of the machine before each is printed beside it.
"""

from __future__ import annotations

import argparse
import csv
import math
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from separate import measure, repeated

_POINTS_A_SECOND = 100


def melody(seconds: float, path: Path) -> Path:
    """A CSV of controls: half-second notes of a scale that swell."""
    with open(path, "w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(["time", "f0_hz", "loudness_db"])
        for k in range(math.ceil(seconds * _POINTS_A_SECOND)):
            at = k / _POINTS_A_SECOND
            note = (0, 2, 4, 5, 7, 9, 11, 12)[int(2 * at) % 8]
            rows.writerow([at, round(440 * 2 ** (note / 12), 3), -30 + 15 * math.sin(at)])
    return path


def main() -> None:
    """Print a row for each command and length."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recording", type=Path)
    parser.add_argument("-p", "--preset", required=True)
    parser.add_argument("--seconds", type=float, nargs="+", default=[10, 100, 1000])
    parser.add_argument("--method", default="crepe_tiny", help="of kzoo transfer")
    options = parser.parse_args()
    kzoo = str(Path(sys.executable).with_name("kzoo"))
    print(
        f"{Path(options.preset).name}, {options.method}; {platform.machine()}, "
        f"{os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}"
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for seconds in options.seconds:
            recording = repeated(options.recording, seconds, folder / "recording.wav")
            controls = melody(seconds, folder / "controls.csv")
            out = ["-o", str(folder / "out.wav"), "--overwrite", "-q"]
            played = ["-p", options.preset]
            commands = {
                "transfer": [
                    kzoo,
                    "transfer",
                    str(recording),
                    *played,
                    "--method",
                    options.method,
                    *out,
                ],
                "synthesize, preset": [kzoo, "synthesize", str(controls), *played, *out],
                "synthesize, plain": [kzoo, "synthesize", str(controls), *out],
            }
            for label, command in commands.items():
                load = os.getloadavg()[0]
                found = measure(command)
                wall, memory = found["wall s"], found["peak MB"]
                print(
                    f"{label:20}{seconds:8.0f} s{wall:9.1f} s wall, factor {wall / seconds:7.4f}"
                    f"{memory:8.0f} MB (load {load:.1f})",
                    flush=True,
                )


if __name__ == "__main__":
    main()
