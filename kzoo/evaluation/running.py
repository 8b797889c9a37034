"""Every system on every track: separated here, scored in as many processes as are wanted."""

from __future__ import annotations

import contextlib
import dataclasses
import multiprocessing
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ALL_COMPLETED, FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import Any

from kzoo.data.recordings import Track
from kzoo.data.tracks import Corpora, corpora_of, find_tracks, read_track
from kzoo.evaluation.averages import make_report
from kzoo.evaluation.museval_scores import MusevalScores
from kzoo.evaluation.report import Failure, Report
from kzoo.evaluation.scoring import Job, Settings, identity, read_json, score, track_scores
from kzoo.evaluation.speech import Speech
from kzoo.evaluation.systems import Baseline, Separation, StoredEstimates, System
from kzoo.files import replacing

# What a track can do wrong; anything else is a mistake of ours and stops the evaluation.
TRACK_ERRORS = (ValueError, OSError, MemoryError, RuntimeError)


def evaluate(
    corpus: Corpora,
    systems: Sequence[System],
    *,
    sources: Sequence[str],
    out: str | Path | None = None,
    subset: str | None = None,
    tracks: Sequence[str] = (),
    start_seconds: float = 0.0,
    duration_seconds: float | None = None,
    baselines: Sequence[str] = ("mixture", "irm"),
    against: Sequence[str] | None = None,
    speech: Speech | None = None,
    columns: Sequence[str] = (),
    processes: int = 1,
    progress: Callable[[float, float], None] | None = None,
    scored: Callable[[str, Mapping[str, Mapping[str, float]]], None] | None = None,
    command: str | None = None,
    page: bool = False,
) -> Report:
    """Scores of `systems`, and of the mixture and oracle masks, on the tracks of `corpus`.

    corpus: a folder, or several, whose tracks are averaged together and called <folder>/<track>.
    out: folder for OUT/<system>/<subset>/<track>.json (museval's format, which its readers take)
        and for the tables. Scores that are there already, of the same data, settings and system,
        are not made again.
    baselines: of `systems.BASELINES`, those that are not among `systems` already.
    against: names of those systems that all others are compared with, track by track; by default
        the mixture, where it is scored, and the first of several `systems`.
    speech: score by the measures of speech (`kzoo.evaluation.speech`) the one source that there is.
    columns: names of `kzoo.metrics.MEASURES` in place of the measures that are there by default.
    processes: that score; separation stays in this one, and no more than a few tracks are held at
        a time. One that is killed costs the track that it was scoring.
    progress: called with (scores done, scores in all).
    scored: called with (system, {source: {measure: value}}) of each track as it comes, and with no
        source where a track failed.
    page: also write OUT/report.html, which has plots, and excerpts to hear.
    A track that fails is in the report's failures; the others are scored. Raises ValueError where
    nothing can be: no such corpus, track or subset, two systems of one name, or several sources as
    speech; ImportError where the measures of speech lack a package.
    """
    settings = Settings(
        tuple(sources), start_seconds, duration_seconds, speech=speech, columns=tuple(columns)
    )
    if speech:
        speech.check()
    named = {system.name for system in systems if isinstance(system, Baseline)}
    beside = [Baseline(name, settings.sources) for name in baselines if name not in named]
    everything = [*systems, *beside]
    names = [system.name for system in everything]
    if len(set(names)) < len(names):
        raise ValueError(
            f"systems must have different names; got {', '.join(names)}: name them yourself, as in "
            "before=FOLDER after=FOLDER"
        )
    if speech and any(isinstance(system, MusevalScores) for system in systems):
        raise ValueError("scores of museval are of separated sources, not of speech")
    if against is None:
        first = names[:1] if len(systems) > 1 else []
        against = [name for name in ("mixture", *first) if name in names]
    for name in against:
        if name not in names:
            raise ValueError(
                f"systems are compared with one that is scored, {', '.join(names)}; got {name!r}"
            )
    found = find_tracks(corpus, subset=subset, tracks=tracks)
    documents, failures = [], []
    done, total = 0, len(found) * len(everything)

    def finish(outcome: dict[str, Any] | Failure, job: Job | None = None) -> None:
        nonlocal done
        if job is not None and isinstance(job.system, StoredEstimates):
            job.system.discard()
        (failures if isinstance(outcome, Failure) else documents).append(outcome)
        done += 1
        if scored:
            failed = isinstance(outcome, Failure)
            system = outcome.systems[0] if failed else outcome["kzoo"]["system"]
            scored(system, {} if failed else track_scores(outcome))
        if progress:
            progress(done, total)

    with contextlib.ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="kzoo.")))
        folder = Path(out) if out is not None else scratch / "scores"
        jobs = _jobs(found, everything, settings, folder, scratch, finish)
        if processes > 1:
            _in_processes(jobs, processes, finish)
        else:
            for job in jobs:
                finish(_attempt(job), job)
    report = make_report(
        documents, failures, settings, corpus=", ".join(map(str, corpora_of(corpus))),
        systems=names, against=tuple(dict.fromkeys(against)), command=command,
    )  # fmt: skip
    report.parameters = {
        system.name: system.parameters
        for system in systems
        if isinstance(system, Separation) and system.parameters
    }
    if out is not None:
        report.write(Path(out))
        if page:
            heard = [s for s in everything if not isinstance(s, Baseline)] or everything
            heard = [s for s in heard if not isinstance(s, MusevalScores) and s.name != "mixture"]
            _write_page(Path(out), report, documents, found, heard, settings)
    return report


