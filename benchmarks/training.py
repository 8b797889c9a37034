"""Training: time of a step and what of it is waiting for data.

    python benchmarks/training.py step CONFIG [section.key=value ...] [--steps 40]

The model, data and loss of a configuration, on the backend that KERAS_BACKEND names
(tensorflow, jax or torch): seconds of a step with batches made as they are needed, of the same
step on one batch over and over, and peak memory. The difference is what the data cost.
"""

from __future__ import annotations

import argparse
import os
import platform
import resource
import statistics
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np


def seconds_each(function: Callable[[], object], count: int) -> list[float]:
    """Wall seconds of each of `count` calls."""
    found = []
    for _ in range(count):
        began = time.perf_counter()
        function()
        found.append(time.perf_counter() - began)
    return found


def step(options: argparse.Namespace) -> None:
    """Print the time of a step, with data and without."""
    import keras

    from kzoo import config, training
    from kzoo.data import pipeline

    values = config.override(config.load_yaml(options.config), options.settings)
    values = training.resolved({"name": options.config.stem, **values})
    keras.utils.set_random_seed(values["seed"])
    made = training.compiled(values, jit_compile=keras.backend.backend() == "jax")
    graph, size = made.trainer, values["fit"]["batch_size"]
    examples, _ = made.open_data(values)

    class Batches(keras.utils.PyDataset):
        num_batches = None

        def __getitem__(self, index):
            pair = made.pair(pipeline.batch(examples, index, size))
            return keras.tree.map_structure(np.asarray, pair)

    batches = Batches(workers=values["data"]["workers"])
    one = batches[0]
    began = time.perf_counter()
    graph.train_on_batch(*one)
    first = time.perf_counter() - began
    alone = seconds_each(lambda: graph.train_on_batch(*one), options.steps)

    times = []

    class Clock(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            times.append(time.perf_counter())

    graph.fit(batches, steps_per_epoch=options.steps, shuffle=False, verbose=0, callbacks=[Clock()])
    whole = np.diff(times)
    compute, total = statistics.median(alone), statistics.median(whole)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    backend = f"Keras {keras.__version__} on {keras.backend.backend()}"
    print(f"{options.config.name}, batch {size}, {options.steps} steps, {backend}: {machine()}")
    print(
        f"first step {first:.1f} s; a step {total:.3f} s, of which the network {compute:.3f} s "
        f"(data {max(0.0, 1 - compute / total):.0%}); peak {peak:.0f} MB"
    )


def machine() -> str:
    """Where and when."""
    return (
        f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}, "
        f"{time.strftime('%Y-%m-%d')}"
    )


def main() -> None:
    """Read the options and measure."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    verbs = parser.add_subparsers(required=True)
    verb = verbs.add_parser("step")
    verb.add_argument("config", type=Path)
    verb.add_argument("settings", nargs="*")
    verb.add_argument("--steps", type=int, default=40)
    verb.set_defaults(run=step)
    options = parser.parse_args()
    options.run(options)


if __name__ == "__main__":
    main()
