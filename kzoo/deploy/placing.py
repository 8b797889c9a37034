"""Written beside its place, and moved there when it is whole: a failure leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def beside(place: Path) -> Iterator[Path]:
    """A temporary folder on the same disk as `place`; on failure no new folder stays behind."""
    new = [p for p in (place.parent, *place.parent.parents) if not p.exists()]
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for folder in new:
            with contextlib.suppress(OSError):  # not empty: the artefact is in it
                folder.rmdir()


def move(written: Path, place: Path, temporary: Path) -> None:
    """Put what was written in its place, over what is there; `temporary` is of `beside`."""
    # A folder cannot be replaced in one step where it holds something: the old one steps aside.
    if place.is_dir():
        os.replace(place, temporary / f"{place.name}.old")
    os.replace(written, place)
    place.chmod(0o755 if place.is_dir() else 0o644)
