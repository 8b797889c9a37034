"""Whole-process time and memory of `kzoo tag` next to the package musicnn, run in turn.

    python benchmarks/listening.py song.ogg --peer /path/to/venv/bin/python [--runs 2]

Both give a song of five minutes the 50 tags of MagnaTagATune by the same weights, afresh in each
run: kzoo by TensorFlow and by LiteRT, whose file is made before, the package by its own command.
The song is repeated up to five minutes. Reported are medians and ratios.

The package wants TensorFlow 1. Its code runs with TensorFlow 2.21 in a virtual environment that has
tf_keras of the same version and, by `pip install --no-deps`, musicnn==0.1.0 beside librosa.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

from separate import measure, medians, repeated

SECONDS = 300


def main() -> None:
    """Measure each in turn, `runs` times after one to fill the disk's cache."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("song", type=Path)
    parser.add_argument("--peer", required=True, help="the Python that has the package musicnn")
    parser.add_argument("--runs", type=int, default=2)
    options = parser.parse_args()
    kzoo = [str(Path(sys.executable).with_name("kzoo")), "tag", "-q", "-p", "musicnn_mtt"]
    with tempfile.TemporaryDirectory() as folder:
        song = str(repeated(options.song, SECONDS, Path(folder) / "song.wav"))
        commands = {
            "kzoo tag, litert": [*kzoo, "--engine", "litert", song],
            "kzoo tag, tensorflow": [*kzoo, "--engine", "tensorflow", song],
            "musicnn 0.1.0": [
                "env", "TF_USE_LEGACY_KERAS=1", options.peer, "-m", "musicnn.tagger", song,
                "--model", "MTT_musicnn", "--print",
            ],
        }  # fmt: skip
        runs = {name: [] for name in commands}
        for run in range(options.runs + 1):
            for name, command in commands.items():
                found = measure(command)
                if run:
                    runs[name].append(found)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, {time.strftime('%Y-%m-%d')}; {SECONDS} s; median of {options.runs}")
    figures = {name: medians(found) for name, found in runs.items()}
    for name, found in figures.items():
        print(f"{name:24}" + "".join(f"{value:10.2f} {unit}" for unit, value in found.items()))
    *ours, peer = figures
    for name in ours:
        ratios = ", ".join(
            f"{figures[peer][unit] / value:.2f} times its {unit}"
            for unit, value in figures[name].items()
        )
        print(f"{peer} to {name}: {ratios}")


if __name__ == "__main__":
    main()
