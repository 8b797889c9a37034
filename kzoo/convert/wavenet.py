"""Weights of https://github.com/r9y9/wavenet_vocoder (MIT), whose WaveNets play mel bands.

A checkpoint of its train.py has the network under "state_dict", each kernel as a direction and a
length (weight norm), which are one array here. There are two layouts. That of 0.1 and of the
published files has biases at what conditions add, frames made long by transposed convolutions, and
halves the power of the skips' sum with each block; the later one divides the sum by their number,
and smooths repeated frames. Biases and scales are the same for both once they are in the kernels.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo.convert import _torch_layers as torch_layers
from kzoo.convert import assign
from kzoo.convert.torch_files import read_torch
from kzoo.models import wavenet
from kzoo.models.wavenet import WaveNet

_OLDER, _LATER = "upsample_conv.", "upsample_net."


def read(path: str | Path) -> dict[str, np.ndarray]:
    """{name: array} of a checkpoint."""
    return read_torch(path, "state_dict")


def whole(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Weights without weight norm: each kernel as one array."""
    found = dict(weights)
    for name in weights:
        stem, norm, _ = name.partition("weight_g")
        if norm and f"{stem}weight_v" in found:
            g, v = found.pop(name), np.float64(found.pop(f"{stem}weight_v"))
            length = np.sqrt(np.sum(v**2, axis=tuple(range(1, v.ndim)), keepdims=True))
            found[f"{stem}weight"] = np.float32(g * v / length)
    return found


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sample_rate: int,
    depth: int,
    output: str = "logistics",
    levels: int = 65536,
    speakers: Sequence[str] = (),
    older: bool | None = None,
) -> keras.Model:
    """`wavenet.build` with the arrays of a checkpoint, as `read` gives them.

    sample_rate, depth: of `WaveNet`, which arrays do not tell: 22050 (LJSpeech) or 16000 (CMU
        ARCTIC) and 6 of the published ones. output, levels: of a network that hears amplitudes;
        one that hears codes tells its levels. speakers: their names, by default their numbers.
    older: whether it is of 0.1; what a network does with conditions tells, and only one without
        any needs to be given.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    told = {"sample_rate": sample_rate, "output": output, "levels": levels}
    size = WaveNet(**{**told, **options_of(weights, depth=depth, speakers=speakers)})
    weights = whole(weights)
    conditions = ["c"] * (size.conditions != "none") + ["g"] * bool(size.speakers)
    if conditions:
        older = any(f"conv_layers.0.conv1x1{c}.bias" in weights for c in conditions)
    elif older is None:
        raise ValueError("a network without conditions tells not whether it is of 0.1: give older")
    model = wavenet.build(size)
    places = _places(model, size, conditions if older else [])
    assign(places, _merged(weights, len(size.dilations), conditions) if older else weights)
    if older:
        _scale_skips(model, size)
    return model


def options_of(
    weights: Mapping[str, np.ndarray], *, depth: int, speakers: Sequence[str] = ()
) -> dict[str, Any]:
    """The options of `WaveNet`, as far as arrays and these tell: see `from_weights`.

    Raises ValueError for arrays of something else.
    """
    shapes = {name.replace("weight_v", "weight"): np.shape(x) for name, x in weights.items()}

    def shape(name: str) -> tuple[int, ...]:
        if f"{name}.weight" not in shapes:
            raise ValueError(f"these weights do not fit the model; missing: {name}.weight")
        return shapes[f"{name}.weight"]

    residual, heard, _ = shape("first_conv")
    gates, _, kernel_size = shape("conv_layers.0.conv")
    parameters, skip, _ = shape("last_conv_layers.3")
    blocks = sum(
        name.startswith("conv_layers.") and name.endswith(".conv.weight") for name in shapes
    )
    if blocks % depth:
        raise ValueError(
            f"{blocks} layers are no whole stacks of {depth}: give the depth they have"
        )
    found = {
        "stacks": blocks // depth, "depth": depth,
        "kernel_size": kernel_size, "first_kernel": 1, "residual": residual,
        "gate": gates // 2, "skip": skip, "scaled": True, "first_bias": True,
    }  # fmt: skip
    if heard > 1:
        found |= {"output": "softmax", "levels": heard}
    else:
        found["mixtures"] = parameters // 3
    if "embed_speakers.weight" in shapes:
        count, width = shapes["embed_speakers.weight"]
        names = tuple(speakers) or tuple(map(str, range(count)))
        if len(names) != count:
            raise ValueError(f"the weights have {count} speakers; got the names of {len(names)}")
        found |= {"speakers": names, "speaker_width": width}
    elif speakers:
        raise ValueError(f"the weights have one voice; leave {', '.join(speakers)} out")
    if "conv_layers.0.conv1x1c.weight" in shapes:
        found |= {"conditions": "mel", "bands": shape("conv_layers.0.conv1x1c")[1]}
        found |= _upsampling(shapes)
    return found


def _upsampling(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
    kernels = {
        name: shape for name, shape in shapes.items()
        if name.startswith((_OLDER, _LATER)) and name.endswith(".weight") and len(shape) == 4
    }  # fmt: skip
    if not kernels:
        raise ValueError("its frames are repeated before the network: no upsampling has weights")
    times, high = [shape[3] for shape in kernels.values()], next(iter(kernels.values()))[2]
    if next(iter(kernels)).startswith(_OLDER):
        found = {"upsampling": "transposed", "scales": tuple(times)}
    else:
        frames = shapes.get(f"{_LATER}conv_in.weight", (0, 0, 1))[2]
        # Its recipes divide decibels by what they measure of all recordings.
        found = {
            "upsampling": "learned", "scales": tuple((n - 1) // 2 for n in times),
            "upsampling_pad": (frames - 1) // 2, "mel": "other",
        }  # fmt: skip
    return found | {"hop_length": math.prod(found["scales"]), "feature_taps": high}


def _merged(weights: Mapping[str, np.ndarray], blocks: int, conditions) -> dict[str, np.ndarray]:
    """A bias for all that goes into a gate."""
    found = dict(weights)
    for block in range(blocks):
        names = _gate_biases(block, conditions)
        if all(name in found for name in names):
            found[" + ".join(names)] = sum(found.pop(name) for name in names)
    return found


def _gate_biases(block: int, conditions: Sequence[str]) -> list[str]:
    own = f"conv_layers.{block}."
    return [f"{own}conv.bias", *(f"{own}conv1x1{c}.bias" for c in conditions)]


def _scale_skips(model: keras.Model, size: WaveNet) -> None:
    """As a sum that is divided by the root of their number at its end."""
    blocks = len(size.dilations)
    for block in range(blocks):
        halved = blocks - max(block, 1)  # the first two are halved together
        layer = model.get_layer(f"block{block + 1}").to_skip
        for variable in layer.weights:
            variable.assign(variable * math.sqrt(blocks * 0.5**halved))


def _places(model: keras.Model, size: WaveNet, in_gates: Sequence[str]) -> dict[str, Any]:
    places = {}

    def pair(layer, theirs: str, bias: str | None = None) -> None:
        kernel, *biases = layer.weights
        taps = size.kernel_size if theirs.endswith(".conv") else 1
        shape = (kernel.shape[-1], math.prod(kernel.shape[:-1]) // taps, taps)
        places[f"{theirs}.weight"] = torch_layers.whole(
            kernel,
            lambda array: array.transpose(2, 1, 0).reshape(kernel.shape),
            shape,
        )
        for variable in biases:
            places[bias or f"{theirs}.bias"] = torch_layers.whole(variable)

    pair(model.get_layer("first"), "first_conv")
    for number in range(len(size.dilations)):
        block, own = model.get_layer(f"block{number + 1}"), f"conv_layers.{number}"
        pair(block.gates, f"{own}.conv", " + ".join(_gate_biases(number, in_gates)))
        pair(block.to_residual, f"{own}.conv1x1_out")
        pair(block.to_skip, f"{own}.conv1x1_skip")
        if size.speakers:
            pair(model.get_layer(f"block{number + 1}_speaker"), f"{own}.conv1x1g")
        if size.conditions != "none":
            pair(model.get_layer(f"block{number + 1}_frames"), f"{own}.conv1x1c")
    pair(model.get_layer("output1"), "last_conv_layers.1")
    pair(model.get_layer("output2"), "last_conv_layers.3")
    if size.speakers:
        embedding = model.get_layer("speakers").embeddings
        places["embed_speakers.weight"] = torch_layers.whole(embedding)
    if size.conditions != "none":
        places |= _upsampling_places(model.get_layer("upsampling"), size)
    return places


def _upsampling_places(layer, size: WaveNet) -> dict[str, Any]:
    places = {}
    if size.upsampling == "transposed":
        for number, (kernel, bias) in enumerate(zip(layer.kernels, layer.biases, strict=True)):
            own = f"{_OLDER}{2 * number}"
            high, times = kernel.shape
            places[f"{own}.weight"] = torch_layers.whole(
                kernel, lambda array: array[0, 0], (1, 1, high, times)
            )
            places[f"{own}.bias"] = torch_layers.whole(bias)
        return places
    first = layer.first
    places[f"{_LATER}conv_in.weight"] = torch_layers.whole(
        first, lambda array: array.transpose(2, 1, 0), tuple(first.shape[::-1])
    )
    for number, kernel in enumerate(layer.kernels):
        times, high = kernel.shape[:2]
        places[f"{_LATER}upsample.up_layers.{2 * number + 1}.weight"] = torch_layers.whole(
            kernel, lambda array: array.transpose(3, 2, 0, 1), (1, 1, high, times)
        )
    return places
