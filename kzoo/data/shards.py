"""Shards: a corpus decoded once, so that training reads plain numbers and needs no decoder.

FOLDER/index.json       format, rate, sources, and for each track its name, length, files' sha256,
                        scales, peak and RMS of every part
FOLDER/<n>_<part>.raw   `[samples, channels]`, little-endian int16 or float32, one file a part

int16 holds value * 32767 / scale, where scale is the track's highest peak if that exceeds full
scale and 1 otherwise, the same for all parts of a track: so sources still sum to the mixture, each
within half a step of 1/32767.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.data import json_index
from kzoo.data.corpus import Corpus, chosen, fits
from kzoo.files import file_sha256, replacing

INDEX = "index.json"
FORMAT = 1
DTYPES = ("int16", "float32")
_CHUNK = 1 << 22  # samples that are converted at a time


class Shards(Corpus):
    """The corpus that `prepare` wrote; it is memory-mapped, so reading is random access."""

    def __init__(self, path: Path, index: dict[str, Any], tracks: Sequence[dict], sources):
        self.path, self.index = path, index
        self.sources = tuple(sources)
        self.sample_rate, self.channels = index["sample_rate"], index["channels"]
        self.records_mixture, self.aligned = index["records_mixture"], index["aligned"]
        self._tracks = list(tracks)
        self.tracks = [(track["name"], track["samples"]) for track in tracks]
        self._type = np.dtype(index["dtype"]).newbyteorder("<")

    def read_part(self, track, part, start, samples):
        """Same as `Corpus.read_part`."""
        entry = self._tracks[track]
        out = np.zeros((samples, self.channels), np.float32)
        if part in entry["parts"]:
            found = self._map(track, part)[start : start + samples]
            if self._type.kind == "i":
                np.multiply(found, np.float32(entry["scale"] / 32767), out=out[: len(found)])
            else:
                out[: len(found)] = found
        return out

    def tracks_of(self, source):
        """List the tracks that have a file for the source."""
        return [i for i, entry in enumerate(self._tracks) if source in entry["parts"]]

    def identity(self, track):
        """Return the sha256 of the bytes of its shards."""
        parts = self._tracks[track]["parts"]
        text = json.dumps({part: parts[part]["sha256"] for part in sorted(parts)})
        return hashlib.sha256(text.encode()).hexdigest()

    def _map(self, track: int, part: str) -> np.ndarray:
        # Mapped anew each time, in some 50 us: a map holds a file open, and a corpus of utterances
        # has more files than a process may have open.
        path = self.path / self._tracks[track]["parts"][part]["file"]
        return np.memmap(path, self._type, "r").reshape(-1, self.channels)


def shards(
    path: str,
    *,
    sources: Sequence[str] | None = None,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    sample_rate: int | None = None,
    channels: int | None = None,
) -> Shards:
    """Open a folder of shards; ValueError where it is none, incomplete, or something else's."""
    index = read_index(Path(path))
    if index is None:
        raise ValueError(f"{path}: holds no {INDEX}; make shards with kzoo data prepare")
    for name, wanted in (("sample_rate", sample_rate), ("channels", channels)):
        if wanted not in (None, index[name]):
            raise ValueError(
                f"{path}: was prepared with {name}={index[name]}, not {wanted}: prepare it again"
            )
    tracks = [entry for entry in index["tracks"] if entry["complete"]]
    if not tracks:
        raise ValueError(f"{path}: no track is complete; run kzoo data prepare again")
    kept = chosen([entry["name"] for entry in tracks], include, exclude, path)
    for entry in tracks:
        for part in entry["parts"].values():
            expected = entry["samples"] * index["channels"] * np.dtype(index["dtype"]).itemsize
            file = Path(path) / part["file"]
            if not file.is_file() or file.stat().st_size != expected:
                raise ValueError(f"{file}: is missing or cut short; run kzoo data prepare again")
    for source in sources or ():
        if source not in index["sources"]:
            raise ValueError(
                f"{path}: has no source {source!r}; it has {', '.join(index['sources'])}"
            )
    chosen_tracks = [entry for entry in tracks if entry["name"] in kept]
    return Shards(Path(path), index, chosen_tracks, sources or index["sources"])


