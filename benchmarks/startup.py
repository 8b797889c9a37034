"""What a user waits for before the first sound: imports, help, and the first stem of a short clip.

    python benchmarks/startup.py clip.wav [--runs 5] [--peer "spleeter separate ... -o {out}"]

Each is a fresh process; the figures are medians of wall seconds. `import tensorflow` stands beside
them for what every TensorFlow program pays.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import tempfile
import time
from pathlib import Path

from separate import measure, medians


def main() -> None:
    """Measure each in turn, `runs` times after one to fill the disk's cache."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("clip", type=Path)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--peer", help="the other program's command, without the clip")
    options = parser.parse_args()
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)  # what is installed is compiled
    kzoo = str(Path(sys.executable).with_name("kzoo"))
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        commands = {
            "import kzoo": [sys.executable, "-c", "import kzoo"],
            "kzoo --help": [kzoo, "--help"],
            "import tensorflow": [sys.executable, "-c", "import tensorflow"],
        }
        for engine in ("tensorflow", "litert"):  # the first run makes the file for LiteRT
            commands[f"kzoo separate clip, {engine}"] = [
                kzoo, "separate", "--overwrite", "-q", "-o", out, "--engine", engine,
                str(options.clip),
            ]  # fmt: skip
        if options.peer:
            peer = shlex.split(options.peer.replace("{out}", out))
            commands["peer, the same clip"] = [*peer, str(options.clip)]
        runs = {name: [] for name in commands}
        for run in range(options.runs + 1):
            for name, command in commands.items():
                found = measure(command)
                if run:
                    runs[name].append(found)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(f"{machine}, {time.strftime('%Y-%m-%d')}; median of {options.runs}")
    for name, found in runs.items():
        print(f"{name:32}" + "".join(f"{v:10.2f} {k}" for k, v in medians(found).items()))


if __name__ == "__main__":
    main()
