"""Training on several devices and processes: time of a step, wait for data, and on paper GPUs.

    python -m benchmarks.scaling measure [--steps 10] [--epochs 4]
    python -m benchmarks.scaling estimate

measure: the small U-Net of configs/separation/unet_2stems_mobile.yaml on made-up sound, the same
batches by one device on one core, by two devices of one process on two cores (mirrored), and by two
processes on loopback with a core each (multi_worker), which also do without common statistics of
batch norms. What of it is whose fault is told by half a batch, which is what each of two has to do:
by one process, and by two at once that know nothing of each other. Time and waiting are those of
the run's own history, as medians over the epochs behind the first one, which draws the graph;
processor time, which other work on the machine changes less, is that of one of the processes.
estimate: hours of published trainings on MUSDB18 by 1, 8 and 64 GPUs, on paper: costs are counted
in the graphs, all else are the assumptions that it prints. No GPU was there to measure on.
"""

from __future__ import annotations

import argparse
import csv
import dataclasses
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.training import machine

if TYPE_CHECKING:
    from kzoo.training.forecast import Forecast

SETTINGS = {
    "name": "scaling",
    "model": {
        "name": "unet", "sources": ["vocals", "accompaniment"], "variant": "mobile", "frames": 128,
        "trunk": "shared", "masks": "softmax",
    },
    "optimizer": {"learning_rate": 1e-3, "global_clipnorm": 1.0},
}  # fmt: skip
BATCH = 8
BUSY = "busy.txt"  # processor time of an epoch, the first left out
# name -> cores of each process, devices of each process, and what else is different.
SETUPS = {
    "one device": ([{0}], 1, {}),
    "half a batch": ([{0}], 1, {"batch_size": BATCH // 2}),
    "two halves apart": ([{0}, {1}], 1, {"batch_size": BATCH // 2, "strategy": "mirrored"}),
    "two devices": ([{0, 1}], 2, {}),
    "two processes": ([{0}, {1}], 1, {}),
    "batch norms apart": ([{0}, {1}], 1, {"synchronized_batch_norm": False}),
}


ROOT = Path(__file__).resolve().parents[1]
CONFIGS = ROOT / "configs" / "separation"
STEMS = ["vocals", "drums", "bass", "other"]
# What its authors publish -> the training.
PUBLISHED = {
    "Spleeter's network, as its configs/musdb_config.json trains it": {
        "name": "spleeter",
        "model": {"name": "unet", "sources": STEMS, "variant": "spleeter"},
        "data": {"train": {"kind": "musdb", "path": "musdb18"}},
        "fit": {"batch_size": 4, "steps_per_epoch": 1000, "epochs": 200},
    },
    "umxhq, one of four targets, 1000 epochs, as configs/separation has it": (
        CONFIGS / "open_unmix_musdb18.yaml"
    ),
}
BETWEEN = 50e9  # bytes a second of each GPU's link to other machines, 400 Gb/s InfiniBand
RECURRENCE = 60e-6  # seconds of a step that a recurrent layer takes after another, and back
CORE = 473.3 * 6 / 2  # seconds of sound, in five stems, that a core reads from shards in a second


def measure(options: argparse.Namespace) -> None:
    """Print a row for each setup."""
    first = None
    print(f"unet mobile, batches of {BATCH}, shards of made-up sound: {machine()}")
    with tempfile.TemporaryDirectory() as scratch:
        words = [sys.executable, "-m", "benchmarks.scaling", "shards", str(Path(scratch, "shards"))]
        subprocess.run(words, check=True)
        for name, (cores, devices, fit) in SETUPS.items():
            seconds, waiting, busy = _run(Path(scratch), name, cores, devices, fit, options)
            first = first or seconds
            print(
                f"{name:>17}: {seconds:.3f} s a step, {first / seconds:.2f} times as fast as one "
                f"device, {waiting:.1%} waiting for data; {busy:.3f} s of a process's processors",
                flush=True,
            )


def shards(options: argparse.Namespace) -> None:
    """Write what all setups learn from, as made-up sound takes longer to make than to read."""
    from kzoo import data

    corpus = data.open_corpus(
        "synthetic", tracks=4, seconds=8.0, sources=SETTINGS["model"]["sources"], sample_rate=44100,
        channels=2,
    )  # fmt: skip
    data.prepare(corpus, options.folder)


def _run(scratch: Path, name: str, cores, devices: int, fit, options) -> tuple[float, ...]:
    """(seconds of a step, share of waiting, processor time of the first process) of one setup."""
    folder = scratch / name
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in cores]
    addresses = [f"127.0.0.1:{door.getsockname()[1]}" for door in doors]
    for door in doors:
        door.close()
    processes = []
    for index, own in enumerate(cores):
        environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
        environment.pop("TF_CONFIG", None)
        meet = len(cores) > 1 and "strategy" not in fit
        own_folder = folder if meet else scratch / f"{name} {index}"
        if meet:
            task = {"type": "worker", "index": index}
            cluster = {"cluster": {"worker": addresses}, "task": task}
            environment["TF_CONFIG"] = json.dumps(cluster)
        words = [json.dumps(sorted(own)), devices, own_folder, options.steps, options.epochs,
                 json.dumps(fit)]  # fmt: skip
        command = [sys.executable, "-m", "benchmarks.scaling", "worker", *map(str, words)]
        processes.append(subprocess.Popen(command, env=environment))
    if any([process.wait() for process in processes]):  # all of them, whatever the first one says
        raise SystemExit("a training has failed")
    folder = folder if folder.exists() else scratch / f"{name} 0"  # of two that do not meet
    with open(folder / "history.csv", newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))[1:]
    seconds = statistics.median(float(row["seconds"]) for row in rows) / options.steps
    busy = float((folder / BUSY).read_text()) / options.steps
    return seconds, statistics.median(float(row["waiting"]) for row in rows), busy


def worker(options: argparse.Namespace) -> None:
    """One process of a setup."""
    os.sched_setaffinity(0, json.loads(options.cores))  # before TensorFlow counts them
    import tensorflow as tf

    if options.devices > 1:
        cpu = tf.config.list_physical_devices("CPU")[0]
        one = tf.config.LogicalDeviceConfiguration()
        tf.config.set_logical_device_configuration(cpu, [one] * options.devices)
    from kzoo.training import train

    fit = {
        "batch_size": BATCH, "epochs": options.epochs, "steps_per_epoch": options.steps,
        **json.loads(options.fit),
    }  # fmt: skip
    if "TF_CONFIG" in os.environ:
        fit["strategy"] = "multi_worker"
    train_data = {"kind": "shards", "path": str(options.folder.parent / "shards")}
    names = [f"/device:CPU:{number}" for number in range(options.devices)]
    ends = []

    def say(line: str) -> None:
        if line.startswith("epoch ") and line.endswith("waiting)"):
            ends.append(time.process_time())

    train(
        {**SETTINGS, "data": {"train": train_data, "workers": 1}, "fit": fit},
        options.folder,
        devices=names if options.devices > 1 else None,
        say=say,
    )
    if ends:  # the chief alone says anything
        (options.folder / BUSY).write_text(str((ends[-1] - ends[0]) / (len(ends) - 1)))


def estimate(options: argparse.Namespace) -> None:
    """Print hours and what bounds them, for each training and number of GPUs."""
    from kzoo.training import forecast

    print(f"""On paper, as no GPU was there: {machine()}.
Costs are counted in the graphs, and times are the forecast of kzoo train --dry-run for H100s of which
{forecast.SHARE:.0%} is used, with {BETWEEN / 1e9:.0f} GB/s a GPU between machines of 8, and {1e6 * RECURRENCE:.0f} us, an assumption, for
each step of a recurrent layer that waits for the one before. Every GPU gets the published batch, and
the examples are as many as published, so that steps become fewer; a larger batch may want another
learning rate. A core reads {CORE:,.0f} s of sound a second from shards (measured here:
benchmarks/results/training.txt), before any step that varies it.""")  # noqa: E501
    for source, values in PUBLISHED.items():
        print(source)
        for line in rows(values):
            print(line)


def rows(values: dict | Path) -> list[str]:
    """The lines about one training."""
    from kzoo import config
    from kzoo.training import forecast

    values = values if isinstance(values, dict) else config.load_yaml(values)
    found, _ = forecast.forecast(values)
    seconds = found.samples / found.sample_rate
    lines = [
        f"  {found.trained / 1e6:.1f} million weights, "
        f"{found.forwards.multiply_adds / 1e9:.2f} billion multiply-adds for {seconds:.1f} s"
    ]
    for gpus in (1, 8, 64):
        hours, step = hours_and_step(found, gpus)
        sound = found.batch_size * gpus * seconds / step
        lines.append(
            f"  {gpus:>2} GPUs: {1000 * step:.0f} ms a step, {hours:.2f} h, "
            f"{sound:,.0f} s of sound a second from {sound / CORE:.1f} cores"
        )
    return lines


def hours_and_step(found: Forecast, gpus: int) -> tuple[float, float]:
    """Of a training that shows `found`'s examples, and seconds of its steps."""
    from kzoo.training import forecast

    link = forecast.H100.link_bytes if gpus <= 8 else BETWEEN
    machine = dataclasses.replace(forecast.H100, link_bytes=link)
    whole = dataclasses.replace(found, batch_size=found.batch_size * gpus)
    step = whole.step_seconds(machine, gpus) + RECURRENCE * found.forwards.recurrent_steps
    return step * found.epochs * found.steps_per_epoch / gpus / 3600, step


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
    verb = verbs.add_parser("shards")  # this and the next are what `measure` starts
    verb.add_argument("folder", type=Path)
    verb.set_defaults(run=shards)
    verb = verbs.add_parser("worker")
    verb.add_argument("cores")
    verb.add_argument("devices", type=int)
    verb.add_argument("folder", type=Path)
    verb.add_argument("steps", type=int)
    verb.add_argument("epochs", type=int)
    verb.add_argument("fit")
    verb.set_defaults(run=worker)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
