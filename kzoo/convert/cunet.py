"""Weights of the Conditioned U-Net by the names of its authors' Keras program.

https://github.com/gabolsgabs/cunet numbers its layers by kind in the order of their creation:
the control network first, its two heads after the first convolution. Its spectrograms are
`[bins, frames]`, so kernels are transposed into kzoo's `[frames, bins]`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo.convert import assign
from kzoo.convert._checkpoints import hdf5_arrays, layer_variables, numbered
from kzoo.models import cunet


def read(path: str | Path) -> dict[str, np.ndarray]:
    """Arrays by Keras name, of an .h5 file of the authors' program: a whole model, or its weights.

    Raises ValueError for a file that is no HDF5.
    """
    return {
        "/".join(name.split("/")[-2:]).removesuffix(":0"): array
        for name, array in hdf5_arrays(path).items()
        if "optimizer_weights" not in name
    }


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sources: Sequence[str] = cunet.SOURCES,
    frames: int = 128,
    bins: int = 512,
    dropout: float = 0.5,
) -> keras.Model:
    """`cunet.core` with the reference's weights.

    weights: arrays by Keras name, "dense/kernel", "conv2d_1/bias", "batch_normalization_2/gamma",
        ... The control network, its widths, FiLM's kind and the filters are read off them.
    sources: what the reference's conditions ask for, in their order.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    size = cunet.CUNet(frames=frames, bins=bins, dropout=dropout, **options_of(weights))
    model = cunet.core(sources, size)
    transposed = {
        name: np.swapaxes(value, 0, 1) if np.ndim(value) == 4 else value
        for name, value in weights.items()
    }
    kind = "conv1d" if size.control == "cnn" else "dense"
    head = 3 if size.control == "dense" else 0
    assign(_variables(model, kind, head, len(size.filters)), transposed)
    return model


def options_of(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of `cunet.CUNet` that the weights tell."""
    control = "cnn" if "conv1d/kernel" in weights else "dense"
    kind = "conv1d" if control == "cnn" else "dense"
    try:
        widths = [np.shape(weights[f"{numbered(kind, i)}/kernel"])[-1] for i in range(3)]
        shapes, level = [], 0
        while not shapes or f"{numbered('conv2d', level)}/kernel" in weights:
            shapes.append(np.shape(weights[f"{numbered('conv2d', level)}/kernel"]))
            level += 1
        head = 3 if control == "dense" else 0
        numbers = np.shape(weights[f"{numbered('dense', head)}/bias"])[0]
    except KeyError as error:
        raise ValueError(f"these weights do not fit the model; missing: {error.args[0]}") from None
    return {
        "film": "simple" if numbers == len(shapes) else "complex",
        "control": control,
        "control_widths": tuple(widths),
        "filters": tuple(shape[-1] for shape in shapes),
        "channels": shapes[0][2],
    }


def _variables(model, kind: str, head: int, levels: int) -> dict[str, object]:
    layers = {f"control{i + 1}": numbered(kind, i) for i in range(3)}
    layers |= {"gammas": numbered("dense", head), "betas": numbered("dense", head + 1)}
    layers |= {f"down{i + 1}_conv": numbered("conv2d", i) for i in range(levels)}
    layers |= {f"up{i + 1}_conv": numbered("conv2d_transpose", i) for i in range(levels)}
    norms = ["control2", "control3"]
    norms += [f"{way}{i + 1}" for way in ("down", "up") for i in range(levels)]
    layers |= {f"{name}_norm": numbered("batch_normalization", k) for k, name in enumerate(norms)}
    found = {}
    for name, theirs in layers.items():
        found |= layer_variables(model.get_layer(name), theirs)
    return found
