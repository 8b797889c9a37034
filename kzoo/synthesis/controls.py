"""Controls of a synthesiser in a file, read row by row and laid on a grid of frames.

CSV: a header, then a row a point in time, in any distances. JSON: {"time": [...], "f0_hz": [...],
...}, or a list of rows as mappings; it is read whole, a CSV never is.

time          seconds, rising; also time_s, as kzoo pitch writes it
f0_hz         pitch; 0 where there is none
loudness_db   level in dB of full scale, 0 at most; 0 by default where there are amplitudes. For a
              trained synthesiser loudness as it was measured for its training, `dsp.loudness`
h1, h2, ...   amplitudes of the harmonics; in JSON "harmonics": [[h1, h2, ...], ...]
"""

from __future__ import annotations

import csv
import itertools
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

TIMES = ("time", "time_s")
SILENCE_DB = -80.0


def read_points(
    path: str | Path, *, loudest_db: float = 0.0, silence_db: float = SILENCE_DB
) -> Iterator[np.ndarray]:
    """Points `[3 + harmonics]` of a file: seconds, f0_hz, loudness_db, amplitudes.

    loudest_db: what loudness_db may be at most. silence_db: what is below counts as this. Raises
    ValueError for a file without the columns, a value that is no finite number, and times that do
    not rise.
    """
    path = Path(path)
    before = -math.inf
    width = None
    for place, row in _rows(path):
        point = _point(row, f"{path}: {place}", loudest_db, silence_db)
        width = len(point) if width is None else width
        if len(point) != width:
            raise ValueError(f"{path}: {place} has {len(point) - 3} harmonics, not {width - 3}")
        if not point[0] > before:
            raise ValueError(f"{path}: {place} has time {point[0]:g} after {before:g}; times rise")
        before = point[0]
        yield point
    if width is None:
        raise ValueError(f"{path}: holds no controls")


def frames(points: Iterator[np.ndarray], frame_rate: float) -> Iterator[np.ndarray]:
    """Points on lines between them, `[3 + harmonics]` every 1 / frame_rate seconds from the first.

    Pitch moves along lines of notes, and is held where it goes away or comes; the last point is
    the last frame, or lies less than a frame after it.
    """
    before = next(points)
    start, number = before[0], 0
    for after in points:
        while (at := start + number / frame_rate) < after[0]:
            part = (at - before[0]) / (after[0] - before[0])
            found = before + part * (after - before)
            found[1] = _between(before[1], after[1], part)
            yield found
            number += 1
        before = after
    if start + number / frame_rate <= before[0] + 1e-9:
        yield before


def rests_as_silence(
    rows: Iterator[np.ndarray], f0_hz: float, silence_db: float = SILENCE_DB
) -> Iterator[np.ndarray]:
    """Rows `[3 + ...]`; what has no pitch is silence at the last one before, at first at f0_hz."""
    for row in rows:
        if row[1] > 0:
            f0_hz = row[1]
        else:
            row = np.array([row[0], f0_hz, silence_db, *row[3:]])
        yield row


def _between(one: float, other: float, part: float) -> float:
    if one > 0 and other > 0:
        return one * (other / one) ** part
    return one


def _rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    if path.suffix.lower() == ".json":
        yield from _json_rows(path)
        return
    with open(path, newline="", encoding="utf-8-sig") as file:
        reader = csv.DictReader(file, skipinitialspace=True)
        try:
            for row in reader:
                yield f"line {reader.line_num}", row
        except (csv.Error, UnicodeDecodeError) as error:
            raise ValueError(f"{path}: is no CSV ({error})") from None


def _json_rows(path: Path) -> Iterator[tuple[str, Mapping[str, Any]]]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is no JSON ({error})") from None
    if isinstance(found, dict):
        lengths = {key: len(values) for key, values in found.items() if isinstance(values, list)}
        if len(set(lengths.values())) != 1 or len(lengths) != len(found):
            raise ValueError(f"{path}: must hold lists of one length; got {lengths or found}")
        found = [dict(zip(found, row, strict=True)) for row in zip(*found.values(), strict=True)]
    if not isinstance(found, list) or not all(isinstance(row, dict) for row in found):
        raise ValueError(f"{path}: must hold a mapping of lists, or a list of mappings")
    for number, row in enumerate(found):
        amplitudes = row.get("harmonics", [])
        named = {f"h{k}": value for k, value in enumerate(amplitudes, 1)}
        yield f"point {number}", {**row, **named}


def _point(row: Mapping[str, Any], where: str, loudest_db: float, silence_db: float) -> np.ndarray:
    time = next((name for name in TIMES if name in row), TIMES[0])
    names = itertools.takewhile(row.__contains__, (f"h{k}" for k in itertools.count(1)))
    amplitudes = [_number(row, name, where) for name in names]
    default = {"loudness_db": 0.0} if amplitudes else {}
    level = _number({**default, **row}, "loudness_db", where)
    point = [_number(row, time, where), _number(row, "f0_hz", where), level, *amplitudes]
    if point[1] < 0 or level > loudest_db or min(amplitudes, default=0.0) < 0:
        raise ValueError(
            f"{where}: f0_hz and amplitudes must be at least 0 and loudness_db at most "
            f"{loudest_db:g}; got {point[1]:g} Hz, {level:g} dB"
        )
    return np.maximum(point, [-math.inf, 0.0, silence_db, *[0.0] * len(amplitudes)])


def _number(row: Mapping[str, Any], name: str, where: str) -> float:
    if name not in row:
        known = ", ".join(str(key) for key in row)
        raise ValueError(f"{where}: has no {name}; it has {known}")
    try:
        value = float(row[name])
    except (TypeError, ValueError):
        value = math.nan
    if not math.isfinite(value):
        raise ValueError(f"{where}: {name} must be a number; got {row[name]!r}")
    return value
