"""A manifest: a CSV or JSONL file of recordings, read row by row.

    path,id,start,duration          {"path": "a.wav", "id": "a", "start": 10, "duration": 30}
    a.wav,a,10,30                   {"path": "b.flac"}
    b.flac,,,

path: of the recording, from the manifest's folder where it is not absolute. id: the name of its
results, by default that of its file. start, duration: in seconds.
"""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kzoo.audio import safe_track_name
from kzoo.files import file_sha256

KEYS = ("path", "id", "start", "duration")


@dataclass(frozen=True)
class Row:
    """A recording, the name of its results, and its own `start` and `duration` in seconds."""

    path: str
    id: str
    options: Mapping[str, float] = field(default_factory=dict)

    def sha256(self) -> str:
        """Of the bytes that its results are made of."""
        return file_sha256(self.path)


@dataclass(frozen=True)
class Manifest:
    """A file of rows; columns: those of a CSV, whose first line is not a row, None for JSONL.

    A row is a line: a CSV with line breaks inside its fields is not read.
    """

    path: Path
    columns: tuple[str, ...] | None

    @classmethod
    def opened(cls, path: str | Path) -> Manifest:
        """Open one; ValueError for another format, and for columns that are unknown or missing."""
        path = Path(path).absolute()
        kind = path.suffix.lower()
        if kind not in (".csv", ".jsonl"):
            raise ValueError(f"{path}: a manifest is a .csv with a head line, or a .jsonl")
        with open(path, encoding="utf-8-sig") as file:
            head = file.readline() if kind == ".csv" else None
        if head is None:
            return cls(path, None)
        columns = tuple(name.strip() for name in next(csv.reader([head]), ()))
        _refuse_unknown(columns, path)
        if "path" not in columns:
            raise ValueError(f"{path}: has no column path; its first line is {head.strip()!r}")
        return cls(path, columns)

    def lines(self) -> Iterator[str]:
        """Its lines that hold a row, undecodable bytes kept as escapes."""
        with open(self.path, encoding="utf-8-sig", errors="surrogateescape") as file:
            if self.columns is not None:
                next(file, None)
            yield from (line for line in file if line.strip())

    def row(self, line: str) -> Row:
        """The row on a line; ValueError says what is wrong with it."""
        values = self._json(line) if self.columns is None else self._csv(line)
        path = values.get("path")
        if not isinstance(path, str) or not path:
            raise ValueError(f"a row needs a path; got {path!r}")
        id = values.get("id") or safe_track_name(path)
        if not isinstance(id, str) or "/" in id or "\0" in id or id.startswith("."):
            raise ValueError(f"id must name a folder, without / and no dot before it; got {id!r}")
        options = {key: _seconds(key, values[key]) for key in KEYS[2:] if key in values}
        return Row(str(self.path.parent / path), id, options)

    def _json(self, line: str) -> dict[str, Any]:
        try:
            values = json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"a row is no JSON: {error}") from None
        if not isinstance(values, dict):
            raise ValueError('a row must be an object such as {"path": "song.wav"}')
        _refuse_unknown(values, "a row")
        return {key: value for key, value in values.items() if value is not None}

    def _csv(self, line: str) -> dict[str, Any]:
        fields = next(csv.reader([line.rstrip("\r\n")]))
        if len(fields) != len(self.columns):
            raise ValueError(
                f"a row has {len(fields)} fields where the first line has {len(self.columns)}"
            )
        return {key: value for key, value in zip(self.columns, fields, strict=True) if value}


def _refuse_unknown(keys, where) -> None:
    if unknown := [key for key in keys if key not in KEYS]:
        raise ValueError(f"{where}: knows {', '.join(KEYS)}, and not {', '.join(unknown)}")


def _seconds(key: str, value: Any) -> float:
    try:
        seconds = float(value)
    except (TypeError, ValueError):
        seconds = math.nan
    if isinstance(value, bool) or not 0 <= seconds < math.inf:
        raise ValueError(f"{key} must be a number of seconds from 0; got {value!r}")
    return seconds
