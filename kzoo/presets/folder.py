"""A preset's folder: its card and its weights, written whole or not at all."""

from __future__ import annotations

import dataclasses
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kzoo import config, models
from kzoo.files import file_sha256
from kzoo.presets.card import CARD, TRAINED, WEIGHTS, PresetError, check_card

if TYPE_CHECKING:
    import keras


def save_to_preset(model: keras.Model, folder: str | Path, card: Mapping[str, Any]) -> Path:
    """Write `model`'s weights and its card as a preset that `from_preset(folder)` reads.

    card: at least `model` ({name, options} of the architecture), `sources` (or, of a model
    that knows none, its `task`), `sample_rate` and `trained`, how the weights came to be: a line,
    or a mapping with the number of `steps`, where 0 keeps `from_preset` from using them. The sha256
    of the weights is added, and the options are completed by every size of the model.
    Raises PresetError for a card without these, or for a folder that holds something else.
    """
    if not card.get("trained"):
        raise PresetError(f"a card must have 'trained', {TRAINED}; got {', '.join(card)}")
    check_card(card, "the card")
    write_folder(Path(folder), model, {**card, "model": with_whole_sizes(card)})
    return Path(folder)


def with_whole_sizes(card: Mapping[str, Any]) -> dict[str, Any]:
    """A card's `model` whose options are every size, so that no later variant changes them.

    The variant's name stays beside the options, for whoever reads the card.
    """
    section = card["model"]
    options = {**model_options(section), "sample_rate": card["sample_rate"]}
    size, arguments = models.split(section["name"], options)
    variant = section.get("variant") or options.get("variant")
    return {
        "name": section["name"],
        **({"variant": variant} if variant else {}),
        "options": {**arguments, **config.plain(dataclasses.asdict(size))},
    }


def model_options(section: Mapping[str, Any]) -> dict[str, Any]:
    """The options of a card's `model`; the variant that stands beside them is one.

    A variant that there is no more is only a name: the options are then every size.
    """
    options, variant = dict(section.get("options", {})), section.get("variant")
    if variant in models.architecture(section["name"]).VARIANTS:
        options.setdefault("variant", variant)
    return options


def write_folder(folder: Path, model: keras.Model, card: Mapping[str, Any]) -> None:
    """Write weights and card; PresetError for a folder that holds something else."""
    others = [p.name for p in folder.iterdir()] if folder.is_dir() else []
    if others and CARD not in others:
        raise PresetError(f"{folder}: holds other files ({others[0]}, ...); name a new folder")
    folder.parent.mkdir(parents=True, exist_ok=True)
    arrays = {weight.path: weight.numpy() for weight in model.weights}
    if len(arrays) != len(model.weights):
        raise PresetError("two weights of the model share a path; give its layers different names")
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        np.savez(temporary / WEIGHTS, **arrays)
        sha256 = file_sha256(temporary / WEIGHTS)
        written = {**card, "weights": {**card.get("weights", {}), "sha256": sha256}}
        config.dump_yaml(written, temporary / CARD)
        temporary.chmod(0o755)
        folder.mkdir(exist_ok=True)
        # The card last: a folder without it is not a preset, so an interruption leaves none.
        for name in (WEIGHTS, CARD):
            os.replace(temporary / name, folder / name)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
