"""How many multiplications and additions a network makes, counted in its TensorFlow graph."""

from __future__ import annotations

import math

import keras
import tensorflow as tf


def multiply_adds(system: keras.Model, samples: int) -> int:
    """Multiply-adds of `system` on one waveform of `samples` samples.

    Counted are convolutions and products of matrices, those of recurrent layers in every step.
    Fourier transforms, norms, activations and masks are not. Nothing has to be known of the layers.
    Raises ValueError for an operator of open shape and for a loop of open length.
    """
    _, _, channels = system.inputs[0].shape
    waveform = tf.TensorSpec((1, samples, channels), tf.float32)
    run = tf.function(lambda waveform: system(waveform, training=False))
    return _count(run.get_concrete_function(waveform).graph)


def _count(graph) -> int:
    """Of the operators that the outputs depend on: Keras leaves a step before its loops unused."""
    waiting, used = [tensor.op for tensor in graph.outputs], set()
    while waiting:
        operator = waiting.pop()
        if operator not in used:
            used.add(operator)
            waiting += [tensor.op for tensor in operator.inputs]
    return sum(_of_operator(operator, graph) for operator in used)


def _of_operator(operator, graph) -> int:
    if operator.type in ("While", "StatelessWhile"):
        steps = _known(operator.inputs[1])  # after the counter, its limit
        if steps is None or steps < 0:
            raise ValueError(f"{operator.name} runs for an unknown number of steps")
        return int(steps) * _count(graph._get_function(operator.get_attr("body").name).graph)
    if operator.type in ("PartitionedCall", "StatefulPartitionedCall"):
        return _count(graph._get_function(operator.get_attr("f").name).graph)
    if operator.type not in _COUNTS:
        return 0
    if any(None in tensor.shape for tensor in (*operator.inputs, *operator.outputs)):
        raise ValueError(f"{operator.name} has an open shape")
    return _COUNTS[operator.type](operator)


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
