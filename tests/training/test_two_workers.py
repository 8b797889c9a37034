"""Two processes, as on two machines, take the steps of one, and what may befall them."""

import json
import os
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest
import test_two_devices
from made_programs import LEAN
from made_runs import assert_same_runs, history, without_graphs

from kzoo import config
from kzoo.training import train

# Words: the configuration, the run's folder, a file for the weights, and a step to be killed after.
PROGRAM = """
import os, signal, sys
import keras, numpy as np
from kzoo import config, data
from kzoo.training import train
settings, folder, weights, last = *sys.argv[1:4], int(sys.argv[4])
fit, steps = keras.Model.fit, []
class Killed(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        steps.append(batch)
        if len(steps) == last:
            os.kill(os.getpid(), signal.SIGKILL)
def kept(self, *arguments, callbacks, **options):
    fit(self, *arguments, callbacks=[Killed(), *callbacks], **options)
    np.savez(weights, *[np.asarray(weight.value) for weight in self.weights])
keras.Model.fit = kept
values = config.load_yaml(settings)
if values["name"] == "halves":
    draw, example = keras.random.normal, data.Examples.example
    keras.random.normal = lambda shape, dtype=None, seed=None: draw(
        (1, *shape[1:]), dtype=dtype, seed=seed) + keras.ops.zeros(shape, dtype)
    data.Examples.example = lambda self, index: example(self, index % 2)
try:
    train(values, folder, say=lambda line: print(line, flush=True))
except ValueError as error:
    sys.exit(f"kzoo: {error}")
"""


def free_ports(count):
    """Ports that nobody has now."""
    doors = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [door.getsockname()[1] for door in doors]
    for door in doors:
        door.close()
    return ports


class Pair:
    """Two workers of one run, in `folder` / "run"."""

    def __init__(self, folder, values, *, strategy="multi_worker"):
        self.folder, self.run = folder, folder / "run"
        values = {**values, "fit": {**values["fit"], "strategy": strategy}}
        config.dump_yaml(values, folder / "values.yaml")
        self.addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]

    def start(self, index, *, last=0):
        """The process of one worker; last: the step after which it is killed."""
        task = {"type": "worker", "index": index}
        cluster = {"cluster": {"worker": self.addresses}, "task": task}
        words = [self.folder / "values.yaml", self.run, self.folder / f"{index}.npz", last]
        return subprocess.Popen(
            [sys.executable, "-c", LEAN + PROGRAM, *map(str, words)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "TF_CONFIG": json.dumps(cluster), "TF_CPP_MIN_LOG_LEVEL": "3"},
        )

    def end(self, *processes, seconds=240):
        """(exit status, lines, last line on stderr) of each."""
        found = []
        for process in processes:
            out, err = process.communicate(timeout=seconds)
            found.append((process.returncode, out.splitlines(), (err.splitlines() or [""])[-1]))
        return found

    def train(self):
        """Both workers to their end; the lines of the first."""
        ended = self.end(self.start(0), self.start(1))
        assert [status for status, *_ in ended] == [0, 0], ended
        said = [line for line in ended[1][1] if not line.startswith("waiting for worker 0")]
        assert said == [], "the second worker has nothing to say"
        return ended[0][1]

    def weights(self):
        """Those of both, which must be the same bits."""
        both = [list(np.load(self.folder / f"{index}.npz").values()) for index in (0, 1)]
        for one, other in zip(*both, strict=True):
            np.testing.assert_array_equal(one, other)
        return both[0]


def assert_near(found, expected):
    """Histories, to float32's rounding of sums in another order."""
    for row, other in zip(found, expected, strict=True):
        assert row.keys() == other.keys()
        for key, value in row.items():
            assert value == pytest.approx(other[key], rel=1e-5, abs=1e-6), key


def test_two_workers_take_the_steps_of_one(tmp_path):
    values = test_two_devices.plain()
    pair = Pair(tmp_path, values)
    pair.train()
    with without_graphs():
        train(values, tmp_path / "one", say=lambda line: None)
    assert_near(history(pair.run), history(tmp_path / "one"))
    arrays = np.load(tmp_path / "one" / "checkpoint.npz")
    names = [name for name in arrays.files if name != "state"]
    for name, weight in zip(names, pair.weights(), strict=False):  # the optimizer's come behind
        np.testing.assert_allclose(weight, arrays[name], rtol=1e-5, atol=1e-6, err_msg=name)
    assert {path.name for path in tmp_path.iterdir()} == {
        "run", "one", "values.yaml", "0.npz", "1.npz",
    }  # fmt: skip


