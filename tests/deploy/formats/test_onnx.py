"""ONNX files: any length and batch, the names of the model, read by ONNX Runtime alone."""

import json

import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from made_artefacts import OPTIONS, RATE, SOURCES, decibels, proof_of, small_model

from kzoo import models
from kzoo.deploy.examples import sound_proof
from kzoo.deploy.export import export

for package in ("tf2onnx", "onnx", "onnxruntime"):
    pytest.importorskip(package, reason="pip install 'kzoo[onnx]'")


@pytest.fixture(scope="module")
def written(model, sound, tmp_path_factory):
    any_length = models.build("unet", **OPTIONS)
    any_length.set_weights(model.get_weights())
    folder = tmp_path_factory.mktemp("onnx")
    proof = sound_proof(any_length, sample_rate=RATE, sound=sound[:3000])
    return any_length, export(
        any_length, "onnx", folder, name="tiny", proof=proof, sample_rate=RATE,
        base_card={"licences": {"weights": "none"}},
    )  # fmt: skip


def test_an_onnx_file_takes_any_length_and_batch(written):
    """Lengths that are no whole hops and segments need floor divisions of negative numbers."""
    import onnxruntime

    model, card = written
    session = onnxruntime.InferenceSession(card["path"], providers=["CPUExecutionProvider"])
    rng = np.random.default_rng(3)
    for batch, samples in ((1, 5000), (3, 777)):
        waveform = rng.normal(0, 0.1, (batch, samples, 2)).astype(np.float32)
        stems, expected = session.run(SOURCES, {"waveform": waveform}), np.asarray(model(waveform))
        for i, stem in enumerate(stems):
            assert stem.shape == waveform.shape
            assert decibels(expected[:, i], stem) > 100


def test_an_onnx_card_and_the_file_itself_say_what_a_server_must_know(written):
    import onnx

    _, card = written
    assert card["inputs"] == {"waveform": [None, None, 2]}
    assert card["outputs"] == {source: [None, None, 2] for source in SOURCES}
    assert card["runtime"]["name"] == "ONNX Runtime"
    assert "DFT" not in card["operators"]
    assert card["parity"]["worst"]["snr_db"] > 60
    [kept] = onnx.load_model(card["path"]).metadata_props
    told = json.loads(kept.value)
    assert kept.key == "kzoo"
    assert told["sources"] == list(SOURCES)
    assert (told["sample_rate"], told["licences"]) == (RATE, {"weights": "none"})


def test_an_operator_that_onnx_lacks_is_named(tmp_path):
    class Odd(layers.Layer):
        def call(self, waveform):
            return tf.math.lgamma(waveform)

    model = small_model(Odd())
    with pytest.raises(ValueError, match=r"'small' needs operators that ONNX .*: Lgamma$"):
        export(model, "onnx", tmp_path, name="x", proof=proof_of(model), sample_rate=RATE)
    assert list(tmp_path.iterdir()) == []


def test_constants_are_in_the_file(tmp_path):
    """TensorFlow takes a large array of a layer for an argument of the traced function."""
    factors = tf.constant(np.linspace(0.5, 2.0, 2000 * 2, dtype="float32").reshape(2000, 2))

    class Scaled(layers.Layer):
        def call(self, waveform):
            return waveform * factors[: tf.shape(waveform)[1]]

    model = small_model(Scaled())
    card = export(model, "onnx", tmp_path, name="x", proof=proof_of(model), sample_rate=RATE)
    assert list(card["inputs"]) == ["waveform"]
