"""What a second of speech costs: kzoo's enhancers in Keras and LiteRT, and DTLN, in one run.

    python benchmarks/enhancers.py segan_speech unet_speech --dtln folder

--dtln holds model_1.tflite and model_2.tflite, as benchmarks/dtln.py takes them. All hear the same
20 s of noise at 16 kHz with one thread, in turn, and the medians of the turns are printed: seconds
of the processor for a second of sound, and how many times faster than DTLN that is. Keras is what
`kzoo enhance` runs; a file of LiteRT is run over its blocks, one after the other, without overlap.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"

import argparse
import platform
import statistics
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from dtln import enhance as dtln

import kzoo
from kzoo import api, config

RATE, SECONDS = 16000, 20


def in_litert(preset: str, folder: Path) -> tuple[Callable, float]:
    """(run of a signal `[samples]`, megabytes of the file)."""
    api.export(preset, "tflite", folder)
    (path,) = folder.glob("*.tflite")
    block = config.load_yaml(path.with_suffix(".json"))["block_samples"]
    network = Interpreter(str(path), num_threads=1)
    network.allocate_tensors()
    (put,) = network.get_input_details()

    def run(signal):
        padded = np.pad(signal, (0, -len(signal) % block)).reshape(-1, block)
        for part in padded:
            network.set_tensor(put["index"], part.reshape(put["shape"]))
            network.invoke()

    return run, path.stat().st_size / 1e6


def main() -> None:
    """Time every system in turn."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--dtln", type=Path, required=True)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    signal = 0.1 * np.random.default_rng(0).standard_normal(SECONDS * RATE).astype(np.float32)
    systems, sizes = {"DTLN, LiteRT": lambda x: dtln(x, options.dtln)}, {}
    with tempfile.TemporaryDirectory() as folder:
        for preset in options.presets:
            separator = kzoo.Separator.from_preset(preset)
            systems[f"{preset}, Keras"] = lambda x, s=separator: s.separate(x, RATE)
            name = f"{preset}, LiteRT"
            systems[name], sizes[name] = in_litert(preset, Path(folder) / preset)
        spent = {name: [] for name in systems}
        for turn in range(options.turns + 1):  # the first compiles, and does not count
            for name, run in systems.items():
                began = time.process_time()
                run(signal)
                if turn:
                    spent[name].append((time.process_time() - began) / SECONDS)
    print(f"{platform.machine()}, {os.cpu_count()} cores, {date.today()}; one thread")
    reference = statistics.median(spent["DTLN, LiteRT"])
    print(f"{'system':32}{'ms CPU per s of sound':>24}{'times DTLN':>12}{'file':>10}")
    for name, turns in spent.items():
        cost = statistics.median(turns)
        size = f"{sizes[name]:.1f} MB" if name in sizes else ""
        print(f"{name:32}{1000 * cost:24.1f}{reference / cost:12.1f}{size:>10}")


if __name__ == "__main__":
    main()
