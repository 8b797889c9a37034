"""SavedModel: what TF Serving, TensorFlow's C API and `tf.saved_model.load` read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from kzoo.deploy.proof import Proof
from kzoo.deploy.signature import RESET, SIGNATURE, STATE, STEP, serving_function, step_function

# What a graph needs to hold together rather than to compute.
_BOOKKEEPING = frozenset(
    {"NoOp", "Const", "Identity", "IdentityN", "Placeholder", "PartitionedCall",
     "StatefulPartitionedCall", "ReadVariableOp"}
)  # fmt: skip


def write(model: keras.Model, folder: str | Path, proof: Proof, *, batched: bool = True) -> Path:
    """Write `model` with the signature `serving_default`: the proof's inputs to its outputs.

    Shapes as in `signature.serving_function`: by default any batch and, where the model allows it,
    any length. Of a proof with a stream there is `step` too, of one voice, whose states its caller
    hands on, and `reset`, which gives those that it begins with. Raises FileExistsError where
    `folder` holds something, ValueError for a proof that does not fit the model.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder}: exists and is not an empty folder; name a new one")
    functions = {SIGNATURE: serving_function(model, proof, batched=batched)}
    if proof.stream is not None:
        begun = {STATE + name: value for name, value in proof.stream.state.items()}

        @tf.function(input_signature=[], autograph=False)
        def reset():
            return {name: tf.constant(value) for name, value in begun.items()}

        functions[STEP] = step_function(proof.stream.step)
        functions[RESET] = reset.get_concrete_function()
    store(folder, functions)
    return folder


def store(
    folder: str | Path, signatures: Mapping[str, tf.types.experimental.ConcreteFunction]
) -> None:
    """Save traced functions and the variables that they read, each once."""
    # Not keras.export.ExportArchive: it keeps each function as an attribute too, for which
    # TensorFlow traces the model again, and whoever loads the folder reads it twice.
    held = holder(signatures.values())
    tf.saved_model.save(held, str(folder), signatures=dict(signatures))


def holder(functions: Iterable[tf.types.experimental.ConcreteFunction]) -> tf.Module:
    """An object that owns the variables of traced functions, as TensorFlow wants when it saves."""
    module = tf.Module()
    held = {id(variable): variable for f in functions for variable in f.graph.variables}
    module.held = list(held.values())
    return module


def load(
    folder: str | Path,
) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Load the artefact as a function of {input: `[batch, ...]`} to {output: `[batch, ...]`}.

    Raises ValueError for a folder without a signature of ours.
    """
    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures.get(SIGNATURE)
    if signature is None:
        raise ValueError(f"{folder}: has no signature {SIGNATURE!r}")
    specs = signature.structured_input_signature[1]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        tensors = {name: tf.constant(array, specs[name].dtype) for name, array in inputs.items()}
        return {name: output.numpy() for name, output in signature(**tensors).items()}

    run.loaded = loaded  # a signature lives no longer than the object that owns its variables
    return run


def load_step(folder: str | Path) -> Callable[..., dict[str, np.ndarray]]:
    """The signature `step` of an artefact that streams; its state is kept from call to call."""
    loaded = tf.saved_model.load(str(folder))
    signatures = loaded.signatures
    state = dict(signatures[RESET]())

    def step(**block: np.ndarray) -> dict[str, np.ndarray]:
        given = {name: tf.constant(x) for name, x in block.items()}
        results = dict(signatures[STEP](**given, **state))
        state.update((name, results.pop(name)) for name in list(state))
        return {name: tensor.numpy() for name, tensor in results.items()}

    step.loaded = loaded
    return step


def describe(folder: str | Path) -> dict[str, Any]:
    """Tell `inputs`, `outputs` ({name: shape, None where open}) and `operators` ({name: count})."""
    # Read, not loaded: loading draws the whole graph anew.
    content = (Path(folder) / "saved_model.pb").read_bytes()
    [graph] = saved_model_pb2.SavedModel.FromString(content).meta_graphs
    signature = graph.signature_def[SIGNATURE]
    functions = {function.signature.name: function for function in graph.graph_def.library.function}
    nodes = {node.name: node for node in graph.graph_def.node}
    operators, seen = Counter(), set()
    last = {tensor.name.split(":")[0] for tensor in signature.outputs.values()}
    waiting = [nodes[name] for name in last]
    while waiting:
        node = waiting.pop()
        operators[node.op] += 1
        for name in _called(node) - seen:
            seen.add(name)
            waiting += functions[name].node_def
    shapes = {
        "inputs": {name: _shape(tensor) for name, tensor in sorted(signature.inputs.items())},
        "outputs": {name: _shape(tensor) for name, tensor in sorted(signature.outputs.items())},
    }
    used = {op: n for op, n in sorted(operators.items()) if op not in _BOOKKEEPING}
    return {**shapes, "operators": used}


def _called(node) -> set[str]:
    """The names of the functions that a node of a graph calls."""
    values = node.attr.values()
    lists = [function.name for value in values for function in value.list.func]
    return {value.func.name for value in values if value.HasField("func")} | set(lists)


def _shape(tensor) -> list[int | None]:
    return [None if axis.size < 0 else axis.size for axis in tensor.tensor_shape.dim]


def runtime(operators: Mapping[str, int]) -> dict[str, str]:
    """Name what `load` runs an artefact of these operators with."""
    return {"name": "tf.saved_model.load", "version": tf.__version__}
