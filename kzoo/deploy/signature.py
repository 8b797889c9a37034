"""The function inside every artefact: named tensors in, named tensors out."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kzoo.deploy.proof import Proof

SIGNATURE = "serving_default"
STEP, RESET, STATE = "step", "reset", "state_"  # signatures of what streams, names of its states
_MOST_IN_GRAPH = 50_000  # numbers of a weight that is a constant of a graph


def serving_function(
    model: keras.Model, proof: Proof, *, batched: bool = True
) -> tf.types.experimental.ConcreteFunction:
    """Trace `model` once as a function of the proof's inputs to {output: tensor}.

    batched: tensors have a batch axis of any length and are open where the model is; otherwise
        they have none, one signal as an app has it in its buffer, and the model must be static.
    Raises ValueError for a model that the proof's names and example do not fit.
    """
    check(model, proof)
    if not batched and any(None in x.shape[1:] for x in model.inputs):
        raise ValueError(
            f"samples must be given: {model.name!r} takes any length and a file one; build it with "
            "samples=..."
        )

    def serve(*tensors):
        tensors = [tensor if batched else tensor[None] for tensor in tensors]
        with contextlib.nullcontext() if batched else constant_weights(model):
            outputs = named_outputs(model, proof, tensors)
        shape = model.outputs[0].shape[2 if proof.stacked else 1 :]
        if batched:
            return {name: tf.ensure_shape(x, (None, *shape)) for name, x in outputs.items()}
        # LiteRT copies tensor[0] sample after sample.
        return {name: tf.reshape(x, shape) for name, x in outputs.items()}

    lead = (None,) if batched else ()
    specs = [
        tf.TensorSpec((*lead, *x.shape[1:]), x.dtype, name=name)
        for name, x in zip(proof.inputs, model.inputs, strict=True)
    ]
    return tf.function(serve, autograph=False).get_concrete_function(*specs)


def step_function(step: keras.Model) -> tf.types.experimental.ConcreteFunction:
    """The graph of `step` for a batch of 1, its inputs in their order to {output: tensor}."""
    signature = [tf.TensorSpec((1, *x.shape[1:]), x.dtype, name=x.name) for x in step.inputs]

    @tf.function(input_signature=signature, autograph=False)
    def run(*arguments):
        names = (x.name for x in step.inputs)
        with constant_weights(step):
            results = step(dict(zip(names, arguments, strict=True)), training=False)
        return {name: tf.identity(tensor) for name, tensor in results.items()}

    return run.get_concrete_function()


def constant_weights(model: keras.Model) -> keras.StatelessScope:
    """Where a graph of `model` is traced in it, its small weights are constants of the graph.

    Most of what TensorFlow takes to write and to read a SavedModel is for each of its variables,
    while each copy of a graph copies the constants.
    """
    with tf.init_scope():  # in a graph variables have no values
        small = [(w, w.numpy()) for w in model.weights if np.prod(w.shape) <= _MOST_IN_GRAPH]
    return keras.StatelessScope([(w, tf.constant(x, name=w.path)) for w, x in small])


def named_outputs(model: keras.Model, proof: Proof, tensors: Sequence[Any]) -> dict[str, Any]:
    """Call `model` with its inputs in their order: {output: tensor `[batch, ...]`}."""
    given = keras.tree.pack_sequence_as(model.input, list(tensors))
    found = model(given, training=False)
    return dict(
        zip(proof.outputs, tf.unstack(found, axis=1) if proof.stacked else [found], strict=True)
    )


def check(model: keras.Model, proof: Proof) -> None:
    """Raise ValueError where `proof` does not fit `model`."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(
            "artefacts are written by TensorFlow; "
            f"set KERAS_BACKEND=tensorflow (it is {keras.backend.backend()})"
        )
    _check_names([*proof.inputs, *proof.outputs])
    given = {name: (None, *array.shape[1:]) for name, array in proof.inputs.items()}
    wanted = [tuple(x.shape) for x in model.inputs]
    if len(given) != len(wanted) or not all(map(_fits, given.values(), wanted)):
        raise ValueError(
            f"{model.name!r} takes {', '.join(map(str, wanted))}; the example has "
            f"{', '.join(f'{name} {shape}' for name, shape in given.items())}"
        )
    shapes = [tuple(x.shape) for x in model.outputs]
    named = shapes[0][1] if proof.stacked else 1
    if len(shapes) != 1 or named != len(proof.outputs):
        raise ValueError(
            f"{model.name!r} must have one output for {', '.join(proof.outputs)}"
            f"{', which lie along its axis 1' if proof.stacked else ''}; it gives "
            f"{', '.join(map(str, shapes))}"
        )


def _fits(shape: tuple, wanted: tuple) -> bool:
    return len(shape) == len(wanted) and all(
        own is None or n == own for n, own in zip(shape[1:], wanted[1:], strict=True)
    )


def _check_names(names: Sequence[str]) -> None:
    for name in names:
        if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
            raise ValueError(f"a tensor's name has letters, digits and _; got {name!r}")
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"inputs and outputs must have different names; got {', '.join(twice)}")
