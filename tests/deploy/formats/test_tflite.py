"""TFLite files: named, static, of built-in operators, and the model's own sound."""

import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from made_artefacts import BLOCK, SOURCES, decibels, proof_of, small_model

from kzoo.deploy.formats import layers as layers_of_file
from kzoo.deploy.formats import saved_model, tflite
from kzoo.deploy.formats.streaming import write_state_twin


def test_tflite_file_has_named_static_tensors_and_built_in_operators_only(bundle):
    folder, _ = bundle
    found = tflite.describe(folder / "tiny_fp32.tflite")
    assert found["inputs"] == {"waveform": [BLOCK, 2]}
    assert found["outputs"] == {source: [BLOCK, 2] for source in SOURCES}
    assert found["dynamic_tensors"] == 0
    assert not [name for name in found["operators"] if not name.isupper()]
    # In the forms of kzoo.deploy.forms.
    assert not found["operators"].keys() & {"RFFT2D", "TRANSPOSE_CONV", "REAL", "IMAG"}


def test_operators_are_those_that_litert_itself_lists(bundle):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    folder, _ = bundle
    interpreter = Interpreter(
        model_path=str(folder / "tiny_fp32.tflite"),
        experimental_op_resolver_type=OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    listed = [op["op_name"] for op in interpreter._get_ops_details()]
    counted = tflite.operators(folder / "tiny_fp32.tflite")
    assert counted == {name: listed.count(name) for name in set(listed) - {"DELEGATE"}}


def test_tflite_equals_keras_on_sound_that_it_was_not_proven_on(bundle, model):
    folder, _ = bundle
    other = np.random.default_rng(7).normal(0, 0.1, (BLOCK, 2)).astype(np.float32)
    expected = model.predict_on_batch(other[None])[0]
    for precision, limit in (("fp32", 100), ("fp16", 55)):
        run = tflite.load(folder / f"tiny_{precision}.tflite", threads=2)
        stems = run({"waveform": other[None]})
        for i, source in enumerate(SOURCES):
            assert decibels(expected[i], stems[source][0]) > limit


def test_both_precisions_stay_finite_on_digital_silence(bundle):
    # float16 has no 1e-10: a file that rounds every constant divides 0 by 0 here.
    folder, _ = bundle
    for precision in ("fp32", "fp16"):
        run = tflite.load(folder / f"tiny_{precision}.tflite")
        stems = run({"waveform": np.zeros((1, BLOCK, 2), np.float32)})
        assert all(np.all(stem == 0) for stem in stems.values())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": ["a", "b"]}, "one output for a, b, which lie along its axis 1; it gives"),
        ({"sources": ["waveform"]}, "different names; got waveform"),
        ({"sources": ["lead vocals"]}, "got 'lead vocals'"),
        ({"precision": "int3"}, "precision must be one of fp32, fp16, int8, .*; got 'int3'"),
    ],
)
def test_a_wrong_request_is_refused_with_the_value_received(options, message, tmp_path):
    model = small_model(layers.Identity())
    sources = options.pop("sources", ["a"])
    with pytest.raises(ValueError, match=message):
        tflite.write(model, tmp_path / "m", proof_of(model, sources), **options)
    assert list(tmp_path.iterdir()) == []


class OpenInside(layers.Layer):
    """What it hears, cut where its first sample says and joined again."""

    def call(self, waveform):
        at = tf.cast(waveform[0, 0, 0], tf.int32)
        joined = tf.concat([waveform[:, :at], waveform[:, at:]], axis=1)
        return tf.reshape(joined, (-1, *waveform.shape[1:]))


def test_shapes_inside_are_static_too(tmp_path):
    model, block = small_model(OpenInside()), keras.Input((8, 2), batch_size=1, name="block")
    step = keras.Model({"block": block}, {"sound": OpenInside()(block)})
    refusal = r"tensors inside whose shape is not fixed, in .*open_inside"
    with pytest.raises(ValueError, match=refusal):
        tflite.write(model, tmp_path / "m", proof_of(model))
    with pytest.raises(ValueError, match=refusal):
        write_state_twin(step, tmp_path / "m")
    assert list(tmp_path.iterdir()) == []


class InDouble(layers.Layer):
    """What it hears, turned round in float64."""

    def call(self, waveform):
        return tf.cast(tf.transpose(tf.cast(waveform, tf.float64), (0, 2, 1)), tf.float32)


class FiveAxes(layers.Layer):
    """What it hears with its samples in pairs of pairs, turned round."""

    def call(self, waveform):
        x = tf.reshape(waveform, (-1, 64, 2, 2, 2))
        return tf.reshape(tf.transpose(x, (0, 1, 3, 2, 4)), (-1, 256, 2))


def test_layers_of_float64_and_of_many_axes_are_named(tmp_path):
    model = small_model(InDouble())
    with pytest.raises(ValueError, match=r"computes in float64, in .*in_double"):
        tflite.write(model, tmp_path / "m", proof_of(model))
    wide = small_model(FiveAxes())
    found = layers_of_file.troubles(tflite.converted(wide, proof_of(wide)))
    assert (found["open"], found["float64"]) == ([], [])
    assert any("five_axes" in layer for layer in found["axes"])


def test_model_of_any_length_needs_samples_for_tflite(tmp_path):
    endless, short = (small_model(layers.Identity(), samples) for samples in (None, 256))
    with pytest.raises(ValueError, match="samples must be given"):
        tflite.write(endless, tmp_path / "m", proof_of(endless))
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    with pytest.raises(FileExistsError, match="name a new one"):
        saved_model.write(short, tmp_path / "full", proof_of(short))


def test_missing_litert_names_the_extra(monkeypatch, tmp_path):
    model = small_model(layers.Identity())
    path = tflite.write(model, tmp_path / "m", proof_of(model))
    monkeypatch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
    with pytest.raises(ImportError, match=r"pip install 'kzoo\[tflite\]'"):
        tflite.load(path)
    (tmp_path / "text").write_text("not a model")
    with pytest.raises(ValueError, match="text: is not a TFLite file"):
        tflite.operators(tmp_path / "text")


def test_an_example_of_another_shape_is_refused(tmp_path):
    model, other = (small_model(layers.Identity(), samples) for samples in (256, 100))
    with pytest.raises(ValueError, match=r"takes \(None, 256, 2\); .* waveform \(None, 100, 2\)"):
        tflite.write(model, tmp_path / "m", proof_of(other))


def test_a_file_takes_its_own_shape_alone(bundle):
    folder, _ = bundle
    run = tflite.load(folder / "tiny_fp32.tflite")
    with pytest.raises(ValueError, match=rf"waveform \(1, {BLOCK}, 2\); got waveform \(1, 7, 2\)"):
        run({"waveform": np.zeros((1, 7, 2), np.float32)})
