"""What every form of every preset costs, next to other runtimes and to what was found by hand.

    python -m benchmarks.export -o out --pairs FOLDER --speakers VOICE VOICE --stems FOLDER \
        --dtln FOLDER --gtcrn FILE --onnx ARCHIVE

writes benchmarks/results/export.md. It is `python -m export.matrix`, whose options it takes, and
then two tables: of a song's stems (--stems) recipes of 8 bits that were found by hand beside what
the search finds on the same passages at the same dB; and the authors' own files (DTLN's
model_1.tflite and model_2.tflite, GTCRN's gtcrn_simple.onnx, DeepFilterNet3_onnx.tar.gz) beside
kzoo's streams of them. What is there is kept, and with --no-times and --times-only it takes two
calls: one for a busy machine, which makes every file and compares it, and one for a quiet hour.
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
from dataclasses import dataclass, replace
from datetime import date
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from export import matrix

RESULTS = Path(__file__).parent / "results" / "export.md"
_LOUD_SECONDS, _QUIET_SECONDS = 200, 30  # where the song is loud, and where its voice is faint
_WITHIN_DB = 2
_TURNS, _SECONDS = 7, 4
_PASSES = 2
_MOST_LOAD = 3  # with a measurement's own two threads in it


@dataclass(frozen=True)
class Recipe:
    """Kernels in 8 bits, all others in 16, found by hand: a regular expression on their names.

    precision: what the search is asked for beside it.
    """

    preset: str
    precision: str
    kernels: str

    @property
    def name(self) -> str:
        return f"{self.preset}, {self.precision}"


RECIPES = (
    Recipe("unet_2stems_mobile", "int8", r"down[456]_conv|up[123]_conv"),
    Recipe("spleeter_2stems", "int8", r"down6_conv|up1_conv|up2_conv"),
    Recipe("conv_tasnet_2speakers", "int8", r"expand|residual|skip"),
    Recipe("conv_tasnet_2speakers", "dynamic_int8", r"expand|residual|skip"),
)
# {what the page calls the authors' own: (the option and the side of its files, kzoo's preset)}
PEERS = {
    "DTLN, two TFLite files and NumPy": ("dtln", "dtln"),
    "GTCRN, gtcrn_simple.onnx and NumPy": ("gtcrn", "gtcrn_dns3_stream"),
    "DeepFilterNet3, three ONNX files, networks alone": ("onnx", "deepfilternet3"),
}


def main() -> int:
    """Write the results; returns 1 where a preset was left out."""
    parser = matrix.parser()
    parser.prog, parser.description = "python -m benchmarks.export", __doc__.split("\n")[0]
    parser.add_argument("--stems", type=Path, help="A folder of the stems of one song.")
    parser.add_argument("--dtln", help="A folder with model_1.tflite and model_2.tflite.")
    parser.add_argument("--gtcrn", help="The file gtcrn_simple.onnx.")
    parser.add_argument("--onnx", help="The file DeepFilterNet3_onnx.tar.gz.")
    options = parser.parse_args()
    status = matrix.write(options)
    if options.stems is not None and not options.times_only:
        _compare_by_hand(options)
    if not options.no_times:
        _time_by_hand(options)
        _time_peers(options)
    tables = [
        json.loads(path.read_text(encoding="utf-8"))
        for path in sorted(options.out.glob("*/matrix.json"))
    ]
    RESULTS.write_text("\n".join(lines(options.out, tables)) + "\n", encoding="utf-8")
    print(RESULTS)
    return status


def lines(out: Path, tables: list[dict[str, Any]]) -> Iterator[str]:
    """The page, line by line."""
    from kzoo import presets
    from kzoo.deploy import tables as pages

    packages = ("tensorflow", "ai-edge-litert", "onnxruntime", "ai-edge-quantizer")
    versions = ", ".join(f"{name} {metadata.version(name)}" for name in packages)
    rows = [row for table in tables for row in table["rows"]]
    made = sum(row["cpu_seconds"] for row in rows)
    timed = [row for row in rows if "load_ms" in row]
    yield "# Every form of every preset"
    yield ""
    yield f"    python -m benchmarks.export {' '.join(map(_shown, sys.argv[1:]))}"
    yield ""
    yield (
        f"{platform.machine()}, {os.cpu_count()} processors, Python {platform.python_version()}, "
        f"{versions}; {date.today()}. To make and compare the files took {made / 60:.0f} minutes "
        f"of the processor for {len(tables)} presets. The dB are of the worst output against "
        "Keras; `dB, faint` where an output is faint."
    )
    if timed:
        yield ""
        yield (
            "Times were taken in quiet minutes, the best of two processes; on one thread the wall "
            f"clock showed at most {pages.shared_time(timed):.2f} of the processor's time. Where "
            f"the load average was above {_MOST_LOAD}, others had the second processor all the "
            "same, and times on two threads are too long; a blank was not measured yet."
        )
    if missing := set(presets.list_presets()) - {table["name"] for table in tables}:
        yield ""
        yield (
            f"Without weights here, and so without a table: {', '.join(sorted(missing))}; "
            "`litert_operators.txt` has the times of such networks at random weights."
        )
    yield from ["", "## The same network in other runtimes", "", *_ratios(tables)]
    if peers := _read(out / "peers.json"):
        yield from ["", "## The authors' own files", "", *_peers(peers)]
    if by_hand := _read(out / "by_hand" / "table.json"):
        yield from ["", "## Recipes found by hand", "", *_by_hand(by_hand)]
    for table in tables:
        yield from ["", f"## {table['name']}", "", pages.markdown(table).rstrip()]
        if len(table["rows"]) < max(len(other["rows"]) for other in tables):
            yield from ["", "Its other forms are not made yet: the command goes on there."]


def _shown(word: str) -> str:
    return Path(word).name if word.startswith("/") else word


def _read(path: Path) -> dict[str, Any]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else {}


def _write(path: Path, table: Mapping[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")


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
        rows = {row["name"]: row for row in table["rows"]}
        base = rows.get("fp32", {})
        if "load_ms" not in base:
            continue
        cells = [f"{base['cpu_ms_1_thread']:.1f} / {base['ms_2_threads']:.1f}"]
        for row in map(rows.get, names[1:]):
            if row is None or row["reason"]:
                cells.append("unfit" if row else "")
            elif "load_ms" in row:
                ratios = (row[time] / base[time] for time in ("cpu_ms_1_thread", "ms_2_threads"))
                cells.append(" / ".join(f"{ratio:.2f}" for ratio in ratios))
            else:
                cells.append("")
        yield f"| {table['name']} | {' | '.join(cells)} |"


def _time_peers(options: argparse.Namespace) -> None:
    """The best of the processor's ms for a second of sound, of both sides in turn, on one thread.

    kzoo's are the files of the streams; all go hop after hop, but for DeepFilterNet3's own.
    """
    sys.path.insert(0, str(Path(__file__).parent))
    import enhancers_sides

    place = options.out / "peers.json"
    known = _read(place)
    for name, (kind, preset) in PEERS.items():
        files, ours = getattr(options, kind), options.out / preset / f"{preset}_fp32.tflite"
        if files is None or not ours.exists() or (name in known and not options.measure_again):
            continue
        sides = {
            "theirs": enhancers_sides.KINDS[kind](files),
            "ours": enhancers_sides.stream(str(ours)),
        }
        spent: dict[str, list[float]] = {side: [] for side in sides}
        for _ in range(_TURNS):
            for name_of_side, side in sides.items():
                signal = enhancers_sides.noise(_SECONDS, side.rate)
                began = time.process_time()
                side.run(signal)
                spent[name_of_side].append(1000 * (time.process_time() - began) / _SECONDS)
        known[name] = {
            "preset": preset,
            **{side: {"ms": min(spent[side]), "bytes": sides[side].bytes} for side in sides},
        }
        _write(place, known)


def _peers(peers: Mapping[str, Any]) -> Iterator[str]:
    yield (
        "The processor's ms for a second of sound on one thread, both sides in turn, hop after "
        "hop (DeepFilterNet3's networks all at once, without its transforms and filters)."
    )
    yield ""
    yield "| the authors' | MB | ms/s | kzoo's stream | MB | ms/s | ratio |"
    yield "| --- | ---: | ---: | --- | ---: | ---: | ---: |"
    for name, row in peers.items():
        theirs, ours = row["theirs"], row["ours"]
        yield (
            f"| {name} | {theirs['bytes'] / 1e6:.2f} | {theirs['ms']:.1f} | {row['preset']} | "
            f"{ours['bytes'] / 1e6:.2f} | {ours['ms']:.1f} | {ours['ms'] / theirs['ms']:.2f} |"
        )


def _compare_by_hand(options: argparse.Namespace) -> None:
    """Size and dB of each recipe, and of what the search finds at the same dB, with their files."""
    place = options.out / "by_hand" / "table.json"
    known = _read(place)
    for recipe in RECIPES:
        here = (options.out / recipe.preset / "matrix.json").exists()
        if here and recipe.name not in known:
            known[recipe.name] = _sides_by_hand(recipe, options.stems, place.parent)
            _write(place, known)


def _sides_by_hand(recipe: Recipe, folder: Path, out: Path) -> dict[str, Any]:
    from unittest import mock

    from kzoo import audio, presets
    from kzoo.deploy import parity
    from kzoo.deploy.examples import fitted_to, sound_proof
    from kzoo.deploy.formats import kernels, search, tflite

    preset = presets.open_preset(recipe.preset)
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
    out.mkdir(parents=True, exist_ok=True)

    def side(name: str, small: bytes) -> dict[str, Any]:
        path = out / f"{recipe.preset}_{recipe.precision}_{name}.tflite"
        path.write_bytes(kernels.without_names(small))
        return {
            "file": path.name, "bytes": path.stat().st_size,
            "db": search.compared(content, small, proof),
        }  # fmt: skip

    known = kernels.kernels(content)
    eight = kernels.DYNAMIC if recipe.precision == "dynamic_int8" else kernels.BYTE
    by_hand = side("by_hand", kernels.stored(content, {
        buffer: eight if re.search(recipe.kernels, kernel.name) else kernels.HALF
        for buffer, kernel in known.items()
    }))  # fmt: skip
    by_default = sound_proof(model, sample_rate=rate)
    shipped_db = search.compared(content, (out / by_hand["file"]).read_bytes(), by_default)
    loud_db, faint_db = by_hand["db"]
    with mock.patch.object(parity, "FAINT_LIMIT_DB", faint_db - _WITHIN_DB):
        small = search.shrink(
            content, proof, recipe.precision, limit_db=loud_db - _WITHIN_DB,
            memory=presets.cache_folder() / "search",
        )  # fmt: skip
    return {
        "sound": folder.name,
        "shape": [1, samples, channels],
        "sample_rate": rate,
        "fp32_bytes": len(kernels.without_names(content)),
        "by hand": by_hand,
        "by_default": {"sound": by_default.description, "db": shipped_db},
        "search": side("search", small),
    }


def _time_by_hand(options: argparse.Namespace) -> None:
    """The processor's ms for a second of sound of fp32 and of both files, on one thread."""
    from kzoo.deploy.measuring import measure

    place = options.out / "by_hand" / "table.json"
    known = _read(place)
    for recipe in RECIPES:
        row = known.get(recipe.name)
        if row is None or ("fp32_ms" in row and not options.measure_again):
            continue
        noise = 0.1 * np.random.default_rng(0).standard_normal(row["shape"]).astype(np.float32)
        files = {
            "fp32": options.out / recipe.preset / f"{recipe.preset}_fp32.tflite",
            **{side: place.parent / row[side]["file"] for side in ("by hand", "search")},
        }
        spent: dict[str, list[float]] = {side: [] for side in files}
        for _ in range(_PASSES):
            for side, path in files.items():
                spent[side].append(measure(path, {"waveform": noise}, threads=1)["cpu_ms"])
        seconds = row["shape"][1] / row["sample_rate"]
        row["fp32_ms"] = min(spent["fp32"]) / seconds
        for side in ("by hand", "search"):
            row[side]["ms"] = min(spent[side]) / seconds
        _write(place, known)


