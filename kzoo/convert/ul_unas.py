"""Weights of UL-UNAS's authors, https://github.com/Xiaobin-Rong/ul-unas (MIT), out of their .tar.

That is PyTorch's zip file whatever its name says. Transposed convolutions become ordinary ones
with flipped kernels.
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
from kzoo.models import ul_unas

# Parts of a block: our name, the authors' Sequential, and the numbers of convolution, norm and
# activation in it. Behind the last of a block, its attention has the next number.
_PARTS = {
    "convolution": [("", "ops", (1, 2, 3))],
    "separable": [("_expand", "pconv", (0, 1, 2)), ("_depthwise", "dconv", (1, 2, 3))],
    "bottleneck": [
        ("_expand", "pconv1", (0, 1, 2)),
        ("_depthwise", "dconv", (1, 2, 3)),
        ("_project", "pconv2", (0, 1, None)),
    ],
}
_ATTENTION = {"convolution": "ops.4", "separable": "dconv.4", "bottleneck": "pconv2.2"}


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The model's arrays in a file of the authors, by name; ValueError for another file."""
    return read_torch(path, key="model")


def from_weights(
    weights: Mapping[str, np.ndarray], *, sources: Sequence[str] = ul_unas.SOURCES
) -> keras.Model:
    """`ul_unas.build` with the weights of the authors' file, as `read` gives them.

    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    model = models.build("ul_unas", sources=sources)
    size = ul_unas.VARIANTS["paper"]
    places = torch_layers.erb(model, weights)
    for index, kind in enumerate(size.kinds):
        places |= _block(model, kind, f"encoder{index + 1}", f"encoder.en_convs.{index}")
    for index, kind in enumerate(reversed(size.kinds)):
        places |= _block(model, kind, f"decoder{index + 1}", f"decoder.de_convs.{index}", True)
    for index in range(size.dual_paths):
        places |= torch_layers.dual_path(model, f"dual_path{index + 1}", f"dpgrnn.{index}")
    assign(places, weights, unused=torch_layers.counters(weights))
    return model


def _block(model, kind: str, ours: str, theirs: str, transposed: bool = False) -> dict:
    layers = {layer.name: layer for layer in model.layers}
    places = {}
    for part, sequential, (conv, norm, activation) in _PARTS[kind]:
        at, name = f"{theirs}.{sequential}", f"{ours}{part}"
        flipped = transposed and part in ("", "_depthwise")  # 1 x 1 ones are never transposed
        places |= torch_layers.conv2d(layers[f"{name}_conv"], f"{at}.{conv}", transposed=flipped)
        places |= torch_layers.batch_norm(layers[f"{name}_norm"], f"{at}.{norm}")
        if f"{name}_activation" in layers:
            places |= _affine_prelu(layers[f"{name}_activation"], f"{at}.{activation}")
    at = f"{theirs}.{_ATTENTION[kind]}"
    places |= torch_layers.gru(layers[f"{ours}_attention_gru"].cell, f"{at}.ta_gru")
    places |= torch_layers.linear(layers[f"{ours}_attention_weights"], f"{at}.ta_fc")
    bands = layers[f"{ours}_bands"]
    for group, way in enumerate(("", "_reverse")):
        places |= torch_layers.gru(bands.gru.gru.cell, f"{at}.fa.gru", group, way)
    return places | torch_layers.linear(bands.dense, f"{at}.fa.fc")


def _affine_prelu(layer, theirs: str) -> dict:
    shape = tuple(layer.scale.shape[::-1])  # [channels, bands]
    return {
        f"{theirs}.affine_weight": torch_layers.whole(layer.scale, np.transpose, shape),
        f"{theirs}.affine_bias": torch_layers.whole(layer.offset, np.transpose, shape),
        f"{theirs}.slope_weight": torch_layers.whole(layer.slope),
    }
