"""Hybrid Demucs with and without the transformer by the names of its PyTorch state dicts.

https://github.com/adefossez/demucs, classes HTDemucs and HDemucs: encoder and decoder are of the
spectrogram, tencoder and tdecoder of the waveform, the deepest decoder first. Published files hold
the class and its arguments beside the state, in half precision.
"""

from __future__ import annotations

import re
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
    count,
    kernel_and_bias,
    norm,
    read_package,
    said_by,
)
from kzoo.convert._torch_layers import shape_of, summed_biases
from kzoo.models import htdemucs

# What cannot be read off the weights: their arguments and the fields of `htdemucs.HTDemucs`.
_FIELDS = {
    **FIELDS,
    "nfft": "n_fft",
    "freq_emb": "bin_embedding",
    "emb_scale": "embedding_scale",
    "hybrid_old": "late",
    "t_heads": "heads",
    "t_dropout": "dropout",
}
# Arguments of which the model knows one value alone.
_ALONE = {
    "channels_time": None, "rewrite": True, "hybrid": True, "wiener_residual": False,
    "t_emb": "sin",
    "t_norm_in": True, "t_norm_in_group": False, "t_group_norm": False, "t_norm_first": True,
    "t_norm_out": True, "t_max_period": 10000, "t_layer_scale": True, "t_gelu": True,
    "t_weight_pos_embed": 1, "t_sparse_self_attn": False, "t_sparse_cross_attn": False,
}  # fmt: skip
_NO_TRANSFORMER_SECONDS = 44.0
_WAYS = ("encoder", "decoder")


class Package(dict):
    """Arrays by PyTorch name, and what their file says of the model.

    sources: None where it says nothing. options: fields of `htdemucs.HTDemucs`.
    """

    sources: Sequence[str] | None = None
    options: Mapping[str, Any] = {}


def read(path: str | Path) -> Package:
    """The state in a published file, `.th` or safetensors; nothing in it is executed.

    Raises ValueError for a file of another kind, for one packed by DiffQ, and for arguments of
    which the model does not know the value.
    """
    state, arguments = read_package(path)
    package = Package(state)
    for name, value in _ALONE.items():
        if (arguments.get(name, value) or None) != (value or None):
            raise ValueError(f"{path}: {name} must be {value}; got {arguments[name]!r}")
    if not arguments.get("cac", True) and arguments.get("wiener_iters"):
        raise ValueError(
            f"{path}: wiener_iters must be 0 without cac; got {arguments['wiener_iters']!r}"
        )
    package.sources = arguments.get("sources")
    package.options = said_by(arguments, _FIELDS)
    if arguments.get("multi_freqs"):
        package.options["bands"] = tuple(arguments["multi_freqs"])
    return package


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sources: Sequence[str] | None = None,
    heads: int | None = None,
    norm_groups: int | None = None,
    bin_embedding: float | None = None,
    embedding_scale: float | None = None,
    late: bool | None = None,
    bands: Sequence[float] | None = None,
) -> keras.Model:
    """`htdemucs.build` with the reference's weights.

    weights: arrays by PyTorch name, or what `read` gives. Widths, levels, kernels and the layers of
        the transformer are read off them; what cannot be are the options here, by default what
        `read` has found, or those of the published models.
    sources: in the reference's order; by default those of the published models by their number,
        four or six.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    told = {
        "heads": heads, "norm_groups": norm_groups, "bin_embedding": bin_embedding,
        "embedding_scale": embedding_scale, "late": late, "bands": bands and tuple(bands),
    }  # fmt: skip
    told = {name: value for name, value in told.items() if value is not None}
    size = htdemucs.HTDemucs(**{**options_of(weights), **told})
    if len(size.bands) + 1 != (found := _bands(weights)):
        raise ValueError(
            f"these weights are of {found} bands: tell by `bands` where they meet, {found - 1} "
            f"shares of the bins; got {list(size.bands)}"
        )
    names = sources or getattr(weights, "sources", None) or _sources(weights, size)
    model = htdemucs.build(tuple(names), size)
    variables = _variables(model, size)
    assign(variables, arranged(_arrays(weights), variables))
    return model


def options_of(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of `htdemucs.HTDemucs` that can be read off the weights, and `read` has found."""
    said = getattr(weights, "options", {})
    banded = count(weights, f"encoder.{{}}.{_BAND}.conv.bias")
    weights = _of_first_bands(weights)

    def shape(name):
        return shape_of(weights, name)

    depth = count(weights, "encoder.{}.conv.weight")
    widths = [shape(f"encoder.{level}.conv.weight")[0] for level in range(max(depth, 1))]
    _, inputs, kernel_size, *_ = shape("encoder.0.conv.weight")
    channels = shape("tencoder.0.conv.weight")[1]
    stride = kernel_size // 2
    normed = [n for n in range(depth) if f"encoder.{n}.norm1.weight" in weights]
    layers = count(weights, "crosstransformer.layers.{}.linear1.weight")
    options = {
        "channels": channels,
        "filters": widths[0],
        "growth": max((b / a for a, b in pairwise(widths)), default=2.0) + 1e-6,  # rounded down
        "depth": depth,
        "stride": stride,
        "context": shape("decoder.0.rewrite.weight")[-1] // 2,
        "encoder_context": shape("encoder.0.rewrite.weight")[-1] // 2,
        "norm_starts": min(normed, default=depth),
        "bottom": len(weights.get("channel_upsampler.bias", ())),
        "transformer_layers": layers,
        "cross_first": "crosstransformer.layers.0.cross_attn.in_proj_weight" in weights,
    }
    options |= branch_options(weights, depth, {way: f"{way}.{{}}.dconv" for way in _WAYS})
    if "freq_emb.embedding.weight" in weights:
        options["n_fft"] = 2 * stride * shape("freq_emb.embedding.weight")[0]
    else:
        options["bin_embedding"] = 0.0
    if layers:
        hidden, width = shape("crosstransformer.layers.0.linear1.weight")
        options["hidden_scale"] = hidden / width
    else:
        options["block_seconds"] = _NO_TRANSFORMER_SECONDS
    single = [len(shape(f"encoder.{n}.conv.weight")) == 3 for n in range(depth)]
    if any(single):  # levels of one bin
        first = f"encoder.{single.index(True)}.conv.weight"
        options["time_stride"] = shape(first)[-1] // 2
    if inputs == channels:
        options["spectrum"] = "magnitude"
    if banded:
        options["banded_levels"] = banded
    return {**options, **said}


