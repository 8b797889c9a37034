"""DeepRNN: the authors' predictions, costs and gradients from their MATLAB code."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from kzoo import losses, models
from kzoo.models import deep_rnn
from kzoo.separation import BlockSeparator, System

SOURCES = ["first", "second"]
CONFIGURATIONS = {
    "softabs_relu_drnn2": {},
    "softlinear_logistic_drnn1": {
        "mask": "softlinear", "activation": "logistic", "nonlinear_output": True, "recurrent": (1,),
    },
    "kl_relu_drnn2": {"mask_eps": 1e-8},
    "softabs_tanh_dnn": {"activation": "tanh", "recurrent": ()},
    "softabs_relu_allrecurrent": {"recurrent": (1, 2, 3)},
    "softquad_relu_drnn3": {"mask": "softquad", "recurrent": (3,)},
}  # fmt: skip


@pytest.fixture(scope="module")
def recorded(vectors):
    return {key.removesuffix("_64"): array for key, array in vectors("drnn_mask_loss").items()}


def authors_network(recorded, name):
    """The network behind its context, with the authors' weights."""
    size = deep_rnn.DeepRNN(n_fft=8, hop_length=4, hidden=(6, 6, 6), **CONFIGURATIONS[name])
    context = keras.Input((None, 3 * size.bins))
    mixture = keras.Input((None, size.bins, 1))
    estimates = deep_rnn.separate(context, mixture, SOURCES, size)
    model = keras.Model([context, mixture], estimates)
    for number, layer in enumerate(["hidden1", "hidden2", "hidden3", "output"], start=1):
        of = {kind: recorded.get(f"{name}/param/{kind}{number}") for kind in "WUb"}
        weights = [of["W"].T, of["U"] if of["U"] is None else of["U"].T, of["b"]]
        model.get_layer(layer).set_weights([x for x in weights if x is not None])
    return model


def group(recorded, number):
    """(context, mixture, targets) of a group of sequences: `[sequences, frames, ...]`."""

    def by_frame(key, width):
        array = recorded[f"{key}{number}"]  # frames * width rows, a column a sequence
        return np.moveaxis(array.reshape(-1, width, array.shape[1]), 2, 0).astype(np.float32)

    targets = by_frame("target", 10)
    targets = targets.reshape(*targets.shape[:2], 2, 5, 1).swapaxes(1, 2)
    return by_frame("data", 15), by_frame("mix", 5)[..., None], targets


@pytest.mark.parametrize("name", CONFIGURATIONS)
def test_predictions_costs_and_gradients_are_the_authors(name, recorded):
    model = authors_network(recorded, name)
    kl = name.startswith("kl")
    gamma = 0.1 if name == "softabs_tanh_dnn" else 0.05
    loss = losses.get("discriminative", gamma=gamma, distance="kl" if kl else "squared")
    cost = 0.0
    with tf.GradientTape() as tape:
        for number in (1, 2):
            context, mixture, targets = group(recorded, number)
            estimates = model([context, mixture])
            expected = recorded[f"{name}/prediction{number}"]  # frames, sources and bins, sequences
            found = np.moveaxis(np.asarray(estimates)[..., 0], (0, 2), (3, 0))
            np.testing.assert_allclose(
                found.reshape(expected.shape), expected, rtol=1e-4, atol=1e-5
            )
            # The authors' costs are sums, the squared one of halves; the loss is a mean.
            size = np.prod(targets.shape[1:]) * (1.0 if kl else 0.5)
            cost += size * tf.reduce_sum(loss(targets, estimates))
    assert float(cost) == pytest.approx(float(recorded[f"{name}/cost"]), rel=1e-4)
    gradients = tape.gradient(cost, [weight.value for weight in model.trainable_weights])
    letters = {"kernel": "W", "recurrent_kernel": "U", "bias": "b"}
    for weight, gradient in zip(model.trainable_weights, gradients, strict=True):
        layer, *_, kind = weight.path.split("/")
        number = 4 if layer == "output" else int(layer[-1])
        expected = recorded[f"{name}/grad/{letters[kind]}{number}"].T
        # The authors' formula for KL neglects the floor inside the logarithm.
        np.testing.assert_allclose(
            gradient, expected, rtol=1e-3, atol=(5e-3 if kl else 1e-4) * np.abs(expected).max()
        )


def test_there_are_as_many_parameters_as_published(unfilled):
    assert models.build("deep_rnn").count_params() == 5_569_026


@pytest.fixture(scope="module")
def feedforward():
    """(tiny sizes whose context is finite, the model of any length)."""
    size = models.sizes(
        "deep_rnn", variant="tiny", recurrent=(), activation="tanh", block_seconds=0.1
    )
    return size, models.build("deep_rnn", size, sources=SOURCES)


def test_without_recurrence_blocks_join_into_the_whole(feedforward, rng):
    size, whole = feedforward
    block = models.build("deep_rnn", size, sources=SOURCES, **size.block())
    block.set_weights(whole.get_weights())
    assert size.context_samples() == 64 + 32
    system = System(
        function=lambda mixture: np.asarray(block(mixture)), sources=SOURCES, sample_rate=8000,
        channels=1, grid=size.grid(),
    )  # fmt: skip
    mixture = rng.standard_normal((1, 2000, 1)).astype(np.float32)
    found = BlockSeparator(system).separate(mixture[0], 8000)
    for source, expected in zip(SOURCES, np.asarray(whole(mixture))[0], strict=True):
        np.testing.assert_allclose(found[source], expected, atol=1e-5)


def test_soft_masks_share_the_mixture_out(feedforward, rng):
    _, whole = feedforward
    mixture = rng.standard_normal((1, 777, 1)).astype(np.float32)
    np.testing.assert_allclose(np.sum(whole(mixture), axis=1), mixture, atol=1e-5)


def test_context_is_the_frames_around_and_silence_at_the_ends():
    spectrum = np.arange(1.0, 7.0).reshape(1, 3, 2, 1)
    found = deep_rnn.ContextFrames(3)(spectrum)
    expected = [[0, 0, 1, 2, 3, 4], [1, 2, 3, 4, 5, 6], [3, 4, 5, 6, 0, 0]]
    np.testing.assert_array_equal(found[0], expected)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"context_frames": 4}, "context_frames must be odd; got 4"),
        ({"recurrent": (4,)}, r"numbers of the 3 hidden layers, from 1; got \(4,\)"),
        ({"hidden": ()}, r"hidden must name the units of each layer; got \(\)"),
        ({"mask": "soft"}, "mask"),
    ],
)
def test_sizes_that_make_no_network_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.sizes("deep_rnn", **options)
