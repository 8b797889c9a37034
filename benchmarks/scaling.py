"""Training on several devices and processes: time of a step, wait for data, and on paper GPUs.

    python -m benchmarks.scaling measure [--steps 10] [--epochs 4]
    python -m benchmarks.scaling estimate

measure: the small U-Net of configs/separation/unet_2stems_mobile.yaml on made-up sound, the same
batches by one device on one core, by two devices of one process on two cores (mirrored), and by two
processes on loopback with a core each (multi_worker). Time and waiting are those of the run's own
history, as medians over the epochs behind the first one, which draws the graph.
estimate: hours of published trainings on MUSDB18 by 1, 8 and 64 GPUs, on paper: multiply-adds are
counted in the graph, all else are the assumptions that it prints. No GPU was there to measure on.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.training import machine

SETTINGS = {
    "name": "scaling",
    "model": {
        "name": "unet", "sources": ["vocals", "accompaniment"], "variant": "mobile", "frames": 128,
        "trunk": "shared", "masks": "softmax",
    },
    "data": {"train": {"kind": "synthetic", "tracks": 4, "seconds": 8.0}, "workers": 1},
    "optimizer": {"learning_rate": 1e-3, "global_clipnorm": 1.0},
}  # fmt: skip
BATCH = 8
# name -> cores of each process, devices of each process
SETUPS = {
    "one device": ([{0}], 1),
    "two devices": ([{0, 1}], 2),
    "two processes": ([{0}, {1}], 1),
}


@dataclass(frozen=True)
class Published:
    """A training on MUSDB18 as its authors describe it. in_turn: steps of its recurrent layers."""

    model: str
    variant: str
    sources: tuple[str, ...]
    seconds: float
    batch: int
    steps: int
    source: str
    in_turn: int = 0


STEMS = ("vocals", "drums", "bass", "other")
TRAININGS = (
    Published(
        "unet", "spleeter", STEMS, 512 * 1024 / 44100, 4, 200_000,
        "Spleeter's configs/musdb_config.json: 200,000 steps of 4 examples of 512 frames",
    ),
    Published(
        "open_unmix", "umxhq", STEMS[:1], 6.0, 16, 344_000,
        "configs/separation/open_unmix_musdb18.yaml: at most 1000 epochs, one target",
        in_turn=3 * 259,
    ),
)  # fmt: skip
FLOPS = 25e12  # of an H100 in TF32, whose peak is 494e12
NEAR, FAR = 200e9, 25e9  # bytes a second that an all-reduce moves within a machine and between them
RECURRENCE = 60e-6  # seconds of one step of a recurrent layer, there and back
CORE = 473.3 * 6 / 2  # seconds of sound, in five stems, that a core reads from shards in a second
MACHINE, OVERHEAD, LATENCY = 8, 5e-3, 50e-6  # GPUs; seconds of a step's launches; of an all-reduce


def measure(options: argparse.Namespace) -> None:
    """Print a row for each setup."""
    rows = {}
    for name, (cores, devices) in SETUPS.items():
        with tempfile.TemporaryDirectory() as folder:
            rows[name] = _run(Path(folder), cores, devices, options)
    first, _ = rows["one device"]
    print(f"unet mobile, batches of {BATCH}, synthetic sound: {machine()}")
    for name, (seconds, waiting) in rows.items():
        print(
            f"{name:>14}: {seconds:.3f} s a step, {first / seconds:.2f} times as fast as one "
            f"device, {waiting:.1%} waiting for data"
        )


def _run(folder: Path, cores, devices: int, options) -> tuple[float, float]:
    """(seconds of a step, share of waiting) of one setup."""
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in cores]
    addresses = [f"127.0.0.1:{door.getsockname()[1]}" for door in doors]
    for door in doors:
        door.close()
    processes = []
    for index, own in enumerate(cores):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment.pop("TF_CONFIG", None)
        if len(cores) > 1:
            task = {"type": "worker", "index": index}
            cluster = {"cluster": {"worker": addresses}, "task": task}
            environment["TF_CONFIG"] = json.dumps(cluster)
        words = [json.dumps(sorted(own)), devices, folder / "run", options.steps, options.epochs]
        command = [sys.executable, "-m", "benchmarks.scaling", "worker", *map(str, words)]
        processes.append(subprocess.Popen(command, env=environment))
    if any([process.wait() for process in processes]):  # all of them, whatever the first one says
        raise SystemExit("a training has failed")
    with open(folder / "run" / "history.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[1:]
    seconds = statistics.median(float(row["seconds"]) for row in rows) / options.steps
    return seconds, statistics.median(float(row["waiting"]) for row in rows)


def worker(options: argparse.Namespace) -> None:
    """One process of a setup."""
    os.sched_setaffinity(0, json.loads(options.cores))  # before TensorFlow counts them
    import tensorflow as tf

    if options.devices > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        one = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [one] * options.devices)
    from kzoo.training import train

    fit = {"batch_size": BATCH, "epochs": options.epochs, "steps_per_epoch": options.steps}
    if "TF_CONFIG" in os.environ:
        fit["strategy"] = "multi_worker"
    names = [f"/device:CPU:{number}" for number in range(options.devices)]
    train(
        {**SETTINGS, "fit": fit},
        options.folder,
        devices=names if options.devices > 1 else None,
        say=lambda line: None,
    )


def estimate(options: argparse.Namespace) -> None:
    """Print hours and what bounds them, for each training and number of GPUs."""
    print(f"""On paper, as no GPU was there: {machine()}.
