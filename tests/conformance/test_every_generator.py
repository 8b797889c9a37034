"""Every architecture of the task generation through the same gauntlet."""

import functools

import keras
import numpy as np
import pytest
import soundfile
import tensorflow as tf

from kzoo import api, data, presets
from kzoo.models import architecture, list_models
from kzoo.tasks import task
from kzoo.training import train

MODELS = [n for n in list_models() if architecture(n).VARIANTS["tiny"].task == "generation"]


@pytest.fixture(scope="module", params=MODELS)
def name(request):
    """Every generator; all tests of one after another, as they share what is built of it."""
    return request.param


def tiny(name):
    return architecture(name).VARIANTS["tiny"]


@functools.cache
def built(name):
    """The tiny model of one block, made once, and changed by no test."""
    keras.utils.set_random_seed(1)
    return architecture(name).build(tiny(name), samples=tiny(name).whole(None))


def heard(name, batch=2):
    """Codes that the model takes for its past, and zeros for its other inputs."""
    rng, model = np.random.default_rng(0), built(name)
    given = {x.name: np.zeros((batch, *x.shape[1:]), x.dtype) for x in model.inputs}
    given["past"] = rng.integers(0, tiny(name).levels, given["past"].shape)
    return given


def test_what_is_to_come_changes_nothing_that_is_said(name):
    one = heard(name)
    other = {**one, "past": one["past"].copy()}
    other["past"][:, 200:] = 0
    found = [np.asarray(built(name)(given)) for given in (one, other)]
    assert found[0].shape == (*one["past"].shape[:2], tiny(name).parameters)
    np.testing.assert_array_equal(found[0][:, :200], found[1][:, :200])
    assert np.abs(found[0] - found[1])[:, 200:].max() > 0


@pytest.mark.filterwarnings("ignore:__array__:DeprecationWarning")  # Keras's Variable and NumPy 2
def test_a_keras_file_gives_the_same_model_back(name, tmp_path):
    built(name).save(tmp_path / "model.keras")
    loaded = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_array_equal(loaded(heard(name)), built(name)(heard(name)))


def test_it_learns_a_tone_from_a_folder_a_name(name, tmp_path, request):
    if name != "sample_rnn":  # each step in time of a recurrent layer takes longer without a graph
        request.getfixturevalue("eagerly")
    size = tiny(name)
    (tmp_path / "corpus" / "a").mkdir(parents=True)
    seconds = np.arange(size.sample_rate) / size.sample_rate
    soundfile.write(
        tmp_path / "corpus" / "a" / "0.wav", 0.5 * np.sin(2 * np.pi * 440 * seconds),
        size.sample_rate,
    )  # fmt: skip
    corpus = {"kind": "labelled", "path": str(tmp_path / "corpus")}
    settings = {
        "name": "tone", "model": {"name": name, "variant": "tiny"},
        "data": {"train": corpus, "validation": corpus}, "loss": {"name": "code_cross_entropy"},
        "optimizer": {"learning_rate": 0.02},
        "fit": {"batch_size": 4, "epochs": 1, "steps_per_epoch": 16},
    }  # fmt: skip
    folder = train(settings, tmp_path / "run", say=lambda line: None)
    assert presets.load_card(folder)["task"] == "generation"
    model = presets.from_preset(folder, **size.block())
    windows = task("generation")(model, {}, size).windows(data.open_corpus(**corpus))
    example = windows.example(0)
    logits = np.asarray(model({key: example[key][None] for key in model.input if key != "target"}))
    logits = logits[0, size.sample_rate // 100 :]
    codes = example["target"][size.sample_rate // 100 :, 0]
    bits = (np.logaddexp.reduce(logits, axis=-1) - logits[np.arange(len(codes)), codes]).mean()
    shares = np.bincount(codes, minlength=size.levels) / len(codes)
    unigram = -np.sum(shares[shares > 0] * np.log2(shares[shares > 0]))
    assert bits / np.log(2) < 0.7 * unigram


def saved(model_name, folder):
    card = {
        "name": "x", "task": "generation", "sample_rate": tiny(model_name).sample_rate,
        "trained": "not at all", "model": {"name": model_name, "variant": "tiny"},
    }  # fmt: skip
    return presets.save_to_preset(built(model_name), folder, card)


def check_export(model_name, to, folder):
    card = api.export(saved(model_name, folder / "preset"), to, folder)
    found = card["parity"]["sources"]
    assert set(found) == {"next_sample", "stream" if to == "tflite" else "step"}
    assert all(x["max_abs_difference"] < 1e-5 for x in found.values())
    return card


def test_a_saved_model_says_what_keras_says_whole_and_step_by_step(tmp_path):
    card = check_export("sample_rnn", "saved_model", tmp_path)
    signatures = tf.saved_model.load(card["path"]).signatures
    assert sorted(signatures) == ["reset", "serving_default", "step"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("model", "to"), [(name, "tflite") for name in MODELS] + [("wavenet", "saved_model")]
)
def test_the_other_formats_say_what_keras_says(model, to, tmp_path):
    check_export(model, to, tmp_path)
