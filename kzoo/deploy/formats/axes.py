"""Files whose tensors have no more axes than GPU delegates take.

A file is of one example, and the masks of several sources are `[1, sources, frames, bins,
channels]`: their first axis says nothing, and is left out of every tensor of more than four axes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from kzoo.deploy.formats.kernels import repacked, unpacked
from kzoo.deploy.formats.layers import MOST_AXES

# What is computed number by number, or along the last axis.
_EACH = (
    "ABS", "ADD", "DIV", "EXP", "LOGISTIC", "MAXIMUM", "MUL", "NEG", "POW", "RELU", "SOFTMAX",
    "SQRT", "SQUARE", "SUB",
)  # fmt: skip


def without_first_axis(content: bytes) -> bytes:
    """The same computation in fewer axes; `content` itself where an operator has no such form."""
    model = unpacked(content)
    try:
        changed = [_Graph(model, graph).squeeze() for graph in model.subgraphs]
    except _Kept:
        return content
    return repacked(model) if any(changed) else content


class _Kept(Exception):
    """An operator cannot do without the axis."""


class _Graph:
    """A graph of `model`. wide: the numbers of the tensors that lose their first axis."""

    def __init__(self, model: Any, graph: Any):
        from tensorflow.lite.python import schema_py_generated as schema

        self.schema, self.model, self.graph = schema, model, graph
        self.names = {number: name for name, number in vars(schema.BuiltinOperator).items()}
        self.axes = [0 if x.shape is None else len(x.shape) for x in graph.tensors]
        self.wide = {
            number
            for number, axes in enumerate(self.axes)
            if axes > MOST_AXES and graph.tensors[number].shape[0] == 1
        }

    def squeeze(self) -> bool:
        """Whether anything was changed."""
        for operator in self.graph.operators:
            if self.wide & {*operator.inputs, *operator.outputs}:
                self._rewrite(operator)
        for number in self.wide:
            tensor = self.graph.tensors[number]
            tensor.shape, tensor.shapeSignature = np.array(tensor.shape[1:], np.int32), None
        return bool(self.wide)

    def _rewrite(self, operator: Any) -> None:
        name = self.names[self.model.operatorCodes[operator.opcodeIndex].builtinCode]
        options = operator.builtinOptions
        if name == "RESHAPE":
            (output,) = operator.outputs
            shape = self.graph.tensors[output].shape
            self._give(operator, 1, shape[1:] if output in self.wide else shape)
            operator.builtinOptions, operator.builtinOptionsType = None, 0  # the old shape, too
        elif name == "PACK" and options.axis == 1 and not self.wide & {*operator.inputs}:
            self._concatenate(operator)  # parts `[1, ...]`, along what is now the first axis
        elif any(self.axes[x] > MOST_AXES and x not in self.wide for x in operator.inputs):
            raise _Kept
        elif name in ("SUM", "REDUCE_MAX") and options.keepDims:
            self._change(operator, 1, self._fewer)
        elif name == "TRANSPOSE":
            self._change(operator, 1, lambda order: self._fewer(order[1:]))
        elif name == "CONCATENATION" and options.axis:
            options.axis -= options.axis > 0
        elif name in ("PAD", "PADV2"):
            self._change(operator, 1, lambda widths: widths[1:])
        elif name == "STRIDED_SLICE" and not (
            options.ellipsisMask or options.newAxisMask or options.shrinkAxisMask
        ):
            options.beginMask, options.endMask = options.beginMask >> 1, options.endMask >> 1
            for number in (1, 2, 3):
                self._change(operator, number, lambda along: along[1:])
        elif name not in _EACH:
            raise _Kept

    def _change(
        self, operator: Any, number: int, change: Callable[[np.ndarray], np.ndarray]
    ) -> None:
        """Change the constant that is input `number` of an operator."""
        data = self.model.buffers[self.graph.tensors[operator.inputs[number]].buffer].data
        if data is None:
            raise _Kept
        shape = self.graph.tensors[operator.inputs[number]].shape
        values = np.asarray(data, np.uint8).view("<i4").reshape(shape)
        self._give(operator, number, change(values))

    @staticmethod
    def _fewer(axes: np.ndarray) -> np.ndarray:
        """Numbers of axes behind the one that is left out; those from the end stay."""
        if 0 in axes:
            raise _Kept
        return axes - (axes > 0)

    def _give(self, operator: Any, number: int, values: Sequence[int]) -> None:
        """A new constant as input `number` of an operator."""
        values = np.ascontiguousarray(values, "<i4")
        buffer, tensor = self.schema.BufferT(), self.schema.TensorT()
        buffer.data = values.reshape(-1).view(np.uint8)
        tensor.shape, tensor.type = np.array(values.shape, np.int32), self.schema.TensorType.INT32
        tensor.buffer, tensor.name = len(self.model.buffers), b"without_first_axis"
        self.model.buffers.append(buffer)
        inputs = [*operator.inputs]
        inputs[number : number + 1] = [len(self.graph.tensors)]
        operator.inputs = np.array(inputs, np.int32)
        self.graph.tensors.append(tensor)

    def _concatenate(self, operator: Any) -> None:
        kind, codes = self.schema.BuiltinOperator.CONCATENATION, self.model.operatorCodes
        code = self.schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = kind
        code.version = 1
        operator.opcodeIndex = len(codes)
        codes.append(code)
        operator.builtinOptionsType = self.schema.BuiltinOptions.ConcatenationOptions
        operator.builtinOptions = self.schema.ConcatenationOptionsT()
        operator.builtinOptions.axis = 0
