"""What a training would take is told without a weight, a step or a file."""

import json
import resource
from pathlib import Path

import keras
import numpy as np
import pytest

from kzoo import config, models, training
from kzoo.cli.app import program
from kzoo.training import forecast
from kzoo.training.graph_costs import costs

CONFIGS = Path(__file__).parents[2] / "configs"
SYNTHETIC = {"kind": "synthetic", "tracks": 2, "seconds": 1800.0}


def configuration(**sections):
    values = {
        "name": "made",
        "model": {"name": "unet", "variant": "tiny", "sources": ["vocals", "accompaniment"]},
        "data": {"train": SYNTHETIC},
        "fit": {"batch_size": 4, "steps_per_epoch": 10, "epochs": 3, "segment_seconds": 0.5},
    }
    return {**values, **sections}


def test_weights_and_what_an_optimizer_keeps_of_them_are_those_of_the_training():
    for section in ({"name": "sgd"}, {"name": "adam"}, {"name": "adam", "ema_momentum": 0.9}):
        values = configuration(optimizer=section)
        found, _ = forecast.forecast(values)
        graph = training.compiled(training.resolved(values)).graph
        assert found.weights == graph.count_params()
        kept = sum(v.value.shape.num_elements() for v in graph.optimizer.variables)
        gradients = sum(v.value.shape.num_elements() for v in graph.trainable_variables)
        numbers = found.state_bytes / 4
        assert numbers == pytest.approx(found.weights + gradients + kept, abs=8)  # rate, counter


def test_costs_of_a_convolution_and_of_a_loop_are_those_on_paper():
    sound = keras.Input((100, 3))
    found = costs(keras.Model(sound, keras.layers.Conv1D(5, 7, padding="same")(sound)))
    assert found.multiply_adds == 100 * 7 * 3 * 5
    assert 100 * 5 * 4 <= found.tensor_bytes <= 2 * 100 * 5 * 4  # with the bias, without
    assert found.recurrent_steps == 0
    network = models.build("tasnet", variant="tiny", sources=["a", "b"], samples=800)
    assert costs(network).recurrent_steps == 2 * 2 * (800 // 8 - 1)  # layers, directions, frames


def test_an_example_of_a_network_that_goes_on_costs_what_it_costs_alone():
    size = models.sizes("sample_rnn", variant="tiny")
    alone = models.build("sample_rnn", size, samples=40)
    found = [costs(alone), *(costs(size.carrying(alone, lanes)) for lanes in (1, 3))]
    assert found[0].multiply_adds == found[1].multiply_adds == found[2].multiply_adds > 0
    assert found[0].recurrent_steps == found[2].recurrent_steps > 0


def test_no_weight_is_allocated():
    path = CONFIGS / "separation" / "deep_karaoke_medleydb.yaml"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    found, parts = forecast.forecast({"name": path.stem, **config.load_yaml(path)})
    with keras.StatelessScope():  # which allocates what Keras believes to be wanted still
        pass
    grown = 1024 * (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
    assert grown < found.weights < 4 * found.weights  # bytes
    assert [bool(part.missing) for part in parts] == [True] * len(parts)


def test_devices_share_the_batch_and_tell_each_other_of_gradients():
    found, _ = forecast.forecast(configuration())
    one, four = (found.step_seconds(forecast.H100, count) for count in (1, 4))
    assert one / 4 < four < one
    half, _ = forecast.forecast(configuration(optimizer={"name": "sgd"}))
    assert half.step_seconds(forecast.H100) < one


def test_a_dry_run_tells_of_data_and_writes_nothing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config.dump_yaml(configuration(), Path("made.yaml"))
    words = ["train", "made.yaml", "--dry-run"]
    program("train")(words, standalone_mode=False)
    printed = capsys.readouterr().out
    assert "2 tracks, 1 hours" in printed
    assert "runs/made (new)" in printed
    program("train")([*words, "--json"], standalone_mode=False)
    report = json.loads(capsys.readouterr().out)
    assert report["data"] == [{"name": "train", "tracks": 2, "hours": 1.0, "missing": None}]
    assert report["memory_bytes"] == (
        report["state_bytes"] + 4 * report["forwards"]["tensor_bytes"]
    )
    assert [path.name for path in Path().iterdir()] == ["made.yaml"]


def test_a_dry_run_fails_where_data_are_missing(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    config.dump_yaml(configuration(), Path("made.yaml"))
    words = ["train", "made.yaml", "data.train={kind: stems, path: nowhere}", "--dry-run"]
    with pytest.raises(SystemExit) as error:
        program("train")(words, standalone_mode=False)
    assert error.value.code == 1
    assert "MISSING: nowhere: there is no such folder" in capsys.readouterr().out
    with pytest.raises(ValueError, match="--json is of --dry-run"):
        program("train")(["train", "made.yaml", "--json"], standalone_mode=False)


def test_a_dry_run_tells_what_the_folder_holds(tmp_path):
    values = configuration()
    config.dump_yaml(training.resolved(values), tmp_path / "config.yaml")
    np.savez(tmp_path / "checkpoint.npz", state=np.array(json.dumps({"epoch": 1})))
    assert forecast.begun(values, tmp_path / "another") == "new"
    assert forecast.begun(values, tmp_path) == "goes on after epoch 1"
    with pytest.raises(ValueError, match="holds a run with another section 'seed'"):
        forecast.begun({**values, "seed": 7}, tmp_path)
