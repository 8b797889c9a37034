"""What a network costs, counted in its TensorFlow graph: multiplications, tensors, steps in turn.

Nothing has to be known of the layers, and no weight has to have a value.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import keras
import tensorflow as tf


@dataclass(frozen=True)
class Costs:
    """Of one example, forwards.

    multiply_adds: of convolutions and products of matrices, those of recurrent layers in every
        step. Fourier transforms, norms, activations and masks are not among them.
    tensor_bytes: of all that operators compute, which a training keeps for its way back, at most.
    recurrent_steps: of all loops, which have to wait for each other.
    """

    multiply_adds: int
    tensor_bytes: int
    recurrent_steps: int


def costs(model: keras.Model, samples: int | None = None) -> Costs:
    """Count `model`, as it is after training, on one example.

    samples: the length of those of its inputs that have none.

    Raises ValueError for an operator of open shape and for a loop of open length.
    """
    together = model.inputs[0].shape[0] or 1  # of a model whose batches go on from each other
    shapes = [[samples if n is None else n for n in x.shape[1:]] for x in model.inputs]
    specs = [
        tf.TensorSpec((together, *shape), x.dtype)
        for shape, x in zip(shapes, model.inputs, strict=True)
    ]
    weights = [
        [tf.TensorSpec(v.shape, v.dtype) for v in variables]
        for variables in (model.trainable_variables, model.non_trainable_variables)
    ]

    @tf.function
    def run(trainable, others, *tensors):
        given = keras.tree.pack_sequence_as(model.input, tensors)
        return model.stateless_call(trainable, others, given, training=False)[0]

    graph = run.get_concrete_function(*weights, *specs).graph
    found = list(_operators(graph))
    return Costs(
        sum(times * _multiply_adds(operator) for operator, times in found) // together,
        sum(times * _bytes(operator) for operator, times in found) // together,
        sum(times for operator, times in found if operator.type in _LOOPS),
    )


def multiply_adds(system: keras.Model, samples: int) -> int:
    """Multiply-adds of `system` after its training, on one waveform of `samples` samples."""
    return costs(system, samples).multiply_adds


def _operators(graph, times: int = 1) -> Iterator[tuple[tf.Operation, int]]:
    """(operator, how often it runs) of those that the outputs depend on.

    A loop itself runs as often as its body does. Keras leaves a step before its loops unused.
    """
    waiting, used = [tensor.op for tensor in graph.outputs], set()
    while waiting:
        operator = waiting.pop()
        if operator in used:
            continue
        used.add(operator)
        waiting += [tensor.op for tensor in operator.inputs]
        inner, body = times, None
        if operator.type in _LOOPS:
            steps = _known(operator.inputs[1])  # after the counter, its limit
            if steps is None or steps < 0:
                raise ValueError(f"{operator.name} runs for an unknown number of steps")
            inner, body = times * int(steps), operator.get_attr("body")
        elif operator.type in ("PartitionedCall", "StatefulPartitionedCall"):
            body = operator.get_attr("f")
        yield operator, inner
        if body is not None:
            yield from _operators(graph._get_function(body.name).graph, inner)


def _multiply_adds(operator) -> int:
    if operator.type not in _COUNTS:
        return 0
    if any(None in tensor.shape for tensor in (*operator.inputs, *operator.outputs)):
        raise ValueError(f"{operator.name} has an open shape")
    return _COUNTS[operator.type](operator)


def _bytes(operator) -> int:
    if operator.type in _NOTHING_NEW or operator.type in _LOOPS:
        return 0
    known = [x for x in operator.outputs if x.dtype.is_floating and x.shape.is_fully_defined()]
    return sum(_size(x) * x.dtype.size for x in known)


def _known(number):
    """The value of a scalar, which Keras takes the greatest of; None where it is not known."""
    while number.op.type == "Max":
        number = number.op.inputs[0]
    return tf.get_static_value(number)


def _convolution(operator) -> int:
    *window, channels, _ = operator.inputs[1].shape
    return _size(operator.outputs[0]) * math.prod(window) * channels


def _depthwise(operator) -> int:
    return _size(operator.outputs[0]) * math.prod(operator.inputs[1].shape[:2])


def _transposed(operator) -> int:
    *window, channels, _ = operator.inputs[1].shape  # of the outputs
    return _size(operator.inputs[2]) * math.prod(window) * channels


def _product(operator) -> int:
    name = "transpose_a" if operator.type == "MatMul" else "adj_x"
    return (
        _size(operator.outputs[0]) * operator.inputs[0].shape[-2 if operator.get_attr(name) else -1]
    )


def _einsum(operator) -> int:
    terms = operator.get_attr("equation").decode().split("->")[0].split(",")
    lengths = {}
    for term, tensor in zip(terms, operator.inputs, strict=True):
        if "..." in term:
            raise ValueError(f"{operator.name} leaves axes unnamed: {term}")
        lengths |= dict(zip(term, tensor.shape, strict=True))
    return math.prod(lengths.values())


def _size(tensor) -> int:
    return math.prod(tensor.shape)


_COUNTS = {
    "Conv2D": _convolution,
    "DepthwiseConv2dNative": _depthwise,
    "Conv2DBackpropInput": _transposed,
    "MatMul": _product,
    "BatchMatMul": _product,
    "BatchMatMulV2": _product,
    "BatchMatMulV3": _product,
    "Einsum": _einsum,
}
_LOOPS = ("While", "StatelessWhile")
# Views of what is there, weights, and calls, whose bodies are counted.
_NOTHING_NEW = (
    "Const", "Placeholder", "Identity", "Reshape", "ExpandDims", "Squeeze", "ReadVariableOp",
    "StopGradient", "PartitionedCall", "StatefulPartitionedCall",
)  # fmt: skip
