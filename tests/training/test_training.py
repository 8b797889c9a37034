"""Training on made-up sound: it learns, resumes bit by bit, and leaves a preset behind."""

import time

import keras
import numpy as np
import pytest
import tensorflow as tf
from made_runs import assert_same_runs, checkpoint, history, replaced, train_until_killed

from kzoo import config, presets
from kzoo.training import resolved, train
from kzoo.training.optimizers import averaged, optimizer

# One level: what is traced and built is a fifth of the tiny variant of six levels.
SMALL = {"filters": [3], "frames": 32, "bins": 32, "n_fft": 128, "hop_length": 32}
SETTINGS = {
    "name": "tiny",
    "seed": 3,
    "model": {
        "name": "unet", "sources": ["vocals", "accompaniment"], "variant": "tiny",
        "trunk": "shared", "masks": "softmax", **SMALL,
    },
    "data": {
        "train": {"kind": "synthetic", "tracks": 2, "seconds": 1.0},
        "validation": {"kind": "synthetic", "tracks": 1, "seconds": 0.3, "seed": 9},
        "steps": [{"name": "remix", "probability": 0.5}, {"name": "gain"}],
    },
    "optimizer": {"learning_rate": 3e-3, "ema_momentum": 0.9},
    "fit": {"batch_size": 2, "epochs": 3, "steps_per_epoch": 3, "plateau": 1},
}  # fmt: skip


def settings(**changes):
    """SETTINGS with "section__key" replaced."""
    return replaced(SETTINGS, **changes)


def longer(**changes):
    """Settings of a run that learns to its last epoch: more steps, and larger ones."""
    optimizer = {"learning_rate": 1e-2, "ema_momentum": 0.5}
    return settings(fit__steps_per_epoch=15, optimizer=optimizer, **changes)


@pytest.fixture(scope="module")
def straight(tmp_path_factory):
    """A run of three epochs without a stop."""
    return train(longer(), tmp_path_factory.mktemp("runs") / "straight", say=lambda line: None)


def test_a_killed_run_goes_on_bit_by_bit(straight, tmp_path):
    folder = tmp_path / "killed"
    train_until_killed(longer(), folder)
    before = len(history(folder))
    assert before >= 1
    train(longer(), folder, say=lambda line: None)
    assert_same_runs(folder, straight)


def test_the_checkpoint_holds_weights_optimizer_slots_and_the_seeds_of_dropout(straight):
    names = " ".join(checkpoint(straight))
    for part in ("kernel", "moving_variance", "momentum", "velocity", "iteration", "learning_rate",
                 "seed_generator_state", "average"):  # fmt: skip
        assert part in names, part


def test_the_loss_falls(straight):
    rows = history(straight)
    assert rows[-1]["loss"] < 0.8 * rows[0]["loss"]


def test_a_run_folder_is_a_preset_that_says_how_it_was_made(straight):
    card = presets.load_card(straight)
    assert card["sources"] == ["vocals", "accompaniment"]
    assert card["trained"]["steps"] == 45
    assert card["trained"]["seed"] == 3
    assert len(card["trained"]["data"]["sha256"]) == 64
    model = presets.from_preset(straight)
    stems = np.asarray(model(np.ones((1, 3000, 2), np.float32)))
    assert stems.shape == (1, 2, 3000, 2)


def test_a_run_leaves_its_curves_as_a_picture_and_in_its_card(straight):
    pytest.importorskip("matplotlib", reason="pip install 'kzoo[plot]'")
    assert (straight / "history.png").read_bytes().startswith(b"\x89PNG")
    curves = presets.load_card(straight)["trained"]["curves"]
    assert curves["epoch"] == [1, 2, 3]
    rows = history(straight)
    assert curves["loss"] == pytest.approx([row["loss"] for row in rows], rel=1e-3)
    assert curves["learning_rate"] == pytest.approx([row["learning_rate"] for row in rows])


def test_the_preset_has_the_averaged_weights(straight):
    # Both are of the last epoch, which was the best.
    assert presets.load_card(straight)["trained"]["best_epoch"] == 3
    with np.load(straight / "weights.npz") as arrays:
        kept = {name: arrays[name] for name in arrays.files}
    raw = {name.split(" ", 1)[1]: values for name, values in checkpoint(straight).items()}
    same = [np.array_equal(kept[name], raw[name]) for name in kept if name.endswith("kernel")]
    assert not any(same)


