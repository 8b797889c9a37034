"""Losses as training meets them: by name, in fit, on silence, and with mistakes."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo import losses

OPTIONS = {
    "multi_resolution_stft": {"fft_sizes": [64, 16], "convergence_weight": 1.0},
    "loudness_l1": {"sample_rate": 16000},
}
# Examples of other shapes are in test_clustering_losses.py and test_next_sample.py.
OF_OTHER_SHAPES = (
    "chimera", "deep_clustering", "code_cross_entropy", "gaussian_mixture", "logistic_mixture",
)  # fmt: skip
NAMES = [name for name in losses.list_losses() if name not in OF_OTHER_SHAPES]
SILENCES = ["target", "estimate", "both", "one source", "nothing to learn"]


def example(silence):
    rng = np.random.default_rng(3)
    target, estimate = rng.uniform(0.1, 1.0, (2, 2, 2, 200, 1)).astype("float32")
    if silence in ("target", "both"):
        target[:] = 0
    if silence in ("estimate", "both"):
        estimate[:] = 0
    if silence == "one source":
        target[:, 0] = 0
    if silence == "nothing to learn":
        estimate = target.copy()
    return target, estimate


def value_and_gradient(loss, target, estimate):
    estimate = tf.constant(estimate)
    with tf.GradientTape() as tape:
        tape.watch(estimate)
        value = loss(target, estimate)
    return value.numpy(), tape.gradient(value, estimate).numpy()


@pytest.mark.parametrize("silence", SILENCES)
@pytest.mark.parametrize("name", NAMES)
def test_values_and_gradients_are_finite(name, silence):
    loss = losses.get(name, **OPTIONS.get(name, {}))
    value, gradient = value_and_gradient(loss, *example(silence))
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("name", ["si_sdr", "snr"])
def test_a_silent_reference_gives_zero_with_zero_gradient(name):
    value, gradient = value_and_gradient(losses.get(name), *example("target"))
    np.testing.assert_array_equal(value, 0)
    np.testing.assert_array_equal(gradient, 0)


def test_a_silent_reference_leaves_the_other_source_its_gradient():
    value, gradient = value_and_gradient(losses.get("si_sdr"), *example("one source"))
    assert np.abs(gradient[:, 0]).max() == 0
    assert np.abs(gradient[:, 1]).min() > 0
    target, estimate = example("one source")
    alone = losses.si_sdr(target[:, 1:], estimate[:, 1:])
    np.testing.assert_allclose(value, np.asarray(alone) / 2, rtol=1e-6)


@pytest.mark.parametrize("name", ["l2", "si_sdr", "multi_resolution_stft"])
def test_descending_the_gradient_finds_the_target(name):
    target, estimate = example("nothing silent")
    loss = losses.get(name, **OPTIONS.get(name, {}))
    variable = tf.Variable(estimate)
    before = loss(target, estimate).numpy()
    optimizer = keras.optimizers.Adam(0.03)
    for _ in range(5):
        with tf.GradientTape() as tape:
            value = tf.reduce_mean(loss(target, tf.identity(variable)))
        optimizer.apply([tape.gradient(value, variable)], [variable])
    assert (loss(target, variable.value()).numpy() < before).all()


def test_losses_take_lengths_that_are_unknown_when_the_graph_is_drawn():
    target, estimate = example("nothing silent")
    for name in NAMES:
        loss = losses.get(name, **OPTIONS.get(name, {}))
        drawn = tf.function(
            loss,
            input_signature=[tf.TensorSpec([None, 2, None, 1], tf.float32)] * 2,
            autograph=False,  # as Keras trains
        )
        np.testing.assert_allclose(drawn(target, estimate), loss(target, estimate), rtol=1e-5)


# Keras 3.15 writes its variables with a call that NumPy 2.4 deprecates.
@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
def test_fit_reports_the_mean_over_examples_and_the_model_can_be_saved(tmp_path):
    target, mixture = example("nothing silent")
    inputs = keras.Input((2, 200, 1))
    model = keras.Model(inputs, keras.layers.Dense(1, kernel_initializer="ones")(inputs))
    model.compile("sgd", loss=losses.get("si_sdr", zero_mean=True))
    reported = model.evaluate(mixture, target, verbose=0)
    expected = np.mean(losses.si_sdr(target, mixture, zero_mean=True))
    np.testing.assert_allclose(reported, expected, rtol=1e-5)
    model.fit(mixture, target, verbose=0)
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    np.testing.assert_allclose(
        again.evaluate(mixture, target, verbose=0), model.evaluate(mixture, target, verbose=0)
    )


@pytest.mark.parametrize("name", NAMES)
def test_losses_take_variables_as_they_take_tensors(name):
    target, estimate = example("nothing silent")
    loss = losses.get(name, **OPTIONS.get(name, {}))
    variables = tf.Variable(target), tf.Variable(estimate)
    np.testing.assert_array_equal(loss(*variables), loss(target, estimate))


@pytest.mark.parametrize(
    ("name", "options", "advice"),
    [
        ("sisdr", {}, "no loss is called 'sisdr'; did you mean 'si_sdr'"),
        ("hinge", {}, "there are: l1, l2"),
        ("si_sdr", {"zero_means": True}, "did you mean 'zero_mean'"),
        ("l1", {"zero_mean": True}, "it takes: none"),
    ],
)
def test_a_wrong_name_or_option_is_answered_with_advice(name, options, advice):
    with pytest.raises(ValueError, match=advice.replace("?", r"\?")):
        losses.get(name, **options)


def test_shapes_that_would_broadcast_are_refused():
    with pytest.raises(ValueError, match="must have the same shape"):
        losses.l1(np.zeros((2, 1, 50, 1)), np.zeros((2, 2, 50, 1)))
    with pytest.raises(ValueError, match=r"waveforms must be \[batch, sources"):
        losses.si_sdr(np.zeros((2, 50)), np.zeros((2, 50)))
    with pytest.raises(ValueError, match="multiples of 4"):
        losses.multi_resolution_stft(*example("both"), fft_sizes=[63])


def test_a_loss_that_must_know_the_rate_asks_for_it():
    with pytest.raises(ValueError, match="loudness_l1 needs sample_rate"):
        losses.get("loudness_l1")
    with pytest.raises(ValueError, match="loudness_l1 needs sample_rate"):
        losses.get("weighted_sum", terms=[{"name": "loudness_l1"}])
