"""What tests of training ask of a run's folder, and a run that is killed."""

import contextlib
import copy
import json
import shutil
import signal
import subprocess
import sys
import time
import warnings

import numpy as np
from made_programs import LEAN

from kzoo import config

_PROGRAM = LEAN + (
    "from kzoo import config; from kzoo.training import train; "
    "train(config.load_yaml(sys.argv[1]), sys.argv[2])"
)


def replaced(settings, **changes):
    """A copy of `settings` with "section__key" replaced."""
    values = copy.deepcopy(settings)
    for name, value in changes.items():
        section, _, key = name.partition("__")
        if key:
            values.setdefault(section, {})[key] = value
        else:
            values[section] = value
    return values


def checkpoint(folder):
    """Every array by its name."""
    with np.load(folder / "checkpoint.npz") as arrays:
        return {name: arrays[name] for name in arrays.files if name != "state"}


def history(folder):
    """A row an epoch, without what no two runs share."""
    with np.load(folder / "checkpoint.npz") as arrays:
        rows = json.loads(str(arrays["state"]))["history"]
    return [{k: v for k, v in row.items() if k not in ("seconds", "waiting")} for row in rows]


@contextlib.contextmanager
def without_graphs():
    """Trainings without graphs, as drawing one takes longer than a few steps of a tiny network."""
    import tensorflow as tf

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Even though the .*eagerly")  # tf.data keeps its graphs
        tf.config.run_functions_eagerly(True)
        try:
            yield
        finally:
            tf.config.run_functions_eagerly(False)


def copies_after_the_first_epoch(folder, name):
    """For `say` of a run in `folder`: when its first epoch is on the disk, copies it beside it."""

    def say(line):
        if line.startswith("epoch 1: ") and line.endswith("waiting)"):  # said last
            shutil.copytree(folder, folder.with_name(name))

    return say


def train_until_killed(values, folder):
    """A process of its own trains by `values` and is killed at its first checkpoint."""
    path = folder.with_suffix(".yaml")
    config.dump_yaml(values, path)
    with subprocess.Popen(
        [sys.executable, "-c", _PROGRAM, path, folder], stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:  # fmt: skip
        deadline = time.monotonic() + 120
        while not (folder / "checkpoint.npz").is_file() and time.monotonic() < deadline:
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)


def assert_same_runs(found, expected):
    """Of two folders, bit by bit; by position, as Keras counts up names within a process."""
    arrays, again = checkpoint(expected), checkpoint(found)
    for (name, values), others in zip(arrays.items(), again.values(), strict=True):
        np.testing.assert_array_equal(others, values, err_msg=name)
    assert history(found) == history(expected)
