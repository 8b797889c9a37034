"""Every layout of annotated recordings by the name of its kind, and all recordings of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from kzoo.data import labelled
from kzoo.data.annotated import named, timed
from kzoo.data.annotated.layout import MELODY, NAMES, ONSETS, Annotated, Layout, said
from kzoo.data.tracks import SUBSETS, Corpora, pooled

LAYOUTS: dict[str, Layout] = {**named.LAYOUTS, **timed.LAYOUTS}


def recognised(root: Path) -> tuple[str, Layout] | None:
    """(kind, layout) of the corpus that lies there, as its folders and files tell."""
    return next((item for item in LAYOUTS.items() if item[1].is_at(root)), None)


def find(
    corpus: Corpora, truth: str, *, subset: str | None = None, tracks: Sequence[str] = ()
) -> list[Annotated]:
    """Recordings under `corpus` of which `truth` (of `layout.NAMES` and the others) is known.

    subset: "train", "validation", "test" or "all"; by default test where there are several.
    corpus, tracks: as in `tracks.find_tracks`, and raises as that.
    """
    return pooled(corpus, lambda root: _under(root, truth, subset), tracks)


def _under(root: Path, truth: str, subset: str | None) -> list[Annotated]:
    if not root.exists():
        raise ValueError(f"{root}: is not there")
    known = recognised(root) if root.is_dir() else None
    if known is not None:
        kind, layout = known
        if truth not in layout.readers:
            raise ValueError(
                f"{root}: is {kind}, of which {', '.join(layout.readers)} are known, not {truth}"
            )
        return of_subset(layout.readers[truth](root), subset, default="test", where=root)
    if truth not in PLAIN:
        kinds = ", ".join(name for name, layout in LAYOUTS.items() if truth in layout.readers)
        raise ValueError(f"{root}: {truth} are read of {kinds}, and it is none of them")
    # A table, or a folder, or such folders in those of subsets.
    trees = {name: root / name for name in SUBSETS if (root / name).is_dir()}
    found = [
        replace(one, subset=name)
        for name, tree in (trees or {"test": root}).items()
        for one in PLAIN[truth](tree)
    ]
    return of_subset(found, subset, default="test", where=root)


def _labelled(path: Path) -> list[Annotated]:
    files = labelled.files_of(path)
    return [Annotated(name, "test", p, said(tuple(tags))) for name, (p, tags) in files.items()]


# How that is read which is no published corpus.
PLAIN = {NAMES: _labelled, ONSETS: timed.onsets_of, MELODY: timed.melodies_of}


def of_subset(
    found: Sequence[Annotated], subset: str | None, *, default: str, where: Path
) -> list[Annotated]:
    """Those of a subset, or of "all"; where there is one alone, that one is the default.

    Raises ValueError where there are none.
    """
    parts = dict.fromkeys(one.subset for one in found)
    if not parts:
        raise ValueError(f"{where}: holds no recordings")
    if subset is None:
        subset = default if default in parts and len(parts) > 1 else "all"
    kept = [one for one in found if subset in ("all", one.subset)]
    if not kept:
        raise ValueError(
            f"{where}: has no recordings of the subset {subset!r}; there are {', '.join(parts)}, "
            "all"
        )
    return kept
