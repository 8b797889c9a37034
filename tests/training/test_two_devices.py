"""Two devices take the steps of one: both trainers, in one process that has two processors."""

import subprocess
import sys

import numpy as np
import pytest
import test_adversarial_training
import test_training
from made_runs import checkpoint, history

from kzoo import config

PROGRAM = """
import sys
from pathlib import Path
import tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import keras
from kzoo import config, data
from kzoo.training import train
folder = Path(sys.argv[1])
def both(name):
    values = config.load_yaml(folder / f"{name}.yaml")
    train(values, folder / name / "one", devices=["/device:CPU:0"])
    train(values, folder / name / "two", devices=["/device:CPU:0", "/device:CPU:1"])
both("plain")
# Each device draws for its own half of a batch, and norms by it: here the halves are the same.
draw, example = keras.random.normal, data.Examples.example
keras.random.normal = lambda shape, dtype=None, seed=None: draw(
    (1, *shape[1:]), dtype=dtype, seed=seed) + tf.zeros(shape, dtype)
data.Examples.example = lambda self, index: example(self, index % 2)
both("adversarial")
"""


def plain():
    """Steps of which each device takes a half, and validation on an odd number of windows."""
    values = test_training.settings(
        model__dropout=0.0, fit__epochs=1, fit__plateau=None, optimizer={"name": "sgd"}
    )
    values["data"]["validation"]["seconds"] = 0.5
    return values


def adversarial():
    """Both networks, with virtual norms and averaged weights."""
    values = test_adversarial_training.settings(
        model__filters=[3, 4], fit__epochs=1, adversary__noise_std=0.0, data__validation=None
    )
    values["optimizer"] = {"name": "sgd", "learning_rate": 0.01, "ema_momentum": 0.5}
    values["adversary"]["optimizer"] = {"name": "sgd", "learning_rate": 0.01}
    values["adversary"]["network"] = {"reference_examples": 2, "filters": [3], "phase_shift": 0}
    return values


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """The folders of {trainer}/one and {trainer}/two."""
    folder = tmp_path_factory.mktemp("devices")
    for name, values in (("plain", plain()), ("adversarial", adversarial())):
        config.dump_yaml(values, folder / f"{name}.yaml")
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, folder],
        check=False,
        capture_output=True,
        text=True,
        timeout=240,  # devices that wait for each other wait for ever
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return folder


def test_two_devices_take_the_steps_of_one(runs):
    one, two = checkpoint(runs / "plain" / "one"), checkpoint(runs / "plain" / "two")
    for (name, first), second in zip(one.items(), two.values(), strict=True):
        if "moving_" in name:  # each device sees half of a batch: variances are of all of it
            np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5, err_msg=name)
    assert any("moving_" in name for name in one)


def test_two_devices_take_the_steps_of_both_networks_and_have_virtual_norms(runs):
    folder = runs / "adversarial"
    one, two = checkpoint(folder / "one"), checkpoint(folder / "two")
    for (name, first), second in zip(one.items(), two.values(), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5, err_msg=name)
    assert any(name.endswith("reference_mean") and values.any() for name, values in one.items())
    one, two = (history(folder / name)[0] for name in ("one", "two"))
    for name in ("loss", "adversarial_loss", "discriminator_loss", "fake_accuracy"):
        assert abs(one[name] - two[name]) < 1e-3 * max(abs(one[name]), 1), name
