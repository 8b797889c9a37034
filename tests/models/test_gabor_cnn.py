"""Gabor networks, complex and real: their weights, phases and windows."""

import functools

import keras
import numpy as np
import pytest

from kzoo import models


@functools.cache
def tiny(**options):
    """The tiny model, which no test changes."""
    keras.utils.set_random_seed(0)
    return models.build("gabor_cnn", variant="tiny", **options)


def inside(model, sound, *names):
    parts = [model.get_layer(name).output for name in names]
    return [np.asarray(x) for x in keras.Model(model.inputs[0], parts)(sound)]


@pytest.mark.usefixtures("unfilled")
@pytest.mark.parametrize(("variant", "parts"), [("complex", 2), ("real", 1)])
def test_filters_have_two_weights_each_and_the_layers_behind_are_complex_or_real(variant, parts):
    size = models.sizes("gabor_cnn", variant=variant)
    model = models.build("gabor_cnn", size)
    assert model.get_layer("band_passes").count_params() == 2 * size.filters[0]
    for level in (1, 2):
        conv = model.get_layer(f"conv{level}")
        shape = (5, size.filters[level - 1], parts * size.filters[level])
        assert tuple(conv.kernel.shape) == shape
    assert model.get_layer("pool2").output.shape[1:] == (101, 60)
    assert model.get_layer("flat").output.shape[1:] == (101 * size.filters[2],)


def test_the_numbers_of_a_filter_turn_with_the_phase_of_a_tone():
    time = np.arange(400) / 8000
    tones = np.stack([np.cos(2 * np.pi * 1000 * time + p) for p in (0, np.pi / 2)])[..., None]
    bands, _ = inside(tiny(), tones.astype(np.float32), "band_passes", "flat")
    numbers = bands[:, 100, 0::2] + 1j * bands[:, 100, 1::2]
    loudest = np.abs(numbers[0]).argmax()
    np.testing.assert_allclose(numbers[1, loudest] / numbers[0, loudest], 1j, atol=0.05)


def test_complex_pools_keep_pairs_and_real_ones_magnitudes(rng):
    sound = rng.normal(0, 0.1, (2, 400, 1)).astype(np.float32)
    bands, pooled = inside(tiny(), sound, "band_passes", "pool0")
    pairs = (bands[..., 0::2] + 1j * bands[..., 1::2]).reshape(2, 112, 3, 4)
    kept = pooled[..., 0::2] + 1j * pooled[..., 1::2]
    np.testing.assert_allclose(np.abs(kept), np.abs(pairs).max(axis=2), rtol=1e-4, atol=1e-6)
    bands, pooled = inside(tiny(numbers="real"), sound, "band_passes", "pool0")
    real = np.abs(bands[..., 0::2]).reshape(2, 112, 3, 4)
    np.testing.assert_allclose(pooled, real.max(axis=2), rtol=1e-5)


@pytest.mark.parametrize("numbers", [pytest.param("complex", marks=pytest.mark.slow), "real"])
def test_it_learns_eight_windows_by_heart(numbers, rng):
    keras.utils.set_random_seed(0)
    model = models.build("gabor_cnn", variant="tiny", numbers=numbers, exclusive=True)
    sound = rng.normal(0, 0.1, (8, 400, 1)).astype(np.float32)
    target = np.eye(2, dtype=np.float32)[rng.permutation(8) % 2]
    before = model.get_layer("band_passes").low_hz.numpy()
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)  # else the first step is drawn twice
    model.compile(optimizer, "categorical_crossentropy")
    model.fit(sound, target, batch_size=8, epochs=30, verbose=0)
    found = np.asarray(model(sound, training=True))
    np.testing.assert_array_equal(found.argmax(axis=1), target.argmax(axis=1))
    assert np.all(model.get_layer("band_passes").low_hz.numpy() != before)


def test_silence_has_finite_slopes():
    import tensorflow as tf

    with tf.GradientTape() as tape:
        said = tf.reduce_sum(tiny()(tf.zeros((2, 400, 1)), training=False)[:, 0])
    slopes = tape.gradient(said, tiny().trainable_weights)
    assert all(np.all(np.isfinite(slope)) for slope in slopes)


@pytest.mark.parametrize(("options", "message"), [
    ({"numbers": "quaternion"}, "numbers must be one of complex, real; got 'quaternion'"),
    ({"hidden": []}, "hidden must be one number or more; got none"),
    ({"samples": 500}, "samples must be 400, a window; got 500"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("gabor_cnn", variant="tiny", **options)
