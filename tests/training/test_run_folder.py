"""The folder of a run: when it is refused, begun anew, gone on with, and over."""

import copy
import sys

import keras
import numpy as np
import pytest
from made_runs import checkpoint, history, without_graphs
from test_training import SMALL, settings

from kzoo import audio, config, presets
from kzoo.training import callbacks, compiled, resolved, running, train
from kzoo.training.checkpoint import save
from kzoo.training.folder import locked

pytestmark = pytest.mark.usefixtures("eagerly")


def run(values, folder):
    """(lines, folder) of a run."""
    lines = []
    return lines, train(values, folder, say=lines.append)


def quick(**changes):
    """One step an epoch."""
    return settings(
        **{"fit__epochs": 1, "fit__steps_per_epoch": 1, "model__dropout": 0.0, **changes}
    )


class Loss(keras.callbacks.Callback):
    """Puts losses in place of those that were measured."""

    def __init__(self, *val_losses):
        super().__init__()
        self.val_losses = list(val_losses)

    def on_epoch_end(self, epoch, logs=None):
        logs["val_loss"] = self.val_losses[epoch]


@pytest.fixture
def val_losses(monkeypatch):
    """Make the validation of a run give these numbers."""

    def give(*numbers):
        scheduled = running._schedules
        monkeypatch.setattr(running, "_schedules", lambda *a: [Loss(*numbers), *scheduled(*a)])

    return give


@pytest.fixture(scope="module")
def done(tmp_path_factory):
    """A finished run of one epoch."""
    with without_graphs():  # modules' fixtures come before `eagerly`
        return train(quick(), tmp_path_factory.mktemp("runs") / "done", say=lambda line: None)


@pytest.fixture(scope="module")
def built():
    """The network of `quick`."""
    return compiled(resolved(quick()))


@pytest.fixture
def built_once(built, monkeypatch):
    """Every run of a test trains the same network, where it is the folder that is tested."""
    monkeypatch.setattr(running, "compiled", lambda *_, **__: built)


def test_another_run_goes_on_with_weights_and_optimizer_by_its_own_rate(done, tmp_path):
    values = quick(start__run=str(done), optimizer__learning_rate=1e-30)
    lines, folder = run(values, tmp_path / "slower")
    assert f"goes on from {done} after epoch 1, with its optimizer" in lines
    pairs = zip(checkpoint(done).items(), checkpoint(folder).values(), strict=True)
    kinds = ("iteration", "learning_rate", "momentum", "velocity", "seed", "moving")
    found = {kind: [] for kind in (*kinds, "weight")}
    for (name, before), after in pairs:
        found[next((kind for kind in kinds if kind in name), "weight")].append((before, after))
    for before, after in found["weight"]:
        np.testing.assert_allclose(after, before, rtol=1e-6)
    assert found["iteration"] == [(1, 2)]
    assert found["learning_rate"] == [(pytest.approx(3e-3), pytest.approx(1e-30))]
    before, after = found["momentum"][0]
    assert 0.5 < np.vdot(after, before) / np.linalg.norm(after) / np.linalg.norm(before) < 1


@pytest.mark.parametrize(
    ("start", "message"),
    [
        ({"run": "nowhere"}, "start.run: nowhere holds no checkpoint"),
        ({"run": "{done}", "freeze": ["*"]}, "leave the rest of start out"),
    ],
)
def test_a_run_to_go_on_from_must_be_one_and_stay_whole(done, tmp_path, start, message):
    start["run"] = start["run"].format(done=done)
    with pytest.raises(ValueError, match=message):
        run(quick(start=start), tmp_path / "new")


@pytest.mark.parametrize("existing", [False, True])
def test_a_run_that_is_refused_leaves_no_folder_and_takes_none(tmp_path, monkeypatch, existing):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    folder = tmp_path / "run"
    if existing:
        folder.mkdir()
    with pytest.raises(ValueError, match=r"fit\.tensorboard needs a package"):
        run(quick(fit__tensorboard=1), folder)
    assert list(tmp_path.iterdir()) == [folder] * existing


@pytest.mark.parametrize("part", ["train", "validation"])
def test_an_error_of_a_corpus_names_its_part_of_the_section(tmp_path, part):
    values = quick(**{f"data__{part}": {"kind": "stems", "path": str(tmp_path / "nowhere")}})
    with pytest.raises(ValueError, match=rf"^data\.{part}: .*nowhere: there is no such folder"):
        run(values, tmp_path / "run")


