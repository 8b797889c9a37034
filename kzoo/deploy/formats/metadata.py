"""What a TFLite file tells of itself: JSON in the file's own metadata, under the name "kzoo".

LiteRT's C library gives it by `LiteRtGetModelMetadata`, TensorFlow Lite's C++ by
`FlatBufferModel::ReadAllMetadata`; any reader of flatbuffers finds it in `Model.metadata`.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.deploy.formats.kernels import drop_names, repacked, unpacked

NAME = "kzoo"


def finished(content: bytes, told: Mapping[str, Any] | None) -> bytes:
    """The TFLite model `content` `kernels.without_names`, with `told` in its metadata if not None.

    It is in place of what was told before. The file's own signatures, {name: {"inputs", "outputs"}}
    as {name: shape}, are added to it.
    """
    model = unpacked(content)
    drop_names(model)
    if told is not None:
        _tell(model, told)
    return repacked(model)


def _tell(model: Any, told: Mapping[str, Any]) -> None:
    from tensorflow.lite.python import schema_py_generated as schema

    entry, buffer = schema.MetadataT(), schema.BufferT()
    entry.name, entry.buffer = NAME.encode(), len(model.buffers)
    told = {**told, "signatures": _signatures(model)}
    text = json.dumps(told, ensure_ascii=False, allow_nan=False)
    buffer.data = np.frombuffer(text.encode(), np.uint8)
    others = [one for one in model.metadata or [] if one.name != entry.name]
    model.metadata = [*others, entry]
    model.buffers.append(buffer)


def _signatures(model: Any) -> dict[str, dict[str, dict[str, list[int]]]]:
    def shapes(signature, tensors) -> dict[str, list[int]]:
        held = model.subgraphs[signature.subgraphIndex].tensors
        named = {one.name.decode(): held[one.tensorIndex].shape for one in tensors or []}
        return {
            name: [] if shape is None else list(map(int, shape)) for name, shape in named.items()
        }

    return {
        one.signatureKey.decode(): {
            "inputs": shapes(one, one.inputs), "outputs": shapes(one, one.outputs)
        }
        for one in model.signatureDefs
    }  # fmt: skip


def read_metadata(path: str | Path) -> dict[str, Any] | None:
    """What the TFLite file `path` tells of itself; None where nothing of kzoo's is in it.

    Needs no TensorFlow. Raises ValueError for a file that is no TFLite model, or is cut short.
    """
    content = Path(path).read_bytes()
    if content[4:8] != b"TFL3":
        raise ValueError(f"{path}: is not a TFLite file")
    try:
        text = _find(content)
        return None if text is None else json.loads(text)
    except (IndexError, ValueError):
        raise ValueError(f"{path}: is cut short or damaged") from None


def _find(content: bytes) -> bytes | None:
    """The bytes of the buffer that `Model.metadata` has under our name.

    A table begins with the distance back to its list of fields, which has the place of each, 0 for
    none; everything else is reached by distances forward.
    """

    def number(at: int, size: int = 4) -> int:
        if not 0 <= at <= len(content) - size:
            raise IndexError(at)
        return int.from_bytes(content[at : at + size], "little", signed=size == 4)

    def field(table: int, index: int) -> int | None:
        fields = table - number(table)
        there = 4 + 2 * index < number(fields, 2)
        place = number(fields + 4 + 2 * index, 2) if there else 0
        return table + place if place else None

    def followed(at: int) -> int:
        return at + number(at)

    def items(table: int, index: int) -> list[int]:
        at = field(table, index)
        if at is None:
            return []
        vector = followed(at)
        return [vector + 4 + 4 * i for i in range(number(vector))]

    def data(at: int) -> bytes:
        begin, size = followed(at) + 4, number(followed(at))
        if begin + size > len(content):
            raise IndexError(begin + size)
        return content[begin : begin + size]

    model = followed(0)
    for item in items(model, _METADATA):
        entry = followed(item)
        name, buffer = field(entry, 0), field(entry, 1)
        if name is not None and data(name) == NAME.encode():
            table = followed(items(model, _BUFFERS)[0 if buffer is None else number(buffer)])
            held = field(table, 0)
            return b"" if held is None else data(held)
    return None


_BUFFERS, _METADATA = 4, 6  # fields of the schema's table Model
