"""Weights of GTCRN's authors, https://github.com/Xiaobin-Rong/gtcrn (MIT), out of their .tar files.

Those are PyTorch's zip files whatever their name says. Transposed convolutions become ordinary
ones with flipped kernels, and the 1 x 1 convolutions of three neighbouring bands, 1 x 3.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from kzoo import models
from kzoo.convert import _torch_layers as torch_layers
from kzoo.convert import assign
from kzoo.convert.torch_files import read_torch
from kzoo.models import gtcrn


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The model's arrays in a file of the authors, by name; ValueError for another file."""
    return read_torch(path, key="model")


def from_weights(
    weights: Mapping[str, np.ndarray], *, sources: Sequence[str] = gtcrn.SOURCES
) -> keras.Model:
    """`gtcrn.build` with the weights of one of the authors' files, as `read` gives them.

    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    model = models.build("gtcrn", sources=sources)
    size = gtcrn.VARIANTS["paper"]
    places = torch_layers.erb(model, weights)
    blocks = len(size.dilations)
    for index in range(blocks + 2):
        encoder = _strided if index < 2 else _in_time
        places |= encoder(model, f"encoder{index + 1}", f"encoder.en_convs.{index}", False)
        decoder = _in_time if index < blocks else _strided
        places |= decoder(model, f"decoder{index + 1}", f"decoder.de_convs.{index}", True)
    for number in range(1, size.dual_paths + 1):
        places |= torch_layers.dual_path(model, f"dual_path{number}", f"dpgrnn{number}")
    assign(places, weights, unused=torch_layers.counters(weights))
    return model


def _strided(model, ours: str, theirs: str, transposed: bool) -> dict:
    conv = model.get_layer(f"{ours}_conv")
    return {
        **torch_layers.conv2d(conv, f"{theirs}.conv", transposed=transposed),
        **torch_layers.batch_norm(model.get_layer(f"{ours}_norm"), f"{theirs}.bn"),
        **_slope(model, ours, f"{theirs}.act"),
    }


def _in_time(model, ours: str, theirs: str, transposed: bool) -> dict:
    names = {"expand": "point_{}1", "depthwise": "depth_{}", "project": "point_{}2"}
    places = {}
    for part, name in names.items():
        conv = model.get_layer(f"{ours}_{part}_conv")
        norm = model.get_layer(f"{ours}_{part}_norm")
        places |= (
            _of_neighbours(conv, f"{theirs}.{name.format('conv')}", transposed)
            if part == "expand"
            else torch_layers.conv2d(conv, f"{theirs}.{name.format('conv')}", transposed=transposed)
        )
        places |= torch_layers.batch_norm(norm, f"{theirs}.{name.format('bn')}")
    places |= _slope(model, f"{ours}_expand", f"{theirs}.point_act")
    places |= _slope(model, f"{ours}_depthwise", f"{theirs}.depth_act")
    attention = model.get_layer(f"{ours}_attention_gru").cell
    places |= torch_layers.gru(attention, f"{theirs}.tra.att_gru")
    weights = model.get_layer(f"{ours}_attention_weights")
    return places | torch_layers.linear(weights, f"{theirs}.tra.att_fc")


def _slope(model, ours: str, theirs: str) -> dict:
    if f"{ours}_prelu" not in {layer.name for layer in model.layers}:
        return {}  # the last one's is a tanh
    alpha = model.get_layer(f"{ours}_prelu").alpha
    return {f"{theirs}.weight": torch_layers.whole(alpha, np.atleast_3d, (1,))}


def _of_neighbours(conv, theirs: str, transposed: bool) -> dict:
    """A convolution of 1 x 1 of three bands a channel, side by side, as one of 1 x 3."""
    _, wide, features, filters = conv.kernel.shape

    def arranged(kernel):
        kernel = kernel[:, :, 0, 0] if transposed else kernel[:, :, 0, 0].T
        return kernel.reshape(features, wide, filters).transpose(1, 0, 2)[None]

    shape = (features * wide, filters) if transposed else (filters, features * wide)
    kernel = torch_layers.whole(conv.kernel, arranged, (*shape, 1, 1))
    return {f"{theirs}.weight": kernel, f"{theirs}.bias": torch_layers.whole(conv.bias)}
