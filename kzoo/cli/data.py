"""The verbs of `kzoo data`: what a corpus holds, its shards, and mixtures to be judged by."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.corpora import describe, describe_solo, given_options
from kzoo.cli.download import download
from kzoo.cli.prepare import prepare
from kzoo.cli.render import render
from kzoo.cli.terminal import bar, say

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
    kind: Annotated[
        str | None,
        typer.Option(
            metavar="KIND",
            help="How the corpus is laid out: as --kind of prepare, or of recordings with what is "
            "true of them: labelled, events, melodies, rendered, or a published corpus by its "
            "name: magnatagatune, gtzan, ballroom, librispeech, timit, mdb_melody_synth, "
            "medleydb_melody, medleydb_melody1; by default stems, or the published corpus that "
            "lies there.",
        ),
    ] = None,
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
    from kzoo.data.annotated import checking as annotated

    names = options.names(sources)
    given = given_options(subset=subset, sources=names, mixture=mixture)
    if kind == "shards" or (kind is None and (Path(path) / shards.INDEX).is_file()):
        corpus = data.open_corpus("shards", path=path, **given)
        lines, problems = describe(corpus), shards.verify(path)
    elif kind in (None, "solo") and (Path(path) / solo.INDEX).is_file():
        problems = solo.verify(path)
        corpus = None if problems else data.open_corpus("solo", path=path, **given)
        lines = describe_solo(corpus) if corpus else []
    elif annotated_kind := annotated.checked_as(kind, Path(path)):
        if names or mixture:
            raise ValueError(f"{annotated_kind} has no sources and no mixtures to be named")
        with bar("reading", unit="seconds", show=not quiet) as progress:
            lines, problems = annotated.check(
                path, annotated_kind, subset,
                functools.partial(checking.check_tracks, progress=progress, aligned=False),
            )  # fmt: skip
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


app.command()(prepare)


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
        print(f"{out / name}: {describe(corpus)[0]}")
