"""SavedModel: what TF Serving, TensorFlow's C API and `tf.saved_model.load` read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kzoo.deploy.signature import INPUT, SIGNATURE, serving_function

# What a graph needs to hold together rather than to compute.
_BOOKKEEPING = frozenset(
    {"NoOp", "Const", "Identity", "IdentityN", "Placeholder", "PartitionedCall",
     "StatefulPartitionedCall", "ReadVariableOp"}
)  # fmt: skip


def write_saved_model(
    model: keras.Model,
    folder: str | Path,
    *,
    sources: Sequence[str],
    samples: int | None = None,
    channels: int | None = None,
    batched: bool = True,
) -> Path:
    """Write `model` with one signature, `serving_default`: `waveform` to one tensor per source.

    Shapes as in `signature.serving_function`: by default any batch and, where the model allows it,
    any length. Raises FileExistsError where `folder` holds something.
    """
    folder = Path(folder)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise FileExistsError(f"{folder}: exists and is not an empty folder; name a new one")
    function = serving_function(model, sources, samples=samples, channels=channels, batched=batched)
    # No archive.track(model): variables are found in the function, and tracking stores them twice.
    archive = keras.export.ExportArchive()
    archive.add_endpoint(SIGNATURE, function)
    archive.write_out(str(folder), verbose=False)
    return folder


def load_saved_model(folder: str | Path) -> Callable[[np.ndarray], dict[str, np.ndarray]]:
    """The artefact as a function of float32 `[batch, samples, channels]`, by TensorFlow's loader.

    A waveform `[samples, channels]` comes back without a batch axis as well; further inputs are
    keyword arguments, with a batch axis where the waveform has one. Raises ValueError for a folder
    without a signature of ours.
    """
    loaded = tf.saved_model.load(str(folder))
    signature = loaded.signatures.get(SIGNATURE)
    inputs = signature.structured_input_signature[1] if signature is not None else {}
    if INPUT not in inputs:
        raise ValueError(f"{folder}: has no signature {SIGNATURE!r} with an input {INPUT!r}")
    rank = inputs[INPUT].shape.rank

    def run(waveform: np.ndarray, **others: np.ndarray) -> dict[str, np.ndarray]:
        lift = rank == 3 and np.ndim(waveform) == 2
        tensors = {
            name: tf.constant(array[None] if lift else array, inputs[name].dtype)
            for name, array in {INPUT: waveform, **others}.items()
        }
        stems = {name: stem.numpy() for name, stem in signature(**tensors).items()}
        return {name: stem[0] for name, stem in stems.items()} if lift else stems

    run.loaded = loaded  # a signature lives no longer than the object that owns its variables
    return run


def run_saved_model(folder: str | Path, waveform: np.ndarray) -> dict[str, np.ndarray]:
    """Load and run once: float32 `[batch?, samples, channels]` to {source: the same shape}."""
    return load_saved_model(folder)(waveform)


def describe_saved_model(folder: str | Path) -> dict:
    """`inputs` and `outputs` ({name: shape, None where open}) and `operators` ({name: count})."""
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
