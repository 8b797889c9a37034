"""DNN-HMM: the dense network of each window, what it knows of its labels, and its pre-training."""

import functools

import keras
import numpy as np
import pytest

from kzoo import models
from kzoo.dsp.phones import PHONES
from kzoo.layers.state_chain import StateChain


@functools.cache
def tiny(**options):
    """The tiny model, which no test changes."""
    keras.utils.set_random_seed(0)
    return models.build("dnn_hmm", variant="tiny", **options)


@pytest.mark.usefixtures("unfilled")
def test_weights_are_as_many_as_five_layers_over_11_frames_and_117_states_have():
    model = models.build("dnn_hmm", variant="paper")
    hidden = (11 * 40 + 1) * 2048 + 4 * (2048 + 1) * 2048
    trained = sum(int(np.prod(w.shape)) for w in model.trainable_weights)
    assert trained == hidden + (2048 + 1) * 3 * len(PHONES)


def test_each_frame_is_told_of_as_the_dense_network_tells_of_its_window(rng):
    model = tiny(units=(8, 6))
    sound = rng.normal(0, 0.1, (1, 4000, 1)).astype(np.float32)
    inside = keras.Model(model.input, model.get_layer("standardised").output)
    bands = np.float64(inside(sound)[0])
    heard = np.asarray(model(sound))[0]
    assert len(bands) == len(heard) + 4
    for frame in (0, 7, len(heard) - 1):
        x = bands[frame : frame + 5].reshape(-1)
        for name in ("hidden1", "hidden2"):
            kernel, bias = (np.float64(w) for w in model.get_layer(name).get_weights())
            x = 1 / (1 + np.exp(-(x @ kernel.reshape(len(x), -1) + bias)))
        kernel, bias = model.get_layer("logits").get_weights()
        expected = 1 / (1 + np.exp(-(x @ kernel + bias)))
        np.testing.assert_allclose(heard[frame], expected, atol=1e-5)


def test_the_chain_counts_states_and_what_follows_them():
    layer = StateChain()
    layer.build((None, None, 3))
    states = [[0, 0, 1, None, 1, 2], [2, 2, 0, 0, 0, 1]]
    labels = [
        np.array([np.eye(3)[s] if s is not None else np.zeros(3) for s in each]) for each in states
    ]
    layer.adapt(labels, unseen=0.0)
    np.testing.assert_allclose(layer.prior, np.array([5, 3, 3]) / 11, rtol=1e-6)
    expected = np.array([[3 / 5, 2 / 5, 0], [0, 0, 1], [1 / 2, 0, 1 / 2]])
    np.testing.assert_allclose(layer.transitions, expected, rtol=1e-6)
    layer.adapt(labels)
    assert np.all(np.asarray(layer.transitions) > 0)
    np.testing.assert_allclose(np.sum(layer.transitions, axis=1), 1, rtol=1e-6)
    with pytest.raises(ValueError, match="have no labels"):
        layer.adapt([np.zeros((4, 3))])


@pytest.mark.parametrize(("options", "message"), [
    ({"context": 4}, "context must be an odd number of frames; got 4"),
    ({"units": []}, "units must be one number a layer"),
    ({"n_fft": 0}, "n_fft must be above 0; got 0"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        models.build("dnn_hmm", variant="tiny", **options)
