"""The norms of time-domain separation against NumPy in double precision."""

import keras
import numpy as np
import pytest
from made_artefacts import proof_of

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


def streamed(layer, x, before):
    """(what `layer` says of `x` in blocks of 4 frames, what it has measured after each)."""
    said, after = [], [before]
    for block in np.split(x, x.shape[1] // 4, axis=1):
        y, state = layer(block, before=after[-1])
        said.append(np.asarray(y))
        after.append(np.asarray(state))
    return np.concatenate(said, axis=1), np.concatenate(after)


def test_blocks_of_a_stream_are_measured_with_all_before_them(rng):
    layer = norm_layer("cumulative", name="norm")
    x = rng.normal(1.5, 2, (1, 40, 5)).astype(np.float32)
    found, _ = streamed(layer, x, np.zeros((1, 3), np.float32))
    np.testing.assert_allclose(found, expected("cumulative", x, 1, 0), atol=2e-5)


def test_after_hours_of_a_stream_its_norm_still_moves(rng):
    layer = norm_layer("cumulative", name="norm")
    most = layer.MOST_FRAMES
    x = rng.normal(3, 0.1, (1, 400, 5)).astype(np.float32)
    found, after = streamed(layer, x, np.array([[most, 1, 2]], np.float32))
    np.testing.assert_array_equal(after[:, 0], most)
    for column, last, now in ((1, 1, 3), (2, 2, 9.01)):  # as an average of as many frames moves
        assert after[-1, column] - last == pytest.approx((now - last) * 400 / most, rel=0.05)
    np.testing.assert_allclose(found, x - 1, atol=1e-2)


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


def test_a_signal_that_falls_silent_has_its_whole_power_in_tflite(rng):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    from kzoo.deploy.formats import tflite
    from kzoo.deploy.interpreter import open_litert

    waveform = keras.Input((16384, 1), name="waveform")
    output = norm_layer("gln", name="norm")(waveform)
    model = keras.Model(waveform, output[:, None], name="normed")
    content = tflite.converted(model, proof_of(model))
    sound = rng.standard_normal((16384, 1)).astype(np.float32)
    sound[8192:] = 0.1  # in single precision, one after the other, such squares are rounded alike
    found = open_litert(content, threads=1).get_signature_runner()(waveform=sound)["a"]
    np.testing.assert_allclose(found, expected("gln", sound[None], 1, 0)[0], atol=1e-5)


def test_an_unknown_norm_is_refused():
    with pytest.raises(ValueError, match="norm must be one of gln, cln, cumulative, batch"):
        norm_layer("instance", name="norm")
