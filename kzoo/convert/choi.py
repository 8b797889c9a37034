"""The CRNN of https://github.com/keunwoochoi/music-auto_tagging-keras, from its file of Keras 1."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from kzoo.convert import assign
from kzoo.convert._checkpoints import hdf5_arrays
from kzoo.models import choi

_NORM_PARTS = {
    "gamma": "gamma",
    "beta": "beta",
    "running_mean": "moving_mean",
    "running_std": "moving_variance",  # that is what it holds, whatever it is called
}
_GATES = ("z", "r", "h")


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of the .h5 file by their names, without the suffix "_1:0" that Keras gave them."""
    return {
        name.rpartition("/")[2].removesuffix(":0").removesuffix("_1"): array
        for name, array in hdf5_arrays(path).items()
    }


def from_weights(
    weights: Mapping[str, np.ndarray], size: choi.Choi = choi.VARIANTS["crnn"]
) -> keras.Model:
    """`choi.build` with the arrays of the authors' file, as `read` gives them.

    size: of the network, a CRNN. Raises ValueError that names every weight which is missing, of
    another shape, or left over.
    """
    model = choi.build(size)
    targets = _norm(model.get_layer("input_norm"), "bn_0_freq")
    given = {name: _array(name, value) for name, value in weights.items()}
    for level in range(1, len(size.filters) + 1):
        conv = model.get_layer(f"conv{level}")
        targets |= {f"conv{level}_W": conv.kernel, f"conv{level}_b": conv.bias}
        targets |= _norm(model.get_layer(f"norm{level}"), f"bn{level}")
    for name in ("gru1", "gru2"):
        cell = model.get_layer(name).cell
        for part, variable in (("W", cell.kernel), ("U", cell.recurrent_kernel), ("b", cell.bias)):
            parts = [f"{name}_{part}_{gate}" for gate in _GATES]
            if all(one in given for one in parts):  # a missing one is then told of by `assign`
                given[f"{name}_{part}"] = np.concatenate([given.pop(one) for one in parts], axis=-1)
            targets[f"{name}_{part}"] = variable
    logits = model.get_layer("logits")
    targets |= {"output_W": logits.kernel, "output_b": logits.bias}
    assign(targets, given)
    return model


def _norm(layer, theirs: str) -> dict[str, object]:
    return {f"{theirs}_{name}": getattr(layer, ours) for name, ours in _NORM_PARTS.items()}


def _array(name: str, value: np.ndarray) -> np.ndarray:
    """Kernels `[out, in, bands, frames]` as `[frames, bands, in, out]`; all others as they are."""
    value = np.asarray(value)
    return np.transpose(value, (3, 2, 1, 0)) if value.ndim == 4 else value
