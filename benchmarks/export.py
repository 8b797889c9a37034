"""What every form of every preset costs, next to other runtimes and to what was found by hand.

    python -m benchmarks.export -o out --pairs FOLDER --speakers VOICE VOICE \
        --dtln FOLDER --stems FOLDER

writes benchmarks/results/export.md. It is `python -m export.matrix`, whose options it takes and
whose forms it keeps where they are there, and then: LiteRT, ONNX Runtime and TensorFlow on the same
network as ratios; DTLN's own TFLite files (--dtln, model_1.tflite and model_2.tflite) beside kzoo's
stream of it; and, of a song's stems (--stems), recipes of int8 that were found by hand beside what
the search finds on the same passages at the same dB.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import re
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from export import matrix

RESULTS = Path(__file__).parent / "results" / "export.md"
# Kernels in 8 bits, all others in 16: regular expressions on their names.
BY_HAND = {
    "unet_2stems_mobile": r"down[456]_conv|up[123]_conv",
    "spleeter_2stems": r"down6_conv|up1_conv|up2_conv",
    "conv_tasnet_2speakers": r"expand|residual|skip",
}
_LOUD_SECONDS, _QUIET_SECONDS = 200, 30  # where the song is loud, and where its voice is faint
_WITHIN_DB = 2
_TURNS, _SECONDS = 7, 4


def main() -> int:
    """Write the results; returns 1 where a preset was left out."""
    parser = matrix.parser()
    parser.prog, parser.description = "python -m benchmarks.export", __doc__.split("\n")[0]
    parser.add_argument(
        "--dtln", type=Path, help="A folder with model_1.tflite and model_2.tflite."
    )
    parser.add_argument("--stems", type=Path, help="A folder of the stems of one song.")
    options = parser.parse_args()
    status = matrix.write(options)
    tables = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(options.out.glob("*/matrix.json"))
    ]
    RESULTS.write_text("\n".join(lines(options, tables)) + "\n", encoding="utf-8")
    print(RESULTS)
    return status


def lines(options: argparse.Namespace, tables: list[dict[str, Any]]) -> Iterator[str]:
    """The page, line by line."""
    from kzoo.deploy import tables as pages

    packages = ("tensorflow", "ai-edge-litert", "onnxruntime", "ai-edge-quantizer")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    yield "# Every form of every preset"
    yield ""
    yield f"    python -m benchmarks.export {' '.join(map(_shown, sys.argv[1:]))}"
    yield ""
    yield (
        f"{platform.machine()}, {os.cpu_count()} shared processors, Python "
        f"{platform.python_version()}, {versions}; {date.today()}. Times are the best of two "
        f"processes; others had the processors too (load {os.getloadavg()[2]:.0f}), so that wall "
        "times are too long, never too short. The dB are of the worst output against Keras; `dB, "
        "faint` where an output is faint."
    )
    yield from ["", "## The same network in other runtimes", "", *_ratios(tables)]
    if options.dtln is not None:
        yield from ["", "## DTLN's own TFLite files", "", *_dtln(options)]
    if options.stems is not None:
        yield from ["", "## Recipes found by hand", "", *_by_hand(options.stems, tables)]
    for table in tables:
        yield from ["", f"## {table['name']}", "", pages.markdown(table).rstrip()]


def _shown(word: str) -> str:
    return Path(word).name if word.startswith("/") else word


def _ratios(tables: list[dict[str, Any]]) -> Iterator[str]:
    """The time of each form over that of fp32 in LiteRT, on one thread and on two."""
    names = ("fp32", "int8", "dynamic_int8", "full_int8", "ONNX", "SavedModel")
    yield (
        "The processor's ms for a second of sound on one thread / wall time on two: of fp32 in "
        "LiteRT, and of the others over it."
    )
    yield ""
    yield f"| preset | ms/s of fp32 | {' | '.join(names[1:])} |"
    yield f"| --- | ---: |{' ---: |' * len(names[1:])}"
    for table in tables:
        rows = {row["name"]: row for row in table["rows"] if "cpu_ms_1_thread" in row}
        if "fp32" not in rows:
            continue
        base = rows["fp32"]
        cells = [f"{base['cpu_ms_1_thread']:.1f} / {base['ms_2_threads']:.1f}"]
        for name in names[1:]:
            row = rows.get(name)
            cells.append(
                f"{row['cpu_ms_1_thread'] / base['cpu_ms_1_thread']:.2f} / "
                f"{row['ms_2_threads'] / base['ms_2_threads']:.2f}" if row else "unfit"
            )  # fmt: skip
        yield f"| {table['name']} | {' | '.join(cells)} |"


def _dtln(options: argparse.Namespace) -> Iterator[str]:
    """Milliseconds of both for a second of sound, hop after hop, in turn on one thread."""
    sys.path.insert(0, str(Path(__file__).parent))
    import enhancers_sides

    sides = {
        "DTLN's own files": enhancers_sides.dtln(str(options.dtln)),
        "kzoo's stream": enhancers_sides.stream(str(options.out / "dtln" / "dtln_fp32.tflite")),
    }
    spent: dict[str, list[float]] = {name: [] for name in sides}
    for _ in range(_TURNS):
        for name, side in sides.items():
            signal = enhancers_sides.noise(_SECONDS, side.rate)
            began = time.process_time()
            side.run(signal)
            spent[name].append(1000 * (time.process_time() - began) / _SECONDS)
    best = {name: min(times) for name, times in spent.items()}
    yield "| | ms of the processor for a second | MB | ratio |"
    yield "| --- | ---: | ---: | ---: |"
    for name, side in sides.items():
        ratio = best[name] / best["DTLN's own files"]
        yield f"| {name} | {best[name]:.1f} | {side.bytes / 1e6:.2f} | {ratio:.2f} |"


def _by_hand(folder: Path, tables: list[dict[str, Any]]) -> Iterator[str]:
    """Size and dB of each recipe, and the size that the search needs for the same dB."""
    yield (
        f"Both on {folder.name}, from {_LOUD_SECONDS} s (loud) and {_QUIET_SECONDS} s (faint), "
        f"against fp32; the search was given limits {_WITHIN_DB} dB below the recipe's own dB."
    )
    yield ""
    yield "| preset | recipe: MB | dB loud / faint | search: MB | dB loud / faint | size, ratio |"
    yield "| --- | ---: | ---: | ---: | ---: | ---: |"
    for name in BY_HAND.keys() & {table["name"] for table in tables}:
        recipe, found = _sides_by_hand(name, folder)
        yield (
            f"| {name} | {recipe['mb']:.2f} | {recipe['db']} | {found['mb']:.2f} | {found['db']} | "
            f"{found['mb'] / recipe['mb']:.2f} |"
        )


def _sides_by_hand(name: str, folder: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    from unittest import mock

    from kzoo import audio, presets
    from kzoo.deploy import parity
    from kzoo.deploy.examples import fitted_to, sound_proof
    from kzoo.deploy.formats import kernels, search, tflite

    preset = presets.open_preset(name)
    size, arguments = preset.sizes()
    size, arguments["samples"] = size.static(None)
    model = preset.model(size, **arguments)
    rate, (_, samples, channels) = size.sample_rate, model.inputs[0].shape
    stems = [
        audio.read(path, sample_rate=rate, duration_seconds=_LOUD_SECONDS + 1 + samples / rate)[0]
        for path in sorted(folder.iterdir())
        if path.suffix in (".ogg", ".wav", ".flac")
    ]
    song = np.sum([stem[: min(map(len, stems))] for stem in stems], axis=0)
    loud, quiet = (
        fitted_to(song[at * rate :], channels, samples)[None]
        for at in (_LOUD_SECONDS, _QUIET_SECONDS)
    )
    proof = sound_proof(model, sample_rate=rate, sound=loud[0], description=folder.name)
    proof = replace(proof, passages=[{"waveform": quiet}])
    content = tflite.converted(model, proof)

    def side(small: bytes) -> dict[str, Any]:
        db = search.compared(content, small, proof)
        mb = len(kernels.without_names(small)) / 1e6
        return {"mb": mb, "levels": db, "db": f"{db[0]:.1f} / {db[1]:.1f}"}

    known = kernels.kernels(content)
    recipe = side(kernels.stored(content, {
        buffer: kernels.BYTE if re.search(BY_HAND[name], kernel.name) else kernels.HALF
        for buffer, kernel in known.items()
    }))  # fmt: skip
    loud_db, faint_db = recipe["levels"]
    with mock.patch.object(parity, "FAINT_LIMIT_DB", faint_db - _WITHIN_DB):
        small = search.shrink(content, proof, "int8", limit_db=loud_db - _WITHIN_DB)
    return recipe, side(small)


if __name__ == "__main__":
    sys.exit(main())
