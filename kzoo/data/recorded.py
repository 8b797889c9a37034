"""Corpora of audio files: stems, published corpora, aligned pairs, one folder a source, a table."""

from __future__ import annotations

import csv
import functools
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from kzoo import audio
from kzoo.data import published
from kzoo.data.corpus import Corpus, chosen
from kzoo.data.recordings import (
    Recording,
    Track,
    find_audio,
    recordings_sha256,
    stem_recordings,
    visible,
)
from kzoo.data.tracks import components, find_tracks, fitted_to, members, source_of

_FOLDERS = {"speech": "clean"}  # of pairs, where the source has no folder of its name
_REST = "noise"


class Recorded(Corpus):
    """Tracks whose parts are audio files, or streams of them.

    damaged: gets the tracks with a recording that cannot be opened, which are then left out.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        *,
        sources: Sequence[str] | None,
        sample_rate: int | None,
        channels: int | None,
        where: str,
        damaged: list[Track] | None = None,
    ):
        self.found: list[Track] = []
        known = dict.fromkeys(source_of(n) for track in tracks for n in components(track.stems))
        self.sources = tuple(sources or known)
        self._parts: list[dict[str, list[Recording]]] = []
        infos = []
        self.records_mixture = all(track.mixture is not None for track in tracks)
        for track in tracks:
            parts = {
                source: [track.stems[name] for name in names]
                for source, names in members(track.stems, self.sources).items()
            }
            if not any(parts.values()):
                raise ValueError(
                    f"{where}: {track.name} has none of {', '.join(self.sources)}; its stems are "
                    f"{', '.join(track.stems) or 'missing'}"
                )
            if self.records_mixture:
                parts["mixture"] = [track.mixture]
            try:
                infos.append([r.info() for files in parts.values() for r in files])
            except audio.AudioError:
                if damaged is None or len(damaged) + 1 == len(tracks):
                    raise
                damaged.append(track)
                continue
            self._parts.append(parts)
            self.found.append(track if self.records_mixture else replace(track, mixture=None))
        self.rates = Counter(info.sample_rate for found in infos for info in found)
        self.sample_rate = sample_rate or min(self.rates)
        self.native = set(self.rates) == {self.sample_rate}
        widths = {info.channels for found in infos for info in found}
        self.channels = channels or max(widths)
        self.tracks = [
            (track.name, max(round((i.duration_seconds or 0) * self.sample_rate) for i in found))
            for track, found in zip(self.found, infos, strict=True)
        ]

    def read_part(self, track, part, start, samples):
        """Same as `Corpus.read_part`; ValueError where the files have other rates."""
        if not self.native:
            raise ValueError(
                f"files at other rates than {self.sample_rate} Hz cannot be read at random; "
                "prepare them first: kzoo data prepare"
            )
        total = np.zeros((samples, self.channels), np.float32)
        for recording in self._parts[track].get(part, ()):
            try:
                sound, _ = recording.read(
                    start_seconds=start / self.sample_rate,
                    duration_seconds=samples / self.sample_rate,
                )
            except audio.PastTheEnd:  # others of its track are longer
                continue
            total += fitted_to(_width(sound, self.channels), samples, self.channels)
        return total

    def whole(self, track: int, part: str) -> np.ndarray:
        """A part of a track from its beginning to its end, at the corpus's rate."""
        total = np.zeros((self.tracks[track][1], self.channels), np.float32)
        for recording in self._parts[track].get(part, ()):
            sound, _ = recording.read(sample_rate=self.sample_rate)
            total += fitted_to(_width(sound, self.channels), len(total), self.channels)
        return total

    def tracks_of(self, source):
        """List the tracks that have a file for the source."""
        return [i for i, parts in enumerate(self._parts) if parts.get(source)]

    def identity(self, track):
        """Return the sha256 of the bytes of the files, which are read for it."""
        return recordings_sha256(_named(self._parts[track]))

    def alone(self) -> Callable[[Track], Recorded]:
        """Same as `Corpus.alone`."""
        return functools.partial(
            _alone, sources=self.sources, sample_rate=self.sample_rate, channels=self.channels
        )


