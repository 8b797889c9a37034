"""The onset detector: its published size, its dense form, what it measures, what it looks at."""

import re

import keras
import numpy as np
import pytest
from keras import layers

from kzoo import models
from kzoo.models import onset_cnn

TINY = onset_cnn.VARIANTS["tiny"]


@pytest.mark.parametrize("variant", ["paper", "mml2013"])
def test_it_has_the_weights_of_the_paper(variant):
    core = onset_cnn.core(onset_cnn.VARIANTS[variant])
    assert core.count_params() == 289_693
    shapes = {layer.name: tuple(layer.output.shape[1:]) for layer in core.layers}
    assert shapes["conv1"] == (None, 78, 10)
    assert shapes["pool1"] == (None, 26, 10)
    assert shapes["conv2"] == (None, 24, 20)
    assert shapes["pool2"] == (None, 8, 20)


def test_for_all_frames_at_once_it_says_what_the_paper_says_of_fifteen(rng):
    """The paper's network on each excerpt by itself, of Keras's own layers and the same weights."""
    keras.utils.set_random_seed(0)
    core = onset_cnn.core()
    excerpt = keras.Input((15, 80, 3))
    x = layers.Conv2D(10, (7, 3), activation="tanh", name="conv1")(excerpt)  # [9, 78]
    x = layers.MaxPooling2D((1, 3))(x)
    x = layers.Conv2D(20, (3, 3), activation="tanh", name="conv2")(x)  # [7, 24]
    x = layers.Flatten()(layers.MaxPooling2D((1, 3))(x))
    assert x.shape[1] == 1120
    x = layers.Dense(256, activation="relu", name="dense")(x)
    x = layers.Dense(1, activation="sigmoid", name="logits")(x)
    paper = keras.Model(excerpt, x)
    for name in ("conv1", "conv2", "dense", "logits"):
        kernel, bias = core.get_layer(name).get_weights()
        if name == "dense":
            kernel = kernel.reshape(1120, 256)
        paper.get_layer(name).set_weights([kernel, bias])
    levels = rng.standard_normal((1, 40, 80, 3)).astype(np.float32)
    excerpts = np.stack([levels[0, k : k + 15] for k in range(40 - 14)])
    np.testing.assert_allclose(core(levels)[0], paper(excerpts), atol=1e-5)


def test_levels_are_standardised_by_what_is_learned_from(rng):
    system = onset_cnn.build(TINY, **TINY.block())
    samples = system.input_shape[1]
    mixtures = [
        (0.1 * (k + 1) * rng.standard_normal((samples, 1))).astype(np.float32) for k in range(5)
    ]
    TINY.adapt(system, iter(mixtures))
    levels = system.get_layer("mels")(np.stack(mixtures))
    found = np.asarray(system.get_layer("standardised")(levels))
    np.testing.assert_allclose(found.mean(axis=(0, 1)), 0, atol=1e-4)
    np.testing.assert_allclose(found.std(axis=(0, 1)), 1, atol=1e-4)
    with pytest.raises(ValueError, match="examples of the training are silent"):
        TINY.adapt(system, iter([np.zeros((samples, 1), np.float32)]))


@pytest.mark.parametrize(("options", "message"), [
    ({"frames": 8}, "frames must be at least 9; got 8"),
    ({"lookahead_frames": 9}, "lookahead_frames must be at least 0 and below frames=9; got 9"),
    ({"n_ffts": (256, 255)}, "n_ffts must be one or more even numbers; got (256, 255)"),
    ({"bands": 16}, "bands must be at least 17; got 16"),
    ({"high_hz": 4001.0}, "low_hz to high_hz must lie in 0 to 4000; got 50 to 4001"),
    ({"hop_seconds": 0.1}, "hop_seconds is of windows, and frames have hop_length; got 0.1"),
    ({"hop_length": 0}, "hop_length must be above 0; got 0"),
])  # fmt: skip
def test_sizes_that_do_not_fit_are_refused(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        models.sizes("onset_cnn", variant="tiny", **options)
