"""Layers in the form that a phone's kernels run fastest compute what they computed."""

import keras
import numpy as np
import pytest
from keras import layers

from kzoo.deploy.formats.rewrite import PhasedConv2DTranspose, for_tflite


@pytest.mark.parametrize("shape", [(8, 6, 5), (1, 3, 2)])
def test_phased_convolution_equals_the_transposed_one(shape):
    keras.utils.set_random_seed(0)
    inputs = keras.Input(shape)
    plain = layers.Conv2DTranspose(
        3, 5, strides=2, padding="same", activation="relu", bias_initializer="normal"
    )
    model = keras.Model(inputs, plain(inputs))
    rewritten = for_tflite(model)
    assert isinstance(rewritten.layers[-1], PhasedConv2DTranspose)
    x = np.random.default_rng(0).normal(size=(2, *shape)).astype(np.float32)
    np.testing.assert_allclose(model(x), rewritten(x), atol=2e-6)


def test_other_transposed_convolutions_are_left_alone():
    inputs = keras.Input((8, 8, 2))
    for options in ({"kernel_size": 4}, {"strides": 1}, {"padding": "valid"}):
        layer = layers.Conv2DTranspose(
            3, **{"kernel_size": 5, "strides": 2, "padding": "same", **options}
        )
        model = keras.Model(inputs, layer(inputs))
        assert for_tflite(model) is model
