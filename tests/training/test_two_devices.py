"""Two devices take the steps of one: both trainers, each in a process that has two processors."""

import os
import subprocess
import sys

import numpy as np
import pytest
import test_adversarial_training
import test_training
from made_programs import LEAN
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
    tf.config.run_functions_eagerly(True)  # else drawing the graph takes longer than the steps
    train(values, folder / name / "one", devices=["/device:CPU:0"])
    tf.config.run_functions_eagerly(False)
    train(values, folder / name / "two", devices=["/device:CPU:0", "/device:CPU:1"])
if sys.argv[2] == "adversarial":
    # Each device draws for its own half of a batch, and norms by it: here the halves are the same.
    draw, example = keras.random.normal, data.Examples.example
    keras.random.normal = lambda shape, dtype=None, seed=None: draw(
        (1, *shape[1:]), dtype=dtype, seed=seed) + tf.zeros(shape, dtype)
    data.Examples.example = lambda self, index: example(self, index % 2)
both(sys.argv[2])
"""


def plain():
    """Steps of which each device takes a half, clipped; validation on an odd number of windows."""
    values = test_training.settings(
        model__dropout=0.0, fit__epochs=1, fit__plateau=None,
        optimizer={"name": "sgd", "learning_rate": 0.1, "global_clipnorm": 0.05},
    )  # fmt: skip
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


def runs(folder, name, values):
    """(checkpoint, history) of one device, and of two."""
    config.dump_yaml(values, folder / f"{name}.yaml")
    done = subprocess.run(
        [sys.executable, "-c", LEAN + PROGRAM, folder, name],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "TF_NUM_INTEROP_THREADS": "2"},  # one for each device
        timeout=240,  # devices that wait for each other wait for ever
    )
    assert done.returncode == 0, done.stderr[-2000:]
    folders = [folder / name / devices for devices in ("one", "two")]
    return [(checkpoint(folder), history(folder)) for folder in folders]


def test_two_devices_take_the_steps_of_one(tmp_path):
    (one, _), (two, _) = runs(tmp_path, "plain", plain())
    for (name, first), second in zip(one.items(), two.values(), strict=True):
        if "moving_" in name:  # each device sees half of a batch: variances are of all of it
            np.testing.assert_allclose(first, second, rtol=1e-3, atol=1e-5, err_msg=name)
        else:
            np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5, err_msg=name)
    assert any("moving_" in name for name in one)


@pytest.mark.slow
def test_two_devices_are_scored_as_one(tmp_path):
    values = plain()
    values["fit"]["score_every"] = 1
    values["data"]["validation"]["seconds"] = 1.5
    (_, one), (_, two) = runs(tmp_path, "plain", values)
    for key in ("val_sdr", "val_si_sdr", "val_si_sdr_vocals", "learning_rate"):
        assert two[0][key] == pytest.approx(one[0][key], abs=0.01)


@pytest.mark.slow
def test_two_devices_take_the_steps_of_both_networks_and_have_virtual_norms(tmp_path):
    (one, rows), (two, other_rows) = runs(tmp_path, "adversarial", adversarial())
    for (name, first), second in zip(one.items(), two.values(), strict=True):
        np.testing.assert_allclose(first, second, rtol=1e-4, atol=1e-5, err_msg=name)
    assert any(name.endswith("reference_mean") and values.any() for name, values in one.items())
    one, two = rows[0], other_rows[0]
    for name in ("loss", "adversarial_loss", "discriminator_loss", "fake_accuracy"):
        assert abs(one[name] - two[name]) < 1e-3 * max(abs(one[name]), 1), name
