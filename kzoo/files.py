"""Files that are written whole or not at all, and what identifies their content."""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """A hidden place beside `path`, for a file or a folder, that becomes `path` at the end.

    It has the suffix of `path`, and is different each time; on any exception it is removed, and
    what was at `path` stays. The folder around it is made.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem[:48]}.{os.urandom(4).hex()}{path.suffix}")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        else:
            temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing_all(paths: Mapping[str, Path]) -> Iterator[dict[str, Path]]:
    """`replacing` of several files by their keys: none of them moves before all are written."""
    with contextlib.ExitStack() as stack:
        yield {key: stack.enter_context(replacing(path)) for key, path in paths.items()}


def file_sha256(path: str | Path) -> str:
    """The SHA-256 of a file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
