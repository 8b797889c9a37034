"""Demucs v1 and v2 by the names of their PyTorch state dicts.

https://github.com/facebookresearch/demucs, branches v1 and v2: encoder.{level}.{part} and
decoder.{level}.{part}, part 0 first and 2 behind an activation; the deepest decoder is the first.
PyTorch's LSTM has two biases that only ever act as their sum; Keras has the one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo.convert import assign
from kzoo.convert._torch_layers import shape_of, summed_biases
from kzoo.convert.torch_files import read_torch, read_torch_content
from kzoo.models import demucs


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sources: Sequence[str] = demucs.SOURCES,
    stride: int = 4,
    resample: bool,
    normalize: bool,
) -> keras.Model:
    """`demucs.core` with the reference's weights.

    weights: arrays by PyTorch name. Depth, filters, growth, kernels, context, GLU, rewriting,
        LSTM layers and upsampling are read off them; what cannot be are the options here.
    sources: in the reference's order.
    resample, normalize: both True for the weights of v2, and False for those of v1. A wrong choice
        loads, and separates badly.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    options = options_of(weights)
    size = demucs.Demucs(stride=stride, resample=resample, normalize=normalize, **options)
    model = demucs.core(sources, size)
    assign(_variables(model, size), _arrays(weights))
    return model


def read(path: str | Path, key: str | None = None) -> dict[str, np.ndarray]:
    """The state dict in a file of the reference, `.th` or `.th.gz`; nothing in it is executed.

    key: of the state dict in a file that holds more.
    """
    return read_torch(path, key=key)


def said_in(path: str | Path) -> dict[str, Any]:
    """What a package of the reference, (class, args, kwargs, state), tells beside the arrays."""
    content = read_torch_content(path)
    if not (isinstance(content, tuple | list) and len(content) == 4):
        return {}
    _, args, kwargs, _ = content
    said = {**({"sources": args[0]} if args else {}), **kwargs}
    names = {"samplerate": "sample_rate", **{n: n for n in ("sources", "resample", "normalize")}}
    return {ours: said[theirs] for theirs, ours in names.items() if theirs in said}


def options_of(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of `demucs.Demucs` that can be read off the reference's weights."""
    depth = sum(f"encoder.{level}.0.weight" in weights for level in range(len(weights)))
    shapes = [shape_of(weights, f"encoder.{level}.0.weight") for level in range(max(depth, 1))]
    rewrite = "encoder.0.2.weight" in weights
    filters, channels, kernel_size = shapes[0]
    growths = [wider[0] / narrow[0] for narrow, wider in pairwise(shapes)]
    return {
        "depth": depth,
        "filters": filters,
        "channels": channels,
        "kernel_size": kernel_size,
        "growth": max(growths, default=2.0) + 1e-6,  # widths are rounded down
        "rewrite": rewrite,
        "glu": rewrite and shape_of(weights, "encoder.0.2.weight")[0] == 2 * filters,
        "context": shape_of(weights, "decoder.0.0.weight")[2] if rewrite else 1,
        "upsample": "final.weight" in weights,
        "lstm_layers": sum(f"lstm.lstm.weight_ih_l{n}" in weights for n in range(len(weights))),
    }


def _variables(model, size: demucs.Demucs) -> dict[str, object]:
    names = {}  # reference's name -> layer
    for level in range(size.depth):
        convolution = 2 if size.rewrite else 0
        names[f"encoder.{level}.0"] = f"encoder{level + 1}_conv"
        names[f"decoder.{level}.{convolution}"] = f"decoder{level + 1}_conv"
        if size.rewrite:
            names[f"encoder.{level}.2"] = f"encoder{level + 1}_rewrite"
            names[f"decoder.{level}.0"] = f"decoder{level + 1}_rewrite"
    if size.upsample:
        names["final"] = "final_conv"
    if size.lstm_layers:
        names["lstm.linear"] = "lstm_linear"
    found = {}
    for theirs, ours in names.items():
        layer = model.get_layer(ours)
        found |= {f"{theirs}.weight": layer.kernel, f"{theirs}.bias": layer.bias}
    for number in range(size.lstm_layers):
        both = model.get_layer(f"lstm{number + 1}")
        for layer, way in ((both.forward_layer, ""), (both.backward_layer, "_reverse")):
            at = f"l{number}{way}"
            found[f"lstm.lstm.weight_ih_{at}"] = layer.cell.kernel
            found[f"lstm.lstm.weight_hh_{at}"] = layer.cell.recurrent_kernel
            found[_both_biases(at)] = layer.cell.bias
    return found


def _arrays(weights) -> dict[str, np.ndarray]:
    """Axes as Keras has them, inputs before outputs, and the two biases of an LSTM as their sum."""
    return {name: np.transpose(value) for name, value in summed_biases(weights).items()}


def _both_biases(at: str) -> str:
    return f"lstm.lstm.bias_ih_{at} + bias_hh_{at}"