def _write_page(
    folder: Path,
    report: Report,
    documents: Sequence[Mapping[str, Any]],
    tracks: Sequence[Track],
    systems: Sequence[System],
    settings: Settings,
) -> None:
    from kzoo.evaluation.excerpts import excerpts  # with the page's style and scripts
    from kzoo.evaluation.page import page

    heard = excerpts(report, documents, tracks, systems, settings, failed=report.notes.append)
    text = page(report, heard)
    with replacing(folder / "report.html") as temporary:
        temporary.write_text(text, encoding="utf-8")


def _jobs(
    tracks: Sequence[Track],
    systems: Sequence[System],
    settings: Settings,
    folder: Path,
    scratch: Path,
    finish: Callable,
) -> Iterator[Job]:
    """What is left to be scored; separators run as their jobs are asked for."""
    loaded: set[str] = set()
    for number, track in enumerate(tracks):
        for system in systems:
            if isinstance(system, MusevalScores):
                try:
                    finish(system.document(track, settings))
                except ValueError as error:
                    finish(_failure(track, system, error))
                continue
            path = folder / system.name / track.subset / f"{track.name}.json"
            try:
                known_by = identity(track, system, settings)
                before = read_json(path)
                if before and known_by is not None and before["kzoo"].get("identity") == known_by:
                    finish(before)
                    continue
                ready = system
                if isinstance(system, Separation):
                    place = scratch / f"{number}_{system.name}"
                    place.mkdir()
                    sound = read_track(track, settings.sources, **settings.crop(track))
                    ready = system.stored(sound, place, system.identity(track))
                    if system.name not in loaded:  # its time is that of loading a model, too
                        ready = dataclasses.replace(ready, seconds=None)
                        loaded.add(system.name)
            except TRACK_ERRORS as error:
                finish(_failure(track, system, error))
            else:
                yield Job(track, ready, settings, path)


def _in_processes(jobs: Iterator[Job], processes: int, finish: Callable) -> None:
    while lost := _in_pool(jobs, processes, finish):
        for job in lost:  # alone, each in a process of its own, to know which of them it was
            if _in_pool([job], 1, finish):
                error = MemoryError("the process that scored it died; was there too little memory?")
                finish(_failure(job.track, job.system, error), job)


def _in_pool(jobs: Iterable[Job], processes: int, finish: Callable) -> list[Job]:
    """Score until no job is left, or a process dies: those jobs that were lost with it."""
    context = _context()
    waiting: dict[Future, Job] = {}
    lost: list[Job] = []

    def collect(when: str) -> None:
        for future in wait(waiting, return_when=when).done:
            job = waiting.pop(future)
            if isinstance(future.exception(), BrokenProcessPool):
                lost.append(job)
            else:
                finish(future.result(), job)

    with ProcessPoolExecutor(processes, mp_context=context) as pool:
        try:
            for job in jobs:
                try:
                    waiting[pool.submit(_attempt, job)] = job
                except BrokenProcessPool:
                    lost.append(job)
                if len(waiting) > processes:
                    collect(FIRST_COMPLETED)
                if lost:
                    break
            collect(ALL_COMPLETED)
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise
    return lost


def _context() -> multiprocessing.context.BaseContext:
    """How processes begin: not forked from this one, as TensorFlow's threads do not survive that.

    The scores need NumPy alone, which a process between imports once for all of them.
    """
    if "forkserver" not in multiprocessing.get_all_start_methods():
        return multiprocessing.get_context("spawn")
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([_attempt.__module__])
    return context


def _attempt(job: Job) -> dict[str, Any] | Failure:
    try:
        return score(job)
    except TRACK_ERRORS as error:
        return _failure(job.track, job.system, error)


def _failure(track: Track, system: System, error: Exception) -> Failure:
    return Failure(track.name, (system.name,), " ".join(str(error).split()))