class WithRest(Corpus):
    """A corpus of recorded mixtures, and as one source more what its own leave of them."""

    records_mixture = True

    def __init__(self, corpus: Recorded, sources: Sequence[str]):
        self._corpus, self.sources = corpus, tuple(sources)
        self.sample_rate, self.channels = corpus.sample_rate, corpus.channels
        self.tracks, self.rates = corpus.tracks, corpus.rates

    def read_part(self, track, part, start, samples):
        """Same as `Corpus.read_part`."""
        return self._part(part, lambda part: self._corpus.read_part(track, part, start, samples))

    def whole(self, track: int, part: str) -> np.ndarray:
        """Same as `Recorded.whole`."""
        return self._part(part, lambda part: self._corpus.whole(track, part))

    def tracks_of(self, source):
        """Same as `Corpus.tracks_of`."""
        return self._corpus.tracks_of(source if source in self._corpus.sources else "mixture")

    def identity(self, track):
        """Return the sha256 of the bytes of the files."""
        return self._corpus.identity(track)

    @property
    def found(self) -> list[Track]:
        """The tracks as they were found, without the rest."""
        return self._corpus.found

    def alone(self) -> Callable[[Track], WithRest]:
        """Same as `Corpus.alone`."""
        return functools.partial(_alone_with_rest, self._corpus.alone(), self.sources)

    def _part(self, part: str, read: Callable[[str], np.ndarray]) -> np.ndarray:
        if part in (*self._corpus.sources, "mixture"):
            return read(part)
        return read("mixture") - sum(read(source) for source in self._corpus.sources)


@dataclass(kw_only=True)
class Layout:
    """How recordings lie under `path`; the fields are the options of a configuration.

    sources: their names and order. include, exclude: tracks by names, or by patterns of them.
    sample_rate, channels: by default the lowest rate and the widest of the recordings.
    """

    path: str
    sources: Sequence[str] | None = None
    include: Sequence[str] = ()
    exclude: Sequence[str] = ()
    sample_rate: int | None = None
    channels: int | None = None

    def find(self) -> list[Track]:
        """The tracks that lie there, those to be left out included; no file of them is opened."""
        raise NotImplementedError

    def open(self, damaged: list[Track] | None = None) -> Corpus:
        """The corpus; ValueError for what is not there, audio.AudioError for no sound.

        damaged: as of `Recorded`.
        """
        return self._recorded(self.tracks(), self.sources, damaged)

    def tracks(self) -> list[Track]:
        """List the tracks of `find` that are not left out."""
        return chosen(self.find(), self.include, self.exclude, self.path)

    def _recorded(
        self, tracks: Sequence[Track], sources: Sequence[str] | None, damaged: list[Track] | None
    ) -> Recorded:
        corpus = Recorded(
            tracks, sources=sources, sample_rate=self.sample_rate, channels=self.channels,
            where=self.path, damaged=damaged,
        )  # fmt: skip
        for source in corpus.sources:
            if not corpus.tracks_of(source):
                known = ", ".join(dict.fromkeys(source_of(n) for t in tracks for n in t.stems))
                raise ValueError(
                    f"{self.path}: no track has the source {source!r}; there are {known}"
                )
        return corpus


@dataclass(kw_only=True)
class Stems(Layout):
    """Folders of stems; of a tree of train/ and test/ the train subset by default."""

    subset: str | None = None

    def find(self):
        """Same as `Layout.find`."""
        root = Path(self.path)
        if scheme := published.recognised(root):
            return scheme.tracks(root, self.subset, default="train")
        tree = (root / "train").is_dir()
        return find_tracks(self.path, subset=self.subset or ("train" if tree else None))


@dataclass(kw_only=True)
class Published(Layout):
    """A published corpus.

    subset: one of the corpus's, by default train, or "all".
    """

    scheme: ClassVar[published.Scheme]
    subset: str | None = None

    def find(self):
        """Same as `Layout.find`; the metadata of the tracks is read."""
        root = Path(self.path)
        if not root.is_dir():
            raise ValueError(f"{self.path}: there is no such folder")
        return self.scheme.tracks(root, self.subset, default="train")


