"""Artefacts of a synthesiser: named controls in, `audio` out, proven on a melody.

saved_model   FOLDER/NAME/VERSION/: `f0_hz`, `loudness_db` `[batch, frames, 1]` to `audio`
tflite        FOLDER/NAME_PRECISION.tflite: the same of one block, without a batch axis; and, where
              the model can stream, FOLDER/NAME_stream.tflite, see `kzoo.deploy.streaming`
"""

from __future__ import annotations

import datetime
import json
import math
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kzoo.deploy import artefact, parity, request
from kzoo.deploy.half import halve
from kzoo.deploy.saved_model import describe_saved_model
from kzoo.deploy.signature import SIGNATURE
from kzoo.deploy.streaming import Stream, write_stream
from kzoo.deploy.tflite import convert, describe_tflite, open_interpreter
from kzoo.dsp.notes import midi_to_hz

OUTPUT = "audio"
_FRAMES = 250  # of controls to compare on, where any number is taken

Run = Callable[[Mapping[str, np.ndarray]], np.ndarray]


def export(
    model: keras.Model,
    to: str,
    folder: str | Path,
    *,
    name: str,
    sample_rate: int,
    step: keras.Model | None = None,
    state: Mapping[str, np.ndarray] | None = None,
    precision: str = "fp32",
    base_card: Mapping[str, Any] | None = None,
    overwrite: bool = False,
) -> dict[str, Any]:
    """Write a synthesiser as `to` under `folder`; returns the card, as `artefact.export` does.

    model: of fixed length for TFLite. step, state: its streaming form, for TFLite, or None.
    Raises as `artefact.export` does; whatever it raises, `folder` is as it was.
    """
    request.check(to, precision=precision)
    places = request.places(to, folder, name=name, precision=precision, overwrite=overwrite)
    if to == "tflite" and step is not None:
        places["stream"] = Path(folder) / f"{name}_stream.tflite"  # of every precision the same
    melody = example(model)
    expected = {OUTPUT: np.asarray(model(melody, training=False))[0]}
    with artefact.beside(places["artefact"]) as temporary:
        written = temporary / places["artefact"].name
        if to == "saved_model":
            write_saved_model(model, written)
            described, run = describe_saved_model(written), load_saved_model(written)
            runtime = {"name": "tf.saved_model.load", "version": tf.__version__}
        else:
            write_tflite(model, written, precision=precision)
            described, run = describe_tflite(written), load_tflite(written)
            runtime = {"name": "LiteRT", "version": artefact.litert_version()}
        found = {OUTPUT: run(melody)}
        compared = {OUTPUT: _compared(expected, found, parity.LIMITS_DB[precision], places)}
        card = {
            "name": name, "format": to, "precision": precision, "sample_rate": sample_rate,
            "block_samples": model.outputs[0].shape[1], "channels": 1, "signature": SIGNATURE,
            **described,
            "parity": {
                "against": f"Keras {keras.__version__}", "sound": "a melody, seed 0",
                "limit_db": parity.LIMITS_DB[precision], "not_compared": None, "sources": compared,
            },
            "files": artefact.files(written), "runtime": runtime,
            "versions": artefact.versions(), "date": datetime.date.today().isoformat(),
        }  # fmt: skip
        if "stream" in places:
            stream = write_stream(step, temporary / places["stream"].name, state=state)
            _refuse_another(places["stream"], stream, overwrite=overwrite)
            card["files"] |= artefact.files(stream)
            card["stream"] = _streamed(stream, model, places)
            card["parity"]["sources"]["stream"] = card["stream"].pop("parity")
        card["bytes"] = sum(file["bytes"] for file in card["files"].values())
        card |= {k: v for k, v in (base_card or {}).items()
                 if k in ("summary", "licences", "paper", "trained")}  # fmt: skip
        kept = (
            temporary / places["card"].name
            if "card" in places
            else (written / "assets.extra" / "card.json")
        )
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps(card, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        for place in places.values():
            artefact.move(temporary / place.name, place, temporary)
    return {**card, "path": str(places["artefact"])}


def example(model: keras.Model, frames: int | None = None) -> dict[str, np.ndarray]:
    """Controls `[1, frames, 1]` for every input of `model`: a melody that swells, seed 0."""
    hop = _hop_length(model)
    rng = np.random.default_rng(0)
    shapes = {x.name: x.shape[1] for x in model.inputs}
    count = frames or shapes["f0_hz"] or _FRAMES
    notes = 57 + np.repeat(rng.integers(0, 25, -(-count // 50)), 50)[:count]
    vibrato = 0.2 * np.sin(np.arange(count) / 7)
    found = {
        "f0_hz": midi_to_hz(notes + vibrato),
        "loudness_db": -40 + 20 * np.sin(np.arange(count) / 25),
        "waveform": 0.1 * rng.standard_normal(count * hop),
    }
    return {name: found[name][None, :, None].astype(np.float32) for name in shapes}


def write_saved_model(model: keras.Model, folder: Path) -> None:
    """Any batch, and any number of frames where the model takes any."""
    archive = keras.export.ExportArchive()
    archive.add_endpoint(SIGNATURE, _function(model, batched=True))
    archive.write_out(str(folder), verbose=False)


def write_tflite(model: keras.Model, path: Path, *, precision: str = "fp32") -> None:
    """One block; ValueError for a model of any length. FlexError as `tflite.write_tflite`."""
    if model.outputs[0].shape[1] is None:
        raise ValueError(f"samples must be given: {model.name!r} takes any length and a file one")
    archive = keras.export.ExportArchive()
    archive.add_endpoint(SIGNATURE, _function(model, batched=False))
    with tempfile.TemporaryDirectory() as folder:
        archive.write_out(folder, verbose=False)
        content = convert(folder, model.name, allow_flex=False)
    path.write_bytes(halve(content) if precision == "fp16" else content)


def load_saved_model(folder: Path) -> Run:
    """The artefact as a function of controls `[1, frames, 1]` to audio `[samples, 1]`."""
    loaded = tf.saved_model.load(str(folder))

    def run(controls: Mapping[str, np.ndarray]) -> np.ndarray:
        given = {name: tf.constant(value) for name, value in controls.items()}
        return loaded.signatures[SIGNATURE](**given)[OUTPUT].numpy()[0]

    return run


def load_tflite(path: Path) -> Run:
    """Same as `load_saved_model`, by LiteRT."""
    interpreter = open_interpreter(path, 1, flex=False)
    interpreter.allocate_tensors()
    runner = interpreter.get_signature_runner(SIGNATURE)
    return lambda controls: runner(**{k: v[0] for k, v in controls.items()})[OUTPUT]


def _function(model: keras.Model, *, batched: bool):
    lead = (None,) if batched else ()
    names = [x.name for x in model.inputs]

    @tf.function(
        input_signature=[
            tf.TensorSpec((*lead, *x.shape[1:]), x.dtype, name=x.name) for x in model.inputs
        ],
        autograph=False,
    )
    def serve(*controls):
        given = [x if batched else x[None] for x in controls]
        audio = model(dict(zip(names, given, strict=True)), training=False)
        return {OUTPUT: audio if batched else audio[0]}

    serve.get_concrete_function()  # ExportArchive wants it traced
    return serve


def _refuse_another(there: Path, made: Path, *, overwrite: bool) -> None:
    if there.exists() and not overwrite and there.read_bytes() != made.read_bytes():
        raise FileExistsError(f"{there}: is there already, and is another; overwrite it")


def _streamed(path: Path, model: keras.Model, places) -> dict[str, Any]:
    """What a stream is, and how it compares with the model, one hop late, block after block."""
    stream, hop = Stream(path), _hop_length(model)
    block = stream.inputs["f0_hz"][1]
    whole = example(model)
    frames = whole["f0_hz"].shape[1] // block * block
    heard = [
        stream.step(**{name: x[:, k : k + block] for name, x in whole.items()})[OUTPUT][0]
        for k in range(0, frames, block)
    ]
    expected = np.asarray(model(whole, training=False))[0]
    found = np.concatenate(heard)[hop:]
    compared = _compared(
        {OUTPUT: expected[: len(found)]}, {OUTPUT: found}, parity.LIMITS_DB["fp32"], places
    )
    return {"file": path.name, "frames": block, "hop_length": hop, "delay_samples": hop,
            "parity": compared}  # fmt: skip


def _compared(expected, found, limit_db: float, places) -> dict[str, float | None]:
    differences = parity.compare(expected, found, expected[OUTPUT])
    try:
        parity.check(differences, limit_db)
    except parity.ParityError as error:
        raise parity.ParityError(f"{error}; {places['artefact']} was not written") from None
    difference = differences[OUTPUT]
    level = round(difference.snr_db, 2) if math.isfinite(difference.snr_db) else None
    return {"snr_db": level, "max_abs_difference": difference.max_abs}


def _hop_length(model: keras.Model) -> int:
    return model.get_layer("synthesiser").hop_length
