"""Half the file: the kernels of a TFLite model stored as float16, everything computed as ever.

The converter's own float16 mode rounds every constant. Windows then cost 20 dB, and what keeps a
silent bin from 0 / 0 becomes 0, so that real music came out as NaN. Here only kernels are rounded,
and a DEQUANTIZE in front of each, which runtimes resolve once when they load, gives float32 back.
"""

from __future__ import annotations

import flatbuffers
import numpy as np

# The operand of each operator that is a kernel.
_KERNEL_AT = {
    "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "TRANSPOSE_CONV": 1, "CONV_3D": 1,
    "CONV_3D_TRANSPOSE": 1, "FULLY_CONNECTED": 1, "BATCH_MATMUL": 1,
}  # fmt: skip
_LARGEST = float(np.finfo(np.float16).max)


def halve(content: bytes) -> bytes:
    """The TFLite model `content` with its constant float32 kernels as float16.

    Raises ValueError for a kernel with weights above float16's 65504.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    codes = {getattr(schema.BuiltinOperator, name): at for name, at in _KERNEL_AT.items()}
    dequantize = len(model.operatorCodes)
    code = schema.OperatorCodeT()
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
    code.version = 3  # the first that takes float16
    model.operatorCodes.append(code)
    halves: dict[int, int] = {}  # buffer to buffer

    for graph in model.subgraphs:
        restored: dict[int, int] = {}  # float16 tensor to float32 tensor
        for operator in graph.operators:
            at = codes.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
            if at is None:
                continue
            index = int(operator.inputs[at])
            tensor = graph.tensors[index]
            data = model.buffers[tensor.buffer].data
            if index in restored or tensor.type != schema.TensorType.FLOAT32 or data is None:
                continue
            if tensor.buffer not in halves:
                halves[tensor.buffer] = len(model.buffers)
                model.buffers.append(_half(schema, data, tensor.name))
            full = schema.TensorT()
            full.shape, full.type, full.buffer = tensor.shape, tensor.type, 0
            full.name = tensor.name + b"/float32"
            tensor.type = schema.TensorType.FLOAT16
            restored[index] = len(graph.tensors)
            graph.tensors.append(full)
        for operator in graph.operators:
            operator.inputs = [restored.get(int(i), int(i)) for i in _indices(operator.inputs)]
        for half, full in restored.items():
            graph.operators.insert(0, _dequantize(schema, dequantize, half, full))

    whole = {t.buffer for g in model.subgraphs for t in g.tensors
             if t.type != schema.TensorType.FLOAT16}  # fmt: skip
    for graph in model.subgraphs:
        for tensor in graph.tensors:
            if tensor.type == schema.TensorType.FLOAT16:
                tensor.buffer = halves.get(tensor.buffer, tensor.buffer)
    for buffer in halves.keys() - whole:
        model.buffers[buffer].data = None
    builder = _Builder(len(content))
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


class _Builder(flatbuffers.Builder):
    """Puts every buffer at a multiple of 16 bytes, as the schema demands and Python forgets."""

    def StartVector(self, elemSize, numElems, alignment):
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)


def _half(schema, data, name: bytes):
    values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), "<f4")
    if np.abs(values).max(initial=0.0) > _LARGEST:
        raise ValueError(
            f"{name.decode()} has weights above {_LARGEST:g}, float16's largest: use precision fp32"
        )
    buffer = schema.BufferT()
    buffer.data = values.astype("<f2").view(np.uint8)
    return buffer


def _dequantize(schema, code: int, half: int, full: int):
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, [half], [full]
    return operator


def _indices(inputs):
    return [] if inputs is None else inputs
