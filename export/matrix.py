"""Every form of every preset, with a table of what each costs and how near to Keras it is.

    python -m export.matrix -o out                       # all presets that are here
    python -m export.matrix -p unet_2stems_mobile -o out
    python -m export.matrix -o out --no-times     # while others have the processors, and then,
    python -m export.matrix -o out --times-only   # in a quiet hour, what each form costs to run

    out/NAME/        files and cards in every precision, a SavedModel, matrix.json, .md and .png
    out/matrix.md    the tables of all

It goes on where it was interrupted: forms that are there, of the same preset and weights, are kept.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from export import programs


def main(arguments: list[str] | None = None) -> int:
    options = parser().parse_args(arguments)
    try:
        return write(options)
    except (ValueError, OSError, ImportError) as error:
        print(f"export.matrix: {error}", file=sys.stderr)
        return 1


def parser() -> argparse.ArgumentParser:
    """What the program's words mean."""
    parser = programs.parser("matrix", __doc__)
    parser.add_argument(
        "-p", "--presets", nargs="+",
        help="Names of presets, or their folders; by default all whose weights are here.",
    )  # fmt: skip
    parser.add_argument(
        "-o", "--out", type=Path, required=True, help="The folder of all that is written."
    )
    parser.add_argument(
        "--minutes", type=float, default=60.0,
        help="No preset is begun after so many minutes; by default %(default)g.",
    )  # fmt: skip
    parser.add_argument(
        "--pairs", type=Path,
        help="A folder with clean/ and noisy/ recordings, on which what gives speech is scored.",
    )  # fmt: skip
    parser.add_argument(
        "--speakers", type=Path, nargs=2, default=(), metavar="RECORDING",
        help="Two voices, on whose sum what tells speakers apart is scored.",
    )  # fmt: skip
    parts = parser.add_mutually_exclusive_group()
    parts.add_argument(
        "--no-times", action="store_true",
        help="Leave times and memory to another call, when the machine is quiet.",
    )  # fmt: skip
    parts.add_argument(
        "--times-only", action="store_true",
        help="Make no form; measure times and memory of those that are there and have none yet.",
    )  # fmt: skip
    parser.add_argument(
        "--measure-again", action="store_true",
        help="Measure times and memory of the forms that are there anew.",
    )  # fmt: skip
    return parser


def write(options: argparse.Namespace) -> int:
    """Write all of it; returns 1 where a preset was refused or left for lack of time."""
    from kzoo import api
    from kzoo.cli.terminal import bar, one_line, quiet_tensorflow
    from kzoo.presets import open_preset

    names = options.presets or _those_here()
    times = "none" if options.no_times else "again" if options.measure_again else "missing"
    quiet_tensorflow()
    began, status = time.monotonic(), 0
    for name in names:
        minutes = (time.monotonic() - began) / 60
        if minutes > options.minutes:
            print(f"{name}: left, after {minutes:.0f} minutes; run it again", file=sys.stderr)
            status = 1
            continue
        try:
            with bar(name, unit="kernels") as progress:
                api.export_all(
                    open_preset(name), options.out, pairs=options.pairs, speakers=options.speakers,
                    make=not options.times_only, times=times, progress=progress,
                    say=lambda line: print(line, flush=True),
                )  # fmt: skip
        except (ValueError, OSError, ImportError) as error:
            print(f"export.matrix: {name}: {one_line(error)}", file=sys.stderr)
            status = 1
    tables = [path.read_text(encoding="utf-8") for path in sorted(options.out.glob("*/matrix.md"))]
    if tables:
        (options.out / "matrix.md").write_text("\n".join(tables), encoding="utf-8")
        print(f"{options.out / 'matrix.md'}: {len(tables)} presets")
    return status


def _those_here() -> list[str]:
    """The presets that are exported and whose weights are in the package or the cache."""
    from kzoo import presets, tasks

    opened = map(presets.open_preset, presets.list_presets())
    return [
        preset.name for preset in opened
        if preset.weights_path() is not None and tasks.task(preset.task).exported
    ]  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
