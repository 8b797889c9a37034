"""Demucs v1, v2 and v3 by the names of their PyTorch state dicts.

https://github.com/facebookresearch/demucs, branches v1, v2 and main, class Demucs:
encoder.{level}.{part} and decoder.{level}.{part}, part 0 first, then whatever stands behind it in
turn; the deepest decoder is the first. Published files of v3, whose levels have norms and branches,
hold the class and its arguments beside the state.
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
from kzoo.convert._demucs_parts import (
    FIELDS,
    arranged,
    branch_options,
    branch_variables,
    kernel_and_bias,
    lstm_variables,
    norm,
    refuse_packed,
    said_by,
)
from kzoo.convert._torch_layers import shape_of, summed_biases
from kzoo.convert.torch_files import read_torch, read_torch_content
from kzoo.models import demucs

_FIELDS = {
    **FIELDS,
    **{name: name for name in ("stride", "gelu", "resample", "normalize", "standardise")},
}


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sources: Sequence[str] = demucs.SOURCES,
    stride: int = 4,
    resample: bool,
    normalize: bool,
    gelu: bool | None = None,
    norm_groups: int = 4,
) -> keras.Model:
    """`demucs.core` with the reference's weights.

    weights: arrays by PyTorch name. Depth, filters, growth, kernels, context, GLU, rewriting,
        LSTM layers, norms, branches and upsampling are read off them; what cannot be are the
        options here.
    sources: in the reference's order.
    resample, normalize: both True for the weights of v2 and v3, and False for those of v1. A wrong
        choice loads, and separates badly. gelu: by default that of v3 alone.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    options = {**options_of(weights), "norm_groups": norm_groups}
    if gelu is not None:
        options["gelu"] = gelu
    size = demucs.Demucs(stride=stride, resample=resample, normalize=normalize, **options)
    model = demucs.core(sources, size)
    variables = _variables(model, size)
    assign(variables, arranged(summed_biases(weights), variables))
    return model


def read(path: str | Path, key: str | None = None) -> dict[str, np.ndarray]:
    """The state dict in a file of the reference, `.th` or `.th.gz`; nothing in it is executed.

    key: of the state dict in a file that holds more.
    Raises ValueError as `read_torch` does, and for a file packed by DiffQ.
    """
    try:
        return read_torch(path, key=key)
    except ValueError:
        refuse_packed(path, read_torch_content(path))
        raise


def said_in(path: str | Path) -> dict[str, Any]:
    """What a package tells beside the arrays: (class, args, kwargs, state), or a mapping."""
    # The programs of v1 and v2 standardise recordings, and v3 says so by its padding.
    content, defaults = read_torch_content(path), {"standardise": True}
    if isinstance(content, dict) and "state" in content:
        defaults = {"resample": True, "normalize": True}  # of the class in v3
        content = [content.get(part) for part in ("klass", "args", "kwargs", "state")]
    if not (isinstance(content, tuple | list) and len(content) == 4):
        return {}
    _, args, kwargs, _ = content
    arguments = {**defaults, **({"sources": args[0]} if args else {}), **(kwargs or {})}
    sources = {"sources": arguments["sources"]} if "sources" in arguments else {}
    return {**sources, **said_by(arguments, _FIELDS)}


def options_of(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of `demucs.Demucs` that can be read off the reference's weights."""
    depth = sum(f"encoder.{level}.0.weight" in weights for level in range(len(weights)))
    shapes = [shape_of(weights, f"encoder.{level}.0.weight") for level in range(max(depth, 1))]
    padded = any(name.startswith(("encoder.0.3.", "encoder.0.4.")) for name in weights)  # v3
    branches = branch_options(weights, depth, {way: f"{way}.{{}}.3" for way in _WAYS})
    rewrite = f"encoder.0.{_numbers(padded, branches['residual'])['encoder']['rewrite']}.weight"
    filters, channels, kernel_size = shapes[0]
    growths = [wider[0] / narrow[0] for narrow, wider in pairwise(shapes)]
    options = {
        "depth": depth,
        "filters": filters,
        "channels": channels,
        "kernel_size": kernel_size,
        "growth": max(growths, default=2.0) + 1e-6,  # widths are rounded down
        "rewrite": rewrite in weights,
        "glu": rewrite in weights and shape_of(weights, rewrite)[0] == 2 * filters,
        "context": shape_of(weights, "decoder.0.0.weight")[2] if rewrite in weights else 1,
        "upsample": "final.weight" in weights,
        "lstm_layers": sum(f"lstm.lstm.weight_ih_l{n}" in weights for n in range(len(weights))),
    }
    if not padded:
        return options
    norms = [level for level in range(depth) if f"encoder.{level}.1.weight" in weights]
    third = {"padded": True, "gelu": True, "norm_starts": min(norms, default=None)}
    return {**options, **third, **branches}


_WAYS = {"encoder": ("conv", "rewrite"), "decoder": ("rewrite", "conv")}


def _numbers(padded: bool, residual: str, rewrite: bool = True) -> dict[str, dict[str, int]]:
    """Of the parts of a level on each way, counted from 0 with what has no weights."""
    if not padded:
        conv = 2 if rewrite else 0
        return {"encoder": {"conv": 0, "rewrite": 2}, "decoder": {"rewrite": 0, "conv": conv}}
    numbers = {}
    for way, (first, second) in _WAYS.items():
        at = 4 if residual in (way, "both") else 3
        numbers[way] = {first: 0, f"{first}_norm": 1, "dconv": 3, second: at}
        numbers[way][f"{second}_norm"] = at + 1
    return numbers


def _variables(model, size: demucs.Demucs) -> dict[str, object]:
    layers = {layer.name: layer for layer in model.layers}
    found = {}
    for way, numbers in _numbers(size.padded, size.residual, size.rewrite).items():
        for level in range(size.depth):
            for part, number in numbers.items():
                ours = f"{way}{level + 1}_{part.removeprefix('conv_')}"
                theirs = f"{way}.{level}.{number}"
                if ours not in layers:
                    continue
                kind = norm if part.endswith("norm") else kernel_and_bias
                found |= (branch_variables if part == "dconv" else kind)(layers[ours], theirs)
    for theirs, ours in (("final", "final_conv"), ("lstm.linear", "lstm_linear")):
        if ours in layers:
            found |= kernel_and_bias(layers[ours], theirs)
    lstms = [layers[f"lstm{number + 1}"] for number in range(size.lstm_layers)]
    return found | lstm_variables(lstms, "lstm.lstm")
