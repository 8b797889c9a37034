"""Every form of one model: written, proven, scored on true stems, timed; the unfit named.

A model is converted once for each length of block, and what was converted is quantised many ways.
What does not hold its limits is told in the table with the reason, and not kept. The table is
written after every form, so that another call goes on where one was interrupted.
"""

from __future__ import annotations

import datetime
import functools
import json
import os
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np
import tensorflow as tf

from kzoo import files
from kzoo.deploy import parity, truth
from kzoo.deploy.export import Original, export
from kzoo.deploy.formats import tflite
from kzoo.deploy.formats.kernels import without_names
from kzoo.deploy.formats.search import compared, everywhere
from kzoo.deploy.measuring import measure
from kzoo.deploy.request import PRECISIONS
from kzoo.deploy.signature import named_outputs

TABLE = "matrix.json"
_EVERYWHERE = ("int8", "int4", "dynamic_int8", "full_int8")
_OF_SHORT_BLOCKS = ("fp32", "int8")
_PASSES = 2  # of the measurements, of which the best counts: a shared machine has bad moments
_COSTS = ("load_ms", "peak_mb", "cpu_ms_1_thread", "ms_1_thread", "ms_2_threads", "load_average")

Times = Literal["missing", "again", "none"]


@dataclass(frozen=True)
class Form:
    """One row of the table.

    whole: all kernels alike, instead of those that a search finds; it is compared and never kept.
    block_seconds: None for the model's own.
    """

    to: str
    precision: str
    whole: bool = False
    block_seconds: float | None = None

    @property
    def name(self) -> str:
        """What the row is called."""
        name = {"saved_model": "SavedModel", "onnx": "ONNX"}.get(self.to, self.precision)
        name += " everywhere" if self.whole else ""
        return name if self.block_seconds is None else f"{name}, {self.block_seconds:g} s"

    @property
    def folder(self) -> str:
        """Where its file lies below the folder of the preset."""
        return "." if self.block_seconds is None else f"blocks_of_{self.block_seconds:g}_s"


def forms(short_blocks: Sequence[float]) -> list[Form]:
    """Every form, and those of further lengths of block, in seconds."""
    own = [Form("saved_model", "fp32"), Form("onnx", "fp32")]
    for precision in PRECISIONS:
        own.append(Form("tflite", precision))
        own += [Form("tflite", precision, whole=True)] * (precision in _EVERYWHERE)
    return own + [
        Form("tflite", precision, block_seconds=seconds)
        for seconds in short_blocks
        for precision in _OF_SHORT_BLOCKS
    ]


def matrix(
    folder: Path,
    *,
    name: str,
    key: str,
    wanted: Sequence[Form],
    prepare: Callable[[str, float | None], Original],
    true: truth.Truth | None,
    sample_rate: int,
    base_card: Mapping[str, Any],
    say: Callable[[str], object],
    make: bool = True,
    times: Times = "missing",
    **search: Any,
) -> dict[str, Any]:
    """Write `wanted` into `folder`; returns the table, which is in `folder`/matrix.json too.

    key: of the preset, its weights and what it is compared on: rows that were made of it and are
        whole are kept. prepare: makes the model of a format and a length of block, when it is
        needed. true: what outputs are scored against; None for no scores.
    say: takes a line for each form. make: False leaves out the forms that are not there.
    times: whose times and memory are measured: of forms that have none yet, of all again, or of
        none, where the machine has other work. search: options of `search.shrink`.
    """
    prepare = functools.cache(prepare)
    before = _read(folder / TABLE)
    kept = {row["name"]: row for row in before.get("rows", ()) if _is_whole(row, folder, key)}
    table = {
        "name": name, "sample_rate": sample_rate,
        "machine": f"{platform.machine()}, {os.cpu_count()} processors",
        "date": datetime.date.today().isoformat(), "truth": true and true.description,
        "scores": before.get("scores") if kept else None,
        "rows": [kept[form.name] for form in wanted if form.name in kept],
    }  # fmt: skip
    order, in_order = [form.name for form in wanted], False

    def write() -> None:
        table["rows"].sort(key=lambda row: order.index(row["name"]))
        with files.replacing(folder / TABLE) as temporary:
            temporary.write_text(json.dumps(table, indent=1) + "\n", encoding="utf-8")

    for form in wanted:
        if form.name in kept:
            say(f"{name}, {form.name}: is there")
            continue
        if not make:
            continue
        began, began_cpu = time.perf_counter(), time.process_time()
        # What takes any length is one model for both of its formats.
        original = prepare("tflite" if form.to == "tflite" else "saved_model", form.block_seconds)
        row = {"name": form.name, "key": key, "file": None, "sha256": {}, "reason": None}
        if form.whole:
            row |= _compared(form, original)
        else:
            row |= _exported(
                form, original, folder, name=name, sample_rate=sample_rate, base_card=base_card,
                **search,
            )  # fmt: skip
        scored = form.to == "tflite" and form.block_seconds is None
        if row["file"] and scored and true is not None:
            if not in_order:
                true, table["scores"] = _scored(original, true)
                in_order = True
            found = truth.estimates(tflite.load(folder / row["file"]), original.proof.inputs, true)
            row["change"] = truth.change(table["scores"], truth.scores(true, found))
        row["seconds"] = round(time.perf_counter() - began, 1)
        row["cpu_seconds"] = round(time.process_time() - began_cpu, 1)
        table["rows"].append(row)
        write()
        say(f"{name}, {line(row)}")
    if times == "again":
        for row in table["rows"]:
            for cost in _COSTS:
                row.pop(cost, None)
    for row in table["rows"]:
        if times != "none" and row["file"] and "load_ms" not in row:
            row |= _cost(row, folder)
            write()
    write()
    return table


