"""Arrays from PyTorch's checkpoint files, without PyTorch and without running what they hold.

A .pth, .pt or .th file of PyTorch 1.6 and later is a zip: `<name>/data.pkl`, a pickle in which
each tensor is a persistent id with offset, size and strides, and `<name>/data/<key>`, the numbers.
A pickle is a program; this reader lets it name a handful of functions, all of them defined here.
"""

from __future__ import annotations

import pickle
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import numpy as np

_DTYPES = {
    "DoubleStorage": "f8",
    "FloatStorage": "f4",
    "HalfStorage": "f2",
    "BFloat16Storage": "u2",
    "LongStorage": "i8",
    "IntStorage": "i4",
    "ShortStorage": "i2",
    "CharStorage": "i1",
    "ByteStorage": "u1",
    "BoolStorage": "?",
}
# Named in published checkpoints beside the tensors; what they hold is dropped unread.
_IGNORED = {
    ("argparse", "Namespace"),
    ("pathlib", "PosixPath"),
    ("pathlib", "WindowsPath"),
    ("demucs.model", "Demucs"),
    ("demucs.tasnet", "ConvTasNet"),
}


def read_torch(path: str | Path, key: str | None = None) -> dict[str, np.ndarray]:
    """The tensors of a checkpoint by name; bfloat16 comes as float32.

    key: which nested mapping to read, such as "state_dict"; None for the file's own mapping where
        it holds tensors, else for the only mapping of tensors among its values.
    Raises ValueError for another format, for a file that names any function or class which is not
    known to be harmless (it is not called), and where `key` does not settle what is meant.
    """
    if not zipfile.is_zipfile(path):
        raise ValueError(
            f"{path} is not a zip, so not a checkpoint of PyTorch 1.6 or later; an older one can "
            "be loaded and saved again with a newer PyTorch"
        )
    with zipfile.ZipFile(path) as archive:
        pickles = [name for name in archive.namelist() if name.split("/")[-1] == "data.pkl"]
        if len(pickles) != 1:
            raise ValueError(f"{path} must hold one data.pkl; it holds {len(pickles)}")
        folder = pickles[0].removesuffix("data.pkl")
        try:
            content = _Unpickler(archive.open(pickles[0])).load()
        except (pickle.UnpicklingError, EOFError, TypeError, AttributeError, LookupError) as error:
            raise ValueError(f"{path} holds no checkpoint that can be read: {error}") from error
        found = _selected(content, key, path)
        read: dict[str, np.ndarray] = {}  # storages, which tensors may share
        return {
            str(name): _array(archive, folder, value, read) if _is_tensor(value) else value
            for name, value in found.items()
        }


class _Storage(NamedTuple):
    kind: str
    key: str
    numel: int


class _Tensor(NamedTuple):
    storage: _Storage
    offset: int
    size: tuple[int, ...]
    stride: tuple[int, ...]


class _Mapping(dict):
    """In place of OrderedDict; the versions that PyTorch notes on it are dropped."""

    def __setstate__(self, state):
        pass


class _Ignored:
    """In place of an object that is not looked at."""

    def __init__(self, *arguments, **named):
        pass

    def __setstate__(self, state):
        pass


def _rebuild_tensor(storage, offset, size, stride, *_):
    if not isinstance(storage, _Storage):
        raise ValueError("a tensor of this file has no storage of a known kind")
    return _Tensor(storage, int(offset), tuple(map(int, size)), tuple(map(int, stride)))


def _rebuild_parameter(data, *_):
    return data


_KNOWN = {
    ("collections", "OrderedDict"): _Mapping,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): tuple,
    ("torch.torch_version", "TorchVersion"): str,
    **{("torch", name): name for name in _DTYPES},
    **dict.fromkeys(_IGNORED, _Ignored),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str):
        if (module, name) not in _KNOWN:
            raise ValueError(
                f"this file wants {module}.{name}, which is not known to be harmless: nothing of "
                "it was run; keep nothing but tensors in the file (a state_dict)"
            )
        return _KNOWN[module, name]

    def persistent_load(self, pid):
        kind, storage_type, key, _, numel = pid
        if kind != "storage" or storage_type not in _DTYPES:
            raise ValueError(f"this file refers to {kind!r} data of a kind that is not known")
        return _Storage(storage_type, str(key), int(numel))


def _is_tensor(value) -> bool:
    return isinstance(value, _Tensor)


def _selected(content, key: str | None, path) -> Mapping:
    parts = dict(enumerate(content)) if isinstance(content, (list, tuple)) else content
    if not isinstance(parts, Mapping):
        raise ValueError(f"{path} holds a {type(content).__name__}, not a mapping of tensors")
    if key is not None:
        if not isinstance(parts.get(key), Mapping):
            known = ", ".join(
                str(name) for name, value in parts.items() if isinstance(value, Mapping)
            )
            raise ValueError(f"{path} has no mapping called {key!r}; there are: {known or 'none'}")
        chosen = parts[key]
    elif any(map(_is_tensor, parts.values())):
        chosen = parts
    else:
        nested = {
            name: value
            for name, value in parts.items()
            if isinstance(value, Mapping) and any(map(_is_tensor, value.values()))
        }
        if len(nested) != 1:
            names = ", ".join(map(str, nested)) or "none"
            raise ValueError(
                f"{path} must hold one mapping of tensors, or `key` must name one; found: {names}"
            )
        (chosen,) = nested.values()
    other = [str(name) for name, value in chosen.items() if not _is_tensor(value)]
    if other:
        raise ValueError(f"{path}: these entries are no tensors: {', '.join(other[:6])}")
    return chosen


def _array(archive, folder: str, tensor: _Tensor, read: dict[str, np.ndarray]) -> np.ndarray:
    storage = tensor.storage
    if storage.key not in read:
        read[storage.key] = _storage(archive, folder, storage)
    numbers = read[storage.key]
    size, stride = tensor.size, tensor.stride
    last = tensor.offset + sum((n - 1) * step for n, step in zip(size, stride, strict=True))
    inside = min((tensor.offset, *size, *stride)) >= 0 and last < len(numbers)
    if 0 not in size and not inside:
        raise ValueError(f"a tensor of size {size} and strides {stride} leaves its storage")
    if 0 in size:
        return np.zeros(size, numbers.dtype)
    view = np.lib.stride_tricks.as_strided(
        numbers[tensor.offset :], size, [step * numbers.itemsize for step in stride]
    )
    return np.array(view)


def _storage(archive, folder: str, storage: _Storage) -> np.ndarray:
    names = set(archive.namelist())
    name, order = f"{folder}data/{storage.key}", f"{folder}byteorder"
    if name not in names:
        raise ValueError(f"the file lacks {name}, which holds the numbers of a tensor")
    swapped = order in names and archive.read(order).decode("ascii", "replace") == "big"
    dtype = np.dtype(_DTYPES[storage.kind]).newbyteorder(">" if swapped else "<")
    if archive.getinfo(name).file_size < storage.numel * dtype.itemsize:
        raise ValueError(f"{name} is shorter than the {storage.numel} numbers it should hold")
    numbers = np.frombuffer(archive.read(name), dtype, count=storage.numel)
    if storage.kind == "BFloat16Storage":  # the upper half of a float32
        numbers = (numbers.astype(np.uint32) << 16).view(np.float32)
    native = "<" if sys.byteorder == "little" else ">"
    return numbers.astype(numbers.dtype.newbyteorder(native), copy=False)
