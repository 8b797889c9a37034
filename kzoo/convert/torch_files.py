"""Arrays from files of PyTorch's weights, without PyTorch and without running what they hold.

Three formats, told apart by their content: the zip of PyTorch 1.6 and later (`<name>/data.pkl`, a
pickle that says where each tensor lies, and `<name>/data/<key>`, the numbers), the one before it
(five pickles and then all numbers), and safetensors; each may be packed by gzip.
"""

from __future__ import annotations

import contextlib
import errno
import gzip
import io
import lzma
import math
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from kzoo.convert._torch_pickle import DTYPES, INERT, MOST_BYTES, Name, Storage, Tensor, load, short

_GZIP, _ZIP = b"\x1f\x8b", b"PK\x03\x04"
_LEGACY = bytes.fromhex("80028a0a6cfc9c46f9206aa850192e")  # a pickle of PyTorch's magic number
_LEGACY_VERSION = 1001
_SAFETENSORS = {
    "F64": "DoubleStorage",
    "F32": "FloatStorage",
    "F16": "HalfStorage",
    "BF16": "BFloat16Storage",
    "I64": "LongStorage",
    "I32": "IntStorage",
    "I16": "ShortStorage",
    "I8": "CharStorage",
    "U8": "ByteStorage",
    "BOOL": "BoolStorage",
}
_REPEATED = 2**20  # numbers of a tensor that says some of its storage more than once
_PACKED = 2**26, 50  # bytes of an unpacked file in any case, and times those of the packed one


