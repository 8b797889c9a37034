"""Truncated backpropagation: a state that goes on from batch to batch, and from run to run."""

import numpy as np
import pytest
from made_runs import assert_same_runs, checkpoint, history, replaced

from kzoo import presets
from kzoo.data import Lanes
from kzoo.training import train
from kzoo.training.running import check_devices
from kzoo.training.settings import Fit

CORPUS = {"kind": "synthetic", "tracks": 3, "seconds": 0.02, "sources": ["vocals"]}
SETTINGS = {
    "name": "tiny",
    "model": {"name": "sample_rnn", "variant": "tiny", "frames": [4]},
    "data": {"train": CORPUS, "validation": {**CORPUS, "seed": 9}},
    "loss": {"name": "code_cross_entropy"},
    "optimizer": {"learning_rate": 1e-2, "clipvalue": 1.0},
    "fit": {
        "batch_size": 2, "epochs": 3, "steps_per_epoch": 5, "segment_seconds": 0.001,
        "carried_state": True,
    },
}  # fmt: skip


def run(folder, **changes):
    return train(replaced(SETTINGS, **changes), folder, say=lambda line: None)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run of three epochs without a stop."""
    return run(tmp_path_factory.mktemp("runs") / "straight")


def test_a_run_that_was_stopped_goes_on_bit_by_bit(straight, tmp_path):
    run(tmp_path / "stopped", fit__epochs=1)
    run(tmp_path / "stopped")
    assert_same_runs(tmp_path / "stopped", straight)


def test_the_state_is_in_the_checkpoint_and_no_part_of_the_preset(straight):
    kept = {name.split("/")[-1]: x for name, x in checkpoint(straight).items() if "carried" in name}
    for whose in ("learning", "judged"):
        assert kept[f"{whose}_before"].shape == (2, 3, 1)
        assert np.abs(kept[f"{whose}_tier1_rnn1"]).min() > 0
    model = presets.from_preset(straight)
    assert [x.name for x in model.inputs] == ["past"]
    assert not any("carried" in weight.path for weight in model.weights)


def test_a_state_that_is_lost_gives_another_loss(straight, tmp_path, monkeypatch):
    stretch = Lanes._stretch
    lost = {"begins": np.ones(1, np.float32)}
    monkeypatch.setattr(Lanes, "_stretch", lambda *a, **named: {**stretch(*a, **named), **lost})
    [row] = history(run(tmp_path / "lost", fit__epochs=1))
    assert row["loss"] != history(straight)[0]["loss"]


def test_it_is_refused_where_nothing_can_be_carried(tmp_path):
    with pytest.raises(ValueError, match=r"for recurrent generators, .* wavenet has no state"):
        run(tmp_path / "run", model={"name": "wavenet", "variant": "tiny"})
    with pytest.raises(ValueError, match="for one device, and there are 2"):
        check_devices(Fit(carried_state=True), 2)
    with pytest.raises(ValueError, match="make 0 windows, less than one batch of 64"):
        run(tmp_path / "many", fit__batch_size=64)
