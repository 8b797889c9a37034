"""The verb `compare`: one recording as several systems separate it, on a page to listen to."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import bar, quietly, say


def compare(
    recording: Annotated[
        Path, typer.Argument(metavar="RECORDING", help="What is separated; no reference is needed.")
    ],
    systems: Annotated[
        list[str],
        typer.Argument(
            metavar="SYSTEMS",
            help="Two or more presets, run folders, methods without training, or folders of stems; "
            "NAME=SYSTEM names one.",
        ),
    ],
    out: Annotated[
        Path, options.out("The page, one file of HTML with its sound.", metavar="FILE")
    ] = Path("compare.html"),
    start: options.Start = 0.0,
    duration: Annotated[
        float,
        typer.Option(
            metavar="SECONDS", min=0.1, help="Separate and embed so much, which sets the size."
        ),
    ] = 30.0,
    format: Annotated[
        str,
        typer.Option(
            metavar="FORMAT",
            help="Of the sound in the page: ogg, or flac, which loses nothing and is larger.",
        ),
    ] = "ogg",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:
    """Compare systems by ear, on one recording.

    The page plays every stem of every system in step: switching keeps the position. It shows their
    spectrograms and what the stems leave of the mixture, matches levels, and hides the names for a
    blind test. It needs no network.
    """
    from kzoo import comparison
    from kzoo.api.systems import comparison_systems

    opened = [quietly(system) for system in comparison_systems(systems, say=say)]
    with bar("separating", unit="systems", show=not quiet) as progress:
        written = comparison.compare(
            recording, opened, out, start_seconds=start, duration_seconds=duration, format=format,
            overwrite=overwrite, progress=progress,
            command=shlex.join(["kzoo", *sys.argv[1:]]),
        )  # fmt: skip
    for note in written.notes:
        say(f"kzoo: {note}")
    if not quiet:
        say(f"{written.path}: {written.megabytes:.1f} MB, opens in any browser")