def line(row: Mapping[str, Any]) -> str:
    """A row in words."""
    if row["reason"]:
        return f"{row['name']}: not kept, {row['reason']}"
    levels = ", ".join(
        f"{row[level]:.1f} dB{where}"
        for level, where in (("snr_db", ""), ("faint_db", " where an output is faint"))
        if row.get(level) is not None
    )
    return f"{row['name']}: {row['bytes'] / 1e6:.2f} MB, {levels or 'equal'}"


def _read(place: Path) -> dict[str, Any]:
    try:
        return json.loads(place.read_text(encoding="utf-8"))
    except (FileNotFoundError, ValueError):  # none yet, or cut short by a machine that went down
        return {}


def _is_whole(row: Mapping[str, Any], folder: Path, key: str) -> bool:
    """Whether a row was made of the same things, and its file is there as it was."""
    return row["key"] == key and all(
        (folder / path).is_file() and files.file_sha256(folder / path) == digest
        for path, digest in row["sha256"].items()
    )


def _compared(form: Form, original: Original) -> dict[str, Any]:
    """How a file with all kernels alike does."""
    try:
        content = everywhere(original.content, original.proof, form.precision)
    except (ValueError, ImportError) as error:
        return {"reason": str(error)}
    loud_db, faint_db = compared(original.content, content, original.proof)
    limit_db = parity.LIMITS_DB[form.precision]
    row = {"snr_db": loud_db, "faint_db": faint_db, "bytes": len(without_names(content))}
    if loud_db >= limit_db and faint_db >= parity.FAINT_LIMIT_DB:
        return row | {"reason": f"holds its limits, but {form.precision} is what ships"}
    return row | {
        "reason": f"{loud_db:.1f} of {limit_db:g} dB, and {faint_db:.1f} of "
        f"{parity.FAINT_LIMIT_DB:g} dB where an output is faint"
    }


def _exported(
    form: Form, original: Original, folder: Path, *, name: str, **options: Any
) -> dict[str, Any]:
    """What the card of a file says, or why there is none."""
    place, proof = folder / form.folder, original.proof
    if form.precision != "fp32":
        proof = replace(proof, stream=None)  # of every precision the same
    try:
        card = export(
            original.model, form.to, place, name=name, precision=form.precision, proof=proof,
            original=original, overwrite=True, **options,
        )  # fmt: skip
    except (ValueError, ImportError) as error:
        for suffix in ("tflite", "json"):  # of another time, which would now be told by no row
            (place / f"{name}_{form.precision}.{suffix}").unlink(missing_ok=True)
        return {"reason": str(error)}
    artefact = Path(card["path"])
    base = artefact if artefact.is_dir() else artefact.parent
    stamps = {str((base / path).relative_to(folder)): s for path, s in card["files"].items()}
    sources, faint = card["parity"]["sources"], card["parity"].get("faint")
    levels = [found["snr_db"] for found in sources.values() if found["snr_db"] is not None]
    shapes = {input: list(array.shape) for input, array in proof.inputs.items()}
    return {
        "file": str(artefact.relative_to(folder)),
        "sha256": {path: stamp["sha256"] for path, stamp in stamps.items()},
        "bytes": sum(
            stamp["bytes"] for path, stamp in stamps.items()
            if artefact.is_dir() or folder / path == artefact
        ),
        "operators": sum(card["operators"].values()),
        "kernels": card.get("kernels", {}),
        "snr_db": min(levels, default=None),
        "faint_db": faint and faint["snr_db"],
        "shapes": shapes,
        "call_seconds": _samples(proof.inputs, original.expected[0]) / card["sample_rate"],
    }  # fmt: skip


def _samples(*named: Mapping[str, np.ndarray]) -> int:
    """The samples of a call: of controls and activations there is one for many, so the longest."""
    return max(array.shape[1] for arrays in named for array in arrays.values())


def _scored(original: Original, true: truth.Truth) -> tuple[truth.Truth, truth.Scores]:
    """What is true, in the order of the model's outputs, and the scores of Keras."""

    @tf.function(autograph=False)
    def call(*tensors):
        return named_outputs(original.model, original.proof, tensors)

    def run(inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {k: x.numpy() for k, x in call(*map(tf.constant, inputs.values())).items()}

    found = truth.estimates(run, original.proof.inputs, true)
    true = truth.in_order(true, found)
    return true, truth.scores(true, found)


def _cost(row: Mapping[str, Any], folder: Path) -> dict[str, float]:
    """What a file takes to load and to run, on one thread and on two: the best of two processes.

    `load_average` tells what else ran, in the minute before.
    """
    rng = np.random.default_rng(0)
    inputs = {
        name: (0.1 * rng.standard_normal(shape)).astype(np.float32)
        for name, shape in row["shapes"].items()
    }
    load_average = os.getloadavg()[0]
    # TensorFlow's import alone takes 5 s.
    passes = 1 if row["name"] == "SavedModel" else _PASSES
    one, two = (
        [measure(folder / row["file"], inputs, threads=threads) for _ in range(passes)]
        for threads in (1, 2)
    )

    def least(runs: Sequence[Mapping[str, float]], measure: str) -> float:
        return min(run[measure] for run in runs)

    seconds = row["call_seconds"]
    found = (
        least(one, "load_ms"), least(one, "peak_mb"), least(one, "cpu_ms") / seconds,
        least(one, "call_ms") / seconds, least(two, "call_ms") / seconds, round(load_average, 1),
    )  # fmt: skip
    return dict(zip(_COSTS, found, strict=True))
