"""Recordings with the names of what is heard in them, for listeners.

A folder with a folder of recordings for each name, or a table of recordings and their names:

    file,tags                              [{"file": "a.wav", "tags": ["guitar", "slow"]},
    a.wav,guitar;slow                       {"file": "b.wav", "tags": []}]
    b.wav,

Paths are relative to the table. Names that are not asked for are passed over.
"""

from __future__ import annotations

import csv
import hashlib
import json
from collections import Counter
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kzoo import audio
from kzoo.data.corpus import Corpus, chosen
from kzoo.data.recordings import find_audio
from kzoo.data.tracks import fitted_to
from kzoo.files import file_sha256

Files = Mapping[str, tuple[Path, Sequence[str]]]  # a name: the recording, and its labels
_TABLE = "a table needs the columns file and tags, with ; between tags"


class MonoRecordings(Corpus):
    """Recordings in which `labels` are heard: what `read` says of them is for subclasses.

    files: {name: recording}. rate: in Hz; by default the lowest of the files. Files of other rates
    are resampled, and channels are averaged to one.
    """

    sources = ()
    channels = 1
    records_mixture = True

    def __init__(self, files: Mapping[str, Path], labels: Sequence[str], rate: int | None):
        self.files, self.labels = list(files.values()), tuple(labels)
        infos = [audio.info(path) for path in self.files]
        self.rates = Counter(info.sample_rate for info in infos)
        self.sample_rate = rate or min(self.rates)
        self.tracks = [
            (name, round((info.duration_seconds or 0) * self.sample_rate))
            for name, info in zip(files, infos, strict=True)
        ]

    def sound(self, track: int, start: int, samples: int) -> np.ndarray:
        """`[samples, 1]` of a recording; before its begin and after its end there is silence."""
        before = min(max(-start, 0), samples)
        start, samples = start + before, samples - before
        sound = np.zeros((0, 1), np.float32)
        if samples and start < self.tracks[track][1]:
            sound, _ = audio.read(
                self.files[track], start_seconds=start / self.sample_rate,
                duration_seconds=samples / self.sample_rate, sample_rate=self.sample_rate,
            )  # fmt: skip
        sound = fitted_to(sound.mean(axis=1, keepdims=True), samples, 1)
        return np.pad(sound, ((before, 0), (0, 0)))

    def identity_with(self, track: int, truth: Any) -> str:
        """Return the sha256 of the file's bytes and of its truth, which JSON can write."""
        text = file_sha256(self.files[track]) + json.dumps(truth)
        return hashlib.sha256(text.encode()).hexdigest()


class Labelled(MonoRecordings):
    """Recordings, and which of `labels` each has.

    `read` gives {"mixture": `[samples, 1]`, "labels": `[labels]` of 0 and 1}, float32.
    """

    def __init__(self, files: Files, labels: Sequence[str], rate: int | None):
        super().__init__({name: path for name, (path, _) in files.items()}, labels, rate)
        self.truth = np.array(
            [[label in tags for label in labels] for _, tags in files.values()], np.float32
        )  # [tracks, labels]

    def read(self, track: int, start: int, samples: int) -> dict[str, np.ndarray]:
        """Same as `Corpus.read`, without sources, and with the labels of the whole recording."""
        return {"mixture": self.sound(track, start, samples), "labels": self.truth[track]}

    def identity(self, track: int) -> str:
        """Return the sha256 of the file's bytes and of its labels."""
        return self.identity_with(track, self.truth[track].tolist())


def labelled(
    path: str | Path,
    *,
    names: Sequence[str] | None = None,
    sample_rate: int | None = None,
    channels: int = 1,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
) -> Labelled:
    """Open a folder of folders, or a table (.csv, .json), of recordings.

    names: of the labels, in their order; by default all, sorted. sample_rate: by default the lowest
    of the files. include, exclude: recordings by their paths without suffix, such as
    "guitar/one", or patterns of them.
    Raises ValueError for a table that is none, for a file that is not there, and for a name that no
    recording has.
    """
    path = Path(path)
    if channels != 1:
        raise ValueError(
            f"labelled recordings have one channel, their mean; got channels={channels}"
        )
    if not path.exists():
        raise ValueError(f"{path}: is not there; a folder with a folder for each name, or a table")
    files = files_of(path)
    known = Counter(tag for _, tags in files.values() for tag in tags)
    return of_names(
        files, names, known, where=str(path), include=include, exclude=exclude, rate=sample_rate
    )


def of_names(
    files: Files, names: Sequence[str] | None, known: Container[str], *, where: str,
    include: Sequence[str], exclude: Sequence[str], rate: int | None,
    kind: type[Labelled] = Labelled,
) -> Labelled:  # fmt: skip
    """A corpus of `kind` of those files that are chosen; ValueError for names beyond `known`.

    names: by default all of the chosen files, sorted.
    """
    files = {name: files[name] for name in chosen(list(files), include, exclude, where)}
    found = Counter(tag for _, tags in files.values() for tag in tags)
    names = sorted(found) if names is None else list(names)
    if absent := [name for name in names if name not in known]:
        more = f" and {len(absent) - 3} more" if len(absent) > 3 else ""
        raise ValueError(
            f"{where}: no recording is called {', '.join(absent[:3])}{more}; there are "
            f"{', '.join(sorted(found)[:8]) or 'no names'}"
        )
    return kind(files, names, rate)


def files_of(path: Path) -> Files:
    """The recordings of a folder of folders or of a table; ValueError for what is neither."""
    return _folders(path) if path.is_dir() else _table(path)


def _folders(root: Path) -> Files:
    found = {
        _name(file.relative_to(root)): (file, [folder.name])
        for folder in sorted(root.iterdir())
        if folder.is_dir() and not folder.name.startswith(".")
        for file in find_audio(folder)
    }
    if not found:
        raise ValueError(f"{root}: needs a folder of recordings for each name")
    return found


def _table(path: Path) -> Files:
    try:
        text = path.read_text("utf-8-sig")
        if path.suffix.lower() == ".json":
            rows = [(row["file"], row["tags"]) for row in json.loads(text)]
        else:
            rows = [
                (row["file"], [tag.strip() for tag in row["tags"].split(";") if tag.strip()])
                for row in csv.DictReader(text.splitlines())
            ]
    except (KeyError, TypeError, AttributeError, UnicodeDecodeError, json.JSONDecodeError):
        raise ValueError(f"{path}: {_TABLE}, or a JSON list of both") from None
    if not rows or not all(_is_row(*row) for row in rows):
        raise ValueError(f"{path}: {_TABLE}, or a JSON list of both")
    found = {_name(Path(name)): (path.parent / name, tags) for name, tags in rows}
    if absent := [file for file, _ in found.values() if not file.is_file()]:
        raise ValueError(f"{path}: {len(absent)} files are not there, such as {absent[0]}")
    return found


def _name(path: Path) -> str:
    return path.with_suffix("").as_posix()


def _is_row(name, tags) -> bool:
    return (
        isinstance(name, str)
        and isinstance(tags, list)
        and all(isinstance(tag, str) for tag in tags)
    )
