"""The models that the tests of conformance take through their gauntlets, and inputs for them."""

import dataclasses
import functools
import inspect

import keras
import numpy as np
import tensorflow as tf

from kzoo.layers.masks import Estimates, source_names
from kzoo.models import architecture, list_models


def tiny(name):
    """The sizes of the smallest variant."""
    return architecture(name).VARIANTS["tiny"]


# Have conformance tests of their own, or a single model.
OTHERS = ("synthesis", "listening", "generation", "translation")
# The last is that of tests/conformance/plain.
MODELS = [*(name for name in list_models() if tiny(name).task not in OTHERS), "gain_net"]
SOURCES = ["vocals", "accompaniment"]
SHORT = 200  # samples
GRAPHS = {}  # of recurrent models by their id


def made(name, seed=1, size=None, **options):
    """`build` of a model's module, at its tiny size, from a seed."""
    keras.utils.set_random_seed(seed)
    function = architecture(name).build
    if "sources" in inspect.signature(function).parameters:
        options = {"sources": SOURCES, **options}
    return function(size=size or tiny(name), **options)


@functools.cache
def built(name):
    """The waveform model, any length; made once, and changed by no test.

    A recurrent one is drawn as a graph once, as each of its steps takes 1 ms in eager calls.
    """
    return graphed(roughened(made(name)))


def graphed(model):
    """The model; where it is recurrent, `outputs` draws its graph once."""
    if recurs(model):
        specs = [tf.TensorSpec(x.shape, x.dtype) for x in model.inputs]
        specs = specs if len(specs) > 1 else specs[0]
        GRAPHS[id(model)] = tf.function(model, input_signature=[specs], autograph=False)
    return model


@functools.cache
def smallest(name):
    """The sizes of the shortest blocks."""
    size = tiny(name)
    while (less := size.smaller()) is not None:
        size = less
    if recurs(built(name)):  # each of its steps takes 1 ms
        size = dataclasses.replace(size, block_seconds=0.05)
    return size


def fixed(name, size, **arguments):
    """(a model of fixed length from the seed of `built`, the weights it was born with).

    For all tests that ask for the same arguments, and one of them trains it.
    """
    if arguments.get("padding") == "full":
        del arguments["padding"]  # it is the default
    return drawn(name, size, *arguments.items())


@functools.cache
def drawn(name, size, *arguments):
    model = roughened(made(name, size=size, **dict(arguments)))
    return model, model.get_weights()


def segment_of(name):
    """(a short model that trains, the weights it was born with, its sizes)."""
    size, arguments = smallest(name).segment(smallest(name).grid().samples)
    return *fixed(name, size, **arguments), size


def block_of(name):
    """The model of one of the smallest blocks, with the weights of `built`."""
    size = smallest(name)
    block, _ = fixed(name, size, **size.block())
    block.set_weights(built(name).get_weights())
    return block


def roughened(model):
    """Weights as after some training: statistics that are not 0 and 1, biases that are not 0."""
    rng = np.random.default_rng(5)
    for weight in model.weights:
        if weight.path.endswith(("bias", "beta", "gamma", "moving_mean", "moving_variance")):
            weight.assign(weight + rng.uniform(0.01, 0.2, weight.shape))
    return model


def waveform_index(model):
    return next(i for i, x in enumerate(model.inputs) if len(x.shape) == 3)


def condition_for(x, rng):
    """One example for an input that is no waveform, `[1, ...]`."""
    if None in x.shape[1:]:
        raise ValueError(f"input {x.name!r} {x.shape} is open in more than its batch")
    if "int" in x.dtype:
        return np.zeros((1, *x.shape[1:]), x.dtype)
    return rng.uniform(0, 1, (1, *x.shape[1:])).astype(x.dtype)


def fed(model, waveform):
    """What to call `model` with, for `waveform` `[batch, samples, channels]`."""
    rng, at = np.random.default_rng(7), waveform_index(model)
    arrays = [
        waveform if i == at else np.repeat(condition_for(x, rng), len(waveform), axis=0)
        for i, x in enumerate(model.inputs)
    ]
    return arrays[0] if len(arrays) == 1 else arrays


def noise(model, samples, seed=0, level=0.1):
    """White noise that `model` takes: of its own length where it has one."""
    _, own, channels = model.inputs[waveform_index(model)].shape
    rng = np.random.default_rng(seed)
    return (level * rng.standard_normal((1, own or samples, channels))).astype(np.float32)


def examples(model, seed):
    """Positive numbers for every input by its shape, for a network on its own domain."""
    rng = np.random.default_rng(seed)
    length = 160 if recurs(model) else 512
    shapes = [[1, *(length if n is None else n for n in x.shape[1:])] for x in model.inputs]
    arrays = [
        np.zeros(shape, x.dtype) if "int" in x.dtype else rng.uniform(0, 2, shape).astype(x.dtype)
        for shape, x in zip(shapes, model.inputs, strict=True)
    ]
    return arrays[0] if len(arrays) == 1 else arrays


@keras.saving.register_keras_serializable("tests")
class Always(keras.layers.Layer):
    """A condition that is the same for every example, as long as the batch of the waveform."""

    def __init__(self, value, **kwargs):
        super().__init__(**kwargs)
        self.value = value

    def call(self, waveform):
        return tf.repeat(tf.constant(self.value), tf.shape(waveform)[0], axis=0)

    def compute_output_shape(self, input_shape):
        return (input_shape[0], *np.shape(self.value)[1:])


def alone(model):
    """`model` of the waveform alone: its conditions fixed to those that `fed` gives."""
    if len(model.inputs) == 1:
        return model
    at, rng = waveform_index(model), np.random.default_rng(7)
    waveform = keras.Input(model.inputs[at].shape[1:], name="waveform")
    arguments = [
        waveform if i == at else Always(condition_for(x, rng), name=f"fixed_{i}")(waveform)
        for i, x in enumerate(model.inputs)
    ]
    return keras.Model(waveform, Estimates(source_names(model))(model(arguments)), name=model.name)


def recurs(model):
    return any(weight.path.endswith("recurrent_kernel") for weight in model.weights)


def length_for(model):
    """Samples to call a model with; each step of a recurrent layer takes 1 ms, unless drawn."""
    return SHORT if recurs(model) else 1999


def outputs(model, arguments):
    """All outputs of a call as a flat list."""
    return tf.nest.flatten(GRAPHS.get(id(model), model)(arguments))


def eager_outputs(model, arguments):
    """The same of a call that draws nothing: for gradients, and for models that must be equal."""
    return tf.nest.flatten(model(arguments, training=False))
