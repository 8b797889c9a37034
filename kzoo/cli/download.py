"""The verb `kzoo data download`: the published corpora, and one of them fetched."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import bar, say


def download(
    name: Annotated[
        str | None,
        typer.Argument(metavar="NAME", help="Corpus to fetch; without it all are listed."),
    ] = None,
    out: Annotated[
        Path | None, options.out("Folder of the corpus; by default NAME, in this folder.")
    ] = None,
    accept_licence: Annotated[
        bool, typer.Option("--accept-licence", help="Accept its licence without being asked.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """List the published corpora, or fetch, check and unpack one.

    The licence is shown first. Interrupted, the same command goes on.
    """
    from kzoo import config
    from kzoo.downloads import CATALOGUE, obtain
    from kzoo.downloads.obtaining import refuse_early

    if name is None:
        _print_table()
        return
    entry = config.named(CATALOGUE, name, "corpus")
    folder = out or Path(name)
    refuse_early(name, entry, folder)
    say(f"{name}: {entry.what}; {entry.size_in_words}")
    say(f"licence: {entry.licence} ({entry.page})")
    if not accept_licence:
        _ask(name)
    obtain(
        name, entry, folder,
        bar=lambda title: bar(title, unit="bytes", show=not quiet), say=say,
    )  # fmt: skip
    print(folder)
    if not quiet:
        say(f"look at it: kzoo data check {folder} --kind {entry.kind}")


def _ask(name: str) -> None:
    if not sys.stdin.isatty():
        raise ValueError(f"{name} has a licence to accept: read it, and give --accept-licence")
    if not typer.confirm("Do you accept it?", err=True):
        raise ValueError(f"{name} is not fetched, as its licence is not accepted")


def _print_table() -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table

    from kzoo.downloads.catalogue import COLUMNS, rows

    table = Table(*COLUMNS, box=box.SIMPLE_HEAD)
    table.columns[-1].overflow = "fold"  # addresses are whole
    for row in rows():
        table.add_row(*row)
    width = shutil.get_terminal_size().columns if sys.stdout.isatty() else 160
    Console(width=width).print(table)
