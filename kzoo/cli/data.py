"""The verbs of `kzoo data`: what a corpus holds, its shards, and mixtures to be judged by."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kzoo.cli import options
from kzoo.cli.download import download
from kzoo.cli.render import render
from kzoo.cli.terminal import bar, quiet_tensorflow, say

if TYPE_CHECKING:
    from kzoo.data.corpus import Corpus
    from kzoo.data.pseudolabelled import Pseudolabelled, Taught
    from kzoo.data.solo import Solo

FRAMES_A_SECOND = 250  # of the controls of a corpus of kind solo

app = typer.Typer(no_args_is_help=True, help="Fetch, render, check and prepare corpora.")
app.command()(download)
app.command()(render)


@app.command()
def check(
    path: Annotated[
        str,
        typer.Argument(
            metavar="CORPUS", help="Folder of a corpus, or of shards that prepare has written."
        ),
    ],
    kind: options.Kind = None,
    sources: options.Sources = None,
    mixture: options.Mixture = None,
    subset: options.Subset = None,
    quiet: options.Quiet = False,
) -> None:
    """Read every recording of a corpus, and tell what is broken.

    Exit status 1 tells that a recording is missing, broken or does not fit the others.
    """
    from kzoo import data
    from kzoo.data import checking, shards, solo

    names = options.names(sources)
    given = _given(subset=subset, sources=names, mixture=mixture)
    if kind == "shards" or (kind is None and (Path(path) / shards.INDEX).is_file()):
        corpus = data.open_corpus("shards", path=path, **given)
        lines, problems = _describe(corpus), shards.verify(path)
    elif kind in (None, "solo") and (Path(path) / solo.INDEX).is_file():
        problems = solo.verify(path)
        corpus = None if problems else data.open_corpus("solo", path=path, **given)
        lines = _describe_solo(corpus) if corpus else []
    else:
        tracks, lines = checking.list_tracks(path, kind, given)
        with bar("reading", unit="seconds", show=not quiet) as progress:
            found, problems = checking.check_tracks(
                tracks, progress=progress, aligned=kind not in ("sources", "speech", "solo"),
                sources=names if kind in (None, "stems", "musdb") else (),
            )  # fmt: skip
        lines += found
    for line in lines:
        print(line)
    for problem in problems:
        say(f"kzoo: {problem}")
    if problems:
        raise SystemExit(1)


@app.command()
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
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Decode a corpus once, into shards for training.

    Interrupted, the same command goes on. A corpus of kind solo gets its pitch and loudness, too.
    """
    from kzoo import data

    if kind == "solo":
        _prepare_solo(
            path, out, pitch=pitch, exclude=exclude or [], sample_rate=sample_rate or 16000,
            licence=licence, quiet=quiet,
        )  # fmt: skip
        return
    given = _given(
        sources=options.names(sources), mixture=mixture, subset=subset, sample_rate=sample_rate,
        channels=channels,
    )  # fmt: skip
    if teacher is not None and kind is None:
        corpus: Corpus = pseudolabelled(path, teacher, exclude=exclude or [])
        for name, value in given.items():
            own = getattr(corpus, name, None)
            if value != (list(own) if isinstance(own, tuple) else own):
                raise ValueError(
                    f"--{name.replace('_', '-')} does not go with --teacher, which gives "
                    f"{', '.join(corpus.sources)} at {corpus.sample_rate} Hz in {corpus.channels} "
                    "channels: leave it out, or name the --kind of a corpus with mixtures"
                )
    else:
        # Of speech the utterances are kept: they are mixed anew in every training.
        kind = {None: "stems", "speech": "sources"}.get(kind, kind)
        corpus = data.open_corpus(kind, path=path, **given, **_given(exclude=exclude or []))
        if sample_rate is None and len(corpus.rates) > 1:
            counts = ", ".join(f"{n} at {rate} Hz" for rate, n in sorted(corpus.rates.items()))
            say(
                f"kzoo: the recordings have different rates ({counts}); {corpus.sample_rate} Hz, "
                "the lowest, is taken: give --sample-rate for another"
            )
        if teacher is not None:
            corpus = taught(corpus, teacher)
    with bar(f"preparing {out}", unit="seconds", show=not quiet) as progress:
        data.prepare(corpus, out, dtype=dtype, licence=licence, progress=progress)
    for line in _describe(data.open_corpus("shards", path=str(out))):
        print(line)