_BAND = "layers.0"  # of a level whose bands have weights of their own


def _bands(weights) -> int:
    """How many bands the outermost level has weights of their own for; 1 for the same of all."""
    return count(weights, "encoder.0.layers.{}.conv.bias") or 1


def _of_first_bands(weights) -> dict[str, np.ndarray]:
    """The arrays as if their first band were all."""
    first = re.compile(rf"(encoder|decoder)\.(\d+)\.{re.escape(_BAND)}\.")
    return {first.sub(r"\1.\2.", name): value for name, value in weights.items()}


def _sources(weights, size: htdemucs.HTDemucs) -> Sequence[str]:
    waves = sum(bins > 1 for bins in size.bins[:-1])
    outputs = shape_of(weights, f"tdecoder.{waves - 1}.conv_tr.weight")[1]
    known = {len(names): names for names in (htdemucs.SOURCES, htdemucs.SIX_SOURCES)}
    count = outputs // size.channels
    if count not in known:
        raise ValueError(f"these weights give {count} sources: name them by `sources`")
    return known[count]


def _variables(model: keras.Model, size: htdemucs.HTDemucs) -> dict[str, Any]:
    """Variables by the reference's names; those of a packed or summed array have its parts'."""
    layers = {layer.name: layer for layer in model.layers}
    found: dict[str, Any] = {}
    waves = sum(bins > 1 for bins in size.bins[:-1])
    for level in range(size.depth):
        ours = f"encoder{level + 1}"
        found |= _whole_level(layers, size, ours, f"encoder.{level}", "conv")
        found |= _level(layers, f"wave_{ours}", f"tencoder.{level}", "conv")
        ours = f"decoder{level + 1}"
        found |= _whole_level(layers, size, ours, f"decoder.{size.depth - 1 - level}", "conv_tr")
        found |= _level(layers, f"wave_{ours}", f"tdecoder.{waves - 1 - level}", "conv_tr")
    if "embedding" in layers:
        found["freq_emb.embedding.weight"] = layers["embedding"].embedding
    for ours, theirs in (("", ""), ("wave_", "_t")):
        for end, name in (
            ("bottom_in", "channel_upsampler"),
            ("bottom_out", "channel_downsampler"),
        ):
            if ours + end in layers:
                found |= kernel_and_bias(layers[ours + end], name + theirs)
        for number in range(size.transformer_layers):
            layer = layers[f"{ours}transformer{number + 1}"]
            found |= _transformer_layer(layer, f"crosstransformer.layers{theirs}.{number}")
        if size.transformer_layers:
            found |= norm(layers[f"{ours}norm_in"], f"crosstransformer.norm_in{theirs}")
    return found


