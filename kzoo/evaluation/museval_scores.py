"""Scores that were made before, by museval or by kzoo, as a system beside those scored now.

    FOLDER/<track>.json             what museval and kzoo write of each track
    FOLDER/{train,test}/<track>.json
    FILE.json                       the table of a museval.EvalStore or MethodStore, as its
                                    df.to_json(FILE) writes it
Nothing is computed of them but medians. museval's own files of a store are pickles, which may run
anything when they are read, so they are refused.
"""

from __future__ import annotations

import json
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kzoo.data.recordings import Track, find_audio
from kzoo.data.tracks import SUBSETS
from kzoo.evaluation.scoring import METRICS, Settings

_PICKLES = (".pandas", ".pkl", ".pickle")
_COLUMNS = ("track", "target", "metric", "time", "score")


@dataclass(frozen=True)
class MusevalScores:
    """A system of which only scores are known: {track: museval's document of it}."""

    name: str
    path: Path
    documents: Mapping[str, Mapping[str, Any]]
    sources: tuple[str, ...] = ()

    def document(self, track: Track, settings: Settings) -> dict[str, Any]:
        """The scores of a track as `scoring.score` makes them; what they lack is NaN, and noted.

        Raises ValueError for a track that has none, for scores of other data or of another stretch,
        and for what is not museval's format.
        """
        name = track.name.rpartition("/")[2]  # of several corpora, it begins with the folder
        found = self.documents.get(track.name, self.documents.get(name))
        if found is None:
            raise ValueError(f"{self.path}: has no scores of the track {track.name!r}")
        self._check_stretch(found, track, settings)
        try:
            targets = [_target(t) for t in found["targets"] if t["name"] in settings.sources]
        except (KeyError, TypeError, ValueError):
            raise ValueError(
                f"{self.path}: the scores of {track.name!r} are not museval's, which are targets "
                f"with frames with metrics {', '.join(METRICS)}"
            ) from None
        if not targets:
            raise ValueError(
                f"{self.path}: has no scores of {', '.join(settings.sources)} in {track.name!r}"
            )
        notes = [f"{self.name}: made before, by {found.get('museval_version', 'museval')}"]
        named = [target["name"] for target in targets]
        notes += [f"{self.name}: no scores of {s}" for s in settings.sources if s not in named]
        about = {
            "track": track.name, "subset": track.subset, "system": self.name, "notes": notes,
            "seconds": track.seconds(), "data_sha256": track.sha256(),
        }  # fmt: skip
        return {"targets": targets, "kzoo": about}

    def _check_stretch(self, found: Mapping, track: Track, settings: Settings) -> None:
        known = found.get("kzoo", {})
        if known.get("data_sha256", track.sha256()) != track.sha256():
            raise ValueError(f"{self.path}: its scores of {track.name!r} are of other recordings")
        before = ((known.get("identity") or {}).get("settings")) or {}
        wanted = settings.identity()
        stretch = ("start_seconds", "duration_seconds")
        plain = {"start_seconds": 0.0, "duration_seconds": None}
        if any(before.get(key, plain[key]) != wanted[key] for key in stretch):
            raise ValueError(
                f"{self.path}: its scores are of another stretch of the tracks; scores that were "
                "made before cannot be cut: take the same --start and --duration"
            )


def holds_scores(path: Path) -> bool:
    """Whether `path` is a file of scores, or a folder of them without any sound."""
    if path.is_file():
        return path.suffix.lower() in (".json", *_PICKLES)
    return path.is_dir() and any(_files(path)) and not find_audio(path)


def read_scores(path: Path) -> list[MusevalScores]:
    """The system of a folder, called as it, or those of a file, called as their methods.

    Raises ValueError for a pickle, and for what is no JSON of scores.
    """
    if path.suffix.lower() in _PICKLES:
        raise ValueError(
            f"{path}: is a pickle, which may run anything when it is read; if you trust it, make "
            f"JSON of it: pandas.read_pickle({path.name!r}).to_json({path.stem + '.json'!r})"
        )
    if path.is_dir():
        documents = {name: _loaded(file) for name, file in _files(path)}
        return [MusevalScores(path.resolve().name, path, documents)]
    return [
        MusevalScores(method or path.stem, path, documents)
        for method, documents in _methods(path).items()
    ]


def _files(folder: Path) -> Iterator[tuple[str, Path]]:
    """(track, its file), the track as `tracks.find_tracks` calls it."""
    places = [folder / subset for subset in SUBSETS if (folder / subset).is_dir()] or [folder]
    for place in places:
        for path in sorted(place.rglob("*.json")):
            yield path.relative_to(place).with_suffix("").as_posix(), path


def _loaded(path: Path) -> Any:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(f"{path}: is no JSON: {error}") from None


def _methods(path: Path) -> dict[str, dict[str, dict[str, Any]]]:
    """{method: {track: document}} of a table; the method is "" where it has no such column."""
    rows: dict = defaultdict(lambda: defaultdict(lambda: defaultdict(lambda: defaultdict(dict))))
    for row in _rows(path):
        frames = rows[row.get("method") or ""][row["track"]][row["target"]]
        frames[row["time"]][row["metric"]] = row["score"]
    return {
        method: {
            track: {
                "targets": [
                    {
                        "name": target,
                        "frames": [{"time": t, "metrics": frames[t]} for t in sorted(frames)],
                    }
                    for target, frames in targets.items()
                ]
            }
            for track, targets in tracks.items()
        }
        for method, tracks in rows.items()
    }


def _rows(path: Path) -> Sequence[Mapping[str, Any]]:
    """The rows of a table as pandas writes it: {column: {row: value}}, or a list of rows."""
    table = _loaded(path)
    if isinstance(table, dict) and all(isinstance(table.get(name), dict) for name in _COLUMNS):
        table = [
            {column: values.get(row) for column, values in table.items()} for row in table["track"]
        ]
    if not (
        isinstance(table, list)
        and table
        and all(isinstance(row, dict) and set(_COLUMNS) <= set(row) for row in table)
    ):
        raise ValueError(
            f"{path}: is no table of scores; expected the columns {', '.join(_COLUMNS)}, as "
            "museval.EvalStore().df.to_json(FILE) writes them"
        )
    return table


def _target(target: Mapping[str, Any]) -> dict[str, Any]:
    frames = [
        {**frame, "metrics": {name: _number(frame["metrics"][name]) for name in METRICS}}
        for frame in target["frames"]
    ]
    return {"name": target["name"], "SI-SDR": _number(target.get("SI-SDR")), "frames": frames}


def _number(value: float | None) -> float:
    return math.nan if value is None else float(value)
