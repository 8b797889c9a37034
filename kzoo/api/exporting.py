"""Presets as artefacts for other runtimes, each proven equal before it is kept."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import kzoo
from kzoo import presets
from kzoo.presets.cache import cache_folder


def export(
    preset: str | Path,
    to: str,
    folder: str | Path,
    *,
    precision: str = "fp32",
    limit_db: float | None = None,
    block_seconds: float | None = None,
    sound: str | Path | None = None,
    allow_flex: bool = False,
    fft: str = "auto",
    target: str = "cpu",
    overwrite: bool = False,
    progress: presets.Progress | None = None,
    **options: Any,
) -> dict[str, Any]:
    """Export a preset as "tflite", "saved_model" or "onnx" into `folder`; returns its card.

    It is proven equal. TFLite has a static block of about `block_seconds` (by default the model's
    own); a SavedModel and an ONNX file take any length unless that is given.
    sound: a recording to compare on; by default `deploy.examples.noisy_speech` for presets that
        give speech, and `parity_sound` for others.
    limit_db: how near to Keras it must be, by default `deploy.parity.LIMITS_DB` of the precision.
    fft: of TFLite; "rfft2d" has its own transform, "matmul" none of it, and "auto" what is fastest
        on a CPU. target: "gpu" takes "matmul" and layers that hold in half precision, in which the
        file is tried too; it is called NAME_gpu.
    progress: told of (kernels measured, how many there are) where a precision is searched for; what
        was measured is kept in the cache, so that another try goes on there.
    options: of the architecture's sizes and build; with condition="input" the artefact of a
        conditioned U-Net takes what to extract, and is called NAME_any_stem.
    Raises deploy's ParityError and FlexError, FileExistsError without `overwrite`, and ImportError
    where LiteRT, which proves a TFLite file, is missing; whatever is raised, `folder` is left as it
    was.
    """
    from kzoo.deploy import request

    preset = presets.open_preset(preset)
    card = preset.card
    request.check(to, precision=precision, block_seconds=block_seconds, allow_flex=allow_flex)
    form = {"fft": request.transforms(to, fft, target), "target": target}
    name = request.artefact_name(card["name"], target=target, **options)
    request.places(to, folder, name=name, precision=precision, overwrite=overwrite)
    from kzoo.deploy.export import export

    original, size = _original(
        preset, to, block_seconds, sound=sound, form={**form, "allow_flex": allow_flex}, **options
    )
    return export(
        original.model, to, folder, name=name, proof=original.proof, original=original,
        sample_rate=size.sample_rate, precision=precision, limit_db=limit_db, base_card=card,
        allow_flex=allow_flex, overwrite=overwrite, progress=progress,
        memory=cache_folder() / "search",
    )  # fmt: skip


def export_all(
    preset: str | Path,
    folder: str | Path,
    *,
    block_seconds: float | None = None,
    sound: str | Path | None = None,
    pairs: str | Path | None = None,
    speakers: Sequence[str | Path] = (),
    say: Callable[[str], object] = print,
    progress: presets.Progress | None = None,
    make: bool = True,
    times: Literal["missing", "again", "none"] = "missing",
) -> dict[str, Any]:
    """Export a preset in every form to `folder`/NAME, with a table of them; returns the table.

    A SavedModel, TFLite in every precision, each with what it costs in size, time, memory and
    scores, and in fp32 and int8 of shorter blocks too. What does not hold its limit is in the
    table with the reason, and not kept. Forms that are there already are left as they are.
    block_seconds: of the shorter blocks, by default a quarter of the model's own. sound: as in
    `export`. pairs: a folder with `clean` and `noisy` recordings of the same names, on which what
    gives speech is scored; speakers: recordings of as many voices as are told apart. Music is
    scored on the song of the stempeg package.
    say: takes a line for each form. progress: as in `export`. make, times: as in
    `deploy.matrix.matrix`, so that times can be left for a quiet hour.
    Raises ValueError and ImportError as `export` does for a single form.
    """
    from kzoo.deploy import tables, truth
    from kzoo.deploy.matrix import forms, matrix
    from kzoo.files import file_sha256, replacing
    from kzoo.pictures.exports import draw_exports

    preset = presets.open_preset(preset)
    preset.refuse_untrained()
    weights = preset.download()
    size, _ = preset.sizes()
    rate, channels, sources = size.sample_rate, getattr(size, "channels", 1), ()
    if block_seconds is None:
        _, samples = size.static(None)
        block_seconds = round(samples / rate / 4, 1)
    true = None
    if size.task == "separation":
        sources = preset.sources
        true = truth.of_song(sources, rate, channels)
        if pairs is not None:
            level_db = preset.card.get("level_db")
            true = true or truth.of_pair(Path(pairs), sources, rate, channels, level_db)
        true = true or truth.of_speakers([*map(Path, speakers)], sources, rate, channels)
    known = {
        "card": dict(preset.card), "weights": file_sha256(weights), "kzoo": kzoo.__version__,
        "sound": sound and file_sha256(Path(sound)), "truth": true and true.description,
    }  # fmt: skip
    key = hashlib.sha256(json.dumps(known, sort_keys=True, default=str).encode()).hexdigest()[:16]
    place = Path(folder) / preset.card["name"]
    table = matrix(
        place, name=preset.card["name"], key=key, wanted=forms([block_seconds]),
        prepare=lambda to, seconds: _original(
            preset, to, seconds, sound=sound, stream=seconds is None
        )[0],
        true=true, sample_rate=rate, base_card=preset.card, say=say, make=make, times=times,
        progress=progress, memory=cache_folder() / "search",
    )  # fmt: skip
    with replacing(place / "matrix.md") as temporary:
        temporary.write_text(
            f"# {preset.card['name']}\n\n{tables.markdown(table)}", encoding="utf-8"
        )
    with replacing(place / "matrix.png") as temporary:
        draw_exports(table, temporary)
    return table


def export_page(
    preset: str | Path,
    folder: str | Path,
    *,
    precisions: Sequence[str] = ("fp32", "fp16"),
    block_seconds: float | None = None,
    licences: str | None = None,
    node_modules: Path | None = None,
    overwrite: bool = False,
) -> list[dict[str, Any]]:
    """Write a page that runs a separator or enhancer in the browser; returns its networks' cards.

    folder: for any static host, of the page, a proven TFLite file of each precision with its card,
    and LiteRT.js. Of a preset that streams there is one file, the stream's. licences: of code,
    weights and data, as text; by default the card's own lines.
    node_modules: where npm has put LiteRT.js; by default npm fetches it once, into the cache.
    Raises as `export`; PresetError for what is no separator of a waveform alone, FileExistsError
    without `overwrite`, ImportError where npm is missing; `folder` is then as it was.
    """
    from kzoo import web
    from kzoo.deploy.placing import beside, move

    preset, folder = presets.open_preset(preset), Path(folder)
    task = preset.task if preset.task != "separation" else preset.sizes()[0].task
    if task != "separation":
        raise presets.PresetError(f"preset {preset} is for {task}; a page separates sound")
    if folder.exists() and not overwrite:
        raise FileExistsError(f"{folder}: is there already; overwrite it or name another folder")
    web.litert_js.packages(node_modules)  # before what takes minutes
    lines = preset.card.get("licences", {}).items()
    with beside(folder) as scratch:
        cards = []
        for precision in precisions:
            cards.append(export(
                preset, "tflite", scratch / "networks", precision=precision,
                block_seconds=block_seconds,
            ))  # fmt: skip
            if "stream" in cards[0]:  # one file is of every precision
                break
        web.write_page(
            scratch / folder.name, cards, node_modules=node_modules,
            licences=licences or "\n".join(f"{what}: {licence}" for what, licence in lines),
            interchangeable=bool(preset.card.get("interchangeable", False)),
        )  # fmt: skip
        move(scratch / folder.name, folder, scratch)
    return cards


def _original(
    preset: presets.Preset,
    to: str,
    block_seconds: float | None,
    *,
    sound: str | Path | None,
    form: Mapping[str, Any] | None = None,
    stream: bool = True,
    **options: Any,
):
    """(the `deploy.export.Original` of a preset in a format, its sizes).

    form: the options of that class.
    """
    from kzoo import tasks
    from kzoo.deploy.export import Original

    size, arguments = preset.sizes(**options)
    if to == "tflite" or block_seconds is not None:
        samples = block_seconds and max(1, round(block_seconds * size.sample_rate))
        size, arguments["samples"] = size.static(samples)
    task = tasks.task(size.task)
    stream = stream and (to == "tflite" or (to == "saved_model" and task.served))
    prove = task.prove(preset, size, sound=sound, stream=stream)
    model = preset.model(size, **arguments)
    return Original(model, prove(model), **(form or {})), size
