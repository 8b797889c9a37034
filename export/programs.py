"""What the programs of this folder share on the command line."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterable
from pathlib import Path


def parser(name: str, documentation: str) -> argparse.ArgumentParser:
    """A parser for `python -m export.NAME`, described by the first line of its documentation."""
    return argparse.ArgumentParser(
        prog=f"python -m export.{name}", description=documentation.split("\n")[0]
    )


def add_preset_and_out(parser: argparse.ArgumentParser, *, out: str) -> None:
    """--preset and --out, of which `out` is the help."""
    parser.add_argument(
        "-p", "--preset", default="spleeter_2stems",
        help="The name of a preset, or its folder; by default %(default)s.",
    )  # fmt: skip
    parser.add_argument("-o", "--out", type=Path, required=True, help=out)


def run(
    name: str, work: Callable[[argparse.Namespace], Iterable[str]], options: argparse.Namespace
) -> int:
    """Print what `work` says on its way. Returns the exit status: 1 after an error, in one line."""
    try:
        for line in work(options):
            print(line, flush=True)
    except (ValueError, OSError, ImportError) as error:
        print(f"export.{name}: {error}", file=sys.stderr)
        return 1
    return 0