A step is three times the multiply-adds of a forward pass, two operations each, at an assumed
{FLOPS / 1e12:.0f} TFLOP/s a GPU (5 % of an H100's TF32 peak), {1000 * OVERHEAD:.0f} ms to launch it, and {1e6 * RECURRENCE:.0f} us for each of
the steps that recurrent layers take in turn, two directions side by side. Gradients are added up by a ring, at {NEAR / 1e9:.0f} GB/s within machines of {MACHINE} GPUs and {FAR / 1e9:.0f} GB/s
between them and {1e6 * LATENCY:.0f} us a hop, not hidden behind the step. Every GPU gets the published batch, and
the examples are as many as the paper's, so that steps become fewer. A larger batch may want
another learning rate. A core reads {CORE:,.0f} s of sound a second from shards (measured here:
benchmarks/results/training.txt), before any step that varies it.""")  # noqa: E501
    for published in TRAININGS:
        for line in rows(published):
            print(line)


def rows(published: Published) -> list[str]:
    """The lines about one training."""
    from benchmarks.multiply_adds import multiply_adds
    from kzoo import models

    size, _ = models.split(published.model, {"variant": published.variant})
    segment, block = size.segment(round(published.seconds * size.sample_rate))
    system = models.build(published.model, segment, sources=list(published.sources), **block)
    count = multiply_adds(system, block["samples"])
    weights = system.count_params()
    lines = [
        f"{published.model} {published.variant}, {len(published.sources)} sources, "
        f"{weights / 1e6:.1f} million weights, {count / 1e9:.2f} GMAC an example of "
        f"{block['samples'] / size.sample_rate:.1f} s ({published.source})"
    ]
    for gpus in (1, 8, 64):
        computing, adding = step_seconds(count * published.batch, 4 * weights, gpus)
        computing += RECURRENCE * published.in_turn
        step = computing + adding
        hours = step * published.steps / gpus / 3600
        sound = published.batch * gpus * published.seconds / step
        lines.append(
            f"{gpus:>4} GPUs: {1000 * step:6.1f} ms a step ({adding / step:.0%} adding up), "
            f"{hours:8.2f} h, reading {sound:,.0f} s of sound a second by {sound / CORE:.1f} cores"
        )
    return lines


def step_seconds(multiply_adds: float, gradient_bytes: float, gpus: int) -> tuple[float, float]:
    """(computing, adding up gradients) of a step of each GPU's `multiply_adds`."""
    computing = OVERHEAD + 3 * 2 * multiply_adds / FLOPS
    if gpus == 1:
        return computing, 0.0
    speed = NEAR if gpus <= MACHINE else FAR
    return computing, 2 * (gpus - 1) / gpus * gradient_bytes / speed + 2 * (gpus - 1) * LATENCY


def main() -> None:
    """One of the verbs."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("measure")
    verb.add_argument("--steps", type=int, default=10)
    verb.add_argument("--epochs", type=int, default=4)
    verb.set_defaults(run=measure)
    verb = verbs.add_parser("estimate")
    verb.set_defaults(run=estimate)
    verb = verbs.add_parser("worker")  # what `measure` starts
    verb.add_argument("cores")
    verb.add_argument("devices", type=int)
    verb.add_argument("folder", type=Path)
    verb.add_argument("steps", type=int)
    verb.add_argument("epochs", type=int)
    verb.set_defaults(run=worker)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
