"""What every corpus is: tracks that can be read anywhere, a function of a number."""

from __future__ import annotations

import fnmatch
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from kzoo.hints import nearest

if TYPE_CHECKING:
    from kzoo.data.recordings import Track


class Corpus:
    """Tracks of a set of sources at one rate and width.

    sources: their names, in the order of the arrays. tracks: [(name, samples)].
    aligned: whether the sources of a track belong together; otherwise each is drawn by itself.
    mixes: whether `mixed` makes new mixtures of any length, which training then takes.
    controls: names of what `read` gives beside the waveform, where it is for a synthesiser.
    labels: names of what `read` says under "labels" is heard or not, where it is for a listener.
    frame_wise: whether it knows when they are heard: `in_frames` then makes a corpus of it whose
        labels are `[frames, labels]`, as `data.events.Events` has it.
    has_notes: whether it knows what is played: `in_rolls` then makes a corpus of it that reads
        "piano_roll" too.
    rates: {sample rate in Hz: how many recordings have it}, where recordings are read.
    excluded: names, or patterns of them, that were held out of it, which `prepare` lets into no
        folder of its shards.
    found: the tracks on disk that `alone` takes. teacher: a text that names the weights of who has
        made its sources.
    """

    sources: tuple[str, ...]
    sample_rate: int
    channels: int
    tracks: list[tuple[str, int]]
    aligned: bool = True
    mixes: bool = False
    records_mixture: bool = False
    controls: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    frame_wise: bool = False
    has_notes: bool = False
    rates: Mapping[int, int] = MappingProxyType({})
    excluded: tuple[str, ...] = ()
    found: Sequence[Track] = ()
    teacher: str = ""

    def read(self, track: int, start: int, samples: int) -> dict[str, np.ndarray]:
        """{"sources": `[sources, samples, channels]`, "mixture": `[samples, channels]`}, float32.

        Beyond the end of a track there is silence. The mixture is the sum of the sources where
        none is recorded.
        """
        sources = np.stack([self.read_part(track, s, start, samples) for s in self.sources])
        if self.records_mixture:
            mixture = self.read_part(track, "mixture", start, samples)
        else:
            mixture = sources.sum(axis=0)
        return {"sources": sources, "mixture": mixture}

    def in_windows(self, samples: int) -> Corpus:
        """The corpus that a listener of whole windows of `samples` learns from: this one."""
        return self

    def read_part(self, track: int, part: str, start: int, samples: int) -> np.ndarray:
        """One source, or "mixture", `[samples, channels]`."""
        raise NotImplementedError

    def mixed(self, rng: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """A mixture drawn by `rng`, as `read` gives them; of corpora that have `mixes`."""
        raise NotImplementedError

    def tracks_of(self, source: str) -> list[int]:
        """Positions in `tracks` of those that have this source."""
        return list(range(len(self.tracks)))

    def alone(self) -> Callable[[Track], Corpus]:
        """What makes a corpus like this one of a single track, in another process too."""
        raise ValueError("many workers prepare recordings, and this kind of corpus has none")

    def identity(self, track: int) -> str:
        """A sha256 of everything that the track's sound depends on."""
        raise NotImplementedError

    @property
    def seconds(self) -> float:
        """Seconds of all tracks together."""
        return sum(samples for _, samples in self.tracks) / self.sample_rate


def fits(name: str, patterns: Sequence[str]) -> bool:
    """Whether a name is one of `patterns`, or of the kind that one of them describes."""
    return any(name == p or fnmatch.fnmatchcase(name, p) for p in patterns)


def chosen(tracks: Sequence[Any], include: Sequence[str], exclude: Sequence[str], where: str):
    """Tracks without those held out; ValueError for a name that is not there, or there twice.

    include, exclude: names, or patterns such as "p226_*", each of which must fit some track.
    """
    names = [track if isinstance(track, str) else track.name for track in tracks]
    for name in (*include, *exclude):
        if not any(fits(known, [name]) for known in names):
            hint = nearest(name, names, f"it has {', '.join(names[:8])}", likeness=0.3)
            raise ValueError(f"{where}: has no track {name!r}; {hint}")
    kept = [
        track
        for track, name in zip(tracks, names, strict=True)
        if (not include or fits(name, include)) and not fits(name, exclude)
    ]
    if not kept:
        raise ValueError(f"{where}: no track is left after include and exclude")
    left = [track if isinstance(track, str) else track.name for track in kept]
    if twice := [name for name, count in Counter(left).items() if count > 1]:
        more = f", nor are {len(twice) - 1} others" if len(twice) > 1 else ""
        raise ValueError(
            f"{where}: names of tracks must differ; {twice[0]!r} is there more than once{more}: "
            "rename or remove what is too many"
        )
    return kept
