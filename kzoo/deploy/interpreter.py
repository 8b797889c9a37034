"""LiteRT opened in one way, without TensorFlow."""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path
from typing import Any

from kzoo.deploy.request import LITERT_MISSING


def open_litert(model: str | Path | bytes, *, threads: int) -> Any:
    """LiteRT's interpreter of a file or of its bytes, whose tensors are not allocated yet.

    Raises ImportError where LiteRT is not installed.
    """
    try:
        from ai_edge_litert.interpreter import Interpreter
    except ImportError:
        raise ImportError(LITERT_MISSING) from None
    if isinstance(model, bytes):
        return Interpreter(model_content=model, num_threads=threads)
    return Interpreter(model_path=os.fspath(model), num_threads=threads)


def loaded(path: str | Path, *, threads: int) -> Any:
    """LiteRT's interpreter of a file, ready to be called.

    XNNPACK packs the weights into memory of its own, after which the mapped file is not read again:
    its pages are given back, 79 MB of 516 of `kzoo separate` with Spleeter.
    """
    interpreter = open_litert(path, threads=threads)
    interpreter.allocate_tensors()
    _give_back_pages(Path(path).resolve())
    return interpreter


def _give_back_pages(path: Path) -> None:
    """Take the pages of a mapped file out of this process's memory, on Linux.

    They come back from the file where they are read after all.
    """
    maps = Path("/proc/self/maps")
    if not (hasattr(mmap, "MADV_DONTNEED") and maps.exists()):
        return
    madvise = ctypes.CDLL(None).madvise
    madvise.argtypes = ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int
    for line in maps.read_text().splitlines():
        place, _, _, _, _, *name = line.split(maxsplit=5)
        if name == [str(path)]:
            start, end = (int(address, 16) for address in place.split("-"))
            madvise(start, end - start, mmap.MADV_DONTNEED)
