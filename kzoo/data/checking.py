"""What a corpus of recordings holds, and what is wrong with it: everything is decoded once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kzoo import audio, config
from kzoo.data import published, solo
from kzoo.data.annotated import checking as annotated
from kzoo.data.recorded import LAYOUTS, Published, Stems
from kzoo.data.recordings import Track, stem_recordings, visible
from kzoo.data.tracks import SUBSETS, components, find_tracks, fitted_to, members, source_of

KINDS = ("speech", "solo", *LAYOUTS)
# Folders of these names hold one source, or the mixtures, of all tracks, and are no tracks.
_PARTS = {
    "clean", "noisy", "noise", "speech", "mix", "mix_clean", "mix_both", "mixture", "s1", "s2",
    "vocals", "drums", "bass", "other", "accompaniment",
}  # fmt: skip
_SILENT = 1e-5
_HALF_STEP = 1 / 65536  # of 16 bits: how far rounding moves each recording


def list_tracks(path: str, kind: str | None, options: dict[str, Any]) -> tuple[list, list[str]]:
    """(tracks of a corpus of a kind, by default stems; lines about what else lies there).

    Raises config.ConfigError for another kind or options that it does not take, ValueError where
    there are no tracks.
    """
    if kind not in (None, *KINDS):
        listed = ", ".join((*KINDS, *annotated.KINDS))
        raise config.ConfigError(f"a kind that can be checked is one of {listed}; got {kind!r}")
    options = {"path": path, **options}
    if kind == "solo":
        return config.call(solo.find_tracks, options, where="corpus solo"), []
    name = {None: "stems", "speech": "sources"}.get(kind, kind)
    layout = config.call(LAYOUTS[name], options, where=f"corpus {name}")
    scheme = published.recognised(Path(path)) if isinstance(layout, Stems) else None
    if scheme is not None:
        return scheme.tracks(Path(path), layout.subset, default="all"), []
    if isinstance(layout, Published):
        layout.subset = layout.subset or "all"
    if not isinstance(layout, Stems):
        tracks = layout.tracks()
        return tracks, _speakers(tracks) if kind == "pairs" else []
    subset = layout.subset
    trees = [Path(path) / name for name in SUBSETS if (Path(path) / name).is_dir()]
    tracks = find_tracks(path, subset=subset or "all" if trees else subset)
    tops = [tree for tree in trees if subset in (None, "all", tree.name)] or [Path(path)]
    lines = [
        f"{folder}: holds no sound, and is no track"
        for top in tops if top.is_dir()
        for folder in visible(top)
        if folder.is_dir() and not stem_recordings(folder)
    ]  # fmt: skip
    odd = [track.name for track in tracks if track.name.lower() in _PARTS]
    if kind is None and len(tracks) > 1 and odd:
        lines.append(
            f"{', '.join(odd)}: read as tracks, but named as parts of them: --kind pairs is for "
            "folders of aligned recordings (with --mixture and --sources), --kind sources for "
            "folders of any"
        )
    return tracks, lines


def _speakers(tracks: Sequence[Track]) -> list[str]:
    """A line about who speaks, where names of aligned recordings begin with it, as p226_001."""
    speakers = Counter(track.name.partition("_")[0] for track in tracks if "_" in track.name)
    if sum(speakers.values()) < len(tracks) or not 1 < len(speakers) < len(tracks):
        return []
    listed = ", ".join(f"{name} {count}" for name, count in sorted(speakers.items()))
    first = min(speakers)
    return [
        f"by their names {len(speakers)} speakers: {listed}; to hold one out: "
        f"exclude: [{first}_*] in training, include: [{first}_*] in validation"
    ]


def check_tracks(
    tracks: Sequence[Track],
    *,
    progress: Callable[[float, float], None],
    aligned: bool = True,
    sources: Sequence[str] = (),
) -> tuple[list[str], list[str]]:
    """(what the tracks hold, what is wrong with them), a line each; recordings are decoded.

    progress: called with (seconds done, seconds in all). aligned: as of `Corpus`.
    sources: those that the tracks are to have, "accompaniment" being the sum of what no other
        claims; a track without any of them is wrong. Empty asks for none.
    """
    lines, problems = [], []
    counts = Counter(name for track in tracks for name in set(map(source_of, track.stems)))
    for name, count in sorted(counts.items()):
        if not aligned:
            lines.append(f"{name}: {count} recordings")
        elif count < len(tracks):
            lines.append(f"{name}: in {count} of {len(tracks)} tracks only")
    done, total = 0.0, sum(track.seconds() for track in tracks)
    for track in tracks:
        found, wrong = _check_track(track, sources)
        lines += [f"{track.name}: {line}" for line in found]
        problems += [f"{track.name}: {line}" for line in wrong]
        done += track.seconds()
        progress(done, total)
    common = [name for name, count in sorted(counts.items()) if count == len(tracks)]
    in_all = f"; in all: {', '.join(common) or 'no stem'}" if aligned else ""
    lines.append(f"{len(tracks)} tracks, {done / 60:.1f} minutes{in_all}")
    return lines, problems


def _check_track(track: Track, sources: Sequence[str]) -> tuple[list[str], list[str]]:
    lines, problems = [], []
    if not track.stems:
        problems.append("holds a mixture and no stems")
    if track.has_bleed:
        lines.append("its corpus says that sources are heard in each other's stems")
    absent = [name for name, stems in members(track.stems, sources).items() if not stems]
    if absent and len(absent) == len(sources):
        problems.append(f"has none of {', '.join(sources)}; its stems are {', '.join(track.stems)}")
    elif absent:
        lines.append(f"has no {', '.join(absent)}")
    parts = components(track.stems)
    recordings = {**track.stems, **({"mixture": track.mixture} if track.mixture else {})}
    found, mixture, total = {}, None, np.zeros((0, 1), np.float32)
    for name, recording in recordings.items():
        try:
            sound, rate = recording.read()
        except audio.AudioError as error:
            problems.append(" ".join(str(error).split()))
            continue
        found[name] = (*sound.shape, rate)
        if not np.isfinite(sound).all():
            problems.append(f"{name} holds values that are no numbers")
        elif np.abs(sound).max(initial=0) < _SILENT:
            lines.append(f"{name} is silent")
        if name == "mixture":
            mixture = sound
        elif name in parts and (wider := _widest(total, sound)):
            total = fitted_to(total, *wider) + fitted_to(sound, *wider)
    rates = sorted({rate for _, _, rate in found.values()})
    widths = sorted({channels for _, channels, _ in found.values()} - {1})
    if len(rates) > 1:
        problems.append(f"its recordings have different rates: {rates} Hz")
    if len(widths) > 1:
        problems.append(f"its recordings have different numbers of channels: {widths}")
    if not found:
        return lines, problems
    lengths = [samples / rate for samples, _, rate in found.values()]
    if max(lengths) - min(lengths) > 0.1:
        lines.append(f"its recordings end {max(lengths) - min(lengths):.1f} s apart")
    if mixture is not None and len(parts) > 1 and len(found) == len(recordings) and not problems:
        lines += _difference(mixture, total, len(parts))
    lines.append(f"{max(lengths):.1f} s, {rates[0]} Hz, {', '.join(found)}")
    return lines, problems


def _widest(total: np.ndarray, sound: np.ndarray) -> tuple[int, int] | None:
    """The shape that both fit into; None where there is none."""
    shape = max(len(total), len(sound)), max(total.shape[1], sound.shape[1])
    return shape if {total.shape[1], sound.shape[1]} <= {1, shape[1]} else None


def _difference(mixture: np.ndarray, total: np.ndarray, count: int) -> list[str]:
    """A line where the mixture is further from the sum of `count` stems than rounding explains."""
    shape = _widest(mixture, total)
    mixture, total = fitted_to(mixture, *shape), fitted_to(total, *shape)
    difference = mixture - total
    energy = float(np.sum(np.square(mixture, dtype=np.float64)))
    if np.abs(difference).max(initial=0) <= (count + 1) * _HALF_STEP * 1.01 or not energy:
        return []
    ratio = float(np.sum(np.square(difference, dtype=np.float64))) / energy
    return [
        "the mixture is not the sum of its stems: their difference is at "
        f"{10 * np.log10(ratio):.1f} dB of the mixture"
    ]