def _by_hand(table: Mapping[str, Any]) -> Iterator[str]:
    first = next(iter(table.values()))
    yield (
        f"All on {first['sound']}, from {_LOUD_SECONDS} s (loud) and {_QUIET_SECONDS} s (faint), "
        f"against fp32; the search was given limits {_WITHIN_DB} dB below the recipe's own dB. "
        "Times are the processor's on one thread over those of fp32. The last column has the "
        f"recipe on {first['by_default']['sound']}, on which what a preset ships holds its limits."
    )
    yield ""
    yield (
        "| preset | fp32: MB | recipe: MB | dB loud / faint | time | search: MB | dB loud / faint "
        "| time | search over recipe, MB | recipe, dB elsewhere |"
    )
    yield f"| --- |{' ---: |' * 9}"
    for name, row in table.items():
        cells = [name, f"{row['fp32_bytes'] / 1e6:.2f}"]
        for side in (row["by hand"], row["search"]):
            loud_db, faint_db = side["db"]
            time_ratio = f"{side['ms'] / row['fp32_ms']:.2f}" if "fp32_ms" in row else ""
            cells += [f"{side['bytes'] / 1e6:.2f}", f"{loud_db:.1f} / {faint_db:.1f}", time_ratio]
        cells.append(f"{row['search']['bytes'] / row['by hand']['bytes']:.2f}")
        cells.append(" / ".join(f"{db:.1f}" for db in row["by_default"]["db"]))
        yield f"| {' | '.join(cells)} |"


if __name__ == "__main__":
    sys.exit(main())
