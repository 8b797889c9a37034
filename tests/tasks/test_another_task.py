"""A task that nothing in training knows joins as one class: here, what a recording is made of."""

import dataclasses
import types

import keras
import numpy as np
import pytest

from kzoo import config, data, models, presets, tasks
from kzoo.api.systems import evaluation_systems
from kzoo.models.base.sizes import Sizes
from kzoo.tasks import Task
from kzoo.training import train

NAMES = ["low", "high"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class EarSizes(Sizes):
    sample_rate: int = 8000
    channels: int = 1
    block_seconds: float = 0.25
    names: tuple[str, ...] = tuple(NAMES)

    task = "listening"


def build(size, *, samples=None):
    waveform = keras.Input((samples, size.channels), name="waveform")
    x = keras.layers.Conv1D(4, 16, strides=8, activation="relu", name="filters")(waveform)
    x = keras.layers.GlobalAveragePooling1D(name="mean")(x)
    x = keras.layers.Dense(len(size.names), activation="sigmoid", name="names")(x)
    return keras.Model(waveform, x, name="ear")


EAR = types.SimpleNamespace(VARIANTS={"tiny": EarSizes()}, build=build)


class Listening(Task):
    """Waveform `[batch, samples, channels]` to the probability of each name `[batch, names]`."""

    @property
    def waveform(self):
        return self.graph.inputs[0]

    def card(self, said):
        return {"task": "listening", "names": NAMES}

    def corpus(self):
        return {"sources": ["vocals", "accompaniment"]}

    def check(self, corpus, where, kind):
        pass

    def examples(self, corpus, *, seed, steps, conditions):
        return data.Examples(corpus, samples=self.samples, seed=seed, steps=steps)

    def windows(self, corpus):
        return data.Windows(corpus, samples=self.samples)

    def pair(self, batch, *, takes_mixture):
        loud = keras.ops.mean(keras.ops.square(batch["sources"]), axis=(2, 3)) > 1e-4
        return batch["mixture"], keras.ops.cast(loud, "float32")


@pytest.fixture
def listening(monkeypatch):
    """The task and its model are the zoo's."""
    known = models.architecture
    monkeypatch.setattr(models, "architecture", lambda name: EAR if name == "ear" else known(name))
    monkeypatch.setattr(models, "takes_sources", lambda name: name != "ear")
    monkeypatch.setitem(tasks.TASKS, "listening", Listening)


SETTINGS = {
    "name": "ear",
    "model": {"name": "ear"},
    "data": {
        "train": {"kind": "synthetic", "tracks": 1, "seconds": 3.0},
        "validation": {"kind": "synthetic", "tracks": 1, "seconds": 1.0, "seed": 9},
    },
    "loss": {"name": "l2"},
    "fit": {"batch_size": 2, "epochs": 1, "steps_per_epoch": 2},
}


def test_training_asks_the_task_and_leaves_a_preset_of_it(listening, tmp_path):
    lines = []
    folder = train(SETTINGS, tmp_path / "run", say=lines.append)
    card = presets.load_card(folder)
    assert card["task"] == "listening"
    assert card["names"] == NAMES
    assert "sources" not in card
    assert any("val_loss" in line for line in lines)
    heard = presets.from_preset(folder)(np.zeros((1, 2000, 1), np.float32))
    assert heard.shape == (1, 2)
    with pytest.raises(presets.PresetError, match="is for listening and separates nothing"):
        presets.sources(folder, card)


def test_what_a_task_does_not_have_is_refused_in_words(listening, tmp_path):
    settings = {**SETTINGS, "fit": {**SETTINGS["fit"], "tensorboard": 1}}
    with pytest.raises(config.ConfigError, match="this model is for listening: leave it at 0"):
        train(settings, tmp_path / "run")


def test_an_unknown_task_is_refused_with_the_nearest_name():
    with pytest.raises(config.ConfigError, match="no task is called 'seperation'; did you mean"):
        tasks.task("seperation")


def test_a_task_that_has_no_scores_says_so():
    with pytest.raises(config.ConfigError, match="is for synthesis, which is not scored"):
        evaluation_systems(["ddsp_violin"], {})