@dataclass(kw_only=True)
class Bleeding(Published):
    """One that says which tracks have bleed.

    bleed: False leaves out tracks where sources are heard in each other's stems.
    """

    bleed: bool = True

    def tracks(self):
        """Same as `Layout.tracks`."""
        kept = [track for track in super().tracks() if self.bleed or not track.has_bleed]
        if not kept:
            raise ValueError(f"{self.path}: all tracks have bleed; bleed: true takes them")
        return kept


@dataclass(kw_only=True)
class Pairs(Layout):
    """Recordings of one name in the folders `mixture` and `sources`.

    A folder may go on after the name, as clean_testset_wav does; subset: what it goes on with, such
    as "testset". Without a folder, "speech" is clean, and "noise" what the others leave of the
    mixture. exclude: ["p226_*", "p287_*"] holds two of VoiceBank's speakers out.
    """

    mixture: str = "noisy"
    sources: Sequence[str] = ("clean",)
    subset: str | None = None

    def find(self):
        """Same as `Layout.find`; tracks of a rest are without it."""
        root = Path(self.path)
        places = {n: _pair_folder(root, n, self.subset) for n in (self.mixture, *self.sources)}
        folders = {name: places[name] or name for name in self.sources}
        if len(folders) > 1 and places.get(_REST) is None:
            folders.pop(_REST, None)
        return _aligned(root, places[self.mixture] or self.mixture, folders)

    def open(self, damaged=None):
        """Same as `Layout.open`."""
        tracks = self.tracks()
        recorded = [name for name in self.sources if name in tracks[0].stems]
        corpus = self._recorded(tracks, recorded, damaged)
        return corpus if len(recorded) == len(self.sources) else WithRest(corpus, self.sources)


@dataclass(kw_only=True)
class LibriMix(Layout):
    """LibriMix as its scripts write it, `path` being Libri2Mix or Libri3Mix.

    task: "mix_clean", or "mix_both" and "mix_single" with their noise; mode: "min" or "max";
    sample_rate: of wav8k or wav16k. The sources are s1, s2 and so on under other names.
    """

    sources: Sequence[str] = ("speaker1", "speaker2")
    subset: str = "train-100"
    mode: str = "min"
    task: str = "mix_clean"
    sample_rate: int = 8000
    channels: int | None = 1

    def find(self):
        """Same as `Layout.find`."""
        rate = f"wav{self.sample_rate // 1000}k"
        place = Path(self.path) / rate / self.mode / self.subset
        return _aligned(place, self.task, _numbered(self.sources))


@dataclass(kw_only=True)
class Wsj0Mix(Layout):
    """WSJ0-2mix or -3mix as its scripts write it, for as many speakers as there are sources."""

    sources: Sequence[str] = ("speaker1", "speaker2")
    subset: str = "tr"
    mode: str = "min"
    sample_rate: int = 8000
    channels: int | None = 1

    def find(self):
        """Same as `Layout.find`."""
        root = Path(self.path)
        speakers = root / f"{len(self.sources)}speakers"
        root = speakers if speakers.is_dir() else root
        place = root / f"wav{self.sample_rate // 1000}k" / self.mode / self.subset
        return _aligned(place, "mix", _numbered(self.sources))


@dataclass(kw_only=True)
class Folders(Layout):
    """One folder a source, searched to any depth; recordings have nothing to do with each other."""

    def find(self):
        """Same as `Layout.find`: a recording each, in the order of their sources."""
        root = Path(self.path)
        if not root.is_dir():
            raise ValueError(f"{self.path}: there is no such folder")
        tracks = []
        for source in self.sources or sorted(p.name for p in visible(root) if p.is_dir()):
            # Empty files are in many a corpus of speech.
            files = [p for p in find_audio(root / source) if p.stat().st_size]
            if not files:
                raise ValueError(f"{self.path}: the folder {source!r} holds no recordings")
            tracks += [
                Track(str(p.relative_to(root).with_suffix("")), "", {source: Recording(p)})
                for p in files
            ]
        return tracks

    def open(self, damaged=None):
        """Same as `Layout.open`."""
        everything = self.find()
        names = list(dict.fromkeys(name for track in everything for name in track.stems))
        kept = chosen(everything, self.include, self.exclude, self.path)
        corpus = self._recorded(kept, names, damaged)
        corpus.aligned = False
        return corpus