def test_a_damaged_recording_is_named_at_whatever_step_it_is_met(tmp_path, rng):
    values = quick(fit__epochs=3, data__validation=None)
    for number in range(6):
        for stem in values["model"]["sources"]:
            path = tmp_path / "music" / f"song{number}" / f"{stem}.wav"
            path.parent.mkdir(parents=True, exist_ok=True)
            audio.write(path, 0.1 * rng.standard_normal((20000, 2)), 8000)
    path.write_bytes(path.read_bytes()[:30000])  # of the last song
    values["data"] |= {"train": {"kind": "stems", "path": str(tmp_path / "music")}, "steps": []}
    lines = []
    with pytest.raises(audio.AudioError, match=rf"^{path}: .*cut short") as caught:
        train(values, tmp_path / "run", say=lines.append)
    assert "\n" not in str(caught.value)


@pytest.mark.usefixtures("built_once")
def test_until_the_first_checkpoint_another_configuration_begins_anew(tmp_path, monkeypatch):
    def killed(*_, **__):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(callbacks.checkpoint, "save", killed)  # its preset is written already
        with pytest.raises(KeyboardInterrupt):
            run(quick(seed=1), tmp_path / "run")
    _, folder = run(quick(seed=3), tmp_path / "run")
    assert presets.load_card(folder)["trained"]["seed"] == 3
    assert config.load_yaml(folder / "config.yaml")["seed"] == 3


@pytest.mark.usefixtures("built_once")
def test_a_kill_between_card_and_configuration_locks_nothing(tmp_path, monkeypatch):
    dumped = config.dump_yaml

    def killed(values, path):
        if path.name == "config.yaml":
            raise KeyboardInterrupt
        dumped(values, path)

    with monkeypatch.context() as patch:
        patch.setattr(running.config, "dump_yaml", killed)
        with pytest.raises(KeyboardInterrupt):
            run(quick(), tmp_path / "run")
    run(quick(), tmp_path / "run")


@pytest.mark.parametrize("keep", [["card.yaml", "weights.npz"], ["card.yaml", "config.yaml",
                                  "history.csv"], ["notes.txt"]])  # fmt: skip
def test_what_is_no_run_is_left_alone(done, tmp_path, keep):
    (tmp_path / "other").mkdir()
    for name in keep:
        text = (done / name).read_bytes() if (done / name).is_file() else b"mine"
        (tmp_path / "other" / name).write_bytes(text)
    with pytest.raises(config.ConfigError, match="holds other files; name a new folder"):
        run(quick(), tmp_path / "other")


def test_two_runs_do_not_share_a_folder(tmp_path):
    with (
        locked(tmp_path / "run"),
        pytest.raises(config.ConfigError, match="another kzoo train works in this folder"),
    ):
        run(quick(), tmp_path / "run")


def test_the_configuration_of_a_run_has_the_defaults_of_its_time(done, tmp_path):
    values = config.load_yaml(done / "config.yaml")
    assert values == resolved(quick()) == resolved(values)
    assert values["fit"]["plateau_factor"] == 0.5
    assert values["optimizer"]["name"] == "adam"
    assert values["loss"] == {"name": "l1"}
    pit = resolved(quick(loss={"name": "pit"}))["loss"]
    assert pit == {"name": "pit", "pairwise": {"name": "si_sdr", "zero_mean": False}}
    assert "variant" not in quick(model={"name": "unet", "sources": ["vocals"]})["model"]
    found = resolved(quick(model={"name": "unet", "sources": ["vocals"]}))
    assert found["model"]["variant"] == "spleeter"
    config.dump_yaml(resolved(quick(loss={"name": "multi_resolution_stft"})), tmp_path / "x.yaml")
    again = config.load_yaml(tmp_path / "x.yaml")
    assert resolved(again) == again


@pytest.mark.usefixtures("built_once")
def test_a_default_that_has_changed_does_not_change_a_run(done, monkeypatch):
    written = config.load_yaml(done / "config.yaml")
    monkeypatch.setattr(running.Fit.__init__, "__kwdefaults__", None)
    defaults = [0.1 if value == 0.5 else value for value in running.Fit.__init__.__defaults__]
    monkeypatch.setattr(running.Fit.__init__, "__defaults__", tuple(defaults))
    with pytest.raises(config.ConfigError, match=r"'fit' \(plateau_factor: 0.5, here 0.1\)"):
        run(quick(), done)
    lines, _ = run(written, done)
    assert "finished already" in lines[-1]


@pytest.mark.usefixtures("built_once")
def test_more_workers_go_on_with_the_run_and_reach_the_data(done, monkeypatch):
    seen, dataset = [], running.data.dataset
    monkeypatch.setattr(
        running.data, "dataset",
        lambda *a, **k: (seen.append((k["workers"], k["ahead"])), dataset(*a, **k))[1],
    )  # fmt: skip
    lines, _ = run(quick(data__workers=3), done)
    assert "finished already" in lines[-1]
    assert seen == [(3, 6), (3, 6)]


