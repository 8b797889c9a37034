"""What a second of speech costs: kzoo's enhancers in Keras and LiteRT, and DTLN, in one run.

    python benchmarks/enhancers.py deepfilternet3 ul_unas_dns3 unet_speech --dtln folder

--dtln holds model_1.tflite and model_2.tflite, as benchmarks/dtln.py takes them. All hear the same
noise, at the rate of each, with one thread, in turn, and the medians of the turns are printed:
milliseconds of the processor for a second of sound, and how many times faster than DTLN's own files
that is. Keras is what `kzoo enhance` runs; a file of LiteRT is run over its blocks, one after the
other, without overlap; a stream hop by hop, with the wall time of its slowest hop of all turns.
The last lines are for the presets' cards, of which `kzoo enhance --list` and the chart of
docs/measured.md show the cost: what Keras took, as `kzoo enhance` does.
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
from dataclasses import dataclass, field
from datetime import date
from pathlib import Path

import numpy as np
import tensorflow as tf
from ai_edge_litert.interpreter import Interpreter
from dtln import enhance as dtln

import kzoo
from kzoo import api, config, presets
from kzoo.deploy.formats.streaming import Stream


@dataclass
class System:
    """What is timed: `run` of noise `[samples]` at `rate`. bytes: of its file. hops: in seconds."""

    run: Callable
    rate: int
    bytes: int = 0
    hops: list[float] = field(default_factory=list)
    spent: list[float] = field(default_factory=list)


def in_litert(path: Path, card: dict) -> System:
    """The whole model, block after block."""
    network = Interpreter(str(path), num_threads=1)
    network.allocate_tensors()
    (put,) = network.get_input_details()

    def run(signal):
        block = card["block_samples"]
        for part in np.pad(signal, (0, -len(signal) % block)).reshape(-1, block):
            network.set_tensor(put["index"], part.reshape(put["shape"]))
            network.invoke()

    return System(run, card["sample_rate"], path.stat().st_size)


def as_stream(path: Path, card: dict) -> System:
    """The stream, hop after hop."""
    stream, hop = Stream(path, threads=1), card["stream"]["hop_length"]

    def run(signal):
        stream.reset()
        for at in range(0, len(signal) - hop + 1, hop):
            began = time.perf_counter()
            stream.step(waveform=signal[None, at : at + hop, None])
            system.hops.append(time.perf_counter() - began)

    system = System(run, card["sample_rate"], path.stat().st_size)
    return system


def systems_of(preset: str, folder: Path) -> dict[str, System]:
    """{name: system}: Keras, the file of a block and, where there is one, the stream."""
    separator, rate = kzoo.Separator.from_preset(preset), presets.load_card(preset)["sample_rate"]
    found = {f"{preset}, Keras": System(lambda x: separator.separate(x, rate), rate)}
    path = Path(api.export(preset, "tflite", folder)["path"])
    card = config.load_yaml(path.with_suffix(".json"))
    found[f"{preset}, LiteRT"] = in_litert(path, card)
    if "stream" in card:
        found[f"{preset}, stream"] = as_stream(path.with_name(card["stream"]["file"]), card)
    return found


def card_line(preset: str, cost: float, machine: str) -> str:
    """The card's `cost`, of seconds that Keras took for a second of sound."""
    fields = f"cpu_ms_per_second: {1000 * cost:.1f}, of: 'Keras, one thread'"
    return f"{preset}: cost: {{{fields}, machine: '{machine}', date: '{date.today()}'}}"


def main() -> None:
    """Time every system in turn."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("presets", nargs="+")
    parser.add_argument("--dtln", type=Path, required=True)
    parser.add_argument("--seconds", type=int, default=20)
    parser.add_argument("--turns", type=int, default=5)
    options = parser.parse_args()
    tf.config.threading.set_intra_op_parallelism_threads(1)
    tf.config.threading.set_inter_op_parallelism_threads(1)
    rng = np.random.default_rng(0)
    systems = {"DTLN, its own files": System(lambda x: dtln(x, options.dtln), 16000)}
    with tempfile.TemporaryDirectory() as folder:
        for preset in options.presets:
            systems |= systems_of(preset, Path(folder) / Path(preset).name)
        for turn in range(options.turns + 1):  # the first compiles, and does not count
            for system in systems.values():
                signal = 0.1 * rng.standard_normal(options.seconds * system.rate)
                system.hops = system.hops if turn > 1 else []
                began = time.process_time()
                system.run(signal.astype(np.float32))
                if turn:
                    system.spent.append((time.process_time() - began) / options.seconds)
    machine = f"{platform.machine()}, {os.cpu_count()} cores"
    print(f"{machine}, {date.today()}; one thread")
    reference = statistics.median(systems["DTLN, its own files"].spent)
    print(
        f"{'system':28}{'ms CPU per s of sound':>24}{'times DTLN':>12}{'worst hop':>12}{'file':>10}"
    )
    for name, system in systems.items():
        cost = statistics.median(system.spent)
        size = f"{system.bytes / 1e6:.1f} MB" if system.bytes else ""
        worst = f"{1000 * max(system.hops):.1f} ms" if system.hops else ""
        print(f"{name:28}{1000 * cost:24.1f}{reference / cost:12.1f}{worst:>12}{size:>10}")
    for preset in options.presets:
        print(card_line(preset, statistics.median(systems[f"{preset}, Keras"].spent), machine))


if __name__ == "__main__":
    main()
