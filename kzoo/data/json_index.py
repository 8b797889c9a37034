"""The index of a folder of prepared sound: a JSON file that is written whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from kzoo.files import file_sha256, replacing


def read(path: Path, format: int, what: str) -> dict[str, Any] | None:
    """What `write` wrote; None where there is no such file.

    Raises ValueError, naming `what` it is an index of, where it is damaged or of another format.
    """
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    except (UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError(f"{path}: is damaged; delete the folder and prepare it again") from None
    if index.get("format") != format:
        raise ValueError(f"{path}: is no index of {what} of format {format}")
    return index


def write(path: Path, index: dict[str, Any]) -> None:
    """Write beside `path` and move into place."""
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(index, indent=1, ensure_ascii=False), encoding="utf-8")


def verify(folder: str | Path, sha256_of: Mapping[str, str]) -> list[str]:
    """Lines about files, by name, that are missing or whose sha256 is another one."""
    problems = []
    for name, expected in sha256_of.items():
        path = Path(folder) / name
        if not path.is_file():
            problems.append(f"{path}: is missing")
        elif file_sha256(path) != expected:
            problems.append(f"{path}: is damaged: its sha256 is not the index's")
    return problems
