"""Weights: arrays by their paths, read only as their card promises them, assigned to the last."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from kzoo.files import file_sha256
from kzoo.presets.card import PresetError

if TYPE_CHECKING:
    import keras


def read_weights(path: Path, sha256: str | None) -> dict[str, np.ndarray]:
    """The arrays of a weights file, after its sha256 has been checked."""
    if not path.is_file():
        raise PresetError(f"{path}: the weights of this preset are missing; fetch them again")
    found = file_sha256(path)
    if sha256 is None:
        raise PresetError(
            f"{path.parent}: the card names no sha256, so the weights cannot be trusted"
        )
    if found != sha256:
        raise PresetError(
            f"{path}: damaged or replaced (sha256 {found[:12]}, card says {sha256[:12]}); "
            "delete it and fetch the preset again"
        )
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def load_weights(model: keras.Model, weights: Mapping[str, np.ndarray], *, where: str) -> None:
    """Give every weight of `model` the array of its path; strict in both directions."""
    from kzoo.convert import assign

    try:
        assign({weight.path: weight for weight in model.weights}, weights)
    except ValueError as error:
        raise PresetError(f"{where}: {error}") from None
