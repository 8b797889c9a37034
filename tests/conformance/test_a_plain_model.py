"""A model of 30 lines, which says nothing but its sizes and its graph, goes everywhere.

plain/gain_net.py is separated with, scored, trained and exported by the same commands as the models
of the zoo, and nothing is said of it anywhere else.
"""

import importlib
import json
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile

from kzoo import cli, config, models, presets

HERE = Path(__file__).parent
SOURCES = ["vocals", "accompaniment"]
RATE = 8000


@pytest.fixture
def run(monkeypatch, capsys):
    """Run `kzoo WORDS...`, which must succeed; what it prints."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["kzoo", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capsys.readouterr()
        assert not stop.value.code, err
        return out

    return call


@pytest.fixture
def preset(tmp_path):
    """The folder of a preset whose stems are known fractions of the mixture."""
    model = models.build("gain_net", sources=SOURCES, variant="tiny")
    for weight in model.weights:  # tanh is all but straight where its argument is small
        weight.assign(np.zeros(weight.shape))
    hidden, vocals, rest = (
        model.get_layer(name) for name in ("hidden", "vocals_gain", "accompaniment_gain")
    )
    hidden.kernel.assign(1e-3 * np.eye(2, 3))
    vocals.kernel.assign(250 * np.eye(3, 2))
    rest.kernel.assign(750 * np.eye(3, 2))
    card = {
        "name": "gains", "sources": SOURCES, "sample_rate": RATE, "trained": "by hand",
        "model": {"name": "gain_net", "options": {"sources": SOURCES, "variant": "tiny"}},
    }  # fmt: skip
    return presets.save_to_preset(model, tmp_path / "gains", card)


@pytest.fixture
def song(tmp_path):
    """The folder of a corpus of one song, whose stems are those fractions of its mixture."""
    folder = tmp_path / "songs" / "song"
    folder.mkdir(parents=True)
    mixture = 0.2 * np.random.default_rng(0).standard_normal((2 * RATE, 2))
    for name, gain in (("mixture", 1.0), ("vocals", 0.25), ("accompaniment", 0.75)):
        soundfile.write(folder / f"{name}.wav", gain * mixture, RATE, subtype="FLOAT")
    return folder


def test_it_separates_a_file(preset, song, tmp_path, run):
    run("separate", "-p", preset, "-o", tmp_path / "out", song / "mixture.wav", "-q")
    for source in SOURCES:
        stem, _ = soundfile.read(tmp_path / "out" / "mixture" / f"{source}.wav")
        expected, _ = soundfile.read(song / f"{source}.wav")
        np.testing.assert_allclose(stem, expected, atol=1e-4)


def test_it_is_scored(preset, song, tmp_path, run):
    words = ["--baselines", "mixture", "-o", tmp_path / "scores", "-q"]
    run("evaluate", preset, "--corpus", song.parent, *words)
    document = json.loads((tmp_path / "scores" / "gains" / "test" / "song.json").read_text())
    assert [target["name"] for target in document["targets"]] == SOURCES
    for target in document["targets"]:
        assert min(frame["metrics"]["SDR"] for frame in target["frames"]) > 40


def test_it_learns(tmp_path, run):
    settings = {
        "name": "plain",
        "model": {"name": "gain_net", "sources": SOURCES, "variant": "tiny"},
        "data": {"train": {"kind": "synthetic", "tracks": 2, "seconds": 2.0}},
        "optimizer": {"learning_rate": 3e-2},
        "fit": {"batch_size": 2, "epochs": 2, "steps_per_epoch": 20},
    }
    config.dump_yaml(settings, tmp_path / "plain.yaml")
    run("train", tmp_path / "plain.yaml", "-o", tmp_path / "run", "-q")
    model = presets.from_preset(tmp_path / "run")
    fresh = models.build("gain_net", sources=SOURCES, variant="tiny")
    assert [w.path for w in model.weights] == [w.path for w in fresh.weights]
    with np.load(tmp_path / "run" / "checkpoint.npz") as arrays:
        rows = json.loads(str(arrays["state"]))["history"]
    assert rows[-1]["loss"] < rows[0]["loss"]
    mixture = np.ones((1, 100, 2), np.float32)
    assert np.isfinite(keras.ops.convert_to_numpy(model(mixture))).all()


@pytest.mark.parametrize("to", ["saved_model", "tflite"])
def test_it_is_exported(to, preset, tmp_path, run):
    if to == "tflite":
        pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    lines = run("export", "-p", preset, "--to", to, "-o", tmp_path / "out")
    assert "compared with Keras" in lines
    cards = [json.loads(path.read_text()) for path in (tmp_path / "out").rglob("*.json")]
    (card,) = [card for card in cards if card.get("name") == "gains"]
    assert set(card["outputs"]) == set(SOURCES)
    for figures in card["parity"]["sources"].values():
        assert figures["snr_db"] is None or figures["snr_db"] > 100


def test_a_phone_gets_its_bundle(preset, tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    monkeypatch.syspath_prepend(HERE.parents[1])  # export/ is no package: recipes run from the root
    mobile = importlib.import_module("export.mobile")
    options = mobile.parser().parse_args(["-p", str(preset), "-o", str(tmp_path / "out")])
    lines = "\n".join(mobile.bundle(options))
    assert "separate_tflite.py with gains_fp16.tflite, against Keras in blocks:" in lines
    assert (tmp_path / "out" / "gains" / "gains_fp32.tflite").is_file()
