"""The norms of time-domain separation against NumPy in double precision."""

import keras
import numpy as np
import pytest

from kzoo.layers.norms import mean_of_signal, norm_layer


def expected(kind, x, gamma, beta, epsilon=1e-8):
    x = np.asarray(x, np.float64)
    out = np.empty_like(x)
    for b, example in enumerate(x):
        for t, frame in enumerate(example):
            seen = {"gln": example, "cln": frame, "cumulative": example[: t + 1]}[kind]
            out[b, t] = (frame - seen.mean()) / np.sqrt(seen.var() + epsilon) * gamma + beta
    return out


@pytest.mark.parametrize("kind", ["gln", "cln", "cumulative"])
@pytest.mark.parametrize("length", [7, None])
def test_norms_are_their_definitions(rng, kind, length):
    layer = norm_layer(kind, name="norm")
    model_input = keras.Input((length, 5))
    model = keras.Model(model_input, layer(model_input))
    gamma, beta = rng.uniform(0.5, 2, (2, 5)).astype(np.float32)
    layer.set_weights([gamma, beta])
    x = rng.normal(1.5, 2, (3, 7, 5)).astype(np.float32)
    np.testing.assert_allclose(model(x), expected(kind, x, gamma, beta), atol=2e-5)


@pytest.mark.parametrize("kind", ["gln", "cln", "cumulative"])
def test_loud_sound_in_half_precision_is_measured_in_single(rng, kind):
    x = (3_000 * rng.standard_normal((1, 20_000, 4))).astype(np.float16)
    layer = norm_layer(kind, name="norm")
    layer.dtype_policy = "mixed_float16"
    found = layer(x)
    assert found.dtype == "float16"
    assert layer.gamma.dtype == "float32"
    reference = norm_layer(kind, name="norm")(x.astype(np.float32))
    np.testing.assert_allclose(np.asarray(found, np.float32), reference, rtol=2e-3, atol=1e-3)


def test_the_mean_of_minutes_does_not_overflow_half_precision(rng):
    x = rng.uniform(50, 150, (2, 120_000, 3)).astype(np.float16)  # adds up to 12 million
    found = np.asarray(mean_of_signal(keras.ops.convert_to_tensor(x)), np.float64)
    assert found.shape == (2, 1, 1)
    np.testing.assert_allclose(found.ravel(), x.mean(axis=(1, 2), dtype=np.float64), rtol=5e-3)


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="norm must be one of gln, cln, cumulative, batch"):
        norm_layer("instance", name="norm")
