"""Smaller files: the kernels of a TFLite model in 16 or 8 bits, everything computed as ever.

The converter's own float16 mode rounds every constant. Windows then cost 20 dB, and what keeps a
silent bin from 0 / 0 becomes 0, so that real music came out as NaN. Here only kernels are rounded,
and a DEQUANTIZE in front of each, which runtimes resolve once when they load, gives float32 back.
In 8 bits each filter of a kernel has a scale of its own.
"""

from __future__ import annotations

from collections.abc import Mapping

import flatbuffers
import numpy as np

# The operand of each operator that is a kernel.
_KERNEL_AT = {
    "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "TRANSPOSE_CONV": 1, "CONV_3D": 1,
    "CONV_3D_TRANSPOSE": 1, "FULLY_CONNECTED": 1, "BATCH_MATMUL": 1,
}  # fmt: skip
_FILTERS_LAST = ("DEPTHWISE_CONV_2D", "CONV_3D", "CONV_3D_TRANSPOSE", "BATCH_MATMUL")
_LARGEST = float(np.finfo(np.float16).max)
HALF, BYTE = "float16", "int8"
_VERSIONS = {HALF: 3, BYTE: 5}  # of DEQUANTIZE, the first that take them


def kernels(content: bytes) -> dict[int, tuple[str, int]]:
    """{number of its buffer: (its name, its bytes)} of every constant float32 kernel."""
    return {
        tensor.buffer: (tensor.name.decode(), 4 * values.size)
        for _, tensor, _, values in _found(unpacked(content))
    }


def halve(content: bytes) -> bytes:
    """The TFLite model `content` with its constant float32 kernels as float16.

    Raises ValueError for a kernel with weights above float16's 65504.
    """
    return stored(content, dict.fromkeys(kernels(content), HALF))


def stored(content: bytes, kinds: Mapping[int, str]) -> bytes:
    """The TFLite model `content` with some of its `kernels` in fewer bits.

    kinds: {number of its buffer: "float16" or "int8"}. Raises ValueError as `halve` does.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    model = unpacked(content)
    codes = {}
    for kind in sorted(set(kinds.values())):
        codes[kind], code = len(model.operatorCodes), schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
        code.version = _VERSIONS[kind]
        model.operatorCodes.append(code)
    packed: dict[int, tuple[int, object]] = {}  # buffer to (buffer, its quantisation)
    restored: dict[tuple[int, int], tuple[int, int]] = {}  # tensor to (float32 tensor, code)
    for (at, index), tensor, operator, values in _found(model):
        kind = kinds.get(tensor.buffer)
        if kind is None:
            continue
        if tensor.buffer not in packed:
            pack = _half if kind == HALF else _bytes
            data, quantization = pack(schema, values, operator, tensor.name)
            buffer = schema.BufferT()
            buffer.data = data.reshape(-1).view(np.uint8)
            packed[tensor.buffer] = len(model.buffers), quantization
            model.buffers.append(buffer)
        graph, full = model.subgraphs[at], schema.TensorT()
        full.shape, full.type, full.buffer = tensor.shape, tensor.type, 0
        full.name = tensor.name + b"/float32"
        restored[at, index] = len(graph.tensors), codes[kind]
        graph.tensors.append(full)
        tensor.type = getattr(schema.TensorType, kind.upper())
        tensor.buffer, tensor.quantization = packed[tensor.buffer]

    for at, graph in enumerate(model.subgraphs):
        mine = {index: new for (of, index), new in restored.items() if of == at}
        for operator in graph.operators:
            operator.inputs = [mine.get(int(i), (int(i),))[0] for i in _indices(operator.inputs)]
        for small, (full, code) in mine.items():
            graph.operators.insert(0, _dequantize(schema, code, small, full))
    used = {tensor.buffer for graph in model.subgraphs for tensor in graph.tensors}
    for buffer in packed.keys() - used:
        model.buffers[buffer].data = None
    return repacked(model)


def unpacked(content: bytes):
    """The model as the objects of TFLite's schema."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.ModelT.InitFromPackedBuf(content, 0)
    for buffer in model.buffers:
        if buffer.offset > 1:  # quantisers leave the data behind the model's end
            buffer.data = np.frombuffer(content, np.uint8, buffer.size, buffer.offset)
            buffer.offset = buffer.size = 0
    return model


def repacked(model) -> bytes:
    """The bytes of what `unpacked` gave."""
    size = sum(len(buffer.data) for buffer in model.buffers if buffer.data is not None)
    builder = _Builder(size + size // 8)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _found(model) -> list[tuple[tuple[int, int], object, str, np.ndarray]]:
    """((subgraph, tensor), the tensor, its operator's name, its values) of each kernel."""
    from tensorflow.lite.python import schema_py_generated as schema

    names = {getattr(schema.BuiltinOperator, name): name for name in _KERNEL_AT}
    found = {}
    for at, graph in enumerate(model.subgraphs):
        for operator in graph.operators:
            name = names.get(model.operatorCodes[operator.opcodeIndex].builtinCode)
            if name is None:
                continue
            index = int(operator.inputs[_KERNEL_AT[name]])
            tensor = graph.tensors[index]
            data = model.buffers[tensor.buffer].data
            if tensor.type == schema.TensorType.FLOAT32 and data is not None:
                values = np.frombuffer(np.asarray(data, np.uint8).tobytes(), "<f4")
                found[at, index] = (at, index), tensor, name, values.reshape(tensor.shape)
    return list(found.values())


def _half(schema, values: np.ndarray, operator: str, name: bytes):
    if np.abs(values).max(initial=0.0) > _LARGEST:
        raise ValueError(
            f"{name.decode()} has weights above {_LARGEST:g}, float16's largest: use precision fp32"
        )
    return values.astype("<f2"), None


def _bytes(schema, values: np.ndarray, operator: str, name: bytes):
    axis = values.ndim - 1 if operator in _FILTERS_LAST else 0
    others = tuple(i for i in range(values.ndim) if i != axis)
    scales = np.abs(values).max(axis=others, initial=0.0) / 127
    scales = np.where(scales == 0, 1, scales).astype(np.float32)
    wide = np.expand_dims(scales, others)
    quantization = schema.QuantizationParametersT()
    quantization.scale, quantization.quantizedDimension = scales, axis
    quantization.zeroPoint = np.zeros(len(scales), np.int64)
    return np.clip(np.round(values / wide), -127, 127).astype(np.int8), quantization


class _Builder(flatbuffers.Builder):
    """Puts every buffer at a multiple of 16 bytes, as the schema demands and Python forgets."""

    def StartVector(self, elemSize, numElems, alignment):
        return super().StartVector(elemSize, numElems, 16 if elemSize == 1 else alignment)


def _dequantize(schema, code: int, half: int, full: int):
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, [half], [full]
    return operator


def _indices(inputs):
    return [] if inputs is None else inputs
