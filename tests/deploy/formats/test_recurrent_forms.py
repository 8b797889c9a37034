"""In TFLite LSTMs and GRUs are loops over blocks of steps; no call hears another through them."""

from unittest import mock

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from made_artefacts import decibels, proof_of

from kzoo.deploy.formats import tflite
from kzoo.deploy.formats.whole_numbers import refuse_loops
from kzoo.layers import recurrent, recurrent_loops

SAMPLES, UNITS = 46, 5


@pytest.fixture(scope="module")
def model():
    """Two rows of a batch both ways, then forwards alone, then through a GRU."""
    keras.utils.set_random_seed(0)
    sound = keras.Input((SAMPLES, 2), name="waveform")
    x = keras.ops.reshape(sound, (2, SAMPLES // 2, 2))
    x = layers.Bidirectional(recurrent.LSTM(UNITS, return_sequences=True))(x)
    x = recurrent.LSTM(UNITS, return_sequences=True, name="forwards")(x)
    x = recurrent.GRU(UNITS, return_sequences=True)(x)
    model = keras.Model(sound, keras.ops.reshape(x, (1, 1, SAMPLES, UNITS)))
    rng = np.random.default_rng(1)
    model.set_weights([rng.normal(0, 0.5, w.shape) for w in model.weights])
    return model


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """{precision: path}, of one conversion."""
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    folder, proof = tmp_path_factory.mktemp("fused"), proof_of(model, ["mix"])
    paths = {"fp32": tflite.write(model, folder / "fp32", proof)}
    whole = paths["fp32"].read_bytes()
    with mock.patch.object(tflite, "convert", return_value=whole):
        paths["fp16"] = tflite.write(model, folder / "fp16", proof, precision="fp16")
    return paths


@pytest.fixture(scope="module")
def sound():
    return np.random.default_rng(2).normal(size=(SAMPLES, 2)).astype(np.float32)


@pytest.fixture(scope="module")
def expected(model, sound):
    """What Keras says of the sound."""
    return model(sound[None])[0, 0].numpy()


def heard(run, sound):
    return run({"waveform": sound[None]})["mix"][0]


@pytest.mark.parametrize(("precision", "limit_db"), [("fp32", 120), ("fp16", 60)])
def test_every_call_says_what_keras_says(files, sound, expected, precision, limit_db):
    found = tflite.describe(files[precision])
    assert found["operators"]["WHILE"] == 4  # each by blocks of four of the 23 steps
    assert found["dynamic_tensors"] == 0
    run = tflite.load(files[precision])
    first = heard(run, sound)
    assert decibels(expected, first) > limit_db
    for before in (1e9 * sound, np.full_like(sound, np.nan), np.full_like(sound, np.inf)):
        heard(run, before)
        np.testing.assert_array_equal(heard(run, sound), first)


def test_fp16_halves_the_kernels(files, model):
    sizes = {precision: path.stat().st_size for precision, path in files.items()}
    kernels = sum(w.numpy().size for w in model.weights if "kernel" in w.path)
    assert sizes["fp32"] - sizes["fp16"] > -4000 + 2 * kernels


OTHERS = {
    "mask": {},
    "length": {},
    "return_state": {"return_state": True},
    "stateful": {"stateful": True},
    "activation": {"activation": "relu"},
    "float16": {"dtype": "mixed_float16"},
}


@pytest.mark.parametrize("why", [*OTHERS, "training", "outside", "nothing"])
def test_other_layers_stay_as_they_are(why, monkeypatch):
    taken = []
    monkeypatch.setattr(keras.layers.LSTM, "inner_loop", lambda *_, **more: taken.append("loop"))
    monkeypatch.setattr(recurrent_loops, "lstm", lambda x, *_: taken.append("loop") or (x, x[0]))
    monkeypatch.setattr(
        recurrent_loops, "lstm_in_blocks", lambda x, *_: taken.append("blocks") or x
    )
    layer = recurrent.LSTM(3, return_sequences=True, **OTHERS.get(why, {}))
    layer.build((1, 4, 3))

    def traced(x):
        mask = x[..., 0] > 0 if why == "mask" else None
        layer.inner_loop(x, [x[:, 0], x[:, 1]], mask, training=why == "training")
        return x

    spec = tf.TensorSpec((1, None if why == "length" else 4, 3))
    if why == "outside":
        tf.function(traced, autograph=False).get_concrete_function(spec)
    with recurrent.tflite_forms():
        if why != "outside":
            tf.function(traced, autograph=False).get_concrete_function(spec)
    assert taken == ["blocks" if why == "nothing" else "loop"]


@pytest.mark.parametrize(("sequences", "steps"), [(15, 16), (16, 32)])
def test_many_sequences_have_more_steps_in_an_iteration(sequences, steps):
    layer = recurrent.LSTM(3, return_sequences=True)
    layer.build((sequences, 64, 2))
    spec = tf.TensorSpec((sequences, 64, 2), name="x")
    with recurrent.tflite_forms():
        function = tf.function(lambda x: {"y": layer(x)}).get_concrete_function(spec)
    content = tflite.convert({"serving_default": function}, "many", allow_flex=False)
    assert tflite.description(content)["operators"]["TANH"] == 2 * steps


def test_a_network_with_loops_is_refused_whole_numbers(files):
    with pytest.raises(ValueError, match="no fixed scales inside of loops"):
        refuse_loops(files["fp32"].read_bytes())
