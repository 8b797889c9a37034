"""Every architecture of the task listening through the same gauntlet."""

import functools

import keras
import numpy as np
import pytest

from kzoo import api, models, presets
from kzoo.data import labelled
from kzoo.deploy.formats import saved_model
from kzoo.layers.labels import Labels
from kzoo.models import architecture, list_models
from kzoo.training import train

MODELS = [n for n in list_models() if architecture(n).VARIANTS["tiny"].task == "listening"]


@pytest.fixture(scope="module", params=MODELS)
def name(request):
    """Every listener; all tests of one after another, as they share what is built of it."""
    return request.param


@functools.cache
def built(name):
    """The tiny model of one window, made once, and changed by no test."""
    keras.utils.set_random_seed(1)
    size = architecture(name).VARIANTS["tiny"]
    return models.build(name, size, samples=size.whole(None))


def sound(name, batch=2):
    rng = np.random.default_rng(0)
    return rng.normal(0, 0.1, (batch, *built(name).input_shape[1:])).astype(np.float32)


def preset(name, folder):
    size = architecture(name).VARIANTS["tiny"]
    card = {
        "name": "ear", "task": "listening", "sample_rate": size.sample_rate, "channels": 1,
        "trained": "not at all", "model": {"name": name, "options": {"variant": "tiny"}},
    }  # fmt: skip
    return presets.save_to_preset(built(name), folder, card)


def test_the_last_layer_names_what_comes_out(name):
    model, size = built(name), architecture(name).VARIANTS["tiny"]
    assert isinstance(model.layers[-1], Labels)
    assert tuple(model.layers[-1].names) == size.names
    heard = np.asarray(model(sound(name)))
    assert heard.shape == (2, len(size.names))
    assert heard.dtype == np.float32
    assert np.all((heard > 0) & (heard < 1))
    alone = np.concatenate([model(one[None]) for one in sound(name)])
    np.testing.assert_allclose(heard, alone, atol=1e-5)


def test_of_exclusive_names_the_probabilities_sum_to_one(name):
    size = architecture(name).VARIANTS["tiny"]
    model = models.build(name, variant="tiny", exclusive=True, samples=size.whole(None))
    np.testing.assert_allclose(np.sum(model(sound(name)), axis=-1), 1, atol=1e-6)


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras's Variable and NumPy 2
def test_a_keras_file_keeps_the_names(name, tmp_path):
    built(name).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    assert loaded.layers[-1].names == built(name).layers[-1].names
    np.testing.assert_array_equal(loaded(sound(name)), built(name)(sound(name)))


def test_it_learns_from_a_folder_a_name(name, tmp_path):
    import soundfile

    size = architecture(name).VARIANTS["tiny"]
    rate, rng = size.sample_rate, np.random.default_rng(0)
    for label, hz in zip(size.names, (200.0, 1500.0), strict=True):
        (tmp_path / "corpus" / label).mkdir(parents=True)
        for k in range(4):
            wave = 0.3 * np.sin(2 * np.pi * hz * (1 + 0.05 * k) * np.arange(rate) / rate)
            wave += rng.normal(0, 0.01, rate)
            soundfile.write(tmp_path / "corpus" / label / f"{k}.wav", wave, rate)
    corpus = {"kind": "labelled", "path": str(tmp_path / "corpus")}
    settings = {
        "name": "ear", "model": {"name": name, "variant": "tiny"},
        "data": {"train": corpus, "validation": corpus}, "loss": {"name": "binary_cross_entropy"},
        "optimizer": {"learning_rate": 0.02},
        "fit": {"batch_size": 8, "epochs": 1, "steps_per_epoch": 30},
    }  # fmt: skip
    folder = train(settings, tmp_path / "run", say=lambda line: None)
    card = presets.load_card(folder)
    assert card["task"] == "listening"
    assert card["trained"]["data"]["validation"][0] == f"{sorted(size.names)[0]}/0"
    truth = labelled.labelled(tmp_path / "corpus", names=size.names)
    examples = [truth.read(k, 0, size.whole(None)) for k in range(8)]
    # In training mode: the moving averages of so few steps are not those of the sound yet.
    heard = presets.from_preset(folder, samples=size.whole(None))(
        np.stack([example["mixture"] for example in examples]), training=True
    )
    wanted = np.stack([example["labels"] for example in examples])
    np.testing.assert_array_equal(np.asarray(heard) > 0.5, wanted > 0.5)


def test_a_saved_model_says_what_keras_says(name, tmp_path):
    card = api.export(preset(name, tmp_path / "preset"), "saved_model", tmp_path / "out")
    assert card["names"] == list(architecture(name).VARIANTS["tiny"].names)
    run = saved_model.load(card["path"])
    found = run({"waveform": sound(name)})["probabilities"]
    np.testing.assert_allclose(found, built(name)(sound(name)), atol=1e-5)


def test_a_tflite_file_says_what_keras_says_with_built_in_operators(name, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    card = api.export(preset(name, tmp_path / "preset"), "tflite", tmp_path / "out")
    assert [op for op in card["operators"] if not op.isupper()] == []
    assert card["parity"]["sources"]["probabilities"]["snr_db"] > 80
