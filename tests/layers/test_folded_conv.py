"""Convolutions over samples side by side are those of Keras, and so are their gradients."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo.layers.folded_conv import FoldedConv1D, FoldedConv1DTranspose

# Kernel, stride, samples: folded, a product of matrices, and what is left to Keras.
SIZES = [(8, 4, 40), (4, 4, 40), (1, 1, 13), (3, 1, 13), (8, 4, 42), (5, 2, 20)]


def outputs_and_gradients(layer, sound):
    sound = tf.constant(sound)
    with tf.GradientTape() as tape:
        tape.watch(sound)
        outputs = layer(sound)
        total = tf.reduce_sum(tf.square(outputs))
    return outputs, tape.gradient(total, [sound, *layer.trainable_weights])


@pytest.mark.parametrize("transposed", [False, True])
@pytest.mark.parametrize(("length", "stride", "samples"), SIZES)
def test_a_folded_convolution_is_that_of_keras(length, stride, samples, transposed):
    kind, own = keras.layers.Conv1D, FoldedConv1D
    if transposed:
        kind, own = keras.layers.Conv1DTranspose, FoldedConv1DTranspose
    rng = np.random.default_rng(0)
    sound = rng.standard_normal((2, samples, 3)).astype(np.float32)
    sizes = {"filters": 5, "kernel_size": length, "strides": stride, "activation": "relu"}
    plain = kind(**sizes, bias_initializer="ones")
    expected, expected_gradients = outputs_and_gradients(plain, sound)
    folded = own.from_config(plain.get_config())
    folded.build(sound.shape)
    folded.set_weights(plain.get_weights())
    found, gradients = outputs_and_gradients(folded, sound)
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-6)
    for one, other in zip(gradients, expected_gradients, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=1e-5 * np.abs(other).max())


@pytest.mark.parametrize("kind", [FoldedConv1D, FoldedConv1DTranspose])
def test_inputs_of_open_length_are_convolved_alike(kind):
    layer = kind(5, 8, strides=4)
    sound = np.random.default_rng(0).standard_normal((2, 40, 3)).astype(np.float32)
    whole = layer(sound)
    model = keras.Sequential([keras.Input((None, 3)), layer])
    np.testing.assert_allclose(model(sound), whole, rtol=0, atol=1e-6)
