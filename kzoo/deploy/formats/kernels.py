"""Smaller files: the kernels of a TFLite model in 16, 8 or 4 bits, everything computed as ever.

The converter's own float16 mode rounds every constant. Windows then cost 20 dB, and what keeps a
silent bin from 0 / 0 becomes 0, so that real music came out as NaN. Here only kernels are rounded,
and a DEQUANTIZE in front of each, which runtimes resolve once when they load, gives float32 back.
In 8 and 4 bits each filter of a kernel has a scale of its own. Without that DEQUANTIZE ("dynamic")
the operator takes the 8 bits as they are, rounds what it hears to 8 bits in each call too, and is
faster for it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

import flatbuffers
import numpy as np

# The operand of each operator that is a kernel.
_KERNEL_AT = {
    "CONV_2D": 1, "DEPTHWISE_CONV_2D": 1, "TRANSPOSE_CONV": 1, "CONV_3D": 1,
    "CONV_3D_TRANSPOSE": 1, "FULLY_CONNECTED": 1, "BATCH_MATMUL": 1,
}  # fmt: skip
_FILTERS_LAST = ("DEPTHWISE_CONV_2D", "CONV_3D", "CONV_3D_TRANSPOSE", "BATCH_MATMUL")
# XNNPACK computes these in 8 bits; a depthwise convolution would leave it, and be slower.
_DYNAMIC = ("CONV_2D", "FULLY_CONNECTED")
_LARGEST = float(np.finfo(np.float16).max)
HALF, BYTE, NIBBLE, DYNAMIC = "float16", "int8", "int4", "dynamic"
_VERSIONS = {HALF: 3, BYTE: 5, NIBBLE: 6}  # of DEQUANTIZE, the first that take them
_STEPS = {BYTE: 127, DYNAMIC: 127, NIBBLE: 7}  # on each side of zero
_ALIGNED = 16  # bytes, as the schema demands of every buffer


@dataclass(frozen=True)
class Kernel:
    """A constant float32 kernel: its tensor's name, its operator, and its weights.

    output: the name of what its operator gives. multiplications: of its operator in a call.
    """

    name: str
    operator: str
    output: str
    values: np.ndarray
    multiplications: int

    @property
    def dynamic(self) -> bool:
        """Whether its operator may compute in 8 bits, and is faster for it."""
        return self.operator in _DYNAMIC

    def bytes(self, kind: str | None) -> int:
        """What its weights take, as float32 where `kind` is None."""
        bits = {None: 32, HALF: 16, NIBBLE: 4}.get(kind, 8)
        return -(-self.values.size * bits // 8)

    def rounded(self, kind: str) -> np.ndarray:
        """Its weights as float32 after they were stored as `kind`."""
        if kind == HALF:
            return self.values.astype("<f2").astype("<f4")
        whole, scales = _whole(self, kind)
        return whole * scales


def kernels(content: bytes) -> dict[int, Kernel]:
    """{number of its buffer: the kernel} of every constant float32 kernel."""
    return {tensor.buffer: kernel for _, tensor, kernel in _found(unpacked(content))}


def halve(content: bytes) -> bytes:
    """The TFLite model `content` with its constant float32 kernels as float16.

    Raises ValueError for a kernel with weights above float16's 65504.
    """
    return stored(content, dict.fromkeys(kernels(content), HALF))


def stored(content: bytes, kinds: Mapping[int, str]) -> bytes:
    """The TFLite model `content` with some of its `kernels` in fewer bits.

    kinds: {number of its buffer: "float16", "int8", "int4" or "dynamic"}. Raises ValueError as
    `halve` does.
    """
    from tensorflow.lite.python import schema_py_generated as schema

    model = unpacked(content)
    codes = {}
    for kind in sorted(set(kinds.values()) - {DYNAMIC}):
        codes[kind], code = len(model.operatorCodes), schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.DEQUANTIZE
        code.version = _VERSIONS[kind]
        model.operatorCodes.append(code)
    packed: dict[int, tuple[int, object]] = {}  # buffer to (buffer, its quantisation)
    restored: dict[tuple[int, int], tuple[int, int]] = {}  # tensor to (float32 tensor, code)
    for (at, index), tensor, kernel in _found(model):
        kind = kinds.get(tensor.buffer)
        if kind is None:
            continue
        if tensor.buffer not in packed:
            data, quantization = _packed(schema, kernel, kind)
            buffer = schema.BufferT()
            buffer.data = data
            packed[tensor.buffer] = len(model.buffers), quantization
            model.buffers.append(buffer)
        if kind != DYNAMIC:
            graph, full = model.subgraphs[at], schema.TensorT()
            full.shape, full.type, full.buffer = tensor.shape, tensor.type, 0
            full.name = tensor.name and tensor.name + b"/float32"
            restored[at, index] = len(graph.tensors), codes[kind]
            graph.tensors.append(full)
        tensor.type = getattr(schema.TensorType, (BYTE if kind == DYNAMIC else kind).upper())
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


def rounded(content: bytes, known: Mapping[int, Kernel], kinds: Mapping[int, str]) -> bytes:
    """The TFLite model `content` as float32 all through, with the weights that `stored` leaves.

    It says what that file says, and is made in a fraction of the time. known: its `kernels`.
    kinds: as in `stored`, without "dynamic".
    """
    from tensorflow.lite.python import schema_py_generated as schema

    patched = bytearray(content)
    model = schema.Model.GetRootAsModel(patched, 0)
    for buffer, kind in kinds.items():
        weights = known[buffer].rounded(kind).reshape(-1)
        model.Buffers(buffer).DataAsNumpy()[:] = weights.astype("<f4").view(np.uint8)
    return bytes(patched)


def without_names(content: bytes) -> bytes:
    """The TFLite model `content` without the names of tensors that only its own operators read.

    What goes in and comes out keeps its name. Quantisers know tensors by their names, so this is
    the last thing that is done to a file.
    """
    model = unpacked(content)
    drop_names(model)
    return repacked(model)


def drop_names(model) -> None:
    """The same of what `unpacked` gave, in place."""
    for graph in model.subgraphs:
        kept = {*map(int, graph.inputs), *map(int, graph.outputs)}
        for index, tensor in enumerate(graph.tensors):
            if index not in kept:
                tensor.name = None


def kinds_stored(content: bytes) -> dict[str, int]:
    """How many kernels of the TFLite model `content` are stored in fewer bits: {kind: number}."""
    from tensorflow.lite.python import schema_py_generated as schema

    model = schema.Model.GetRootAsModel(content, 0)  # to unpack it takes a hundred times as long
    types = {number: name.lower() for name, number in vars(schema.TensorType).items()}
    operators, count = operator_names(model), Counter()
    for graph in (model.Subgraphs(i) for i in range(model.SubgraphsLength())):
        restored, held = {}, {}
        for operator in (graph.Operators(i) for i in range(graph.OperatorsLength())):
            name = operators[operator.OpcodeIndex()]
            if name == "DEQUANTIZE":
                restored[operator.Outputs(0)] = operator.Inputs(0)
            elif name in _KERNEL_AT:
                index = operator.Inputs(_KERNEL_AT[name])
                tensor = graph.Tensors(restored.get(index, index))
                buffer = model.Buffers(tensor.Buffer())
                if not buffer.DataIsNone() or buffer.Offset() > 1:  # see `unpacked`
                    held[restored.get(index, index)] = types[tensor.Type()]
        count.update(kind for kind in held.values() if kind != "float32")
    return dict(sorted(count.items()))


def operator_names(model) -> list[str]:
    """The name of each of a `schema.Model`'s operator codes: TFLite's own, or the custom one."""
    from tensorflow.lite.python import schema_py_generated as schema

    names = {code: name for name, code in vars(schema.BuiltinOperator).items() if name[0] != "_"}

    def name(code) -> str:
        # Old files keep the code in the field that is now deprecated, which holds 127 at most.
        number = max(code.BuiltinCode(), code.DeprecatedBuiltinCode())
        custom = number == schema.BuiltinOperator.CUSTOM
        return code.CustomCode().decode() if custom else names[number]

    return [name(model.OperatorCodes(i)) for i in range(model.OperatorCodesLength())]


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


def _found(model) -> list[tuple[tuple[int, int], object, Kernel]]:
    """((subgraph, tensor), the tensor, the kernel that it is) of each kernel."""
    from tensorflow.lite.python import schema_py_generated as schema

    names = _names(schema)
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
                output = graph.tensors[operator.outputs[0]]
                positions = int(np.prod(np.abs(output.shape[:-1]), dtype=np.int64))
                kernel = Kernel(
                    _name(tensor), name, _name(output),
                    values.reshape(tensor.shape), values.size * positions,
                )  # fmt: skip
                found[at, index] = (at, index), tensor, kernel
    return list(found.values())


def _names(schema) -> dict[int, str]:
    """{code: name} of the operators that have a kernel."""
    return {getattr(schema.BuiltinOperator, name): name for name in _KERNEL_AT}


def _name(tensor) -> str:
    return "" if tensor.name is None else tensor.name.decode()


def _packed(schema, kernel: Kernel, kind: str):
    """(the bytes, the quantisation) of a kernel."""
    if kind == HALF:
        if np.abs(kernel.values).max(initial=0.0) > _LARGEST:
            raise ValueError(
                f"{kernel.name} has weights above {_LARGEST:g}, float16's largest: "
                "use precision fp32"
            )
        return kernel.values.astype("<f2").reshape(-1).view(np.uint8), None
    whole, scales = _whole(kernel, kind)
    quantization = schema.QuantizationParametersT()
    quantization.scale = scales.reshape(-1)
    quantization.quantizedDimension = int(np.argmax(scales.shape)) if scales.size > 1 else 0
    quantization.zeroPoint = np.zeros(scales.size, np.int64)
    data = whole.astype(np.int8).reshape(-1)
    if kind == NIBBLE:
        pairs = np.append(data, np.zeros(data.size % 2, np.int8)).reshape(-1, 2)
        data = (pairs[:, 0] & 15) | (pairs[:, 1] << 4)
    return data.view(np.uint8), quantization


def _whole(kernel: Kernel, kind: str) -> tuple[np.ndarray, np.ndarray]:
    """(whole numbers, the scale of each filter, which broadcasts) of a kernel."""
    steps, values = _STEPS[kind], kernel.values
    axis = values.ndim - 1 if kernel.operator in _FILTERS_LAST else 0
    others = tuple(i for i in range(values.ndim) if i != axis)
    scales = np.abs(values).max(axis=others, initial=0.0, keepdims=True) / steps
    scales = np.where(scales == 0, 1, scales).astype(np.float32)
    return np.clip(np.round(values / scales), -steps, steps), scales


class _Builder(flatbuffers.Builder):
    """Puts every buffer where the schema demands it, which Python's own forgets."""

    def StartVector(self, elemSize, numElems, alignment):
        return super().StartVector(elemSize, numElems, _ALIGNED if elemSize == 1 else alignment)


def _dequantize(schema, code: int, small: int, full: int):
    operator = schema.OperatorT()
    operator.opcodeIndex, operator.inputs, operator.outputs = code, [small], [full]
    return operator


def _indices(inputs):
    return [] if inputs is None else inputs