@app.command()
def mix(
    configuration: options.Configuration,
    settings: options.Settings = None,
    out: Annotated[Path, options.out("Folder of the mixtures.")] = ...,
    quiet: options.Quiet = False,
) -> None:
    """Write the test sets of a configuration for kzoo evaluate.

    Each corpus under data.tests becomes OUT/<test>/<track>/ with the mixture and its true sources.
    Interrupted, the same command goes on.
    """
    from kzoo import config
    from kzoo.data.mixtures import write_mixtures

    values = config.override(config.load_yaml(configuration), settings or [])
    tests = values.get("data", {}).get("tests")
    if not tests:
        raise config.ConfigError(
            f"{configuration}: has no section data.tests with a corpus by each name"
        )
    sources = values.get("model", {}).get("sources")
    tests = {
        name: {"sources": sources, **test} if isinstance(test, dict) else test
        for name, test in tests.items()
    }
    with bar(f"mixing {out}", unit="seconds", show=not quiet) as progress:
        corpora = write_mixtures(tests, out, progress=progress)
    for name, corpus in corpora.items():
        print(f"{out / name}: {_describe(corpus)[0]}")


def pseudolabelled(path: str | Path, preset: str, *, exclude: Sequence[str] = ()) -> Pseudolabelled:
    """Plain recordings with the sources that `preset` makes of them, built when first needed."""
    from kzoo.data.pseudolabelled import Pseudolabelled

    opened, separate, weights = _teacher(preset)
    return Pseudolabelled(
        path, separate, sources=opened.sources, sample_rate=opened.card["sample_rate"],
        channels=opened.card["channels"], teacher=weights, exclude=exclude,
    )  # fmt: skip


def taught(corpus: Corpus, preset: str) -> Taught:
    """Recorded mixtures of `corpus` with the sources that `preset` makes of them."""
    from kzoo.data.pseudolabelled import Taught

    opened, separate, weights = _teacher(preset)
    if missing := [name for name in corpus.sources if name not in opened.sources]:
        raise ValueError(
            f"{preset} knows {', '.join(opened.sources)}, and not {', '.join(missing)}: name its "
            "own with --sources"
        )
    return Taught(corpus, separate, teacher=weights, name=Path(preset).name)


def _teacher(preset: str):
    """(the preset, what separates with it, the sha256 of its weights), built when first needed."""
    from kzoo import presets

    opened = presets.open_preset(preset)
    weights = opened.weights_path()

    @functools.cache
    def separator():
        quiet_tensorflow()
        from kzoo import api

        return api.Separator.from_preset(opened, engine="tensorflow")

    def separate(waveform, rate):
        return separator().separate(waveform, rate)

    return opened, separate, presets.file_sha256(weights) if weights else ""


def _prepare_solo(
    path: str, out: Path, *, pitch: str, exclude: Sequence[str], sample_rate: int, licence: str,
    quiet: bool,
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
    quiet_tensorflow()
    from kzoo.data import solo
    from kzoo.pitch_tracking import PitchTracker

    tracker = PitchTracker(pitch, hop_ms=1000 / FRAMES_A_SECOND)
    with bar(f"preparing {out}", unit="seconds", show=not quiet) as progress:
        solo.prepare(
            path, out, estimate=tracker.estimate, method=pitch, sample_rate=sample_rate,
            hop_length=hop_length, exclude=exclude, licence=licence, progress=progress, say=say,
        )  # fmt: skip
    for line in _describe_solo(solo.solo(str(out))):
        print(line)


def _describe_solo(corpus: Solo) -> list[str]:
    """Lines about a prepared folder: how much, and where its pitch and loudness are."""
    found = corpus.statistics()
    lines = [
        f"{len(corpus.tracks)} recordings, {corpus.seconds / 60:.1f} minutes, "
        f"{corpus.sample_rate} Hz; {100 * found['voiced']:.0f} % of the frames have a pitch"
    ]
    for name, unit in (("midi", "notes"), ("loudness_db", "dB")):
        quantiles = found[name]["quantiles"]
        lines.append(
            f"{name}: mean {found[name]['mean']:.1f}, deviation {found[name]['std']:.1f} {unit}; "
            f"{quantiles[0.05]:.1f} to {quantiles[0.95]:.1f} in nine of ten frames"
        )
    return lines


def _given(**options: Any) -> dict[str, Any]:
    """The options that are not None or empty."""
    return {name: value for name, value in options.items() if value}


def _describe(corpus: Corpus) -> list[str]:
    with_source = [f"{name} in {len(corpus.tracks_of(name))}" for name in corpus.sources]
    seconds = corpus.seconds * (len(corpus.tracks) if corpus.mixes else 1)  # of each, or of all
    return [
        f"{len(corpus.tracks)} tracks, {seconds / 60:.1f} minutes, {corpus.sample_rate} Hz, "
        f"{corpus.channels} channels; {', '.join(with_source)}"
    ]
