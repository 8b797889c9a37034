"""Complex numbers in pairs of channels: what the layers make of them is complex arithmetic."""

import keras
import numpy as np
import pytest
from keras import ops

from kzoo.layers import complex as layers

CONVOLUTIONS = [
    (layers.ComplexConv1D, (9,), (3,), {"padding": "same", "strides": 2}),
    (layers.ComplexConv1D, (9,), (3,), {"padding": "causal", "dilation_rate": 2}),
    (layers.ComplexConv2D, (5, 7), (3, 5), {"padding": "same", "strides": (2, 1)}),
    (layers.ComplexConv1DTranspose, (5,), (3,), {"padding": "same", "strides": 2}),
    (layers.ComplexConv2DTranspose, (3, 7), (3, 5), {"padding": "same", "strides": (2, 1)}),
]
WITHOUT_WEIGHTS = [layers.ComplexMaxPooling((2, 3), (1, 2)), layers.ComplexBound("tanh")]


def pairs(numbers):
    """Complex `[..., channels]` to `[..., 2 * channels]`."""
    parts = np.stack([numbers.real, numbers.imag], axis=-1)
    return parts.reshape(*numbers.shape[:-1], -1).astype(np.float32)


def numbers(array):
    """The inverse of `pairs`."""
    return np.asarray(array)[..., 0::2] + 1j * np.asarray(array)[..., 1::2]


def drawn(rng, *shape):
    return rng.standard_normal(shape) + 1j * rng.standard_normal(shape)


def test_split_join_and_times_are_those_of_complex_numbers(rng):
    one, other = drawn(rng, 2, 3), drawn(rng, 2, 3)
    found = layers.join(*layers.times(layers.split(pairs(one)), layers.split(pairs(other))))
    np.testing.assert_allclose(numbers(found), one * other, rtol=1e-5)


@pytest.mark.parametrize(("kind", "lengths", "kernel_size", "options"), CONVOLUTIONS)
def test_a_convolution_multiplies_complex_numbers(rng, kind, lengths, kernel_size, options):
    """As the layer of Keras does with each part of the kernel and each part of the input."""
    layer = kind(4, kernel_size, use_bias=False, **options)
    x = drawn(rng, 2, *lengths, 6)
    found = numbers(layer(pairs(x)))
    plain = getattr(keras.layers, kind.__name__.removeprefix("Complex"))
    parts = []
    for first in (0, 1):
        real = plain(4, kernel_size, use_bias=False, **options)
        real.build(x.shape)
        kernel = np.asarray(layer.kernel)
        every = slice(first, None, 2)
        transposed = "Transpose" in kind.__name__
        (real.kernel if transposed else real._kernel).assign(
            kernel[..., every, :] if transposed else kernel[..., every]
        )
        parts.append(real)
    a, b = parts
    expected = np.asarray(a(x.real)) - np.asarray(b(x.imag))
    expected = expected + 1j * (np.asarray(b(x.real)) + np.asarray(a(x.imag)))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert layer.count_params() == a.count_params() + b.count_params()
    again = kind.from_config(layer.get_config())
    again.build((2, *lengths, 12))
    assert again.kernel.shape == layer.kernel.shape


def test_a_convolution_of_an_odd_number_of_channels_is_refused():
    with pytest.raises(ValueError, match="pairs of channels, an even number; got 3 channels"):
        layers.ComplexConv1D(2, 3)(np.zeros((1, 9, 3), np.float32))


