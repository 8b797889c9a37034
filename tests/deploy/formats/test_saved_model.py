"""SavedModels: any length and batch, each weight once, read by TensorFlow alone."""

import numpy as np
import pytest
import tensorflow as tf
from made_artefacts import OPTIONS, RATE, SOURCES, decibels

from kzoo import models
from kzoo.deploy.examples import sound_proof
from kzoo.deploy.export import export
from kzoo.deploy.formats import saved_model


@pytest.fixture(scope="module")
def saved(model, sound, tmp_path_factory):
    any_length = models.build("unet", **OPTIONS)
    any_length.set_weights(model.get_weights())
    folder = tmp_path_factory.mktemp("saved")
    proof = sound_proof(any_length, sample_rate=RATE, sound=sound)
    return any_length, export(
        any_length, "saved_model", folder, name="tiny", proof=proof, sample_rate=RATE
    )


def test_saved_model_takes_any_length_and_batch(saved):
    model, card = saved
    run = saved_model.load(card["path"])
    rng = np.random.default_rng(3)
    for batch, samples in ((1, 5000), (3, 777)):
        waveform = rng.normal(0, 0.1, (batch, samples, 2)).astype(np.float32)
        stems, expected = run({"waveform": waveform}), np.asarray(model(waveform))
        for i, source in enumerate(SOURCES):
            assert stems[source].shape == waveform.shape
            assert decibels(expected[:, i], stems[source]) > 100


def test_saved_model_stores_each_weight_once(saved):
    model, card = saved
    weights = sum(4 * int(np.prod(weight.shape)) for weight in model.weights)
    [stored] = [f["bytes"] for name, f in card["files"].items() if ".data-" in name]
    assert stored < 1.2 * weights


def test_saved_model_is_read_by_tensorflow_alone(saved, sound):
    _, card = saved
    signature = tf.saved_model.load(card["path"]).signatures["serving_default"]
    assert signature.structured_input_signature[1]["waveform"].shape.as_list() == [None, None, 2]
    stems = signature(waveform=tf.constant(sound[None]))
    assert set(stems) == set(SOURCES)
    ours = saved_model.load(card["path"])({"waveform": sound[None]})
    np.testing.assert_array_equal(stems["vocals"], ours["vocals"])
