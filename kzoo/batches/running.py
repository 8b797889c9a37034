"""A manifest done within this process, and what every runner shares: one run at a time."""

from __future__ import annotations

import contextlib
import fcntl
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from kzoo.batches.manifest import Manifest
from kzoo.batches.once import Job, Refused, Worker, clear_unfinished, do_once

DEAD_LETTERS = "dead_letters.jsonl"


@dataclass
class Counts:
    """Rows by what became of them."""

    made: int = 0
    kept: int = 0
    dead: int = 0


class Run(Protocol):
    """What `run` does, by this process or by others."""

    def __call__(
        self, manifest: Manifest, job: Job, out: str | Path, *, overwrite: bool
    ) -> Counts: ...


@contextlib.contextmanager
def alone(out: str | Path) -> Iterator[None]:
    """Within it no other run writes to the folder; what a killed one left is cleared away.

    Raises ValueError where another run is at it.
    """
    Path(out).mkdir(parents=True, exist_ok=True)
    with open(Path(out, ".lock"), "w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise ValueError(f"{out}: another run writes to it; wait for its end") from None
        clear_unfinished(out)
        yield
        clear_unfinished(out)


def result(
    line: str, manifest: Manifest, worker: Worker, out: str | Path, *, overwrite: bool
) -> tuple[str, str | None]:
    """(MADE or KEPT, None) of a manifest's line; ("dead", the letter) where it cannot be done."""
    try:
        row = manifest.row(line)
    except ValueError as reason:
        return "dead", _letter(reason, line=line.strip())
    try:
        return do_once(row, worker, out, overwrite=overwrite), None
    except Refused as reason:
        return "dead", _letter(reason, path=row.path, id=row.id)


def run(
    manifest: Manifest,
    job: Job,
    out: str | Path,
    *,
    overwrite: bool = False,
    progress: Callable[[int, int], object] | None = None,
) -> Counts:
    """Do every row of a manifest, one after the other; rows that cannot be done go to DEAD_LETTERS.

    progress: called with (rows done, rows in all). A kill costs the row that was under way.
    """
    counts, worker = Counts(), Worker(job)
    total = sum(1 for _ in manifest.lines())
    with alone(out), open(Path(out, DEAD_LETTERS), "w", encoding="utf-8") as letters:
        for number, line in enumerate(manifest.lines(), 1):
            what, letter = result(line, manifest, worker, out, overwrite=overwrite)
            setattr(counts, what, getattr(counts, what) + 1)
            if letter is not None:
                letters.write(letter + "\n")
                letters.flush()
            if progress:
                progress(number, total)
    return counts


def _letter(reason: ValueError, **about: str) -> str:
    return json.dumps({**about, "reason": " ".join(str(reason).split())})
