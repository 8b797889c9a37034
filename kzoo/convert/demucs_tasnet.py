"""Weights of the Conv-TasNet for music that Demucs's authors trained, by its PyTorch names.

https://github.com/facebookresearch/demucs, demucs/tasnet.py of the branches v1 and v2, which is
kaituoxu's network (https://github.com/kaituoxu/Conv-TasNet) for several channels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import keras
import numpy as np

from kzoo import models
from kzoo.convert import assign
from kzoo.convert._torch_layers import Place, shape_of, transposed, whole
from kzoo.convert.demucs import read, said_in
from kzoo.models import conv_tasnet, demucs

MODEL = "conv_tasnet"
__all__ = ["MODEL", "from_weights", "options_of", "read", "said_in"]

_BLOCKS = "separator.network.2"


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sources: Sequence[str] = demucs.SOURCES,
    sample_rate: int = 44100,
    mask: str = "relu",
) -> keras.Model:
    """`conv_tasnet.core` with the reference's weights.

    weights: arrays by PyTorch name, "encoder.conv1d_U.weight", ...; all widths are read off them.
    sources: in the reference's order. mask: its mask_nonlinear. Norms are global, and convolutions
        see both sides, as in all that it published.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    options = options_of(weights)
    size = models.sizes("conv_tasnet", sample_rate=sample_rate, mask=mask, **options)
    model = conv_tasnet.core(sources, size)
    assign(_places(model, size), weights)
    return model


def options_of(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of `conv_tasnet.ConvTasNet` that can be read off the reference's weights."""
    filters, channels, length = shape_of(weights, "encoder.conv1d_U.weight")
    hidden, bottleneck, _ = shape_of(weights, f"{_BLOCKS}.0.0.net.0.weight")
    numbers = [name.split(".")[3:5] for name in weights if name.startswith(f"{_BLOCKS}.")]
    repeats, blocks = (1 + max(int(pair[axis]) for pair in numbers) for axis in (0, 1))
    return {
        "channels": channels,
        "filters": filters,
        "filter_length": length,
        "bottleneck": bottleneck,
        "hidden": hidden,
        "kernel_size": shape_of(weights, f"{_BLOCKS}.0.0.net.3.net.0.weight")[-1],
        "blocks": blocks,
        "repeats": repeats,
        # What all of its networks are like.
        "skip": 0,
        "input_norm": "cln",
        "encoder_activation": "relu",
        "biases": False,
        "mask_prelu": False,
    }


def _places(model: keras.Model, size: conv_tasnet.ConvTasNet) -> dict[str, Place]:
    def layer(name: str):
        return model.get_layer(name)

    network = "separator.network"
    places = {
        "encoder.conv1d_U.weight": transposed(layer("encoder").kernel),
        **_norm(layer("input_norm"), f"{network}.0"),
        f"{network}.1.weight": transposed(layer("bottleneck").kernel),
        f"{network}.3.weight": transposed(layer("mask_conv").kernel),
        # [channels * taps, filters] there; here taps come before channels.
        "decoder.basis_signals.weight": _decoder(layer("decoder").kernel, size),
    }
    for repeat in range(size.repeats):
        for block in range(size.blocks):
            theirs, ours = f"{_BLOCKS}.{repeat}.{block}.net", f"block{repeat + 1}_{block + 1}"
            depthwise = layer(f"{ours}_depthwise").kernel
            taps, channels = depthwise.shape[:2]
            places |= {
                f"{theirs}.0.weight": transposed(layer(f"{ours}_expand").kernel),
                f"{theirs}.1.weight": _slope(layer(f"{ours}_expand_prelu").alpha),
                **_norm(layer(f"{ours}_expand_norm"), f"{theirs}.2"),
                f"{theirs}.3.net.0.weight": whole(
                    depthwise, lambda value: value.transpose(2, 0, 1), (channels, 1, taps)
                ),
                f"{theirs}.3.net.1.weight": _slope(layer(f"{ours}_depthwise_prelu").alpha),
                **_norm(layer(f"{ours}_depthwise_norm"), f"{theirs}.3.net.2"),
                f"{theirs}.3.net.3.weight": transposed(layer(f"{ours}_residual").kernel),
            }
    return places


def _norm(layer, theirs: str) -> dict[str, Place]:
    """Gain and shift, which are `[1, channels, 1]` there."""
    return {
        f"{theirs}.{name}": whole(variable, np.ravel, (1, variable.shape[0], 1))
        for name, variable in (("gamma", layer.gamma), ("beta", layer.beta))
    }


def _slope(alpha) -> Place:
    return whole(alpha, lambda value: value.reshape(alpha.shape), (1,))


def _decoder(kernel, size: conv_tasnet.ConvTasNet) -> Place:
    def arranged(value: np.ndarray) -> np.ndarray:
        apart = value.reshape(size.channels, size.filter_length, size.filters)
        return apart.transpose(2, 1, 0).reshape(kernel.shape)

    return whole(kernel, arranged, (size.channels * size.filter_length, size.filters))
