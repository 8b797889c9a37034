"""Checkpoints of PyTorch written byte by byte, without PyTorch."""

import pickle
import struct
import zipfile

import numpy as np

# Pickle opcodes: protocol 2, mark, tuple, reduce, persistent id, dict, items, stop ...
PROTO, STOP = b"\x80\x02", b"."


def name(module, attribute):
    return b"c" + f"{module}\n{attribute}\n".encode()


def text(value):
    return b"X" + struct.pack("<i", len(value)) + value.encode()


def integer(value):
    return b"J" + struct.pack("<i", value)


def integers(values):
    return b"(" + b"".join(map(integer, values)) + b"t"


def mapping(entries, make=b"}"):
    return make + b"(" + b"".join(text(key) + value for key, value in entries.items()) + b"u"


def tensor(key, kind, numel, size, stride, offset=0):
    storage = b"(" + text("storage") + name("torch", kind) + text(key) + text("cpu")
    storage += integer(numel) + b"tQ"
    hooks = name("collections", "OrderedDict") + b")R"
    arguments = b"(" + storage + integer(offset) + integers(size) + integers(stride)
    return name("torch._utils", "_rebuild_tensor_v2") + arguments + b"\x89" + hooks + b"tR"


def checkpoint(path, program, data=(), byteorder="little"):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", PROTO + program + STOP)
        archive.writestr("weights/byteorder", byteorder)
        for key, numbers in dict(data).items():
            archive.writestr(f"weights/data/{key}", np.asarray(numbers).tobytes())
    return path


def legacy(path, program, data=(), keys=None):
    """As PyTorch before 1.6 wrote it; `data` are the storages, `keys` their list in the file."""
    data = {key: np.asarray(numbers) for key, numbers in dict(data).items()}
    system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {}}
    parts = [pickle.dumps(part, 2) for part in (0x1950A86A20F9469CFC6C, 1001, system)]
    parts += [PROTO + program + STOP, pickle.dumps(list(data) if keys is None else keys, 2)]
    parts += [struct.pack("<q", numbers.size) + numbers.tobytes() for numbers in data.values()]
    path.write_bytes(b"".join(parts))
    return path
