"""Whole-process time and memory of `kzoo separate` next to another program, run in turn.

    python benchmarks/separate.py song.wav --peer "spleeter separate -p spleeter:2stems -o {out}"
        [--runs 3] [--hours 1] [--engine litert]

Each command is started afresh, reads the song and writes its stems; the song's path is appended to
the peer's command, {out} becomes a temporary folder. Reported are the medians of the runs, from the
operating system's own accounting of the finished process and its children, and the ratios.
--hours repeats the song up to that length and measures kzoo's peak memory on it.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import soundfile


def measure(command: list[str]) -> dict[str, float]:
    """Wall and CPU seconds and peak memory in MB (the largest process) of one run."""
    began = time.perf_counter()
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    wall = time.perf_counter() - began
    if status:
        sys.exit(f"{shlex.join(command)} failed:\n{errors.decode(errors='replace')[-2000:]}")
    return {
        "wall s": wall,
        "cpu s": usage.ru_utime + usage.ru_stime,
        "peak MB": usage.ru_maxrss / 1e3,
    }


def medians(runs: list[dict[str, float]]) -> dict[str, float]:
    """The median of each figure."""
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]}


def repeated(song: Path, seconds: float, path: Path) -> Path:
    """The song over and over, up to `seconds`, as 16-bit WAV."""
    sound, rate = soundfile.read(song, dtype="int16", always_2d=True)
    with soundfile.SoundFile(path, "w", rate, sound.shape[1], subtype="PCM_16") as file:
        missing = round(seconds * rate)
        while missing > 0:
            file.write(sound[:missing])
            missing -= len(sound)
    return path


def main() -> None:
    """Run both in turn and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("song", type=Path)
    parser.add_argument("--peer", help="the other program's command, without the song")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--engine", default="tensorflow", help="of kzoo")
    parser.add_argument("--hours", type=float, default=0.0)
    options = parser.parse_args()
    ours = [
        str(Path(sys.executable).with_name("kzoo")), "separate", "--overwrite", "-q",
        "--engine", options.engine, "-o",
    ]  # fmt: skip
    results: dict[str, list] = {"kzoo": [], "peer": []}
    with tempfile.TemporaryDirectory() as folder:
        out = f"{folder}/out"
        for run in range(options.runs + 1):
            found = {"kzoo": measure([*ours, out, str(options.song)])}
            if options.peer:
                peer = shlex.split(options.peer.replace("{out}", out))
                found["peer"] = measure([*peer, str(options.song)])
            for name, figures in found.items() if run else ():  # the first fills the disk's cache
                results[name].append(figures)
        length = soundfile.info(options.song).duration
        machine = (
            f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        )
        today = time.strftime("%Y-%m-%d")
        print(f"{machine}, {today}; {length:.0f} s of music, median of {options.runs}")
        table = {name: medians(runs) for name, runs in results.items() if runs}
        for name, figures in table.items():
            print(f"{name:8}" + "".join(f"{value:10.1f} {key}" for key, value in figures.items()))
        if "peer" in table:
            ratios = {k: table["kzoo"][k] / table["peer"][k] for k in table["kzoo"]}
            print("ratio   " + "".join(f"{value:10.2f} {key}" for key, value in ratios.items()))
        if options.hours:
            long = repeated(options.song, options.hours * 3600, Path(folder) / "long.wav")
            figures = measure([*ours, out, str(long)])
            print(f"{options.hours:g} h  " + "".join(f"{v:10.1f} {k}" for k, v in figures.items()))


if __name__ == "__main__":
    main()
