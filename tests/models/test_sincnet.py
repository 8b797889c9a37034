"""SincNet: its authors' outputs and losses, its counts of weights, its norms and windows."""

import functools

import keras
import numpy as np
import pytest

from kzoo import listening, models, presets
from kzoo.convert import sincnet as conversion
from kzoo.layers.norms import StepNorm
from kzoo.layers.waveform import RandomGain
from kzoo.losses import categorical_cross_entropy


@pytest.fixture(scope="module")
def recorded(vectors):
    return vectors("sincnet_full_small")


@pytest.fixture(scope="module")
def theirs(recorded):
    """The authors' arrays by the names in their files."""
    return {k.removeprefix("param/"): v for k, v in recorded.items() if k.startswith("param/")}


@functools.cache
def tiny(**options):
    """The tiny model, which no test changes."""
    keras.utils.set_random_seed(0)
    return models.build("sincnet", variant="tiny", **options)


def test_the_authors_weights_give_what_their_program_gives(recorded, theirs):
    model = conversion.from_weights(theirs, kernel_size=33)
    waveform = recorded["waveform"][..., None]
    inner = [model.get_layer(name).output for name in ("band_passes", "flat", "embedding")]
    bands, flat, hidden, said = keras.Model(model.inputs[0], [*inner, model.output])(waveform)
    expected = np.swapaxes(recorded["sinc_output_first50"], 1, 2)
    np.testing.assert_allclose(bands[:, :50], expected, atol=1e-3)
    ours = np.swapaxes(np.reshape(flat, (3, 115, 4)), 1, 2).reshape(3, -1)
    np.testing.assert_allclose(ours, recorded["cnn_output"], atol=1e-4)
    np.testing.assert_allclose(hidden, recorded["mlp_output"], atol=1e-4)
    np.testing.assert_allclose(np.log(said), recorded["log_probabilities"], atol=1e-4)
    target = np.eye(11, dtype=np.float32)[recorded["labels"]]
    loss = np.mean(categorical_cross_entropy(target, said))
    np.testing.assert_allclose(loss, recorded["loss"], atol=1e-4)


def test_in_training_the_statistics_are_the_batchs(recorded, theirs):
    whole = conversion.from_weights(theirs, kernel_size=33)
    inside = keras.Model(whole.get_layer("input_norm").output, whole.output)  # behind the gain
    normed = whole.get_layer("input_norm")(recorded["waveform"][..., None])
    np.testing.assert_allclose(
        np.log(inside(normed, training=True)), recorded["train_mode_log_probabilities"], atol=1e-4
    )


def test_weights_that_do_not_fit_are_named(theirs):
    with pytest.raises(ValueError, match=r"missing: CNN_model_par.ln0.gamma"):
        conversion.from_weights({})
    less = {k: v for k, v in theirs.items() if k != "DNN1_model_par.wx.1.bias"}
    with pytest.raises(ValueError, match=r"missing: DNN1_model_par.wx.1.bias; unused: more"):
        conversion.from_weights({**less, "more": np.zeros(3)}, kernel_size=33)


@pytest.mark.usefixtures("unfilled")
def test_weights_are_as_many_as_published_but_for_norms_without_use():
    size = models.sizes("sincnet")
    model = models.build("sincnet", size)
    assert model.get_layer("band_passes").count_params() == 160
    assert [model.get_layer(f"pool{k}").output.shape[1] for k in range(3)] == [983, 326, 107]
    norms_of_no_use = {
        "convolutions": 2 * sum(size.filters), "hidden": 2 * sum(size.hidden),
        "speakers": 4 * len(size.names),
    }  # fmt: skip
    published = {"convolutions": 258_320, "hidden": 21_580_328, "speakers": 948_486}
    count = sum(int(np.prod(weight.shape)) for weight in model.trainable_weights)
    assert count == sum(published.values()) - sum(norms_of_no_use.values()) == 22_772_598


