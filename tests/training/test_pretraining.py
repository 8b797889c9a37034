"""Layers that learn without labels first: as machines, in their order, before the first step."""

import re

import keras
import numpy as np
import pytest
import soundfile

from kzoo import models, presets
from kzoo.config import ConfigError
from kzoo.data import Examples, events
from kzoo.layers import standardised
from kzoo.layers.boltzmann import BoltzmannMachine
from kzoo.training import compiling, resolved, train
from kzoo.training.pretraining import Pretraining, pretrain

SECTION = {"steps": 60, "cases": 64, "learning_rate": 0.05, "gaussian_learning_rate": 0.05}


@pytest.fixture
def corpus(tmp_path, rng):
    """Two sounds after one another, with their times."""
    times = np.arange(8000) / 8000
    for number in range(3):
        sound = rng.normal(0, 0.01, 8000)
        for start, hertz in ((0.1, 300.0), (0.6, 1200.0)):
            inside = (times >= start) & (times < start + 0.3)
            sound += 0.3 * inside * np.sin(2 * np.pi * hertz * (1 + 0.1 * number) * times)
        path = tmp_path / "corpus" / f"{number}.wav"
        path.parent.mkdir(exist_ok=True)
        soundfile.write(path, sound, 8000)
        path.with_suffix(".txt").write_text("0.1 0.4 low\n0.6 0.9 high\n")
    return tmp_path / "corpus"


def configuration(corpus, name="dnn_hmm", **sections):
    return {
        "name": "ear", "model": {"name": name, "variant": "tiny"},
        "data": {"train": {"kind": "events", "path": str(corpus)}},
        "loss": {"name": "binary_cross_entropy"},
        "fit": {"batch_size": 4, "epochs": 1, "steps_per_epoch": 1}, **sections,
    }  # fmt: skip


@pytest.fixture
def begun(corpus):
    """(sizes, the network of two layers that is to be pretrained, examples)."""
    keras.utils.set_random_seed(0)
    size, _ = models.split("dnn_hmm", {"variant": "tiny", "units": [12, 6]})
    system = models.build("dnn_hmm", size, **size.block())
    opened = events.events(corpus, names=size.names)
    framed = opened.in_frames(size.hop_length, size.before_samples, size.after_samples)
    examples = Examples(framed, samples=system.output_shape[1] * size.hop_length)
    size.adapt(system, (examples.example(k)["mixture"] for k in range(6)))
    return size.stages(system), system, examples


def test_a_network_begins_with_what_its_machines_have_learned(begun):
    lines, (_, system, examples) = [], begun
    pretrain(*begun, Pretraining(**SECTION), batch_size=4, seed=0, say=lines.append)
    for level, line in enumerate(lines, start=1):
        found = re.fullmatch(
            r"hidden(\d): pretrained in 60 steps, .* of (\S+) and then (\S+)", line
        )
        assert int(found[1]) == level
        assert float(found[3]) < float(found[2])
    assert len(lines) == 2
    # What the first layer has learned explains a part of what it sees.
    layer = system.get_layer("hidden1")
    seen = np.asarray(keras.Model(system.input, layer.input)(examples.example(5)["mixture"][None]))
    windows = np.lib.stride_tricks.sliding_window_view(seen[0], 5, axis=0).swapaxes(1, 2)
    kernel, bias = layer.get_weights()
    on = 1 / (1 + np.exp(-np.tensordot(windows, kernel, 2) - bias))
    machine = BoltzmannMachine(12, 5, kind="gaussian")
    machine.build(windows.shape)
    machine.kernel.assign(kernel)
    shown = machine.seen(np.float32(on)[:, None])
    unexplained = np.mean(np.var(windows - shown, axis=0))
    assert unexplained < 0.9 * np.mean(np.var(windows, axis=0))


def test_a_machine_that_diverges_is_named(begun):
    settings = Pretraining(steps=20, gaussian_learning_rate=1e9)
    with pytest.raises(ValueError, match=r"hidden1 has learned nothing .* gaussian_learning_rate"):
        pretrain(*begun, settings, batch_size=2, seed=0, say=print)


def test_a_run_says_what_was_pretrained_and_keeps_the_section(corpus, tmp_path, monkeypatch):
    monkeypatch.setattr(standardised, "MEASURED_EXAMPLES", 4)
    monkeypatch.setattr(compiling, "LABELLED_EXAMPLES", 8)
    lines = []
    folder = train(configuration(corpus, pretraining={"steps": 12}), tmp_path / "run",
                   say=lines.append)  # fmt: skip
    assert any(line.startswith("hidden1: pretrained in 12 steps") for line in lines)
    card = presets.load_card(folder)
    assert card["trained"]["pretraining"]["steps"] == 12
    assert card["trained"]["pretraining"]["cases"] == 128
    chain = presets.from_preset(folder).get_layer("chain")
    assert np.ptp(np.asarray(chain.transitions)) > 0.8  # measured: states stay


@pytest.mark.slow
def test_frozen_layers_of_a_belief_network_keep_what_they_were_pretrained_to(corpus, tmp_path):
    labels = {"kind": "labelled", "path": str(corpus.parent / "folders")}
    for name, source in (("low", "0"), ("high", "1")):
        (corpus.parent / "folders" / name).mkdir(parents=True)
        (corpus.parent / "folders" / name / "a.wav").symlink_to(corpus / f"{source}.wav")
    values = configuration(
        corpus, "cdbn", data={"train": labels}, pretraining=SECTION | {"steps": 10},
        start={"freeze": ["conv*"]},
    )  # fmt: skip
    found = []
    for rate in (1e-6, 0.5):
        values["optimizer"] = {"name": "sgd", "learning_rate": rate}
        folder = train(values, tmp_path / f"run{rate}", say=lambda line: None)
        model = presets.from_preset(folder)
        found.append(
            [np.asarray(model.get_layer(name).kernel) for name in ("conv1", "conv2", "logits")]
        )
    np.testing.assert_array_equal(found[0][0], found[1][0])
    np.testing.assert_array_equal(found[0][1], found[1][1])
    assert np.abs(found[0][2] - found[1][2]).max() > 1e-4


@pytest.mark.parametrize(("sections", "message"), [
    ({"model": {"name": "tdnn", "variant": "tiny"}}, "TDNN has none: leave it out"),
    ({"start": {"preset": "choi_crnn"}}, "pretraining is of fresh weights, and start.preset has"),
    ({"pretraining": {"steps": 0}}, "steps"),
    ({"pretraining": {"stesp": 5}}, "stesp"),
    ({"pretraining": {"momentum": 1.0}}, "momentum"),
])  # fmt: skip
def test_what_cannot_be_pretrained_is_refused(corpus, sections, message):
    with pytest.raises(ConfigError, match=message):
        resolved(configuration(corpus, **{"pretraining": {}, **sections}))
