"""What the files of Demucs's third and fourth generation share: packages, and branches of levels.

https://github.com/adefossez/demucs, states.py and demucs.py: a package is a mapping of a class, its
arguments and a state; branches are the class DConv.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from kzoo.convert._torch_layers import shape_of
from kzoo.convert.torch_files import read_torch_content

# Arguments of all classes that cannot be read off the weights, and the fields of our sizes.
FIELDS = {
    "samplerate": "sample_rate",
    "segment": "block_seconds",
    "norm_groups": "norm_groups",
    "dconv_init": "residual_scale",
    "rescale": "rescale",
}


def read_package(path: str | Path) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
    """(state, arguments of the class) in a file; the latter are empty where it is a state alone.

    Raises ValueError for a file of another kind, and for one packed by DiffQ.
    """
    content = read_torch_content(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: it holds a {type(content).__name__}, not a model of Demucs")
    refuse_packed(path, content)
    state, arguments = content.get("state"), content.get("kwargs") or {}
    state = state if isinstance(state, dict) else content
    other = [str(name) for name, value in state.items() if not isinstance(value, np.ndarray)]
    if other:
        raise ValueError(f"{path}: these entries are no tensors: {', '.join(other[:6])}")
    return state, arguments


def refuse_packed(path: str | Path, content: Any) -> None:
    """Raise ValueError for a state, or a package of one, that DiffQ has packed."""
    state = content.get("state") if isinstance(content, dict) else None
    if any("__quantized" in part for part in (content, state) if isinstance(part, dict)):
        raise ValueError(
            f"{path}: its weights are packed by DiffQ, which is not read here; take "
            "those that are not packed, as mdx is of mdx_q"
        )


def said_by(arguments: Mapping[str, Any], fields: Mapping[str, str]) -> dict[str, Any]:
    """The arguments that are numbers, by our names."""
    return {
        field: arguments[name]
        for name, field in fields.items()
        if isinstance(arguments.get(name), int | float)
    }


def count(weights: Mapping[str, np.ndarray], name: str, most: int = 64) -> int:
    """How many there are of a name with a number in it, from 0 on."""
    return next(n for n in range(most + 1) if n == most or name.format(n) not in weights)


def branch_options(
    weights: Mapping[str, np.ndarray], depth: int, names: Mapping[str, str]
) -> dict[str, Any]:
    """The sizes of branches; names: where they are on the way of each key, `{}` for the level."""
    there = {
        way: name for way, name in names.items() if f"{name.format(0)}.layers.0.0.weight" in weights
    }
    if not there:
        return {"residual": "none", "recurrent_starts": None}
    first = next(iter(there.values()))
    lstm = f"{first}.layers.0.3.lstm.weight_ih_l0"
    hidden, width, _ = shape_of(weights, f"{first.format(0)}.layers.0.0.weight")
    return {
        "residual": "both" if len(there) == 2 else next(iter(there)),
        "recurrent_starts": min(
            (n for n in range(depth) if lstm.format(n) in weights), default=None
        ),
        "residual_depth": count(weights, f"{first.format(0)}.layers.{{}}.0.weight"),
        "residual_compress": width / hidden,
    }


def branch_variables(layer, theirs: str) -> dict[str, Any]:
    """The variables of a `DConv` by the reference's names."""
    found = {}
    for number, parts in enumerate(layer.branches):
        name = f"{theirs}.layers.{number}"
        found |= kernel_and_bias(parts["conv"], f"{name}.0") | norm(parts["norm"], f"{name}.1")
        at = 3
        if "lstm" in parts:
            found |= kernel_and_bias(parts["lstm"].linear, f"{name}.{at}.linear")
            found |= lstm_variables(parts["lstm"].lstms, f"{name}.{at}.lstm")
            at += 1
        if "attention" in parts:
            for part, dense in parts["attention"].parts.items():
                found |= kernel_and_bias(dense, f"{name}.{at}.{part}")
            at += 1
        found |= kernel_and_bias(parts["expand"], f"{name}.{at}")
        found |= norm(parts["expand_norm"], f"{name}.{at + 1}")
        found[f"{name}.{at + 3}.scale"] = layer.scales[number]
    return found


def lstm_variables(lstms, theirs: str) -> dict[str, Any]:
    """The variables of LSTMs of both directions; their bias is PyTorch's two, summed."""
    found = {}
    for number, both in enumerate(lstms):
        for one, way in ((both.forward_layer, ""), (both.backward_layer, "_reverse")):
            at = f"l{number}{way}"
            found[f"{theirs}.weight_ih_{at}"] = one.cell.kernel
            found[f"{theirs}.weight_hh_{at}"] = one.cell.recurrent_kernel
            found[f"{theirs}.bias_ih_{at} + bias_hh_{at}"] = one.cell.bias
    return found


def kernel_and_bias(layer, theirs: str) -> dict[str, Any]:
    return {f"{theirs}.weight": layer.kernel, f"{theirs}.bias": layer.bias}


def norm(layer, theirs: str) -> dict[str, Any]:
    return {f"{theirs}.weight": layer.gamma, f"{theirs}.bias": layer.beta}


def arranged(
    arrays: Mapping[str, np.ndarray], variables: Mapping[str, Any]
) -> dict[str, np.ndarray]:
    """The arrays as the variables have them: axes the other way round, those of 1 left out."""
    found = {name: np.transpose(value) for name, value in arrays.items()}
    for name, variable in variables.items():
        while name in found and found[name].ndim > len(variable.shape) and len(found[name]) == 1:
            found[name] = found[name][0]
    return found
