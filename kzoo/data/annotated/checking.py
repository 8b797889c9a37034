"""What a corpus of annotated recordings holds, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

from kzoo.data import published
from kzoo.data.annotated.layout import MELODY, NAMES, ONSETS, PHONES, Annotated
from kzoo.data.annotated.layouts import LAYOUTS, PLAIN, of_subset, recognised
from kzoo.data.recordings import Recording, Track

# Kinds of `kzoo data check` that are no published corpora.
_PLAIN_KINDS = {"labelled": NAMES, "events": ONSETS, "melodies": MELODY}
KINDS = (*LAYOUTS, *_PLAIN_KINDS)
_LISTED = 60  # names of which a line says how often they are there


def checked_as(kind: str | None, root: Path) -> str | None:
    """Of KINDS, what `kzoo data check` takes a folder for; None where it is nothing of these.

    kind: that was asked for. Without one it is what lies there and is nothing else that is known;
    what `kzoo data render` wrote is then checked as stems.
    """
    if kind is not None:
        return kind if kind in KINDS else None
    if not root.is_dir() or published.recognised(root):
        return None
    found = recognised(root)
    return None if found is None or found[0] == "rendered" else found[0]


def check(
    path: str, kind: str, subset: str | None, check_tracks: Callable
) -> tuple[list[str], list[str]]:
    """(what there is, what is wrong), a line each: truths are read, and every sound is decoded.

    subset: by default all. check_tracks: `data.checking.check_tracks`, which decodes. Raises
    ValueError where nothing of the kind lies there.
    """
    root = Path(path)
    if kind in _PLAIN_KINDS:
        readers = {_PLAIN_KINDS[kind]: PLAIN[_PLAIN_KINDS[kind]]}
    else:
        readers = LAYOUTS[kind].readers
        if not root.is_dir() or not LAYOUTS[kind].is_at(root):
            raise ValueError(f"{root}: is no {kind}; {LAYOUTS[kind].about}")
    lines, problems = [], []
    for truth, reader in readers.items():
        found = of_subset(reader(root), subset or "all", default="all", where=root)
        said, wrong = _truths(truth, found)
        lines += said
        problems += wrong
    # A recording is decoded once, whatever number of stretches of it has a truth.
    once = {one.path: one for one in found}.values()
    tracks = [Track(one.name, one.subset, {"audio": Recording(one.path)}) for one in once]
    more, wrong = check_tracks(tracks)
    return lines + more, problems + wrong


def _truths(truth: str, found: list[Annotated]) -> tuple[list[str], list[str]]:
    """What is true of recordings, in lines of all of them, and what cannot be read."""
    values, problems = [], []
    for one in found:
        try:
            values.append(one.read())
        except (ValueError, OSError) as error:
            problems.append(f"{one.name}: {' '.join(str(error).split())}")
    counts = Counter(one.subset for one in found)
    parts = ", ".join(f"{name} {count}" for name, count in counts.items())
    return [f"{truth} of {len(found)} recordings ({parts}): {_SUMMARY[truth](values)}"], problems


def _names(values) -> str:
    counts = Counter(name for names in values for name in names)
    listed = ", ".join(f"{name} {count}" for name, count in counts.most_common(_LISTED))
    more = f" and {len(counts) - _LISTED} more" if len(counts) > _LISTED else ""
    return f"{len(counts)} names, {listed}{more}"


def _onsets(values) -> str:
    return f"{sum(map(len, values))} onsets"


def _melodies(values) -> str:
    frames = sum(len(hertz) for _, hertz in values)
    voiced = sum((hertz > 0).sum() for _, hertz in values)
    return f"{frames} frames, {100 * voiced / max(1, frames):.0f} % of them with a melody"


def _phones(values) -> str:
    return _names([[phone.name for phone in phones] for phones in values])


_SUMMARY = {NAMES: _names, ONSETS: _onsets, MELODY: _melodies, PHONES: _phones}
