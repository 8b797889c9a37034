"""Arrays from ONNX files, without the onnx package and without running what they describe.

A file is one message of Protocol Buffers (https://protobuf.dev/programming-guides/encoding/): a
sequence of fields, each a number and a value of one of four kinds. This reader knows the fields
that lead to the numbers, ModelProto > GraphProto > TensorProto and NodeProto, as
https://github.com/onnx/onnx/blob/main/onnx/onnx.proto numbers them, and steps over all others.
"""

from __future__ import annotations

import math
import struct
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import numpy as np

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # kinds of values on the wire
_DTYPES = {
    1: "<f4", 2: "u1", 3: "i1", 4: "<u2", 5: "<i2", 6: "<i4", 7: "<i8", 9: "?", 10: "<f2",
    11: "<f8", 12: "<u4", 13: "<u8",
}  # fmt: skip
# TensorProto's fields of numbers, for files that do not hold them raw: what they store, as what.
_TYPED = {4: ("f4", _FIXED32), 10: ("f8", _FIXED64)}
_INTEGERS = {5: (2, 3, 4, 5, 6, 9, 10), 7: (7,), 11: (12, 13)}  # field: the data types in it


def read_onnx(content: bytes | str | Path) -> dict[str, np.ndarray]:
    """The initialisers of a model's graph by their names, and its constants by their outputs'.

    content: the file's bytes, or its path. Raises ValueError for what is no model of ONNX or is
    damaged, for a tensor of a kind that is not numbers, for one whose numbers lie in another file,
    and for two tensors of one name.
    """
    if not isinstance(content, bytes):
        content = Path(content).read_bytes()
    (graph,) = _only(_fields(content, "the file"), 7, "the file", "graph")
    arrays: dict[str, np.ndarray] = {}
    fields = _fields(_message(graph, "the graph"), "the graph")
    found = [("", tensor) for tensor in fields[5]]
    found += [constant for node in fields[1] for constant in _constants(node)]
    for name, tensor in found:
        name, array = _tensor(_message(tensor, "a tensor"), name)
        if name in arrays:
            raise ValueError(f"this ONNX file has two tensors called {name!r}")
        arrays[name] = array
    return arrays


def _constants(node) -> Iterator[tuple[str, bytes]]:
    """(name of its output, tensor) of a node that is a constant and has one."""
    fields = _fields(_message(node, "a node"), "a node")
    if [_text(kind) for kind in fields[4]] != ["Constant"]:
        return
    (output,) = _only(fields, 2, "a constant", "output")
    for attribute in fields[5]:
        attribute = _fields(_message(attribute, "an attribute"), "an attribute")
        if [_text(name) for name in attribute[1]] == ["value"]:
            (tensor,) = _only(attribute, 5, "a constant", "tensor")
            yield _text(output), tensor


def _tensor(content: bytes, name: str) -> tuple[str, np.ndarray]:
    fields = _fields(content, f"tensor {name!r}")
    name = name or "".join(_text(part) for part in fields[8][-1:])
    what = f"tensor {name!r}"
    (kind,) = _only(fields, 2, what, "data type")
    if kind not in _DTYPES:
        raise ValueError(f"{what} of this ONNX file is of data type {kind}, which is no number")
    if fields[13] or any(fields[14]):
        raise ValueError(f"{what} of this ONNX file has its numbers in another file")
    shape = _integers(fields[1], what)
    count = math.prod(shape)
    if min(shape, default=0) < 0 or max(shape, default=0) >= 1 << 31:
        raise ValueError(f"{what} of this ONNX file has the shape {tuple(shape)}")
    numbers = _numbers(fields, kind, what)
    if len(numbers) != count:
        raise ValueError(
            f"{what} of this ONNX file should hold {count} numbers, {tuple(shape)}; it holds "
            f"{len(numbers)}"
        )
    return name, numbers.astype(numbers.dtype.newbyteorder("=")).reshape(shape)


def _numbers(fields: dict, kind: int, what: str) -> np.ndarray:
    dtype = np.dtype(_DTYPES[kind])
    if fields[9]:
        (raw,) = _only(fields, 9, what, "block of numbers")
        raw = _message(raw, what)
        if len(raw) % dtype.itemsize:
            raise ValueError(f"{what} of this ONNX file ends within a number")
        return np.frombuffer(raw, dtype)
    for field, kinds in _INTEGERS.items():
        if kind in kinds:
            integers = _integers(fields[field], what)
            if kind == 10:  # the bits of a half, as an integer
                return np.array([n & 0xFFFF for n in integers], "<u2").view("<f2")
            try:
                return np.array(integers, dtype)
            except OverflowError:
                raise ValueError(f"{what} of this ONNX file has integers too large") from None
    field = 4 if kind == 1 else 10
    return np.frombuffer(b"".join(_message(value, what) for value in fields[field]), dtype)


def _fields(content: bytes, what: str) -> dict[int, list]:
    """{number: values in their order}: integers, or bytes; ValueError where they do not end."""
    found, at = defaultdict(list), 0
    while at < len(content):
        key, at = _varint(content, at, what)
        number, kind = key >> 3, key & 7
        if kind == _VARINT:
            value, at = _varint(content, at, what)
        elif kind in (_BYTES, _FIXED32, _FIXED64):
            length = {_FIXED32: 4, _FIXED64: 8}.get(kind)
            if length is None:
                length, at = _varint(content, at, what)
            value, at = content[at : at + length], at + length
            if at > len(content):
                raise _damaged(what, "it ends within a field")
        else:
            raise _damaged(what, f"it has a field of kind {kind}")
        if number == 0:
            raise _damaged(what, "it has a field without a number")
        found[number].append(value)
    return found


def _varint(content: bytes, at: int, what: str) -> tuple[int, int]:
    """(integer of 64 bits without sign, where it ends)."""
    value = 0
    for shift in range(0, 70, 7):
        if at >= len(content):
            raise _damaged(what, "it ends within a number")
        byte = content[at]
        value, at = value | (byte & 0x7F) << shift, at + 1
        if byte < 0x80:
            return value & 0xFFFFFFFFFFFFFFFF, at
    raise _damaged(what, "it has a number of more than 64 bits")


def _integers(values: list, what: str) -> list[int]:
    """Integers with sign, each a field of its own or packed into one."""
    found = []
    for value in values:
        if isinstance(value, bytes):
            at = 0
            while at < len(value):
                integer, at = _varint(value, at, what)
                found.append(integer)
        else:
            found.append(value)
    return [struct.unpack("<q", struct.pack("<Q", value))[0] for value in found]


def _only(fields: dict[int, list], number: int, what: str, part: str) -> list:
    if len(fields[number]) != 1:
        raise _damaged(what, f"it should have one {part} and has {len(fields[number])}")
    return fields[number]


def _message(value, what: str) -> bytes:
    if not isinstance(value, bytes):
        raise _damaged(what, "it is an integer")
    return value


def _text(value) -> str:
    return _message(value, "a name").decode("utf-8", "replace")


def _damaged(what: str, why: str) -> ValueError:
    return ValueError(f"this is no model of ONNX, or damaged: of {what}, {why}")
