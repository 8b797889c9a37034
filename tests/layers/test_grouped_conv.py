"""Grouped convolutions are Keras's own, by other operations."""

import keras
import numpy as np
import pytest
from keras import layers

from kzoo.layers.grouped_conv import GroupedConv2D

CASES = {
    "depthwise": dict(filters=6, groups=6),
    "two filters a channel": dict(filters=12, groups=6),
    "dilated": dict(filters=6, groups=6, dilation_rate=(2, 1)),
    "strided": dict(filters=6, groups=6, strides=(1, 2)),
    "strided and padded": dict(filters=6, groups=6, strides=(1, 2), padding="same"),
    "strided alike": dict(filters=6, groups=6, strides=2, padding="same"),
    "two groups": dict(filters=4, groups=2, strides=(1, 2)),
    "dilated groups": dict(filters=9, groups=3, dilation_rate=(2, 1)),
    "one group": dict(filters=4),
}


@pytest.mark.parametrize("case", CASES)
def test_outputs_and_gradients_are_those_of_keras(case):
    import tensorflow as tf

    own, kerass = (
        kind(kernel_size=(3, 3), activation="tanh", **CASES[case])
        for kind in (GroupedConv2D, layers.Conv2D)
    )
    x = tf.constant(np.random.default_rng(0).normal(size=(2, 9, 8, 6)).astype("float32"))
    for layer in (own, kerass):
        layer.build(x.shape)
    kerass.set_weights(own.get_weights())
    results = []
    for layer in (own, kerass):
        with tf.GradientTape() as tape:
            y = layer(x)
            loss = tf.reduce_sum(y * tf.range(y.shape[2], dtype="float32")[:, None])
        results.append([y, *tape.gradient(loss, layer.trainable_variables)])
    for got, wanted in zip(*results, strict=True):
        np.testing.assert_allclose(got, wanted, rtol=1e-4, atol=1e-4)


def test_it_is_kept_in_files():
    layer = GroupedConv2D(4, 3, groups=2, name="conv")
    assert (
        keras.saving.deserialize_keras_object(
            keras.saving.serialize_keras_object(layer)
        ).get_config()
        == layer.get_config()
    )
