"""The one loop over files of every verb: refuse early, load once, try each, count what failed."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from kzoo.audio import AudioError, safe_track_name
from kzoo.cli.terminal import OUR_ERRORS, bar, complain, say


class Job(NamedTuple):
    """A file to read, and the files to write of it by what they hold."""

    path: Path
    targets: Mapping[str, Path]


class Outcome(NamedTuple):
    """What to say of a job that is done: a line that --quiet leaves out, warnings, and an answer.

    answer: a line on standard output, where it is what the verb is for.
    """

    summary: str
    notes: Sequence[str] = ()
    answer: str = ""


# Called with (seconds done, seconds in all or None).
Progress = Callable[[float, float | None], object]
Work = Callable[[Job, Progress], Outcome]


def each_recording(
    files: Sequence[str],
    out: str,
    *,
    places: Callable[[str], Mapping[str, str]],
    check: Callable[[Job], object],
    load: Callable[[], Work],
    overwrite: bool,
    quiet: bool,
) -> None:
    """`each_job` for recordings, "-" being one from stdin, and a folder `out`, "-" being stdout.

    places: the name of a recording, without its suffix, to the files of it in `out`. Stdout takes a
    single file of a single recording, which the verb has to see to.
    Raises ValueError for two recordings of one name, and SystemExit(1) as `each_job`.
    """
    to_stdout = out == "-"
    with tempfile.TemporaryDirectory(prefix="kzoo.") as spool:
        folder = Path(spool, "out") if to_stdout else Path(out)
        jobs = [
            Job(path, {name: folder / place for name, place in places(track).items()})
            for path, track in _tracks(files, Path(spool)).items()
        ]

        def load_for_stdout() -> Work:
            work = load()

            def work_to_stdout(job: Job, progress: Progress) -> Outcome:
                outcome = work(job, progress)
                for target in job.targets.values():
                    with open(target, "rb") as file:
                        shutil.copyfileobj(file, sys.stdout.buffer)
                return outcome._replace(summary="")

            return work_to_stdout

        each_job(jobs, check=check, load=load_for_stdout if to_stdout else load,
                 overwrite=overwrite, quiet=quiet)  # fmt: skip


def check_stdout(files: Sequence[str], out: str, endings: Sequence[str]) -> None:
    """Raise ValueError where `out` is stdout and there is more than the CSV of one recording."""
    if out == "-" and (len(files) != 1 or len(endings) > 1):
        raise ValueError(
            "stdout takes the CSV of one recording; got "
            f"{len(files)} recordings, {', '.join(endings)}"
        )


def each_job(
    jobs: Sequence[Job],
    *,
    check: Callable[[Job], object],
    load: Callable[[], Work],
    overwrite: bool,
    quiet: bool,
) -> None:
    """Do every job that passes its check; one that fails is a line and does not lose the others.

    check: what a verb refuses before anything is loaded; files that exist are refused besides.
    load: called once, before the first job, for what takes long: it returns the work on a job.
    Raises SystemExit(1) after the last job where any of them failed.
    """
    accepted, failed = [], 0
    for job in jobs:
        try:
            check(job)
            _refuse_existing(job, [other.path for other in jobs], overwrite=overwrite)
        except OUR_ERRORS as error:
            complain(error)
            failed += 1
        else:
            accepted.append(job)
    work = load() if accepted else None
    for job in accepted:
        try:
            with bar(job.path.name, unit="seconds", show=not quiet) as progress:
                outcome = work(job, progress)
        except OUR_ERRORS as error:
            complain(error)
            failed += 1
            continue
        if outcome.answer:  # not within the bar, which takes standard output for its own
            print(outcome.answer, flush=True)
        for note in outcome.notes:
            say(f"{job.path.name}: {note}")
        if outcome.summary and not quiet:
            say(f"{job.path.name}: {outcome.summary}")
    if failed:
        raise SystemExit(1)


def _refuse_existing(job: Job, recordings: Sequence[Path], *, overwrite: bool) -> None:
    """AudioError where a target is one of the recordings, or exists and is not to be replaced."""
    for target in job.targets.values():
        for path in recordings:
            if target.exists() and path.exists() and target.samefile(path):
                what = "the recording itself" if path == job.path else "another recording"
                raise AudioError(f"{target}: is {what}; name another place by -o")
        if target.exists() and not overwrite:
            raise AudioError(f"{target}: exists already; --overwrite replaces it")


def _tracks(files: Sequence[str], spool: Path) -> dict[Path, str]:
    """Path to name; stdin is written down first, since containers are read back and forth."""
    tracks: dict[Path, str] = {}
    for file in dict.fromkeys(files):
        path = Path(file)
        if file == "-":
            path = spool / "stdin"
            try:
                with open(path, "wb") as copy:
                    shutil.copyfileobj(sys.stdin.buffer, copy)
            except OSError as error:
                raise AudioError(
                    f"stdin cannot be copied to {spool}: {error.strerror}; the variable TMPDIR "
                    "names another folder for temporary files"
                ) from error
        track = safe_track_name(path)
        if track in tracks.values():
            raise ValueError(f"two recordings are called {track!r}; write them to two folders")
        tracks[path] = track
    return tracks
