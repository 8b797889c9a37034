"""What in a TFLite file runtimes cannot bear, and the layers that it comes from.

The converter keeps the names of a traced function, in which a layer is a scope: the tensor
"unet/ratio_masks/truediv" is of the layer "unet/ratio_masks".
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

import tensorflow as tf

OPEN, DOUBLE, AXES = "open", "float64", "axes"
MOST_AXES = 4  # of a tensor, on GPUs
_NAMED = 4  # layers in a message


def troubles(content: bytes) -> dict[str, list[str]]:
    """{trouble: its layers} of a file's bytes whose tensors still have names.

    "open": shapes that are not fixed; "float64"; "axes": more than 4, which GPU delegates refuse.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAsModel(content, 0)
    found: dict[str, dict[str, None]] = {OPEN: {}, DOUBLE: {}, AXES: {}}
    for graph in (model.Subgraphs(i) for i in range(model.SubgraphsLength())):
        for tensor in (graph.Tensors(i) for i in range(graph.TensorsLength())):
            layer = layer_of((tensor.Name() or b"").decode())
            if tensor.ShapeSignatureLength() and -1 in tensor.ShapeSignatureAsNumpy():
                found[OPEN][layer] = None
            if tensor.Type() == schema.TensorType.FLOAT64:
                found[DOUBLE][layer] = None
            if tensor.ShapeLength() > MOST_AXES:
                found[AXES][layer] = None
    return {trouble: list(layers) for trouble, layers in found.items()}


def layers_with(
    functions: Iterable[tf.types.experimental.ConcreteFunction], operators: Collection[str]
) -> list[str]:
    """The layers in which traced functions have one of TensorFlow's `operators`."""
    found = {}
    for function in functions:
        graph = function.graph.as_graph_def()
        nodes = [*graph.node, *(n for inner in graph.library.function for n in inner.node_def)]
        found |= {layer_of(node.name): None for node in nodes if node.op in operators}
    return list(found)


def listed(layers: Collection[str]) -> str:
    """The first of `layers`, and how many more there are."""
    more = len(layers) - _NAMED
    return ", ".join(list(layers)[:_NAMED]) + (f" and {more} more" if more > 0 else "")


def layer_of(name: str) -> str:
    """The layer that the tensor `name` is of."""
    scope, _, _ = name.split(";")[0].rpartition("/")
    return scope or name or "a tensor without a name"
