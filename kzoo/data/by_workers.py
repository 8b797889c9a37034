"""A corpus prepared by many workers: each track once, as a row of a manifest, and then the index.

FOLDER/<id>/<part>.raw    as `shards` or `solo` have them, beside the record of the track
FOLDER/dead_letters.jsonl the tracks that could not be prepared, with the reason of each

The folder is read as those that `shards.prepare` and `solo.prepare` write.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kzoo.batches import Counts, Job, Manifest, Row, Run, alone, record_of
from kzoo.data import json_index, shards, solo
from kzoo.data.corpus import Corpus
from kzoo.data.recordings import Recording, Track
from kzoo.files import file_sha256, replacing

TRACKS = ".tracks.jsonl"

Build = Callable[[Track], Corpus]


@dataclass(frozen=True)
class TrackRow(Row):
    """A track as a row; `path` is its name in the corpus, `id` that of its folder."""

    track: Track | None = None

    def sha256(self) -> str:
        """Of the bytes of all files of the track, and what each is taken for."""
        return self.track.sha256()


class Tracks(Manifest):
    """A manifest of tracks, a line of JSON each."""

    @classmethod
    def written(cls, tracks: Sequence[Track], path: Path) -> Tracks:
        """Write the tracks to `path`, whole, and open it."""
        with replacing(path) as temporary, open(temporary, "w", encoding="utf-8") as file:
            for track in tracks:
                parts = {**track.stems, **({"mixture": track.mixture} if track.mixture else {})}
                files = {n: [str(r.path), r.stream, r.channel] for n, r in parts.items()}
                file.write(json.dumps({"name": track.name, "files": files}) + "\n")
        return cls(path.absolute(), None)

    def row(self, line: str) -> TrackRow:
        """The track on a line."""
        values = json.loads(line)
        name = values["name"]
        files = {
            part: Recording(Path(path), stream, channel)
            for part, (path, stream, channel) in values["files"].items()
        }
        track = Track(name, "", files, files.pop("mixture", None))
        return TrackRow(name, folder_of(name), track=track)


@dataclass(frozen=True)
class Sharding:
    """A `batches.Job`: a track to its shards.

    builders: called once a worker, for what makes a corpus of a track. settings: under "shards"
    `shards.head_of` the corpus, and what else its sound depends on beside the recordings.
    """

    builders: Callable[[], Build]
    settings: Mapping[str, Any]

    def load(self):
        """Return what writes the shards of a track; its notes are the entry of the index."""
        build = self.builders()

        def work(row: TrackRow, folder: Path) -> dict[str, Any]:
            corpus = build(row.track)
            parts = [name for name in corpus.sources if corpus.tracks_of(name)]
            parts += ["mixture"] if corpus.records_mixture else []
            entry = shards.write_track(
                corpus, 0, parts, folder, "", self.settings["shards"]["dtype"]
            )
            (_, samples), identity = corpus.tracks[0], corpus.identity(0)
            return {**entry, "samples": samples, "from_sha256": identity, "complete": True}

        return work


@dataclass(frozen=True)
class Following:
    """A `batches.Job`: a solo recording to its sound, pitch and loudness.

    estimates: called once a worker, for what follows the pitch. settings: `solo.head_of`.
    """

    estimates: Callable[[], solo.Estimate]
    settings: Mapping[str, Any]

    def load(self):
        """Return what follows a recording; its notes are the entry of the index."""
        estimate = self.estimates()

        def work(row: TrackRow, folder: Path) -> dict[str, Any]:
            (recording,) = row.track.stems.values()
            entry = solo.write_recording(recording.path, estimate, self.settings, folder, "")
            if entry is None:
                raise ValueError(f"{recording.path}: nothing in it has a pitch")
            return {**entry, "from_sha256": file_sha256(recording.path)}

        return work


def prepare(
    tracks: Sequence[Track], job: Sharding, folder: str | Path, *, run: Run,
    excluded: Sequence[str] = (), licence: str = "not stated",
) -> Counts:  # fmt: skip
    """Shards of every track, each made once, and their index.

    A kill costs the tracks that were under way. excluded: as of `Corpus`.
    Raises ValueError as `shards.prepare` does, and where the folder holds one of the tracks by it.
    """
    folder = Path(folder)
    index = shards.index_for(job.settings["shards"], folder, excluded)

    def entry(notes: Mapping[str, Any], id: str) -> dict[str, Any]:
        parts = {n: {**part, "file": f"{id}/{part['file']}"} for n, part in notes["parts"].items()}
        return {**notes, "parts": parts, "licence": licence}

    return _prepared(tracks, job, folder, run, index, shards.INDEX, entry)


def prepare_solo(
    tracks: Sequence[Track], job: Following, folder: str | Path, *, run: Run,
    licence: str = "not stated",
) -> Counts:  # fmt: skip
    """Follow every recording, each once, and write their index; see `prepare`."""
    folder = Path(folder)
    index = solo.index_for(job.settings, folder)

    def entry(notes: Mapping[str, Any], id: str) -> dict[str, Any]:
        files = {part: f"{id}/{file}" for part, file in notes["files"].items()}
        return {**notes, "files": files, "licence": licence}

    return _prepared(tracks, job, folder, run, index, solo.INDEX, entry)


def folder_of(name: str) -> str:
    """The name of a track's folder: no other track has it, whatever is added to the corpus."""
    digest = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()[:12]
    return re.sub(r"[^\w+-]", "_", name, flags=re.ASCII)[-60:] + f"-{digest}"


def _prepared(
    tracks: Sequence[Track], job: Job, folder: Path, run: Run, index: dict[str, Any], name: str,
    entry: Callable[[Mapping[str, Any], str], dict[str, Any]],
) -> Counts:  # fmt: skip
    known = {old["name"]: old for old in index["tracks"]}
    for track in tracks:
        if track.name in known and "folder" not in known[track.name]:
            raise ValueError(
                f"{folder}: holds {track.name} that was prepared without --runner; go on without "
                "it, or name another folder"
            )
    with alone(folder):  # while no other run reads its own list
        rows = Tracks.written(tracks, folder / TRACKS)
    counts = run(rows, job, folder, overwrite=True)
    for track in tracks:
        id = folder_of(track.name)
        record = record_of(folder / id)
        if record is not None and record["settings"] == job.settings:
            known[track.name] = {"name": track.name, "folder": id, **entry(record["notes"], id)}
    if known:
        json_index.write(folder / name, {**index, "tracks": list(known.values())})
    rows.path.unlink()
    return counts
