"""Weights of DTLN's authors, https://github.com/breizhn/DTLN (MIT), out of their .h5 files.

A file holds weights alone, a group a layer. The LSTMs of the "norm" files lie under names that
count the cells made before them, so layers are taken in the file's own order and not by name.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from kzoo import models
from kzoo.convert import assign
from kzoo.models import dtln

_LSTM = ("kernel", "recurrent_kernel", "bias")


def read(path: str | Path) -> dict[str, np.ndarray]:
    """{"<number of the layer>/<weight>": array} in the file's order; layers without weights aside.

    Raises ValueError for a file that holds no weights of Keras.
    """
    import h5py

    found = []
    try:
        with h5py.File(path) as file:
            for layer in file.attrs["layer_names"]:
                names = file[layer].attrs["weight_names"]
                found.append({_text(name): file[layer][name][()] for name in names})
    except (OSError, KeyError) as error:
        raise ValueError(f"{path}: holds no weights of Keras ({error})") from None
    return {
        f"{number}/{name.rsplit('/', 1)[-1].removesuffix(':0')}": array
        for number, layer in enumerate(filter(None, found))
        for name, array in layer.items()
    }


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


def from_weights(
    weights: Mapping[str, np.ndarray], *, sources: Sequence[str] = dtln.SOURCES
) -> keras.Model:
    """`dtln.build` with the weights of one of the authors' files, as `read` gives them.

    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    log_norm = "0/gamma" in weights
    model = models.build("dtln", sources=sources, variant="norm" if log_norm else "paper")
    norm = ("gamma", "beta")
    layers = [
        *([("magnitude_norm", norm)] if log_norm else []),
        ("spectral_lstm1", _LSTM), ("spectral_lstm2", _LSTM),
        ("spectral_mask", ("kernel", "bias")),
        ("encoder", ("kernel",)),
        ("feature_norm", norm),
        ("learned_lstm1", _LSTM), ("learned_lstm2", _LSTM),
        ("learned_mask", ("kernel", "bias")),
        ("decoder", ("kernel",)),
    ]  # fmt: skip
    targets = {}
    for number, (name, kinds) in enumerate(layers):
        layer = model.get_layer(name)
        owner = layer.cell if kinds == _LSTM else layer
        targets |= {f"{number}/{kind}": getattr(owner, kind) for kind in kinds}
    assign(targets, weights)
    return model