def _whole_level(layers, size, ours: str, theirs: str, conv: str) -> dict[str, Any]:
    """One level of the spectrogram's branch, with those of its bands that it has."""
    found = {}
    for number in range(len(size.bands) + 1):
        found |= _level(layers, f"{ours}_band{number + 1}", f"{theirs}.layers.{number}", conv)
    if hasattr(layers.get(f"{ours}_conv"), "convs"):
        for number, layer in enumerate(layers[f"{ours}_conv"].convs):
            found |= kernel_and_bias(layer, f"{theirs}.layers.{number}.{conv}")
        return found
    return found | _level(layers, ours, theirs, conv)


def _level(layers, ours: str, theirs: str, conv: str) -> dict[str, Any]:
    """What there is of one level of a branch; nothing where the branch has no such level."""
    found = {}
    if (layer := layers.get(f"{ours}_conv")) is not None:
        found |= kernel_and_bias(getattr(layer, "layer", layer), f"{theirs}.{conv}")
    norms = ("norm1", "norm2") if conv == "conv" else ("norm2", "norm1")
    for part, name in zip(("norm", "rewrite_norm"), norms, strict=True):
        if f"{ours}_{part}" in layers:
            found |= norm(layers[f"{ours}_{part}"], f"{theirs}.{name}")
    if f"{ours}_rewrite" in layers:
        found |= kernel_and_bias(layers[f"{ours}_rewrite"], f"{theirs}.rewrite")
    if f"{ours}_dconv" in layers:
        found |= branch_variables(layers[f"{ours}_dconv"], f"{theirs}.dconv")
    return found


def _transformer_layer(layer, theirs: str) -> dict[str, Any]:
    crosses = hasattr(layer, "others_norm")
    attention = f"{theirs}.cross_attn" if crosses else f"{theirs}.self_attn"
    found = norm(layer.norm, f"{theirs}.norm1")
    found |= norm(layer.hidden_norm, f"{theirs}.norm3" if crosses else f"{theirs}.norm2")
    if crosses:
        found |= norm(layer.others_norm, f"{theirs}.norm2")
    found |= norm(layer.norm_out, f"{theirs}.norm_out")
    found |= kernel_and_bias(layer.widen, f"{theirs}.linear1")
    found |= kernel_and_bias(layer.narrow, f"{theirs}.linear2")
    for number, scale in enumerate(layer.scales):
        found[f"{theirs}.gamma_{number + 1}.scale"] = scale
    parts = layer.attention.parts
    found |= kernel_and_bias(parts["out"], f"{attention}.out_proj")
    for name in _PACKED:
        found[f"{attention}.in_proj_weight ({name})"] = parts[name].kernel
        found[f"{attention}.in_proj_bias ({name})"] = parts[name].bias
    return found


_PACKED = ("query", "key", "value")


def _arrays(weights) -> dict[str, np.ndarray]:
    """The arrays, those that are packed or summed by the names of their parts."""
    arrays = {}
    for name, value in summed_biases(weights).items():
        if name.endswith((".in_proj_weight", ".in_proj_bias")) and len(value) % 3 == 0:
            parts = np.split(np.asarray(value), 3)
            arrays |= {f"{name} ({part})": x for part, x in zip(_PACKED, parts, strict=True)}
        else:
            embedding = name == "freq_emb.embedding.weight"  # the one whose axes are ours
            arrays[name] = np.transpose(value) if embedding else np.asarray(value)
    return arrays
