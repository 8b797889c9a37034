"""The verb `kzoo data prepare`: a corpus to shards, by this process or by many."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kzoo.cli import options
from kzoo.cli.corpora import describe, describe_solo, given_options
from kzoo.cli.manifest import report, runner_of
from kzoo.cli.presets import fetch
from kzoo.cli.terminal import bar, quiet_tensorflow, say

if TYPE_CHECKING:
    import numpy as np

    from kzoo.data.by_workers import Build, Run
    from kzoo.data.corpus import Corpus
    from kzoo.data.pseudolabelled import Pseudolabelled, Taught
    from kzoo.data.recordings import Track
    from kzoo.data.solo import Estimate
    from kzoo.separation import BlockSeparator

FRAMES_A_SECOND = 250  # of the controls of a corpus of kind solo


def prepare(
    path: Annotated[
        str,
        typer.Argument(
            metavar="CORPUS", help="Folder of a corpus; with --teacher of plain recordings."
        ),
    ],
    out: Annotated[Path, options.out("Folder of the shards.")],
    kind: options.Kind = None,
    sources: options.Sources = None,
    mixture: options.Mixture = None,
    subset: options.Subset = None,
    exclude: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME", help="Leave this track out; a pattern such as p226_*, and repeatable."
        ),
    ] = None,
    sample_rate: Annotated[
        int | None,
        typer.Option(
            metavar="HZ", min=1,
            help="Rate of the shards; by default the lowest of the recordings, for solo 16000.",
        ),
    ] = None,
    channels: Annotated[
        int | None,
        typer.Option(
            metavar="N", min=1, help="Channels of the shards; by default the most of any recording."
        ),
    ] = None,
    dtype: Annotated[
        str, typer.Option(metavar="TYPE", help="How samples are stored: int16 or float32.")
    ] = "int16",
    licence: Annotated[
        str, typer.Option(metavar="TEXT", help="Licence of the recordings, kept in the index.")
    ] = "not stated",
    pitch: Annotated[
        str,
        typer.Option(
            metavar="METHOD", help="Pitch tracker for kind solo, as --method of kzoo pitch."
        ),
    ] = "crepe_full",
    teacher: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET",
            help="Learn what this preset makes of recordings, or of a --kind's recorded mixtures.",
        ),
    ] = None,
    runner: options.Runner = None,
    runner_option: options.RunnerOptions = None,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Decode a corpus once, into shards for training.

    Interrupted, the same command goes on. A corpus of kind solo gets its pitch and loudness, too.
    With --runner, tracks that are damaged are listed in OUT/dead_letters.jsonl and left out.
    """
    from kzoo import data
    from kzoo.data import by_workers, pseudolabelled, shards

    given = given_options(
        sources=options.names(sources), mixture=mixture, subset=subset, sample_rate=sample_rate,
        channels=channels,
    )  # fmt: skip
    run = None
    if runner is not None or runner_option:
        run = runner_of(runner, runner_option or [], doing=f"preparing {out}", quiet=quiet)
    if kind == "solo":
        refused = {**given, "teacher": teacher, "dtype": dtype != "int16"}
        refused.pop("sample_rate", None)
        if unfit := [name for name, value in refused.items() if value]:
            raise ValueError(f"kind solo takes no --{unfit[0]}")
        _prepare_solo(
            path, out, pitch=pitch, exclude=exclude or [], sample_rate=sample_rate or 16000,
            licence=licence, run=run, quiet=quiet,
        )  # fmt: skip
        return
    if teacher is not None and kind is None:
        tracks = pseudolabelled.find_mixtures(path, exclude or [])
        corpus: Corpus = taught_alone(tracks if run is None else [], Teacher(teacher, quiet=quiet))
        corpus.excluded = tuple(exclude or [])
        _refuse_others(corpus, given)
        build = functools.partial(_builder_alone, teacher)
    else:
        # Of speech the utterances are kept: they are mixed anew in every training.
        kind = {None: "stems", "speech": "sources"}.get(kind, kind)
        wanted = {"path": path, **given, **given_options(exclude=exclude or [])}
        if run is None:
            corpus, damaged = data.open_corpus(kind, **wanted), []
        else:
            corpus, damaged = data.open_readable(kind, **wanted)
        if sample_rate is None and len(corpus.rates) > 1:
            counts = ", ".join(f"{n} at {rate} Hz" for rate, n in sorted(corpus.rates.items()))
            say(
                f"kzoo: the recordings have different rates ({counts}); {corpus.sample_rate} Hz, "
                "the lowest, is taken: give --sample-rate for another"
            )
        if run is not None:
            tracks = [*corpus.found, *damaged]
            build = functools.partial(_builder, corpus.alone(), teacher)
        if teacher is not None:
            corpus = taught(corpus, Teacher(teacher, quiet=quiet))
            if run is not None:
                tracks = [replace(track, name=corpus.called(track.name)) for track in tracks]
    if run is None:
        with bar(f"preparing {out}", unit="seconds", show=not quiet) as progress:
            data.prepare(corpus, out, dtype=dtype, licence=licence, progress=progress)
        counts = None
    else:
        settings = {"shards": shards.head_of(corpus, dtype), "teacher": corpus.teacher}
        counts = by_workers.prepare(
            tracks, by_workers.Sharding(build, settings), out, run=run, excluded=corpus.excluded,
            licence=licence,
        )  # fmt: skip
    if counts is None or counts.made + counts.kept:
        for line in describe(data.open_corpus("shards", path=str(out))):
            print(line)
    if counts is not None:
        report(counts, path, out, done="prepared", quiet=quiet)


