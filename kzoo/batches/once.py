"""One row done once: its results and their record appear together, by one rename of a folder."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Protocol

from kzoo.batches.manifest import Row
from kzoo.files import file_sha256

RECORD, UNFINISHED = "record.json", ".unfinished"
MADE, KEPT = "made", "kept"

# Writes a row's results to a folder; what it returns, as JSON has it, are the notes of the record.
Work = Callable[[Row, Path], Any]


class Refused(ValueError):
    """A row that cannot be done, and why, in one line."""


class Job(Protocol):
    """What is done to each row, pickled to the workers.

    settings: all that results depend on beside the recording and the row, as JSON has it.
    """

    settings: Mapping[str, Any]

    def load(self) -> Work:
        """Do what takes long, once a worker: returns what writes a row's results to a folder."""


class Worker:
    """A job on one process: loaded when first needed, by one thread, for all of them."""

    def __init__(self, job: Job):
        self.job = job
        self._work: Work | None = None
        self._lock = threading.Lock()

    def work(self) -> Work:
        """The work of the job, loaded at the first call."""
        with self._lock:
            if self._work is None:
                self._work = self.job.load()
            return self._work


def do_once(row: Row, worker: Worker, out: str | Path, *, overwrite: bool = False) -> str:
    """Make OUT/<id> of a row: MADE, or KEPT where it is there from the same bytes and settings.

    Results whose own bytes have changed are made again. overwrite: so are those of other settings,
    or of a recording that has changed; never those of another recording.
    Raises Refused for what is damaged, and where OUT/<id> holds something else.
    """
    target = Path(out, row.id)
    try:
        asked = {
            "path": row.path, "sha256": row.sha256(), "options": dict(row.options),
            "settings": dict(worker.job.settings),
        }  # fmt: skip
        if _is_there(target, asked, overwrite=overwrite):
            return KEPT
    except (ValueError, OSError) as error:
        raise Refused(_line(error)) from error
    work = worker.work()  # an error here is none of the row
    try:
        Path(out, UNFINISHED).mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=Path(out, UNFINISHED)) as scratch:
            made = Path(scratch, row.id)
            made.mkdir()
            notes = work(row, made)
            files = {path.name: file_sha256(path) for path in sorted(made.iterdir())}
            record = json.dumps({**asked, "files": files, "notes": notes}, indent=1)
            (made / RECORD).write_text(record, encoding="utf-8")
            # Another worker may have been as quick with a row of the same name.
            if _is_there(target, asked, overwrite=overwrite):
                return KEPT
            if target.exists():
                os.rename(target, Path(scratch, ".before"))
            try:
                os.rename(made, target)
            except OSError:
                if _is_there(target, asked, overwrite=False):
                    return KEPT
                raise
    except (ValueError, OSError, MemoryError) as error:
        raise Refused(_line(error)) from error
    return MADE


def record_of(folder: Path) -> dict[str, Any] | None:
    """The record that `do_once` left in a folder; None where there is none, or no whole one."""
    try:
        record = json.loads((folder / RECORD).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    needed = ("path", "files", "notes", "settings")
    return record if isinstance(record, dict) and all(key in record for key in needed) else None


def clear_unfinished(out: str | Path) -> None:
    """Remove what a killed run has left half-made; no other run may be writing to `out`."""
    shutil.rmtree(Path(out, UNFINISHED), ignore_errors=True)


def _is_there(target: Path, asked: Mapping[str, Any], *, overwrite: bool) -> bool:
    """Whether `target` is what is asked for; Refused where it is something that must stay."""
    if not target.exists():
        return False
    record = record_of(target)
    if record is None:
        raise Refused(f"{target}: exists, and no manifest made it: name another folder")
    path = record["path"]
    differing = [key for key in asked if key != "path" and record.get(key) != asked[key]]
    if not differing:
        return all(
            (target / name).is_file() and file_sha256(target / name) == sha256
            for name, sha256 in record["files"].items()
        )
    if path != asked["path"]:
        raise Refused(f"{target}: is of {path}: give the rows ids of their own")
    if not overwrite:
        raise Refused(
            f"{target}: was made with other {' and '.join(differing)}; --overwrite replaces it"
        )
    return False


def _line(error: BaseException) -> str:
    """The message of an error on one line."""
    if isinstance(error, OSError) and error.filename is not None and error.strerror:
        return f"{error.filename}: {error.strerror}"
    return " ".join(str(error).split()) or type(error).__name__
