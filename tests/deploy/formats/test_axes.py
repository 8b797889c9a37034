"""Files for GPUs: no tensor of more than four axes, and the same sound as those for processors."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from made_artefacts import proof_of, small_model

from kzoo.deploy.formats import axes, tflite
from kzoo.deploy.formats.layers import AXES, troubles
from kzoo.deploy.interpreter import open_litert

pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")


class Masks(layers.Layer):
    """Three shares of what it hears, in all the operators that masks of sources are made by."""

    def call(self, waveform):
        x = ops.reshape(waveform, (-1, 16, 16, 2))
        x = ops.stack([x, 2 * x + 1, ops.tanh(x)], axis=1)  # [batch, sources, frames, bins, 2]
        x = ops.softmax(x, axis=1) * ops.abs(x[:, :1])
        power = ops.square(x[:, :, 1:, 2:])
        x = power / (ops.max(x, axis=1, keepdims=True)[:, :, 1:, 2:] + 1)
        x = x / (ops.sum(power, axis=1, keepdims=True) + 1e-3)
        x = ops.concatenate([x, -x[:, :, :, :2]], axis=-2)
        x = ops.concatenate([x, x[:, :, :1]], axis=2)[:, :, 1:]
        x = ops.pad(x, ((0, 0), (0, 0), (1, 0), (0, 0), (0, 0)))
        return ops.sum(ops.reshape(x, (-1, 3, 256, 2)), axis=1)


class MoreAxes(layers.Layer):
    """What it hears with its samples in halves of halves, turned round."""

    def __init__(self, halves, **kwargs):
        super().__init__(**kwargs)
        self.halves = halves

    def call(self, waveform):
        shape = (-1, 256 >> self.halves, *(2,) * self.halves, 2)
        order = (0, 1, *range(self.halves + 1, 1, -1), self.halves + 2)
        x = tf.transpose(tf.reshape(waveform, shape), order)
        return tf.reshape(x, (-1, 256, 2))


def heard(content, waveform):
    return open_litert(content, threads=1).get_signature_runner()(waveform=waveform)["a"]


@pytest.mark.parametrize("layer", [Masks(), MoreAxes(2)])
def test_the_first_axis_is_left_out_and_the_sound_is_the_same(layer, rng):
    model = small_model(layer)
    usual, narrow = (
        tflite.converted(model, proof_of(model), target=target) for target in ("cpu", "gpu")
    )
    assert troubles(usual)[AXES]
    assert not troubles(narrow)[AXES]
    waveform = rng.standard_normal((256, 2)).astype(np.float32)
    expected = model(waveform[None]).numpy()[0, 0]
    for content in (usual, narrow):
        np.testing.assert_allclose(heard(content, waveform), expected, rtol=1e-5, atol=1e-6)


def test_what_needs_more_axes_is_refused_for_gpus_with_its_layer():
    model = small_model(MoreAxes(4, name="turned"))
    with pytest.raises(ValueError, match=r"more than 4 axes, in .*turned.*leave target gpu out"):
        tflite.converted(model, proof_of(model), target="gpu")


def test_an_operator_without_such_a_form_leaves_the_file_as_it_is():
    class Turned(layers.Layer):
        def call(self, waveform):
            x = tf.reshape(waveform, (-1, 64, 2, 2, 2))
            return tf.reshape(tf.reverse(x, axis=[2]), (-1, 256, 2))

    model = small_model(Turned(name="turned"))
    content = tflite.converted(model, proof_of(model))
    assert axes.without_first_axis(content) == content
    narrow = small_model(keras.layers.Identity())
    content = tflite.converted(narrow, proof_of(narrow))
    assert axes.without_first_axis(content) == content
