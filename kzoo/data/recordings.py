"""Recordings and tracks, and how a folder is looked through for them."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Container, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from kzoo import audio
from kzoo.files import file_sha256

STEM_FILE = ".stem.mp4"


@dataclass(frozen=True)
class Recording:
    """One audio stream of one file, or one `channel` of it, from 0 on."""

    path: Path
    stream: int = 0
    channel: int | None = None

    def info(self) -> audio.AudioInfo:
        """What `audio.info` says of the file; AudioError where it lacks the channel, too."""
        info = audio.info(self.path)
        self._has_channel(info.channels)
        return info if self.channel is None else replace(info, channels=1)

    def read(self, **options) -> tuple[np.ndarray, int]:
        """(`[samples, channels]`, sample rate); options are those of `audio.read`."""
        sound, sample_rate = audio.read(self.path, stream=self.stream, **options)
        self._has_channel(sound.shape[1])
        return (sound if self.channel is None else sound[:, [self.channel]]), sample_rate

    def _has_channel(self, channels: int) -> None:
        if self.channel is not None and channels <= self.channel:
            raise audio.AudioError(
                f"{self.path}: its channels must be left and right, a source each; got {channels}"
            )


@dataclass(frozen=True)
class Track:
    """A piece of music: its stems by name, and its mixture where that is recorded.

    stems: "guitar", or of several that make one source "guitar/S01", "guitar/S04".
    has_bleed: whether its corpus says that sources are heard in each other's stems.
    """

    name: str
    subset: str
    stems: Mapping[str, Recording]
    mixture: Recording | None = None
    has_bleed: bool = False

    def seconds(self) -> float:
        """Length that the files state; 0 where they state none or cannot be read."""
        try:
            return max(audio.info(r.path).duration_seconds or 0.0 for r in self.recordings)
        except audio.AudioError:
            return 0.0

    @property
    def recordings(self) -> list[Recording]:
        """Every stream of the track, the mixture's included."""
        return [*self.stems.values(), *([self.mixture] if self.mixture else [])]

    def sha256(self) -> str:
        """Return the sha256 of the bytes of all files and what each is taken for."""
        parts = {**self.stems, **({"mixture": self.mixture} if self.mixture else {})}
        return recordings_sha256(parts)


def stem_recordings(folder: Path) -> dict[str, Recording]:
    """The audio files directly in `folder`, by their names without extension, in lower case."""
    found: dict[str, Recording] = {}
    order = {suffix: k for k, suffix in enumerate(audio.READABLE)}  # lossless formats come first
    files = [path for path in find_audio(folder, deep=False) if not is_stem_file(path)]
    for path in sorted(files, key=lambda path: (path.stem, order[path.suffix.lower()])):
        found.setdefault(path.stem.lower(), Recording(path))
    return found


def find_audio(folder: Path, *, deep: bool = True) -> list[Path]:
    """Files in `folder` with the suffix of a format that can be read; as `files_in`."""
    return files_in(folder, audio.READABLE, deep=deep)


def files_in(folder: Path, suffixes: Container[str], *, deep: bool = True) -> list[Path]:
    """Files in `folder` with one of the suffixes, in any case, in the order of their paths.

    deep: at any depth; otherwise only those directly in it. What `visible` leaves out is nobody's
    recording, and neither is what lies in such a folder.
    """
    paths = sorted(folder.rglob("*") if deep else folder.iterdir())
    return [
        path
        for path in paths
        if path.suffix.lower() in suffixes
        and not any(map(is_hidden, path.relative_to(folder).parts))
        and path.is_file()
    ]


def visible(folder: Path) -> list[Path]:
    """What lies in `folder`, sorted, without hidden files and the resource forks of macOS."""
    return sorted(path for path in folder.iterdir() if not is_hidden(path.name))


def recordings_sha256(recordings: Mapping[str, Recording]) -> str:
    """Return the sha256 of the files' bytes, their names in the track, streams and channels."""
    digest = hashlib.sha256()
    for name in sorted(recordings):
        recording = recordings[name]
        found = recording.path.stat()
        content = _file_sha256(recording.path, found.st_size, found.st_mtime_ns)
        channel = "" if recording.channel is None else f" channel {recording.channel}"
        digest.update(f"{name} {recording.stream}{channel} {content}\n".encode())
    return digest.hexdigest()


@functools.cache
def _file_sha256(path: Path, size: int, mtime_ns: int) -> str:
    # Asked for again and again (for every system that is scored, for every stream): read once.
    return file_sha256(path)


def audio_file(folder: Path, name: str) -> Path | None:
    """The file `name` with the suffix of a format that can be read, a lossless one first."""
    paths = (folder / f"{name}{suffix}" for suffix in audio.READABLE)
    return next((path for path in paths if path.is_file()), None)


def is_stem_file(path: Path) -> bool:
    """Whether it is called as MUSDB18's files of several streams are."""
    return path.name.lower().endswith(STEM_FILE)


def is_hidden(name: str) -> bool:
    """Whether a file or folder of this name is the system's and nobody's recording."""
    # .ipynb_checkpoints, ._song.wav, and the folder in which macOS zips the latter.
    return name.startswith(".") or name == "__MACOSX"