def test_nesterov_is_of_sgd_and_looks_a_step_ahead():
    steps = {}
    for nesterov in (False, True):
        weight = keras.Variable([1.0])
        used = optimizer("sgd", learning_rate=0.1, momentum=0.9, nesterov=nesterov)
        used.apply([keras.ops.convert_to_tensor([1.0])], [weight])
        steps[nesterov] = float(weight.value[0])
    assert steps == pytest.approx({False: 0.9, True: 1 - 0.1 * 1.9})
    with pytest.raises(ValueError, match=r"optimizer adam: .*nesterov"):
        optimizer("adam", nesterov=True)


def test_rho_is_of_rmsprop_alone():
    assert optimizer("rmsprop", rho=0.95).rho == 0.95
    with pytest.raises(ValueError, match=r"optimizer adam: .*rho"):
        optimizer("adam", rho=0.95)


def test_a_rate_decays_smoothly_over_its_steps():
    rates = optimizer(learning_rate=0.5, decay_steps=100, decay_rate=0.81)._learning_rate
    assert [float(rates(step)) for step in (0, 50, 200)] == pytest.approx([0.5, 0.45, 0.32805])
    for wrong in ({"decay_rate": 0.9}, {"decay_rate": 1.5, "decay_steps": 2}):
        with pytest.raises(ValueError, match="decay_rate is above 0 and at most 1"):
            optimizer(**wrong)


def test_averaging_is_undone_to_the_last_bit():
    model = keras.Sequential([keras.Input((3,)), keras.layers.Dense(2)])
    model.compile(optimizer(learning_rate=0.1, ema_momentum=0.5), "mse")
    for _ in range(3):  # not fit, which ends with the averages in the model
        model.train_on_batch(np.ones((8, 3)), np.ones((8, 2)))
    own = [np.asarray(weight.value).copy() for weight in model.weights]
    with averaged(model):
        assert not np.array_equal(model.weights[0].value, own[0])
    for weight, value in zip(model.weights, own, strict=True):
        np.testing.assert_array_equal(weight.value, value)


def test_weights_that_took_no_step_are_refused(tmp_path):
    from kzoo import api

    model = api.build("unet", variant="tiny")
    card = {
        "name": "x", "model": {"name": "unet", "options": {"variant": "tiny"}},
        "sources": ["vocals", "accompaniment"], "sample_rate": 8000, "trained": {"steps": 0},
    }  # fmt: skip
    presets.save_to_preset(model, tmp_path / "fresh", card)
    with pytest.raises(presets.PresetError, match="not been trained"):
        presets.from_preset(tmp_path / "fresh")


@pytest.mark.usefixtures("eagerly")
def test_half_precision_stays_finite_and_ships_float32(tmp_path):
    values = settings(fit__precision="mixed_bfloat16", fit__epochs=1)
    folder = train(values, tmp_path / "run", say=lambda line: None)
    assert np.isfinite(history(folder)[0]["loss"])
    with np.load(folder / "weights.npz") as arrays:
        assert {arrays[name].dtype for name in arrays.files} == {np.dtype("float32")}
    assert keras.config.dtype_policy().name == "float32"


@pytest.mark.usefixtures("eagerly")
def test_fine_tuning_starts_from_a_preset_with_frozen_layers_and_new_sources(straight, tmp_path):
    values = settings(
        model__trunk="each", model__masks="sigmoid", fit__epochs=1, optimizer={"name": "adam"},
        start={"freeze": ["vocals_*"]},
    )  # fmt: skip
    first = train(values, tmp_path / "first", say=lambda line: None)
    values = settings(
        model__trunk="each", model__masks="sigmoid", fit__epochs=1,
        model__sources=["vocals", "drums"], data__train={"kind": "synthetic", "tracks": 1},
        data__validation={"kind": "synthetic", "tracks": 1, "seconds": 3.0},
        optimizer={"name": "adam", "rates": {"drums_down*": 0.0}},
        start={"preset": str(first), "sources": {"drums": "accompaniment"}, "freeze": ["vocals_*"]},
    )  # fmt: skip
    second = train(values, tmp_path / "second", say=lambda line: None)
    with np.load(first / "weights.npz") as before, np.load(second / "weights.npz") as after:
        for name in after.files:
            origin = name.replace("drums", "accompaniment")
            same = np.array_equal(before[origin], after[name])
            if name.startswith("vocals_"):
                assert same, name  # frozen, its batch norms' statistics too
            elif name.startswith("drums_up") and name.endswith("kernel"):
                assert not same, name
            elif name.startswith("drums_down") and name.endswith("kernel"):
                assert same, name  # a rate of nothing