def read_torch(path: str | Path, key: str | Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint by name; bfloat16 comes as float32.

    key: which nested mapping to read, such as "state_dict", or the first that is there of several;
        None for the file's own mapping where it holds tensors, else for the only mapping of tensors
        among its values. A file of nothing but tensors, as safetensors always is, is read whatever
        `key` is.
    The arrays cannot be written to; tensors that share numbers in the file share them here.
    Raises ValueError, in one line, for another format, for a file that is damaged, for one that
    names any function or class which is not known to be harmless (it is not called), and where
    `key` does not settle what is meant.
    """
    with _opened(path) as (content, array):
        return {str(name): array(tensor) for name, tensor in _selected(content, key).items()}


def read_torch_content(path: str | Path) -> Any:
    """All that a file holds: dicts, lists, tuples, texts, numbers and arrays.

    Where something stands that `read_torch` does not look at, such as a class, there is None.
    Raises ValueError as `read_torch` does, and for dicts and lists inside each other 50 times.
    """
    with _opened(path) as (content, array):
        return _filled(content, array, {}, 50)


Array = Callable[[Tensor], np.ndarray]
Numbers = Callable[[Storage], np.ndarray]


@contextlib.contextmanager
def _opened(path: str | Path) -> Iterator[tuple[Any, Array]]:
    """What a file holds, and what makes an array of a tensor in it; errors name the file."""
    with open(path, "rb") as file:
        try:
            with _unpacked(file) as plain:
                yield _read(plain)
        except _DAMAGE as error:
            raise ValueError(f"{path} is damaged: {short(error)}") from error
        except OSError as error:
            if error.errno != errno.EINVAL:  # a place before the beginning
                raise
            raise ValueError(f"{path} is damaged: it refers to places outside it") from error
        except ValueError as error:
            raise ValueError(f"{path}: {error}") from error


_DAMAGE = (
    zipfile.BadZipFile, zlib.error, lzma.LZMAError, gzip.BadGzipFile, EOFError, struct.error,
    NotImplementedError, RuntimeError, UnicodeError, OverflowError, MemoryError,
)  # fmt: skip


@contextlib.contextmanager
def _unpacked(file: BinaryIO) -> Iterator[BinaryIO]:
    """The file, or a temporary one of what gzip has packed in it."""
    packed = file.read(2) == _GZIP
    file.seek(0)
    if not packed:
        yield file
        return
    floor, times = _PACKED
    left = floor + times * _length(file)
    with gzip.open(file) as content, tempfile.TemporaryFile() as plain:
        while piece := content.read(2**20):
            left -= len(piece)
            if left < 0:
                raise ValueError(f"unpacked it is more than {times} times as long")
            plain.write(piece)
        plain.seek(0)
        yield plain


def _length(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size


def _read(file: BinaryIO) -> tuple[Any, Array]:
    start = file.read(len(_LEGACY))
    file.seek(0)
    if start.startswith(_ZIP):
        return _tensors(*_zip(zipfile.ZipFile(file), _length(file)))
    if start == _LEGACY:
        return _tensors(*_legacy(file))
    if start[8:9] == b"{":
        return _safetensors(file)
    raise ValueError(
        "it is no file of PyTorch's weights: neither a zip of PyTorch 1.6 or later, nor of the "
        "format before it, nor safetensors"
    )


def _tensors(content: Any, numbers: Numbers) -> tuple[Any, Array]:
    read: dict[str, np.ndarray] = {}  # storages, which tensors may share

    def array(tensor: Tensor) -> np.ndarray:
        storage = tensor.storage
        if storage.key not in read:
            read[storage.key] = _native(numbers(storage), storage.kind)
        return _view(read[storage.key], tensor)

    return content, array


def _filled(value: Any, array: Array, made: dict[int, Any], deep: int) -> Any:
    """`value` with arrays in place of tensors; `made` is what became of the containers so far."""
    if isinstance(value, Tensor):
        return array(value)
    if value is INERT or isinstance(value, Name | Storage):
        return None
    if not isinstance(value, dict | list | tuple):
        return value
    if not deep:
        raise ValueError("its dicts and lists are inside each other too often")
    if id(value) not in made:
        parts = value.values() if isinstance(value, dict) else value
        parts = [_filled(part, array, made, deep - 1) for part in parts]
        kind = type(value)
        made[id(value)] = dict(zip(value, parts, strict=True)) if kind is dict else kind(parts)
    return made[id(value)]


def _selected(content: Any, key: str | Sequence[str] | None) -> Mapping[Any, Tensor]:
    """The mapping of tensors that is meant."""
    parts = dict(enumerate(content)) if isinstance(content, list | tuple) else content
    if not isinstance(parts, dict):
        raise ValueError(f"it holds a {type(content).__name__}, not a mapping of tensors")
    nested = {name: value for name, value in parts.items() if isinstance(value, dict)}
    if parts and all(isinstance(value, Tensor) for value in parts.values()):
        chosen = parts
    elif key is not None:
        keys = [key] if isinstance(key, str) else key
        chosen = next((nested[name] for name in keys if name in nested), None)
        if chosen is None:
            wanted = " or ".join(map(repr, keys))
            known = ", ".join(map(short, list(nested)[:6])) or "none"
            raise ValueError(f"it has no mapping called {wanted}; there are: {known}")
    elif any(isinstance(value, Tensor) for value in parts.values()):
        chosen = parts
    else:
        holding = [
            name
            for name, value in nested.items()
            if any(isinstance(one, Tensor) for one in value.values())
        ]
        if len(holding) != 1:
            names = ", ".join(map(short, holding[:6])) or "none"
            raise ValueError(
                f"it must hold one mapping of tensors, or `key` must name one; found: {names}"
            )
        chosen = nested[holding[0]]
    other = [name for name, value in chosen.items() if not isinstance(value, Tensor)]
    if other:
        raise ValueError(f"these entries are no tensors: {', '.join(map(short, other[:6]))}")
    return chosen


def _view(numbers: np.ndarray, tensor: Tensor) -> np.ndarray:
    size, stride = tensor.size, tensor.stride
    if 0 in size:
        return np.zeros(size, numbers.dtype)
    offset = tensor.storage.start + tensor.offset
    last = offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    if last >= len(numbers):
        raise ValueError(f"a tensor of size {size} and strides {stride} leaves its storage")
    if math.prod(size) > max(len(numbers), _REPEATED):
        raise ValueError(f"a tensor of size {size} is made of {len(numbers)} numbers")
    strides = [step * numbers.itemsize for step in stride]
    return np.lib.stride_tricks.as_strided(numbers[offset:], size, strides, writeable=False)


def _native(numbers: np.ndarray, kind: str) -> np.ndarray:
    """As this machine has numbers of `kind`; bfloat16, the upper half of float32, as that."""
    numbers = numbers.astype(numbers.dtype.newbyteorder("="), copy=False)
    if kind == "BFloat16Storage":
        numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
    return numbers


def _dtype(kind: str, *, little: bool) -> np.dtype:
    return np.dtype(DTYPES[kind]).newbyteorder("<" if little else ">")


def _zip(archive: zipfile.ZipFile, most: int) -> tuple[Any, Numbers]:
    """What data.pkl holds, and the numbers of a storage; `most` bytes of all together."""
    names = set(archive.namelist())
    pickles = [name for name in names if name.split("/")[-1] == "data.pkl"]
    if len(pickles) != 1:
        raise ValueError(f"it must hold one data.pkl; it holds {len(pickles)}")
    folder = pickles[0].removesuffix("data.pkl")
    order = f"{folder}byteorder"
    little = order not in names or _entry(archive, order, 6)[:3] != b"big"
    left = most

    def numbers(storage: Storage) -> np.ndarray:
        nonlocal left
        name, dtype = f"{folder}data/{storage.key}", _dtype(storage.kind, little=little)
        if name not in names:
            raise ValueError(f"it lacks {short(name)}, which holds the numbers of a tensor")
        length = storage.numel * dtype.itemsize
        if archive.getinfo(name).file_size < length:
            raise ValueError(
                f"{short(name)} is shorter than the {storage.numel} numbers it should hold"
            )
        left -= length
        if left < 0:
            raise ValueError("its tensors are more than the file can hold")
        return np.frombuffer(_entry(archive, name, length), dtype, count=storage.numel)

    stream = io.BytesIO(_entry(archive, pickles[0], MOST_BYTES + 1))
    if len(stream.getvalue()) > MOST_BYTES:
        raise ValueError(f"its pickle is longer than {MOST_BYTES} bytes")
    return load(stream)[0], numbers


def _entry(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """At most so many bytes of a file in the archive, and of all of it the checksum is compared."""
    if archive.getinfo(name).compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"{short(name)} is compressed, which PyTorch does not do")
    with archive.open(name) as file:
        return file.read(most)


def _legacy(file: BinaryIO) -> tuple[Any, Numbers]:
    """The same of a file of PyTorch before 1.6; all but the storages must fit into `MOST_BYTES`."""
    stream = io.BytesIO(file.read(MOST_BYTES))
    pickles = [load(stream) for _ in range(5)]
    (_, version, system, content, keys), storages = zip(*pickles, strict=True)
    known = version == _LEGACY_VERSION and isinstance(system, dict) and isinstance(keys, list)
    if not known:
        raise ValueError("it is of no known version of PyTorch's format before 1.6")
    little = system.get("little_endian") is not False
    places = _places(file, stream.tell(), keys, storages[3])

    def numbers(storage: Storage) -> np.ndarray:
        if storage.key not in places:
            raise ValueError(f"it lacks the storage {short(storage.key)} of a tensor")
        file.seek(places[storage.key])
        dtype = _dtype(storage.kind, little=little)
        return np.frombuffer(file.read(storage.numel * dtype.itemsize), dtype)

    return content, numbers


def _places(file: BinaryIO, at: int, keys: list, storages: Mapping[str, Storage]) -> dict[str, int]:
    """Where the numbers of each storage begin; their lengths stand before them."""
    length, places = _length(file), {}
    for key in keys:
        if not isinstance(key, str) or key in places or key not in storages:
            raise ValueError("its list of storages has one that is no tensor's, or one twice")
        file.seek(at)
        numel = int.from_bytes(file.read(8), "little", signed=True)
        expected = storages[key]
        places[key] = at + 8
        at += 8 + expected.numel * np.dtype(DTYPES[expected.kind]).itemsize
        if numel != expected.numel or at > length:
            raise ValueError(f"its storage {short(key)} lacks some of {expected.numel} numbers")
    return places


def _safetensors(file: BinaryIO) -> tuple[Any, Array]:
    from safetensors import SafetensorError, deserialize

    try:
        entries = deserialize(file.read())
    except SafetensorError as error:
        raise ValueError(f"it is no safetensors file that can be read: {short(error)}") from error
    content, contents = {}, {}
    for name, entry in entries:
        if entry["dtype"] not in _SAFETENSORS:
            kind = short(entry["dtype"])
            raise ValueError(f"{short(name)} has numbers of a kind that is not known: {kind}")
        size = tuple(entry["shape"])
        storage = Storage(_SAFETENSORS[entry["dtype"]], name, math.prod(size))
        stride = [math.prod(size[axis + 1 :]) for axis in range(len(size))]
        content[name], contents[name] = Tensor(storage, 0, size, tuple(stride)), entry["data"]

    def numbers(storage: Storage) -> np.ndarray:
        return np.frombuffer(contents[storage.key], _dtype(storage.kind, little=True))

    return _tensors(content, numbers)
