"""SEGAN+'s generator by the names of its PyTorch state dict.

https://github.com/santi-pdp/segan_pytorch (MIT): enc_blocks.{level} and dec_blocks.{level}, each a
convolution and a PReLU, and alpha_{level}.skip_k, the factors of what is handed across.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo import models
from kzoo.convert import assign
from kzoo.convert._torch_layers import Place, shape_of, whole
from kzoo.convert.torch_files import read_torch
from kzoo.models import segan


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The state dict in a file of the reference; nothing in it is executed."""
    return read_torch(path)


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    stride: int,
    window: int,
    pre_emphasis: float,
    sample_rate: int = 16000,
    sources: Sequence[str] = segan.SOURCES,
) -> keras.Model:
    """`segan.core` with the reference's weights.

    weights: arrays by PyTorch name; filters, kernels, biases and factors are read off them.
    stride, window, pre_emphasis: its genc_poolings, slice_size and preemph, which arrays do not
        tell: 4, 16384 and 0.95 of the published weights.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    size = models.sizes(
        "segan",
        stride=stride,
        window=window,
        pre_emphasis=pre_emphasis,
        sample_rate=sample_rate,
        **options_of(weights),
    )
    model = segan.core(sources, size)
    assign(_places(model, size), weights)
    return model


def options_of(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of `segan.SEGAN` that can be read off the reference's weights."""
    levels = sum(f"enc_blocks.{n}.conv.weight" in weights for n in range(len(weights)))
    shapes = [shape_of(weights, f"enc_blocks.{n}.conv.weight") for n in range(max(levels, 1))]
    filters = tuple(shape[0] for shape in shapes)
    return {
        "channels": shapes[0][1],
        "filters": filters,
        "kernel_size": shapes[0][2],
        "z_channels": shape_of(weights, "dec_blocks.0.deconv.weight")[0] - filters[-1],
        "skip_factors": "alpha_0.skip_k" in weights,
        "biases": "enc_blocks.0.conv.bias" in weights,
        "edges": "mirror",
    }


def _places(model: keras.Model, size: segan.SEGAN) -> dict[str, Place]:
    places, levels = {}, len(size.filters)
    for level in range(levels):
        for theirs, ours in (("enc_blocks.{}.conv", "enc"), ("dec_blocks.{}.deconv", "dec")):
            name = theirs.format(level)
            layer = model.get_layer(f"{ours}{level + 1}_conv")
            places[f"{name}.weight"] = whole(layer.kernel, np.transpose, layer.kernel.shape[::-1])
            if size.biases:
                places[f"{name}.bias"] = whole(layer.bias)
            if ours == "enc" or level < levels - 1:
                slopes = model.get_layer(f"{ours}{level + 1}_prelu").alpha
                block = name.rpartition(".")[0]
                places[f"{block}.act.weight"] = whole(
                    slopes,
                    lambda value, shape=slopes.shape: value.reshape(shape),
                    (slopes.shape[-1],),
                )
        if size.skip_factors and level < levels - 1:
            factors = model.get_layer(f"dec{levels - 1 - level}_skip").alpha
            places[f"alpha_{level}.skip_k"] = whole(factors, np.ravel, (1, factors.shape[0], 1))
    return places