@pytest.mark.usefixtures("built_once")
@pytest.mark.parametrize("part", ["train", "validation"])
def test_other_data_do_not_go_on_with_a_run(done, monkeypatch, part):
    from kzoo.data.synthetic import Synthetic

    identity = Synthetic.identity
    monkeypatch.setattr(
        Synthetic, "identity",
        lambda self, track: identity(self, track) + "!" * ((part == "train") == (self.seed == 0)),
    )  # fmt: skip
    with pytest.raises(config.ConfigError, match=f"data.{part} is not .*or name a new folder"):
        run(quick(fit__epochs=2), done)


def test_a_checkpoint_without_a_word_about_its_data_is_taken_up(tmp_path):
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1)])
    model.compile("sgd")
    model.optimizer.build(model.trainable_variables)
    save(tmp_path / "checkpoint.npz", model, {"epoch": 1, "steps": 1, "finished": True})
    found = callbacks.Checkpoints(
        tmp_path, others=[], save_preset=None, meter=None, say=None, data={"train": "0"}
    )
    found.resume(model, 1)
    assert found.state["finished"]
    assert found.state["data"] == {"train": "0"}


@pytest.mark.usefixtures("built_once")
def test_a_run_that_stopped_early_is_over(tmp_path, val_losses):
    val_losses(1.0, 2.0, 3.0, 4.0, 5.0, 6.0)
    values = quick(fit__epochs=5, fit__early_stopping=1, fit__plateau=None)
    _, folder = run(values, tmp_path / "run")
    assert len(history(folder)) == 2
    lines, _ = run(values, folder)
    assert "finished already" in lines[-1]
    assert len(history(folder)) == 2
    run({**copy.deepcopy(values), "fit": {**values["fit"], "epochs": 6}}, folder)
    assert len(history(folder)) == 4  # its patience began anew


@pytest.mark.usefixtures("built_once")
def test_a_validation_that_is_no_number_is_worse_than_any(tmp_path, val_losses):
    val_losses(np.nan, 3.0, np.nan, 2.0)
    _, folder = run(quick(fit__epochs=4, fit__early_stopping=3), tmp_path / "run")
    trained = presets.load_card(folder)["trained"]
    assert (trained["best"], trained["best_epoch"]) == (2.0, 4)
    assert len(history(folder)) == 4


def test_a_run_that_diverges_is_an_error_that_says_what_is_kept(tmp_path, monkeypatch):
    values = quick(optimizer={"name": "sgd", "learning_rate": 1e30}, fit__epochs=3,
                   fit__steps_per_epoch=2)  # fmt: skip
    with pytest.raises(ValueError, match="in epoch 1, and nothing is kept: lower") as caught:
        run(values, tmp_path / "run")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run" / "checkpoint.npz").exists()

    class Breaks(Loss):
        def on_epoch_end(self, epoch, logs=None):
            logs["loss"] = np.nan if epoch else logs["loss"]

    monkeypatch.setattr(running, "_schedules", lambda *a: [Breaks()])
    with pytest.raises(ValueError, match="in epoch 2, and the checkpoint of epoch 1 is kept"):
        run(quick(fit__epochs=3), tmp_path / "other")
    assert len(history(tmp_path / "other")) == 1


def test_tensorboard_shows_what_a_conditioned_system_makes(tmp_path):
    pytest.importorskip("tensorboard")
    sources = ["vocals", "drums"]
    values = quick(
        model={"name": "cunet", "sources": sources, "variant": "tiny", **SMALL}, fit__tensorboard=1,
        data__steps=[], loss={"name": "weighted_sdr"},
    )  # fmt: skip
    _, folder = run(values, tmp_path / "run")
    assert (folder / "checkpoint.npz").is_file()
    [path] = (folder / "logs").glob("events*")
    for source in sources:
        assert f"{source}/target".encode() in path.read_bytes()


def test_statistics_that_were_fixed_are_named_when_they_are_to_move(tmp_path):
    fixed = quick(fit__inference_mode=True)
    _, preset = run(fixed, tmp_path / "first")
    start = {"preset": str(preset)}
    lines, _ = run(quick(start=start), tmp_path / "moving")
    assert any("fit.inference_mode=true keeps" in line for line in lines)
    lines = compiled(resolved({**fixed, "start": start})).started
    assert not any("inference_mode" in line for line in lines)
    assert presets.load_card(preset)["fixed_norms"] is True
    assert presets.load_card("spleeter_5stems_16khz")["fixed_norms"] is True