@pytest.mark.usefixtures("eagerly")
def test_inference_mode_keeps_the_statistics_and_trains_their_scales(tmp_path):
    values = settings(fit__epochs=1, fit__inference_mode=True, optimizer={"name": "adam"})
    folder = train(values, tmp_path / "run", say=lambda line: None)
    with np.load(folder / "weights.npz") as arrays:
        for name in arrays.files:
            if name.endswith("moving_mean"):
                np.testing.assert_array_equal(arrays[name], 0, err_msg=name)
        gammas = [arrays[name] for name in arrays.files if name.endswith("gamma")]
    assert any(not np.array_equal(gamma, np.ones_like(gamma)) for gamma in gammas)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"modle": {}}, "did you mean 'model'"),
        ({"fit__batchsize": 3}, "did you mean 'batch_size'"),
        ({"fit__batch_size": 0}, "fit: batch_size must be at least 1; got 0"),
        ({"fit__precision": "half"}, "fit: precision must be one of float32, .*; got 'half'"),
        ({"fit__batch_size": "four"}, "batch_size.*'four'"),
        ({"optimizer__learning_rate": "1e-3"}, "write 0.001"),
        ({"optimizer__name": "adma"}, "optimizer must be one of"),
        ({"loss": {"name": "l3"}}, "there are: l1"),
        ({"model__name": "unett"}, "unet"),
        ({"data__train": {"kind": "synthetic", "trakcs": 3}}, "did you mean 'tracks'"),
        ({"data__train": {"kind": "stems", "path": "/nowhere"}}, "/nowhere"),
        ({"data__steps": [{"name": "remixx"}]}, "did you mean 'remix'"),
        ({"start": {"freeze": ["nothing_*"]}}, "nothing_"),
        ({"data__steps": [{"probability": 0.5}]}, "data.steps needs name"),
        ({"data__steps": ["remix"]}, "dictionary.*'remix'"),
        ({"data__workers": 0}, "data: workers must be at least 1; got 0"),
        ({"data__train": {"kind": ["synthetic"]}}, "kind.*string"),
        ({"loss": {"name": "si_sdr", "zero_mean": "yes"}}, "zero_mean.*'yes'"),
        ({"loss": {"name": "pit", "pairwise": {"name": "snr", "zero_mean": 3}}}, "zero_mean.*3"),
        ({"loss": {"name": ["l1"]}}, "loss: name.*string"),
        ({"model__name": 3}, "model: name.*string.*3"),
        ({"model__variant": "tinny"}, "'tinny'; did you mean 'tiny'"),
        ({"model__frames": "64", "fit__segment_seconds": 0.5}, "frames.*'64'"),
        ({"model": None}, "model.*dictionary.*None"),
        ({"optimizer__decay_steps": 9}, "plateau and optimizer.decay_steps both.* 1 and 9"),
    ],
)
def test_a_mistake_is_one_line_before_the_first_step(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message) as caught:
        train(settings(**changes), tmp_path / "run", say=lambda line: None)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "checkpoint.npz").exists()


def test_another_configuration_does_not_go_on_in_the_same_folder(straight):
    with pytest.raises(config.ConfigError, match="another section 'seed'"):
        train(longer(seed=4), straight, say=lambda line: None)


@pytest.mark.usefixtures("eagerly")
def test_tensorboard_gets_losses_sound_and_pictures(tmp_path):
    pytest.importorskip("tensorboard")
    values = settings(fit__epochs=1, fit__tensorboard=1)
    folder = train(values, tmp_path / "run", say=lambda line: None)
    [path] = (folder / "logs").glob("events*")
    tags = {
        value.tag
        for event in tf.compat.v1.train.summary_iterator(str(path))
        for value in event.summary.value
    }
    assert {"loss", "val_loss", "learning_rate", "vocals/estimate", "vocals/target"} <= tags


def test_an_empty_section_is_one_with_the_defaults():
    empty = settings(loss=None, optimizer=None, fit=None, start=None, licences=None)
    without = {k: v for k, v in empty.items() if v is not None}
    assert resolved(empty) == resolved(without)


@pytest.mark.usefixtures("eagerly")
def test_a_slow_corpus_is_named(tmp_path, monkeypatch):
    from kzoo.data import synthetic

    monkeypatch.setattr(
        synthetic.Synthetic, "read_part",
        lambda self, track, part, start, samples: time.sleep(0.1)
        or np.ones((samples, self.channels), np.float32),
    )  # fmt: skip
    lines = []
    values = settings(
        fit__epochs=1, fit__batch_size=1, fit__steps_per_epoch=2, data__validation=None,
        data__steps=[],
    )  # fmt: skip
    train(values, tmp_path / "run", say=lines.append)
    assert any("waits for its data" in line for line in lines)