@dataclass(kw_only=True)
class Table(Layout):
    """A CSV; paths in it are relative to its own folder."""

    def find(self):
        """Same as `Layout.find`."""
        base = Path(self.path).parent
        tracks = []
        with open(self.path, newline="", encoding="utf-8") as file:
            for number, row in enumerate(csv.DictReader(file), start=2):
                name = row.pop("track", None) or f"line {number}"
                cells = {k: Recording(base / v) for k, v in row.items() if k and v}
                missing = [r.path for r in cells.values() if not r.path.is_file()]
                if missing:
                    raise ValueError(f"{self.path}, line {number}: there is no file {missing[0]}")
                mixture = cells.pop("mixture", None)
                tracks.append(Track(name, "", cells, mixture))
        if not tracks:
            raise ValueError(
                f"{self.path}: holds no rows under a header such as track,vocals,drums"
            )
        return tracks


def _alone(track: Track, **options) -> Recorded:
    return Recorded([track], where=track.name, **options)


def _alone_with_rest(
    alone: Callable[[Track], Recorded], sources: Sequence[str], track: Track
) -> WithRest:
    return WithRest(alone(track), sources)


def _kind(name: str, scheme: published.Scheme) -> type[Published]:
    """The layout of a published corpus, with its scheme's words and its options."""
    base = Bleeding if scheme.tells_bleed else Published
    return type(name, (base,), {"__doc__": scheme.about, "scheme": scheme, "__module__": __name__})


LAYOUTS = {
    "stems": Stems, "musdb": Stems, "pairs": Pairs, "sources": Folders, "csv": Table,
    "librimix": LibriMix, "wsj0mix": Wsj0Mix,
    **{name: _kind(name, scheme) for name, scheme in published.SCHEMES.items()},
}  # fmt: skip


def _pair_folder(root: Path, name: str, subset: str | None) -> str | None:
    """The folder of `name` in `root`; ValueError where it may be one of several."""
    for known in dict.fromkeys((name, _FOLDERS.get(name, name))):
        if (root / known).is_dir() and subset is None:
            return known
        places = visible(root) if root.is_dir() else ()
        longer = sorted(p.name for p in places if p.is_dir() and p.name.startswith(f"{known}_"))
        longer = [folder for folder in longer if subset is None or subset in folder]
        if len(longer) > 1:
            raise ValueError(
                f"{root}: {name!r} may be {' or '.join(longer)}; name a subset, such as "
                f"{longer[0].removeprefix(known).strip('_')}"
            )
        if longer:
            return longer[0]
    return None


def _numbered(sources: Sequence[str]) -> dict[str, str]:
    return {name: f"s{n}" for n, name in enumerate(sources, start=1)}


def _aligned(root: Path, mixture: str, folders: Mapping[str, str]) -> list[Track]:
    """Recordings of one name in the folder `mixture` and in that of every source."""
    found = {}
    for folder in (mixture, *folders.values()):
        if not (root / folder).is_dir():
            raise ValueError(f"{root}: has no folder {folder!r}")
        found[folder] = stem_recordings(root / folder)
    tracks = [
        Track(name, "", {source: found[f][name] for source, f in folders.items()}, whole)
        for name, whole in found[mixture].items()
        if all(name in found[folder] for folder in folders.values())
    ]
    if not tracks:
        raise ValueError(f"{root}: no recording is in all of {', '.join(found)}")
    return tracks


def _named(parts: Mapping[str, Sequence[Recording]]) -> dict[str, Recording]:
    return {f"{part} {n}": r for part, files in parts.items() for n, r in enumerate(files)}


def _width(sound: np.ndarray, channels: int) -> np.ndarray:
    # A corpus for one channel takes the mean of wider recordings.
    return sound.mean(axis=1, keepdims=True) if channels == 1 < sound.shape[1] else sound
