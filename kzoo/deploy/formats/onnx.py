"""ONNX: one file for servers, read by ONNX Runtime.

The road is Keras -> traced function -> tf2onnx. Transforms are products of matrices, as ONNX
Runtime's own DFT is slower and processors alone have it.
"""

from __future__ import annotations

import contextlib
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kzoo.deploy.proof import Proof
from kzoo.deploy.signature import serving_function
from kzoo.dsp import dft

_OPSET = 18  # the newest that tf2onnx writes
_INTEGERS = (np.dtype(np.int32), np.dtype(np.int64))


def write(
    model: keras.Model,
    path: str | Path,
    proof: Proof,
    *,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write one file, the proof's inputs to its outputs, each with a batch axis of any length.

    What else is open in the model is open in the file. metadata: goes into the file as JSON, under
    the key "kzoo". Raises ValueError for operators that ONNX does not have.
    """
    import onnx

    with dft.as_products():
        function = serving_function(model, proof)
    content = _converted(function, model.name)
    _name_open_axes(content.graph)
    if metadata is not None:
        content.metadata_props.add(key="kzoo", value=json.dumps(metadata))
    onnx.checker.check_model(content)
    path = Path(path)
    path.write_bytes(content.SerializeToString())
    return path


def describe(path: str | Path) -> dict[str, Any]:
    """Tell `inputs`, `outputs` ({name: shape, None where open}) and `operators` ({name: count})."""
    import onnx

    graph = onnx.load_model(path).graph
    return {
        "inputs": {tensor.name: _shape(tensor) for tensor in graph.input},
        "outputs": {tensor.name: _shape(tensor) for tensor in graph.output},
        "operators": dict(sorted(Counter(node.op_type for node in _nodes(graph)).items())),
    }


def load(
    path: str | Path, *, threads: int = 0
) -> Callable[[Mapping[str, np.ndarray]], dict[str, np.ndarray]]:
    """Load the artefact as a function of {input: `[batch, ...]`} to {output: `[batch, ...]`}.

    threads: 0 for one a processor.
    """
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(str(path), options, ["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(names, dict(inputs)), strict=True))

    return run


def runtime(operators: Mapping[str, int]) -> dict[str, str]:
    """Name what `load` runs an artefact with."""
    import onnxruntime

    return {"name": "ONNX Runtime", "version": onnxruntime.__version__}


def _converted(function: tf.types.experimental.ConcreteFunction, name: str) -> Any:
    """The ModelProto of a traced function, its tensors named as the function has them."""
    import onnx
    from tf2onnx import optimizer, tf_loader, tfonnx

    held = {inside.name.removesuffix(":0"): tensor for tensor, inside in function.graph.captures}
    names = [tensor.name.removesuffix(":0") for tensor in function.inputs]
    inputs = {f"{name}:0": name for name in names if name not in held}
    outputs = {tensor.name: key for key, tensor in function.structured_outputs.items()}
    with _quiet():
        graph = tf_loader.from_function(function, list(inputs), list(outputs))
        for node in graph.node:
            if node.op == "Placeholder" and node.name in held:  # no variable, but a large constant
                node.CopyFrom(_constant(node.name, held[node.name]))
        with tf.Graph().as_default() as drawn:
            tf.import_graph_def(graph, name="")
            converted = tfonnx.process_tf_graph(
                drawn, opset=_OPSET, custom_op_handlers=_HANDLERS, input_names=list(inputs),
                output_names=list(outputs), tensors_to_rename={**inputs, **outputs},
            )  # fmt: skip
        # With `catch_errors` it copies the whole graph before each of its passes.
        converted = optimizer.optimize_graph(converted, catch_errors=False)
        content = converted.make_model(f"kzoo {name}")
    unknown = {n.op_type for n in _nodes(content.graph) if not onnx.defs.has(n.op_type, n.domain)}
    if unknown:
        raise ValueError(
            f"{name!r} needs operators that ONNX does not have: {', '.join(sorted(unknown))}"
        )
    return content


def _constant(name: str, value: tf.Tensor) -> Any:
    """A node of a TensorFlow graph."""
    node = tf.compat.v1.NodeDef(name=name, op="Const")
    node.attr["dtype"].type = value.dtype.as_datatype_enum
    node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value.numpy()))
    return node


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Without the lines of tf2onnx and of the parts of TensorFlow 1 that it calls."""
    loggers = [logging.getLogger(name) for name in ("tf2onnx", "tensorflow")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)


def _name_open_axes(graph: Any) -> None:
    """Call an open axis by its tensor and number, that of the batch "batch"."""
    for tensor in (*graph.input, *graph.output):
        for axis, dim in enumerate(tensor.type.tensor_type.shape.dim):
            if not dim.HasField("dim_value"):
                dim.dim_param = f"{tensor.name}_{axis}" if axis else "batch"


def _shape(tensor: Any) -> list[int | None]:
    dims = tensor.type.tensor_type.shape.dim
    return [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]


def _nodes(graph: Any) -> Iterator[Any]:
    """Every node of a graph and of the bodies of its loops."""
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.HasField("g"):
                yield from _nodes(attribute.g)


def _log1p(graph, node, name, arguments) -> None:
    """tf2onnx has none."""
    one = graph.make_const(f"{name}_one", np.float32(1)).output[0]
    _replace(graph, node, "Log", [graph.make_node("Add", [node.input[0], one]).output[0]])


def _floor_mod(graph, node, name, arguments) -> None:
    """tf2onnx's own rounds towards zero, so that -5 % 3 was -2."""
    if _is_integer(graph, node):
        _replace(graph, node, "Mod", node.input)
        return
    floor = graph.make_node("Floor", [graph.make_node("Div", node.input).output[0]]).output[0]
    product = graph.make_node("Mul", [floor, node.input[1]]).output[0]
    _replace(graph, node, "Sub", [node.input[0], product])


def _floor_div(graph, node, name, arguments) -> None:
    """tf2onnx's own rounds towards zero, so that -5 // 3 was -1."""
    if not _is_integer(graph, node):
        _replace(graph, node, "Floor", [graph.make_node("Div", node.input).output[0]])
        return
    rest = graph.make_node("Mod", node.input).output[0]
    whole = graph.make_node("Sub", [node.input[0], rest]).output[0]
    _replace(graph, node, "Div", [whole, node.input[1]])


def _is_integer(graph, node) -> bool:
    from tf2onnx.utils import map_onnx_to_numpy_type

    return np.dtype(map_onnx_to_numpy_type(graph.get_dtype(node.input[0]))) in _INTEGERS


def _replace(graph, node, kind: str, inputs) -> None:
    inputs, outputs = list(inputs), list(node.output)
    shapes, types = node.output_shapes, node.output_dtypes
    graph.remove_node(node.name)
    graph.make_node(kind, inputs, outputs=outputs, shapes=shapes, dtypes=types)


_HANDLERS = {"Log1p": (_log1p, []), "FloorMod": (_floor_mod, []), "FloorDiv": (_floor_div, [])}