def prepare(
    corpus: Corpus,
    folder: str | Path,
    *,
    dtype: str = "int16",
    licence: str = "not stated",
    progress: Callable[[float, float], None] | None = None,
) -> Path:
    """Decode `corpus` into `folder`; tracks that are there already, from the same files, are kept.

    A kill costs the track that was under way. Adding another corpus of the same sources, rate and
    channels to a folder is allowed. progress: called with (seconds done, seconds in all).
    Raises ValueError for another dtype, where the folder holds other shards, and where it holds a
    track that is excluded from `corpus`: it would be learned from after all.
    """
    folder = Path(folder)
    index = index_for(head_of(corpus, dtype), folder, corpus.excluded)
    positions = {entry["name"]: k for k, entry in enumerate(index["tracks"])}
    done, total = 0.0, corpus.seconds
    parts = [*corpus.sources, *(["mixture"] if corpus.records_mixture else [])]
    having = {p: set(corpus.tracks_of(p)) for p in corpus.sources}
    index_due, unwritten = 0.0, False
    try:
        for number, (name, samples) in enumerate(corpus.tracks):
            identity = corpus.identity(number)
            position = positions.setdefault(name, len(index["tracks"]))
            known = index["tracks"][position] if position < len(index["tracks"]) else None
            if known is None or known["from_sha256"] != identity or not known["complete"]:
                present = [p for p in parts if p == "mixture" or number in having[p]]
                stem = f"{position:05d}_" + re.sub(r"[^\w.+-]", "_", name)[-80:] + "_"
                entry = write_track(corpus, number, present, folder, stem, dtype)
                entry |= {"name": name, "samples": samples, "licence": licence}
                entry |= {"from_sha256": identity, "complete": True}
                index["tracks"][position : position + 1] = [entry]
                unwritten = True
                # With many short tracks the index takes longer than they do: a tenth is enough.
                if (began := time.monotonic()) >= index_due:
                    json_index.write(folder / INDEX, index)
                    ended, unwritten = time.monotonic(), False
                    index_due = ended + 10 * (ended - began)
            done += samples / corpus.sample_rate
            if progress:
                progress(done, total)
    finally:
        if unwritten:
            json_index.write(folder / INDEX, index)
    return folder


def head_of(corpus: Corpus, dtype: str) -> dict[str, Any]:
    """What all shards of a folder share; ValueError for a dtype that is none of DTYPES."""
    if dtype not in DTYPES:
        raise ValueError(f"dtype must be one of {', '.join(DTYPES)}; got {dtype!r}")
    return {
        "format": FORMAT, "sample_rate": corpus.sample_rate, "channels": corpus.channels,
        "dtype": dtype, "sources": list(corpus.sources),
        "records_mixture": corpus.records_mixture, "aligned": corpus.aligned,
    }  # fmt: skip


def index_for(head: Mapping[str, Any], folder: Path, excluded: Sequence[str]) -> dict[str, Any]:
    """The index of `folder`, which is made, or a new one; ValueError where it holds what
    `head` is not, or a track that is excluded.
    """
    folder.mkdir(parents=True, exist_ok=True)
    index = read_index(folder) or {**head, "tracks": []}
    for key, value in head.items():
        if index[key] != value:
            raise ValueError(
                f"{folder}: holds shards with {key}={index[key]}, this corpus has {value}; "
                "name another folder"
            )
    if leaked := [entry["name"] for entry in index["tracks"] if fits(entry["name"], excluded)]:
        raise ValueError(
            f"{folder}: holds {', '.join(leaked)}, which is excluded here; delete the folder, or "
            "name another"
        )
    return index


def read_index(folder: Path) -> dict[str, Any] | None:
    """The index of a prepared folder, as `json_index.read` gives it."""
    return json_index.read(folder / INDEX, FORMAT, "shards")


def verify(folder: str | Path) -> list[str]:
    """Lines about files whose sha256 is not that of the index."""
    entries = (read_index(Path(folder)) or {"tracks": []})["tracks"]
    parts = [part for entry in entries for part in entry["parts"].values()]
    return json_index.verify(folder, {part["file"]: part["sha256"] for part in parts})


def write_track(
    corpus: Corpus, number: int, parts: Sequence[str], folder: Path, stem: str, dtype: str
) -> dict[str, Any]:
    """Write the parts of a track as `stem`<part>.raw: {"scale", "parts"} of its entry.

    They are written as float32, then in their type once the peak is known.
    """
    read = getattr(corpus, "whole", None) or (
        lambda track, part: corpus.read_part(track, part, 0, corpus.tracks[track][1])
    )
    levels, temporary = {}, {}
    for part in parts:
        sound = read(number, part)
        levels[part] = float(np.abs(sound).max(initial=0)), float(np.sqrt(np.mean(sound**2)))
        temporary[part] = folder / f".{stem}{part}.f32"
        sound.astype("<f4").tofile(temporary[part])
    scale = max(1.0, *(peak for peak, _ in levels.values())) if dtype == "int16" else 1.0
    entry: dict[str, Any] = {"scale": scale, "parts": {}}
    for part in parts:
        path = folder / f"{stem}{part}.raw"
        if dtype == "int16":
            with replacing(path) as quantised:
                _quantise(temporary[part], quantised, scale)
            temporary[part].unlink()
        else:
            os.replace(temporary[part], path)
        peak, rms = levels[part]
        entry["parts"][part] = {
            "file": path.name, "sha256": file_sha256(path), "peak": peak, "rms": rms,
        }  # fmt: skip
    return entry


def _quantise(source: Path, target: Path, scale: float) -> None:
    sound = np.memmap(source, "<f4", "r") if source.stat().st_size else np.zeros(0, "<f4")
    with open(target, "wb") as file:
        for start in range(0, len(sound), _CHUNK):
            values = np.rint(sound[start : start + _CHUNK] * np.float32(32767 / scale))
            values.astype("<i2").tofile(file)
