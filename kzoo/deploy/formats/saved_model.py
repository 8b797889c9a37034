"""SavedModel: what TF Serving, TensorFlow's C API and `tf.saved_model.load` read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kzoo.deploy.proof import Proof
from kzoo.deploy.signature import SIGNATURE, serving_function

# What a graph needs to hold together rather than to compute.
_BOOKKEEPING = frozenset(
    {"NoOp", "Const", "Identity", "IdentityN", "Placeholder", "PartitionedCall",
     "StatefulPartitionedCall", "ReadVariableOp"}
)  # fmt: skip


def write(model: keras.Model, folder: str | Path, proof: Proof, *, batched: bool = True) -> Path:
    """Write `model` with one signature, `serving_default`: the proof's inputs to its outputs.

    Shapes as in `signature.serving_function`: by default any batch and, where the model allows it,
    any length. Raises FileExistsError where `folder` holds something, ValueError for a proof that
    does not fit the model.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder}: exists and is not an empty folder; name a new one")
    function = serving_function(model, proof, batched=batched)
    # No archive.track(model): variables are found in the function, and tracking stores them twice.
    archive = keras.export.ExportArchive()
    archive.add_endpoint(SIGNATURE, function)
    archive.write_out(str(folder), verbose=False)
    return folder


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


def describe(folder: str | Path) -> dict[str, Any]:
    """Tell `inputs`, `outputs` ({name: shape, None where open}) and `operators` ({name: count})."""
    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures[SIGNATURE]
    graph = signature.graph.as_graph_def()
    operators = Counter(node.op for node in graph.node)
    for function in graph.library.function:
        operators.update(node.op for node in function.node_def)
    specs = {
        "inputs": signature.structured_input_signature[1], "outputs": signature.structured_outputs
    }  # fmt: skip
    shapes = {
        side: {name: spec.shape.as_list() for name, spec in tensors.items()}
        for side, tensors in specs.items()
    }
    used = {op: n for op, n in sorted(operators.items()) if op not in _BOOKKEEPING}
    return {**shapes, "operators": used}


def runtime(operators: Mapping[str, int]) -> dict[str, str]:
    """Name what `load` runs an artefact of these operators with."""
    return {"name": "tf.saved_model.load", "version": tf.__version__}
