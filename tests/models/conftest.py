"""What the tests of published enhancers share; `recorded` and `published` are their own."""

import keras
import numpy as np
import pytest
import tensorflow as tf


@pytest.fixture(scope="module")
def mixture(recorded):
    """What the authors' outputs were recorded from, `[1, samples, 1]`."""
    return recorded["audio_int16"].astype(np.float32)[None, :, None] / 32768


@pytest.fixture(scope="module")
def probe(published):
    """Waveform to what every part of the published model says of it: {layer: array or arrays}."""
    outputs = {layer.name: layer.output for layer in published.layers}
    graph = tf.function(keras.Model(published.inputs[0], outputs), autograph=False)
    return lambda waveform: keras.tree.map_structure(np.asarray, graph(waveform))


@pytest.fixture(scope="module")
def inside(probe, mixture):
    """What every part of the published model says of the mixture."""
    return probe(mixture)