@pytest.mark.parametrize(
    ("lengths", "size", "strides"),
    [((8,), (3,), (2,)), ((5, 6), (2, 2), (2, 2)), ((4,), (4,), (1,))],
)
def test_a_pool_keeps_the_number_of_largest_magnitude(rng, lengths, size, strides):
    x = drawn(rng, 2, *lengths, 3)
    found = numbers(layers.ComplexMaxPooling(size, strides)(pairs(x)))
    starts = [range(0, n - k + 1, s) for n, k, s in zip(lengths, size, strides, strict=True)]
    assert found.shape == (2, *map(len, starts), 3)
    for place in np.ndindex(*map(len, starts)):
        window = [slice(r[i], r[i] + k) for r, i, k in zip(starts, place, size, strict=True)]
        seen = x[(slice(None), *window)].reshape(2, -1, 3)
        largest = np.argmax(np.abs(seen), axis=1)[:, None]
        expected = np.take_along_axis(seen, largest, axis=1)[:, 0]
        np.testing.assert_allclose(found[(slice(None), *place)], expected, rtol=1e-6)


def test_a_polar_bound_keeps_the_phase_and_limits_the_magnitude(rng):
    x = 3 * drawn(rng, 50, 2)
    found = numbers(layers.bounded(pairs(x)))
    np.testing.assert_allclose(found, np.tanh(np.abs(x)) * x / np.abs(x), rtol=1e-5)
    tiny = pairs(x * 1e-6)
    np.testing.assert_allclose(layers.bounded(tiny), tiny, rtol=1e-6)


@pytest.mark.parametrize("bound", layers.BOUNDS)
def test_bounds_have_finite_slopes_at_zero(bound):
    import tensorflow as tf

    zero = tf.zeros((1, 4))
    with tf.GradientTape() as tape:
        tape.watch(zero)
        found = layers.bounded(zero, bound)
    slopes = tape.gradient(found, zero)
    expected = {"sigmoid": 0.25}.get(bound, 1.0)
    np.testing.assert_allclose(slopes, np.full((1, 4), expected), rtol=1e-6)
    np.testing.assert_allclose(found, np.full((1, 4), 0.5 if bound == "sigmoid" else 0.0))


def test_an_unknown_bound_is_refused():
    with pytest.raises(ValueError, match=r"bound must be one of polar, .*; got 'round'"):
        layers.bounded(np.zeros((1, 2), np.float32), "round")


def test_the_whitening_batch_norm_is_that_of_the_package(vectors):
    recorded = vectors("dcunet_wsdr_complexbn")

    def given(name):  # theirs are [batch, channels, h, w]
        return pairs(np.moveaxis(recorded[f"bn/{name}"], 1, -1))

    norm = layers.ComplexBatchNormalization(initial_scale=np.sqrt(2))
    norm.build(given("input").shape)
    norm.gamma.assign(recorded["bn/weight"].T)
    norm.beta.assign(recorded["bn/bias"].ravel())
    np.testing.assert_allclose(
        norm(given("input"), training=True), given("train_output"), atol=3e-6
    )
    np.testing.assert_allclose(numbers(norm.moving_mean), recorded["bn/running_mean"], atol=1e-7)
    np.testing.assert_allclose(norm.moving_covariance, recorded["bn/running_covar"].T, rtol=1e-6)
    np.testing.assert_allclose(norm(given("input")), given("eval_output"), atol=3e-6)


def test_a_whitened_batch_has_parts_of_one_variance_that_are_not_correlated(rng):
    x = drawn(rng, 4, 50, 3)
    x = 5 * x + 3 * x.conj() + 2 - 1j
    norm = layers.ComplexBatchNormalization(dtype="mixed_float16")
    found = numbers(ops.cast(norm(pairs(x), training=True), "float32")) / norm.initial_scale
    for channel in range(3):
        parts = found[..., channel].ravel()
        np.testing.assert_allclose(np.cov(parts.real, parts.imag), np.eye(2), atol=0.02)
        np.testing.assert_allclose(parts.mean(), 0, atol=2e-3)


@pytest.mark.parametrize("layer", WITHOUT_WEIGHTS, ids=lambda layer: type(layer).__name__)
def test_a_layer_is_the_same_from_its_configuration(rng, layer):
    x = pairs(drawn(rng, 1, 4, 6, 2))
    again = type(layer).from_config(layer.get_config())
    np.testing.assert_array_equal(again(x), layer(x))
