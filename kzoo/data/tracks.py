"""Tracks with their true stems, in the layouts that people have.

    ROOT/<track>/<source>.wav               any format that kzoo.audio reads
    ROOT/{train,test}/<track>/<source>.wav  musdb's tree; there may be a folder validation, too
    ROOT/{train,test}/<track>.stem.mp4      MUSDB18 as it is published
    ROOT/{noisy,clean}/<track>.wav          VoiceBank-DEMAND's pairs, also as they are published,
                                            {noisy,clean}_{trainset_28spk,testset}_wav
    the published corpora of `kzoo.data.published`, recognised by their folders and files
A mixture.wav in a track is used as it is; without one the mixture is the sum of the stems. ROOT may
also be one track, a folder or a .stem.mp4. The stem of a pair is its speech.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np

from kzoo.data import published
from kzoo.data.recordings import (
    STEM_FILE,
    Recording,
    Track,
    is_stem_file,
    stem_recordings,
    visible,
)
from kzoo.hints import nearest

SUBSETS = ("train", "validation", "test")
# The streams of MUSDB18's files, in their order.
STREAMS = ("mixture", "drums", "bass", "other", "vocals")
_MIXTURES = ("mixture", "mix")
# Stems that are sums of others: never summed again.
_SUMS = ("accompaniment", "instrumental")
# Sources that stand for whatever the other sources of a system leave.
_RESTS = (*_SUMS, "other", "rest")

Corpora = str | Path | Sequence[str | Path]  # one, or several that are taken together
Named = TypeVar("Named")  # a dataclass with a name, such as Track


@dataclass(frozen=True)
class Sound:
    """What is compared with: `mixture` `[samples, channels]`, `references` {source: the same}."""

    mixture: np.ndarray
    references: dict[str, np.ndarray]
    sample_rate: int


def corpora_of(corpus: Corpora) -> list[str | Path]:
    """One corpus or several as a list."""
    return [corpus] if isinstance(corpus, str | Path) else list(corpus)


def find_tracks(
    corpus: Corpora, *, subset: str | None = None, tracks: Sequence[str] = ()
) -> list[Track]:
    """Tracks under `corpus`, by name; of musdb's tree the test subset unless `subset` says else.

    corpus: of several, tracks are called <folder>/<track>. subset: "train", "validation", "test" or
    "all", and what else a published corpus has, as "omitted" of Slakh2100.
    tracks: only these names. Where a stem comes in two formats the lossless one is taken. Raises
    ValueError where nothing is found, a name is unknown, or two corpora have folders of one name.
    """
    return pooled(corpus, lambda root: _tracks_under(root, subset), tracks)


def pooled(
    corpus: Corpora, under: Callable[[Path], Sequence[Named]], tracks: Sequence[str] = ()
) -> list[Named]:
    """What `under` gives of each of `corpus`, in the names and of the choice of `find_tracks`."""
    corpora = corpora_of(corpus)
    folders = [Path(one).resolve().name for one in corpora]
    if len(set(folders)) < len(folders):
        raise ValueError(f"corpora must have folders of different names; got {', '.join(folders)}")
    found = [
        replace(track, name=f"{folder}/{track.name}") if len(corpora) > 1 else track
        for folder, one in zip(folders, corpora, strict=True)
        for track in under(Path(one))
    ]
    known = [track.name for track in found]
    for name in tracks:
        if name not in known:
            hint = nearest(name, known, f"it has {', '.join(known[:8])}", likeness=0.3)
            raise ValueError(f"{', '.join(map(str, corpora))}: has no track {name!r}; {hint}")
    return [track for track in found if not tracks or track.name in tracks]


def _tracks_under(root: Path, subset: str | None) -> list[Track]:
    if not root.exists():
        raise ValueError(f"{root}: there is no such folder")
    if scheme := published.recognised(root):
        return scheme.tracks(root, subset, default="test")
    folders = {name: [root / name] for name in SUBSETS if (root / name).is_dir()}
    folders = folders or _published_pairs(root)
    if subset not in (None, "all", *SUBSETS):
        raise ValueError(f"subset must be one of {', '.join(SUBSETS)}, all; got {subset!r}")
    if subset in SUBSETS and subset not in folders:
        raise ValueError(f"{root}: has no folder {subset!r}")
    if folders and subset != "all":
        wanted = subset or next(name for name in ("test", *SUBSETS) if name in folders)
        folders = {wanted: folders[wanted]}
    # museval looks for scores under test/, so that is the subset of what has none.
    found = [
        track
        for name, places in (folders or {"test": [root]}).items()
        for place in places
        for track in _tracks_in(place, name)
    ]
    if not found:
        raise ValueError(
            f"{root}: holds no tracks; expected <track>/<source>.wav, or *{STEM_FILE} files"
        )
    return found


def read_track(
    track: Track,
    sources: Sequence[str],
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    sample_rate: int | None = None,
) -> Sound:
    """The true sources and the mixture, float32, cropped; sources that the track lacks are absent.

    sample_rate: resample to this rate.
    Stems shorter than others are silent at their end; single-channel ones are played on every
    channel. Raises ValueError for stems at different rates, or where fewer than two of several
    `sources` are there; audio.AudioError for what cannot be read.
    """
    assigned = members(track.stems, sources)
    present = {source: names for source, names in assigned.items() if names}
    if len(present) < min(2, len(sources)):
        raise ValueError(
            f"{track.name}: of the sources {', '.join(sources)} it has "
            f"{', '.join(present) or 'none'}; its stems are {', '.join(track.stems) or 'missing'}"
        )
    used = {name for names in present.values() for name in names}
    parts = [] if track.mixture else components(track.stems)
    wanted = {name: track.stems[name] for name in track.stems if name in used or name in parts}
    if track.mixture:
        wanted["mixture"] = track.mixture
    signals, sample_rate = read_recordings(
        wanted, start_seconds=start_seconds, duration_seconds=duration_seconds,
        sample_rate=sample_rate,
    )  # fmt: skip
    mixture = signals["mixture"] if track.mixture else sum_of(signals[name] for name in parts)
    references = {
        source: sum_of(signals[name] for name in names) for source, names in present.items()
    }
    return Sound(mixture, references, sample_rate)


def members(stems: Iterable[str], sources: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """{source: the stems whose sum it is}; empty where there are none.

    A source is the stem of its name, or the sum of those called <source>/<anything>. One that
    stands for the rest (accompaniment, instrumental, other, no_<stem>) is the sum of the stems that
    no other of `sources` claims: the accompaniment of a two-stem system is everything but the
    vocals. That holds for estimates as for references: four estimated stems can be scored as two.
    """
    stems = list(stems)
    left = [name for name in stems if name not in sources and source_of(name) not in sources]
    free = [name for name in left if not is_sum(name)]
    sums = [name for name in left if is_sum(name)]
    assigned = {}
    for source in sources:
        own = tuple(name for name in stems if source in (name, source_of(name)))
        if is_sum(source):
            assigned[source] = own or tuple(free) or tuple(sums[:1])
        elif source in _RESTS:
            assigned[source] = (*own, *free)
        else:
            assigned[source] = own
    return assigned


def components(stems: Iterable[str]) -> list[str]:
    """Those of `stems` that make the mixture: without the sums, where there is more than one."""
    stems = list(stems)
    parts = [name for name in stems if not is_sum(name)]
    return parts if len(parts) > 1 else stems


def source_of(stem: str) -> str:
    """The source that a stem belongs to, as "guitar" of "guitar/S04"."""
    return stem.partition("/")[0]


def is_sum(name: str) -> bool:
    """Whether a stem of this name is made of others."""
    return name in _SUMS or name.startswith("no_")


def read_recordings(
    recordings: Mapping[str, Recording],
    *,
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    sample_rate: int | None = None,
) -> tuple[dict[str, np.ndarray], int]:
    """{name: `[samples, channels]`} of one length and width, and their rate.

    sample_rate: resample to this rate.
    Raises ValueError where rates differ, or channels other than one and the common width.
    """
    signals, rates = {}, {}
    for name, recording in recordings.items():
        signals[name], rates[name] = recording.read(
            sample_rate=sample_rate, start_seconds=start_seconds,
            duration_seconds=duration_seconds,
        )  # fmt: skip
    if len(set(rates.values())) > 1:
        listed = ", ".join(f"{name} {rate} Hz" for name, rate in rates.items())
        raise ValueError(f"stems must have one sample rate; got {listed}: resample them")
    samples = max(len(signal) for signal in signals.values())
    channels = max(signal.shape[1] for signal in signals.values())
    if any(signal.shape[1] not in (1, channels) for signal in signals.values()):
        listed = ", ".join(f"{name} {x.shape[1]} channels" for name, x in signals.items())
        raise ValueError(f"stems must have as many channels, or one; got {listed}")
    fitted = {name: fitted_to(signal, samples, channels) for name, signal in signals.items()}
    return fitted, next(iter(rates.values()))


def fitted_to(signal: np.ndarray, samples: int, channels: int) -> np.ndarray:
    """Cut or padded with zeros to `samples`; one channel is played on all of `channels`."""
    if signal.shape[1] not in (1, channels):
        raise ValueError(f"signals of {signal.shape[1]} and {channels} channels do not go together")
    signal = np.pad(signal[:samples], ((0, max(0, samples - len(signal))), (0, 0)))
    return signal if signal.shape[1] == channels else np.repeat(signal, channels, axis=1)


def sum_of(signals: Iterable[np.ndarray]) -> np.ndarray:
    """Sum of at least one signal, in float32."""
    first, *others = signals
    total = first.copy()
    for signal in others:
        total += signal
    return total


def _tracks_in(folder: Path, subset: str) -> list[Track]:
    if folder.is_file():
        return [_stem_file_track(folder, subset)] if is_stem_file(folder) else []
    clean = _clean_beside(folder)
    if clean:
        return _pairs(folder, clean, subset)
    if _clean_beside(folder / "noisy"):
        return _pairs(folder / "noisy", folder / "clean", subset)
    found = []
    for path in visible(folder):
        if is_stem_file(path):
            found.append(_stem_file_track(path, subset))
        elif path.is_dir() and (stems := stem_recordings(path)):
            found.append(_folder_track(path.name, stems, subset))
    if not found and (stems := stem_recordings(folder)):
        return [_folder_track(folder.resolve().name, stems, subset)]
    return found


def _published_pairs(root: Path) -> dict[str, list[Path]]:
    """{subset: the noisy folders} of VoiceBank-DEMAND's archives, unpacked side by side."""
    found: dict[str, list[Path]] = {}
    for folder in visible(root) if root.is_dir() else ():
        subset = next((name for name in SUBSETS if f"_{name}set" in folder.name), None)
        if subset and _clean_beside(folder):
            found.setdefault(subset, []).append(folder)
    return found


def _clean_beside(noisy: Path) -> Path | None:
    """The folder of the clean recordings for one of noisy ones, by their names."""
    clean = noisy.with_name(noisy.name.replace("noisy", "clean", 1))
    return clean if noisy.name.startswith("noisy") and noisy.is_dir() and clean.is_dir() else None


def _pairs(noisy: Path, clean: Path, subset: str) -> list[Track]:
    """A track for each noisy recording; one without a clean one has no stems."""
    found = []
    references = stem_recordings(clean)
    for name, mixture in stem_recordings(noisy).items():
        stems = {"speech": references[name]} if name in references else {}
        found.append(Track(mixture.path.stem, subset, stems, mixture))
    return found


def _folder_track(name: str, recordings: Mapping[str, Recording], subset: str) -> Track:
    mixture = next((recordings[key] for key in _MIXTURES if key in recordings), None)
    stems = {key: value for key, value in recordings.items() if key not in _MIXTURES}
    return Track(name, subset, stems, mixture)


def _stem_file_track(path: Path, subset: str) -> Track:
    streams = {name: Recording(path, k) for k, name in enumerate(STREAMS)}
    mixture = streams.pop("mixture")
    return Track(path.name.removesuffix(STEM_FILE), subset, streams, mixture)
