"""Initial weights: PyTorch's range, Demucs's rescaling, the same from the same seed."""

import keras
import numpy as np
import pytest

from kzoo.layers.rescaled import RescaledUniform, rescaled_bias


@pytest.mark.parametrize("shape", [(8, 2, 3), (3, 16, 32)])
def test_weights_are_divided_by_the_root_of_their_own_deviation(shape):
    drawn = np.asarray(RescaledUniform(16, 0, seed=3)(shape))
    assert np.abs(drawn).max() <= 0.25
    assert np.abs(drawn).max() > 0.22
    found = np.asarray(RescaledUniform(16, 0.1, seed=3)(shape))
    np.testing.assert_allclose(found, drawn / np.sqrt(np.std(drawn, ddof=1) / 0.1), rtol=1e-5)


def test_a_bias_has_the_range_that_its_kernel_is_scaled_to():
    kernel = np.asarray(RescaledUniform(16, 0.1, seed=1)((16, 16, 32)))
    bias = np.asarray(rescaled_bias(16, 0.1)((20_000,)))
    np.testing.assert_allclose(np.abs(bias).max(), np.abs(kernel).max(), rtol=0.02)
    assert np.abs(rescaled_bias(16, 0)((1000,))).max() <= 0.25


def test_it_is_the_same_after_saving():
    first = RescaledUniform(10, 0.2, seed=7)
    config = keras.initializers.serialize(first)
    second = keras.initializers.deserialize(config)
    np.testing.assert_array_equal(first((4, 5)), second((4, 5)))
    assert isinstance(second, RescaledUniform)