@pytest.mark.slow
def test_two_workers_take_the_steps_of_both_networks(tmp_path):
    values = {**test_two_devices.adversarial(), "name": "halves"}
    pair = Pair(tmp_path, values)
    pair.train()
    config.dump_yaml(values, tmp_path / "one.yaml")
    words = [tmp_path / "one.yaml", tmp_path / "one", tmp_path / "one.npz", 0]
    subprocess.run([sys.executable, "-c", LEAN + PROGRAM, *map(str, words)], check=True)
    alone = np.load(tmp_path / "one.npz")
    for weight, name in zip(pair.weights(), alone.files, strict=True):
        np.testing.assert_allclose(weight, alone[name], rtol=1e-4, atol=1e-5, err_msg=name)
    [row], [other] = history(pair.run), history(tmp_path / "one")
    for name in ("loss", "adversarial_loss", "discriminator_loss", "fake_accuracy"):
        assert row[name] == pytest.approx(other[name], rel=1e-3, abs=1e-3), name


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["plain", "adversarial"])
@pytest.mark.parametrize("killed", [1, 0])
def test_a_worker_that_is_killed_ends_the_others_and_all_go_on_bit_by_bit(tmp_path, kind, killed):
    values = getattr(test_two_devices, kind)()
    values["fit"] |= {"epochs": 2, "steps_per_epoch": 3}
    values["optimizer"]["name"] = "adam"
    (tmp_path / "undisturbed").mkdir()
    undisturbed = Pair(tmp_path / "undisturbed", values)
    undisturbed.train()
    pair = Pair(tmp_path, values)
    last = 5 if killed == 1 else 2  # in the second epoch, or in the first
    both = [pair.start(index, last=last if index == killed else 0) for index in (0, 1)]
    [(status, *_)] = pair.end(both[killed])
    died = time.monotonic()
    assert status == -signal.SIGKILL
    [(status, _, line)] = pair.end(both[1 - killed])
    assert time.monotonic() - died < 60, "TensorFlow's heartbeat takes 10 s"
    assert status == 1
    address = pair.addresses[killed]
    assert line.startswith(f"kzoo: worker {killed} ({address}) is gone, and worker {1 - killed} ")
    assert (pair.run / "checkpoint.npz").exists() == (killed == 1)
    assert any("goes on after epoch 1" in line for line in pair.train()) == (killed == 1)
    assert_same_runs(pair.run, undisturbed.run)
    for weight, other in zip(pair.weights(), undisturbed.weights(), strict=True):
        np.testing.assert_array_equal(weight, other)


@pytest.mark.slow
def test_workers_that_were_given_different_configurations_say_so(tmp_path):
    values = test_two_devices.plain()
    pair = Pair(tmp_path, values)
    one = pair.start(0)
    changed = {**config.load_yaml(tmp_path / "values.yaml"), "seed": 4}
    time.sleep(8)  # until the first has read its own
    config.dump_yaml(changed, tmp_path / "values.yaml")
    ended = pair.end(one, pair.start(1))
    for status, _, line in ended:
        assert status == 1
        assert f"worker 1 ({pair.addresses[1]}) has another configuration than worker 0" in line


@pytest.mark.slow
def test_two_workers_score_and_average_as_one(tmp_path):
    values = test_two_devices.plain()
    values["fit"] |= {"score_every": 1, "early_stopping": 1, "epochs": 2, "min_delta": 100.0}
    values["fit"]["plateau"] = 1
    values["data"]["validation"]["seconds"] = 1.5
    values["optimizer"]["ema_momentum"] = 0.5
    pair = Pair(tmp_path, values)
    pair.train()
    with without_graphs():
        train(values, tmp_path / "one", say=lambda line: None)
    found, expected = history(pair.run), history(tmp_path / "one")
    for row, other in zip(found, expected, strict=True):
        assert row.keys() == other.keys()
        for key in row.keys() - {"val_loss"}:  # of whole batches alone
            assert row[key] == pytest.approx(other[key], rel=1e-3, abs=0.01), key
    pair.weights()