class Teacher:
    """A preset that makes the sources of mixtures; weights: their sha256."""

    def __init__(self, preset: str, *, quiet: bool = True):
        from kzoo import presets

        self.name = Path(preset).name
        self.preset = presets.open_preset(preset)
        self.preset.refuse_untrained()
        self.weights = presets.file_sha256(fetch(self.preset, show=not quiet))

    @functools.cached_property
    def separator(self) -> BlockSeparator:
        """What separates with it, built when first needed."""
        quiet_tensorflow()
        from kzoo import api

        return api.Separator.from_preset(self.preset, engine="tensorflow")

    def separate(self, waveform: np.ndarray, sample_rate: int) -> dict[str, np.ndarray]:
        """The sources of a mixture."""
        return self.separator.separate(waveform, sample_rate)


def taught_alone(tracks: Sequence[Track], teacher: Teacher) -> Pseudolabelled:
    """Tracks of a mixture alone, with the sources that a teacher makes of them."""
    from kzoo.data.pseudolabelled import Pseudolabelled

    card = teacher.preset.card
    return Pseudolabelled(
        tracks, teacher.separate, sources=teacher.preset.sources, sample_rate=card["sample_rate"],
        channels=card["channels"], teacher=teacher.weights,
    )  # fmt: skip


def taught(corpus: Corpus, teacher: Teacher) -> Taught:
    """Recorded mixtures of `corpus` with the sources that a teacher makes of them."""
    from kzoo.data.pseudolabelled import Taught

    known = teacher.preset.sources
    if missing := [name for name in corpus.sources if name not in known]:
        raise ValueError(
            f"{teacher.preset} knows {', '.join(known)}, and not {', '.join(missing)}: name its "
            "own with --sources"
        )
    return Taught(corpus, teacher.separate, teacher=teacher.weights, name=teacher.name)


def _refuse_others(corpus: Corpus, given: Mapping[str, Any]) -> None:
    """ValueError for an option that is not what the teacher gives."""
    for name, value in given.items():
        own = getattr(corpus, name, None)
        if value != (list(own) if isinstance(own, tuple) else own):
            raise ValueError(
                f"--{name.replace('_', '-')} does not go with --teacher, which gives "
                f"{', '.join(corpus.sources)} at {corpus.sample_rate} Hz in {corpus.channels} "
                "channels: leave it out, or name the --kind of a corpus with mixtures"
            )


def _builder(alone: Build, preset: str | None) -> Build:
    """What makes a corpus of a track, in a worker, by a teacher if any is named."""
    if preset is None:
        return alone
    teacher = Teacher(preset)
    _ = teacher.separator  # where it cannot be built, that is no fault of a track
    return lambda track: taught(alone(track), teacher)


def _builder_alone(preset: str) -> Build:
    teacher = Teacher(preset)
    _ = teacher.separator
    return lambda track: taught_alone([track], teacher)


def _prepare_solo(
    path: str, out: Path, *, pitch: str, exclude: Sequence[str], sample_rate: int, licence: str,
    run: Run | None, quiet: bool,
) -> None:  # fmt: skip
    """Follow every recording under `path` into `out`, and print what was found.

    pitch: a method of `kzoo pitch`. Raises ValueError for a rate without 250 hops a second, and
    where nothing can be followed.
    """
    hop_length, rest = divmod(sample_rate, FRAMES_A_SECOND)
    if rest or not hop_length:
        raise ValueError(
            f"sample_rate must be a multiple of {FRAMES_A_SECOND} Hz, for as many frames a second; "
            f"got {sample_rate}"
        )
    from kzoo.data import by_workers, solo

    estimate = _estimate(pitch)  # for many workers too: it fetches what is not here
    counts = None
    if run is None:
        with bar(f"preparing {out}", unit="seconds", show=not quiet) as progress:
            solo.prepare(
                path, out, estimate=estimate, method=pitch, sample_rate=sample_rate,
                hop_length=hop_length, exclude=exclude, licence=licence, progress=progress, say=say,
            )  # fmt: skip
    else:
        head = solo.head_of(pitch, sample_rate=sample_rate, hop_length=hop_length)
        job = by_workers.Following(functools.partial(_estimate, pitch), head)
        tracks = solo.find_tracks(path, exclude)
        counts = by_workers.prepare_solo(tracks, job, out, run=run, licence=licence)
    if counts is None or counts.made + counts.kept:
        for line in describe_solo(solo.solo(str(out))):
            print(line)
    if counts is not None:
        report(counts, path, out, done="prepared", quiet=quiet)


def _estimate(pitch: str) -> Estimate:
    quiet_tensorflow()
    from kzoo.pitch_tracking import PitchTracker

    return PitchTracker(pitch, hop_ms=1000 / FRAMES_A_SECOND).estimate
