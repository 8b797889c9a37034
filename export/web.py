"""A web page that separates or enhances in the browser: a folder for any static host.

    python -m export.web -p spleeter_2stems -o out
    kzoo serve --page out/spleeter_2stems            # to look at it; or put the folder on a host

    out/spleeter_2stems/
        index.html, *.js, style.css           the page: no framework, no build step
        page.json, models/                    the networks and their cards, proven as ever
        litert/                               LiteRT.js and its WebAssembly, from npm, checked
        LICENCES.txt, APACHE-2.0.txt          of code, weights, data and LiteRT.js
        _headers                              for hosts that read it; threads need two of them

Of a preset that streams there is one network, its stream: whole recordings have no joins, and sound
is cleaned as it comes from the microphone.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from export import programs
from export.mobile import licence_texts


def main(arguments: list[str] | None = None) -> int:
    return programs.run("web", page, parser().parse_args(arguments))


def parser() -> argparse.ArgumentParser:
    """What the program's words mean."""
    parser = programs.parser("web", __doc__)
    programs.add_preset_and_out(parser, out="The page is written to OUT/NAME.")
    parser.add_argument(
        "--precision", nargs="+", default=["fp32", "fp16"], choices=["fp32", "fp16", "int8"],
        help="The page offers each of them; by default both.",
    )  # fmt: skip
    parser.add_argument(
        "--block-seconds", type=float,
        help="About how long a block lasts; by default as the model has it.",
    )  # fmt: skip
    parser.add_argument(
        "--node-modules", type=Path,
        help="Where npm has put @litertjs/core; by default npm fetches it into the cache.",
    )  # fmt: skip
    parser.add_argument("--overwrite", action="store_true", help="Replace a page that is there.")
    return parser


def page(options: argparse.Namespace):
    """Write the page; yields what is to be said. Raises as `kzoo.export_page`."""
    import kzoo
    from kzoo import presets
    from kzoo.cli.terminal import quiet_tensorflow
    from kzoo.deploy import request

    preset = presets.open_preset(options.preset)
    target = options.out / preset.card["name"]
    quiet_tensorflow()
    cards = kzoo.export_page(
        preset, target, precisions=options.precision, block_seconds=options.block_seconds,
        licences=licence_texts(preset.card.get("licences", {})),
        node_modules=options.node_modules, overwrite=options.overwrite,
    )  # fmt: skip
    if note := request.block_note(cards[0], options.block_seconds):
        yield note
    size = sum(path.stat().st_size for path in target.rglob("*"))
    networks = sorted(path.name for path in (target / "models").glob("*.tflite"))
    yield f"{target}: {size / 1e6:.1f} MB, {', '.join(networks)}"
    yield f"look at it: kzoo serve --page {target}"


if __name__ == "__main__":
    sys.exit(main())
