"""An artefact and its card: written, reloaded in its own runtime, compared, then moved into place.

saved_model   FOLDER/NAME/VERSION/   as TF Serving wants it; the card in assets.extra/card.json
tflite        FOLDER/NAME_PRECISION.tflite and NAME_PRECISION.json, the card
"""

from __future__ import annotations

import contextlib
import datetime
import hashlib
import importlib.metadata
import json
import math
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import kzoo
from kzoo.deploy import parity, request
from kzoo.deploy.saved_model import describe_saved_model, load_saved_model, write_saved_model
from kzoo.deploy.signature import INPUT, SIGNATURE, further_inputs
from kzoo.deploy.tflite import FlexUnavailable, describe_tflite, load_tflite, write_tflite

_DEFAULT_SECONDS, _LONGEST_SECONDS = 4, 30  # of sound to compare on, where any length is taken


def export(
    model: keras.Model,
    to: str,
    folder: str | Path,
    *,
    name: str,
    sources: Sequence[str],
    sample_rate: int,
    sound: np.ndarray | None = None,
    sound_description: str | None = None,
    samples: int | None = None,
    precision: str = "fp32",
    base_card: Mapping[str, Any] | None = None,
    allow_flex: bool = False,
    limit_db: float | None = None,
    overwrite: bool = False,
    version: int = 1,
) -> dict[str, Any]:
    """Write `model` as `to` ("saved_model" or "tflite") under `folder`; returns the card.

    The card's `path` (not in the file) is where the artefact lies.
    samples: length of a block; TFLite needs it, SavedModel takes any length without.
    sound: float32 `[samples, channels]` to compare on, repeated or cut to the block, or to its
        first 30 s, with a line that says what it is; by default `parity.parity_sound`.
    precision: of TFLite alone. base_card: its licences, paper and summary go into the card.
    allow_flex: lets Flex operators through; where no interpreter here runs them the artefact is
        written all the same, and the card's parity.not_compared says why nothing was measured.
    limit_db: by default `parity.LIMITS_DB`. version: of a SavedModel, as TF Serving counts them.
    Raises ParityError, FlexError, FileExistsError (without `overwrite`), ValueError, or ImportError
    where LiteRT is missing; whatever it raises, `folder` is as it was.
    """
    request.check(to, precision=precision, allow_flex=allow_flex)
    places = request.places(
        to, folder, name=name, precision=precision, version=version, overwrite=overwrite
    )
    block = model.inputs[0].shape[1] if samples is None else samples
    channels = model.inputs[0].shape[-1]
    if sound is None:
        length = block or _DEFAULT_SECONDS * sample_rate
        sound, sound_description = parity.parity_sound(sample_rate, channels, length)
    else:
        length = block or min(len(sound), _LONGEST_SECONDS * sample_rate)
        sound = parity.fitted_to(np.asarray(sound), channels, length)

    not_compared = None
    with beside(places["artefact"]) as temporary:
        written = temporary / places["artefact"].name
        if to == "saved_model":
            write_saved_model(model, written, sources=sources, samples=samples)
            described, run = describe_saved_model(written), load_saved_model(written)
            runtime = {"name": "tf.saved_model.load", "version": tf.__version__}
        else:
            write_tflite(
                model, written, sources=sources, samples=samples, precision=precision,
                allow_flex=allow_flex,
            )  # fmt: skip
            described, run = describe_tflite(written), None
            flex = any(operator.startswith("Flex") for operator in described["operators"])
            if flex:
                runtime = {"name": "tf.lite.Interpreter", "version": tf.__version__}
            else:
                runtime = {"name": "LiteRT", "version": litert_version()}
            try:
                run = load_tflite(written)
            except (
                FlexUnavailable
            ) as error:  # the caller allowed Flex: the card says what is unknown
                not_compared = str(error)
        limit_db = parity.LIMITS_DB[precision] if limit_db is None else limit_db
        differences = {}
        if run is not None:
            others = further_inputs(model)
            expected = _keras(model, sources, sound, others)
            differences = parity.compare(expected, run(sound, **others), sound)
            try:
                parity.check(differences, limit_db)
            except parity.ParityError as error:
                raise parity.ParityError(f"{error}; {places['artefact']} was not written") from None
        card = {
            "name": name,
            "format": to,
            "precision": precision,
            "sample_rate": sample_rate,
            "block_samples": block,
            "channels": channels,
            "sources": list(sources),
            "signature": SIGNATURE,
            "input": INPUT,
            **described,
            "parity": {
                "against": f"Keras {keras.__version__}",
                "sound": sound_description or "given by the caller",
                "limit_db": limit_db,
                "not_compared": not_compared,
                "sources": {
                    source: {
                        # JSON has no infinity: null where not one sample differs.
                        "snr_db": round(d.snr_db, 2) if math.isfinite(d.snr_db) else None,
                        "max_abs_difference": d.max_abs,
                    }
                    for source, d in differences.items()
                },
            },
            "files": files(written),
            "runtime": runtime,
            "versions": versions(),
            "date": datetime.date.today().isoformat(),
        }
        card["bytes"] = sum(file["bytes"] for file in card["files"].values())
        for key in ("summary", "bandwidth_hz", "licences", "paper", "trained"):
            if base_card and key in base_card:
                card[key] = base_card[key]
        if to == "saved_model":
            kept = written / "assets.extra" / "card.json"
            kept.parent.mkdir(exist_ok=True)
        else:
            kept = temporary / places["card"].name
        kept.write_text(json.dumps(card, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        for place in places.values():
            move(temporary / place.name, place, temporary)
    return {**card, "path": str(places["artefact"])}


def _keras(model, sources: Sequence[str], sound, others) -> dict[str, np.ndarray]:
    arguments = [array[None] for array in (sound, *others.values())]
    arguments = arguments if others else arguments[0]
    estimates = np.asarray(model(arguments, training=False))[0]
    return dict(zip(sources, estimates if estimates.ndim == 3 else [estimates], strict=True))


@contextlib.contextmanager
def beside(place: Path) -> Iterator[Path]:
    """A temporary folder on the same disk as `place`; on failure no new folder stays behind."""
    new = [p for p in (place.parent, *place.parent.parents) if not p.exists()]
    place.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{place.name}.", dir=place.parent))
    try:
        yield temporary
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        for made in new:
            with contextlib.suppress(OSError):  # not empty: the artefact is in it
                made.rmdir()


def move(written: Path, place: Path, temporary: Path) -> None:
    """Put what was written in its place, over what is there."""
    # A folder cannot be replaced in one step where it holds something: the old one steps aside.
    if place.is_dir():
        os.replace(place, temporary / f"{place.name}.old")
    os.replace(written, place)
    place.chmod(0o755 if place.is_dir() else 0o644)


def files(written: Path) -> dict[str, dict[str, Any]]:
    """Bytes and sha256 of every file of an artefact."""
    if written.is_file():
        found, base = [written], written.parent
    else:
        found, base = sorted(p for p in written.rglob("*") if p.is_file()), written
    return {str(path.relative_to(base).as_posix()): _stamp(path) for path in found}


def _stamp(path: Path) -> dict[str, Any]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"bytes": path.stat().st_size, "sha256": digest}


def versions() -> dict[str, str]:
    """Of what made an artefact."""
    modules = {"tensorflow": tf, "keras": keras, "numpy": np}
    return {"kzoo": kzoo.__version__, **{n: m.__version__ for n, m in modules.items()}}


def litert_version() -> str | None:
    """Of the runtime, None where another distribution has it."""
    try:
        return importlib.metadata.version("ai-edge-litert")
    except importlib.metadata.PackageNotFoundError:
        return None  # another distribution of the same module