def test_batch_norms_take_no_magnitude_and_the_slip_is_the_number_of_steps(rng):
    sound = rng.normal(0, 0.1, (2, 400, 1)).astype(np.float32)
    epsilons = {"batch": 1e-5, "batch_slip": 112.0}
    for norm, epsilon in epsilons.items():
        model = tiny(norm=norm)
        inner = [model.get_layer(name).output for name in ("band_passes", "norm0")]
        bands, normed = (np.asarray(x) for x in keras.Model(model.inputs[0], inner)(sound))
        pooled = bands[:, :336].reshape(2, 112, 3, 6).max(axis=2)
        np.testing.assert_allclose(normed, pooled / np.sqrt(1 + epsilon), rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("shape", [(2, 7), (2, 7, 3)])
def test_a_step_norm_is_its_definition(rng, shape):
    layer = StepNorm(epsilon=0.1)
    x = rng.normal(2, 3, shape).astype(np.float32)
    layer.build(shape)
    gamma, beta = rng.normal(1, 1, (2, *shape[1:]))
    layer.set_weights([gamma, beta])
    deviation = x.std(axis=1, ddof=1, keepdims=True)
    expected = (x - x.mean(axis=1, keepdims=True)) / (deviation + 0.1) * gamma + beta
    np.testing.assert_allclose(layer(x), expected, atol=1e-4)


def test_silence_has_finite_slopes():
    import tensorflow as tf

    layer = StepNorm()
    x = tf.Variable(tf.zeros((1, 5, 2)))
    with tf.GradientTape() as tape:
        y = tf.reduce_sum(tf.square(layer(x) - 1))
    np.testing.assert_array_equal(layer(x), 0)
    assert np.all(np.isfinite(tape.gradient(y, x)))


def test_gains_are_drawn_for_each_example_in_training_alone():
    layer = RandomGain(0.2, seed=1)
    ones = np.ones((500, 3, 1), np.float32)
    np.testing.assert_array_equal(layer(ones), ones)
    gains = np.asarray(layer(ones, training=True))
    np.testing.assert_array_equal(gains, np.broadcast_to(gains[:, :1], gains.shape))
    assert 0.8 <= gains.min() < 0.81
    assert 1.19 < gains.max() <= 1.2
    assert abs(gains.mean() - 1) < 0.02
    assert np.any(gains != np.asarray(layer(ones, training=True)))


def test_a_speaker_is_the_mean_over_windows_of_the_networks_own_hop(tmp_path, rng):
    size = models.sizes("sincnet", variant="tiny", hop_seconds=0.01)
    model = models.build("sincnet", size)
    card = {
        "name": "ear", "task": "listening", "sample_rate": 8000, "channels": 1,
        "trained": "not at all",
        "model": {"name": "sincnet", "options": {"variant": "tiny", "hop_seconds": 0.01}},
    }  # fmt: skip
    folder = presets.save_to_preset(model, tmp_path / "ear", card)
    sound = rng.normal(0, 0.1, 1200).astype(np.float32)
    heard = listening.Listener(folder)(sound, 8000)
    np.testing.assert_allclose(heard.starts_seconds, np.arange(0, 0.101, 0.01), atol=1e-6)
    windows = np.stack([sound[k : k + 400] for k in range(0, 801, 80)])[..., None]
    np.testing.assert_allclose(heard.mean, np.mean(model(windows), axis=0), atol=1e-5)
    wider = listening.Listener(folder, hop_seconds=0.05)(sound, 8000)
    assert len(wider.starts_seconds) == 3


@pytest.mark.parametrize(("options", "message"), [
    ({"kernels": [65]}, "kernels must be as many as filters, and one at least; got 1 and 2"),
    ({"gain": 1.0}, "gain must be at least 0 and below 1; got 1.0"),
    ({"hop_seconds": -1.0}, "hop_seconds must be above 0; got -1.0"),
    ({"pool": 20}, "block_seconds=0.05 must leave a step behind kernels"),
    ({"samples": 500}, "samples must be 400, a window; got 500"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("sincnet", variant="tiny", **options)
