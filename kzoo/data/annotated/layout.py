"""What a layout of annotated recordings is, and what is true of one recording."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from kzoo import audio
from kzoo.data.recordings import Recording, recordings_sha256

# What can be true of a recording, and what `Annotated.truth` then is.
NAMES = "names"  # a tuple of names
ONSETS = "onsets"  # sorted float64 `[onsets]`, in seconds
MELODY = "melody"  # (seconds, hertz), float64 `[frames]` each; 0 Hz where there is no melody
PHONES = "phones"  # a list of `events.Event`, in their order


@dataclass(frozen=True)
class Annotated:
    """A recording of a subset, and `read`, which gives what is true of it.

    path: of the sound. files: others that the truth is read from. stretch: (start, duration) in
    seconds of what it is true of, where that is not the whole recording.
    """

    name: str
    subset: str
    path: Path
    read: Callable[[], Any]
    files: Sequence[Path] = ()
    stretch: tuple[float, float] | None = None

    def sound(self) -> tuple[np.ndarray, int]:
        """Read (`[samples, channels]`, sample rate) of what it is true of."""
        if self.stretch is None:
            return audio.read(self.path)
        start, duration = self.stretch
        return audio.read(self.path, start_seconds=start, duration_seconds=duration)

    def sha256(self) -> str:
        """Return the sha256 of the sound and of the truth: of its files, or else of itself."""
        named = {"sound": self.path, **{str(k): path for k, path in enumerate(self.files)}}
        digest = recordings_sha256({name: Recording(path) for name, path in named.items()})
        said = "" if self.files else repr(self.read())
        return hashlib.sha256(f"{digest} {said} {self.stretch or ''}".encode()).hexdigest()


Reader = Callable[[Path], Sequence[Annotated]]


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a corpus of annotated recordings lies below its folder.

    about: what it is, and its layout. is_at: whether it lies there, as names of files tell.
    readers: {what is true, of NAMES and the others: all recordings below a folder}. names: those
        that are asked for where nobody says which, of all recordings; by default all that there
        are, sorted.
    """

    about: str
    is_at: Callable[[Path], bool]
    readers: Mapping[str, Reader]
    names: Callable[[Sequence[Annotated]], Sequence[str]] = field(
        default=lambda found: sorted({name for one in found for name in one.read()})
    )


def said(value: Any) -> Callable[[], Any]:
    """A `read` of what is known already."""
    return lambda: value
