"""Hybrid Demucs with and without the transformer by the names of its PyTorch state dicts.

https://github.com/adefossez/demucs, classes HTDemucs and HDemucs: encoder and decoder are of the
spectrogram, tencoder and tdecoder of the waveform, the deepest decoder first. Published files hold
the class and its arguments beside the state, in half precision.
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
from kzoo.convert.torch_files import read_torch_content
from kzoo.models import htdemucs

# What cannot be read off the weights: their arguments and the fields of `htdemucs.HTDemucs`.
_FIELDS = {
    "samplerate": "sample_rate",
    "nfft": "n_fft",
    "segment": "block_seconds",
    "norm_groups": "norm_groups",
    "freq_emb": "bin_embedding",
    "emb_scale": "embedding_scale",
    "t_heads": "heads",
    "t_dropout": "dropout",
    "dconv_init": "residual_scale",
    "rescale": "rescale",
}
# Arguments of which the model knows one value alone.
_ALONE = {
    "channels_time": None, "wiener_iters": 0, "end_iters": 0, "wiener_residual": False, "cac": True,
    "rewrite": True, "hybrid": True, "hybrid_old": False, "multi_freqs": None, "t_emb": "sin",
    "t_norm_in": True, "t_norm_in_group": False, "t_group_norm": False, "t_norm_first": True,
    "t_norm_out": True, "t_max_period": 10000, "t_layer_scale": True, "t_gelu": True,
    "t_weight_pos_embed": 1, "t_sparse_self_attn": False, "t_sparse_cross_attn": False,
}  # fmt: skip
_NO_TRANSFORMER_SECONDS = 44.0


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
    content = read_torch_content(path)
    if not isinstance(content, dict):
        raise ValueError(f"{path}: it holds a {type(content).__name__}, not a model of Demucs")
    state, arguments = content.get("state"), content.get("kwargs") or {}
    package = Package(state if isinstance(state, dict) else content)
    if "__quantized" in package:
        raise ValueError(f"{path}: its weights are packed by DiffQ, which is not read here")
    other = [str(name) for name, value in package.items() if not isinstance(value, np.ndarray)]
    if other:
        raise ValueError(f"{path}: these entries are no tensors: {', '.join(other[:6])}")
    for name, value in _ALONE.items():
        if (arguments.get(name, value) or None) != (value or None):
            raise ValueError(f"{path}: {name} must be {value}; got {arguments[name]!r}")
    package.sources = arguments.get("sources")
    package.options = {
        field: arguments[name]
        for name, field in _FIELDS.items()
        if isinstance(arguments.get(name), int | float)
    }
    return package


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sources: Sequence[str] | None = None,
    heads: int | None = None,
    norm_groups: int | None = None,
    bin_embedding: float | None = None,
    embedding_scale: float | None = None,
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
        "embedding_scale": embedding_scale,
    }  # fmt: skip
    told = {name: value for name, value in told.items() if value is not None}
    size = htdemucs.HTDemucs(**{**options_of(weights), **told})
    names = sources or getattr(weights, "sources", None) or _sources(weights, size)
    model = htdemucs.build(tuple(names), size)
    variables = _variables(model, size)
    assign(variables, _arrays(weights, variables))
    return model


def options_of(weights: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """The fields of `htdemucs.HTDemucs` that can be read off the weights, and `read` has found."""

    def shape(name):
        return shape_of(weights, name)

    def count(name, most=64):
        return next(n for n in range(most + 1) if n == most or name.format(n) not in weights)

    depth = count("encoder.{}.conv.weight")
    widths = [shape(f"encoder.{level}.conv.weight")[0] for level in range(max(depth, 1))]
    _, inputs, kernel_size, *_ = shape("encoder.0.conv.weight")
    stride = kernel_size // 2
    normed = [n for n in range(depth) if f"encoder.{n}.norm1.weight" in weights]
    ways = {
        way: f"{way}.0.dconv.layers.{{}}.0.weight"
        for way in ("encoder", "decoder")
        if f"{way}.0.dconv.layers.0.0.weight" in weights
    }
    lstm = "encoder.{}.dconv.layers.0.3.lstm.weight_ih_l0"
    recurrent = [n for n in range(depth) if lstm.format(n) in weights]
    layers = count("crosstransformer.layers.{}.linear1.weight")
    options = {
        "channels": inputs // 2,
        "filters": widths[0],
        "growth": max((b / a for a, b in pairwise(widths)), default=2.0) + 1e-6,  # rounded down
        "depth": depth,
        "stride": stride,
        "context": shape("decoder.0.rewrite.weight")[-1] // 2,
        "encoder_context": shape("encoder.0.rewrite.weight")[-1] // 2,
        "norm_starts": min(normed, default=depth),
        "residual": {0: "none", 2: "both"}.get(len(ways)) or next(iter(ways)),
        "recurrent_starts": min(recurrent, default=None),
        "bottom": len(weights.get("channel_upsampler.bias", ())),
        "transformer_layers": layers,
        "cross_first": "crosstransformer.layers.0.cross_attn.in_proj_weight" in weights,
    }
    if ways:
        first = next(iter(ways.values()))
        hidden, width, _ = shape(first.format(0))
        options |= {"residual_depth": count(first), "residual_compress": width / hidden}
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
    return {**options, **getattr(weights, "options", {})}


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
        found |= _level(layers, ours, f"encoder.{level}", "conv")
        found |= _level(layers, f"wave_{ours}", f"tencoder.{level}", "conv")
        ours = f"decoder{level + 1}"
        found |= _level(layers, ours, f"decoder.{size.depth - 1 - level}", "conv_tr")
        found |= _level(layers, f"wave_{ours}", f"tdecoder.{waves - 1 - level}", "conv_tr")
    if "embedding" in layers:
        found["freq_emb.embedding.weight"] = layers["embedding"].embedding
    for ours, theirs in (("", ""), ("wave_", "_t")):
        for end, name in (
            ("bottom_in", "channel_upsampler"),
            ("bottom_out", "channel_downsampler"),
        ):
            if ours + end in layers:
                found |= _kernel_and_bias(layers[ours + end], name + theirs)
        for number in range(size.transformer_layers):
            layer = layers[f"{ours}transformer{number + 1}"]
            found |= _transformer_layer(layer, f"crosstransformer.layers{theirs}.{number}")
        if size.transformer_layers:
            found |= _norm(layers[f"{ours}norm_in"], f"crosstransformer.norm_in{theirs}")
    return found


def _level(layers, ours: str, theirs: str, conv: str) -> dict[str, Any]:
    """What there is of one level of a branch; nothing where the branch has no such level."""
    if f"{ours}_conv" not in layers:
        return {}
    layer = layers[f"{ours}_conv"]
    found = _kernel_and_bias(getattr(layer, "layer", layer), f"{theirs}.{conv}")
    norms = ("norm1", "norm2") if conv == "conv" else ("norm2", "norm1")
    for part, name in zip(("norm", "rewrite_norm"), norms, strict=True):
        if f"{ours}_{part}" in layers:
            found |= _norm(layers[f"{ours}_{part}"], f"{theirs}.{name}")
    if f"{ours}_rewrite" in layers:
        found |= _kernel_and_bias(layers[f"{ours}_rewrite"], f"{theirs}.rewrite")
    if f"{ours}_dconv" in layers:
        found |= _dconv(layers[f"{ours}_dconv"], f"{theirs}.dconv")
    return found


def _dconv(layer, theirs: str) -> dict[str, Any]:
    found = {}
    for number, parts in enumerate(layer.branches):
        name = f"{theirs}.layers.{number}"
        found |= _kernel_and_bias(parts["conv"], f"{name}.0") | _norm(parts["norm"], f"{name}.1")
        at = 3
        if "lstm" in parts:
            found |= _blstm(parts["lstm"], f"{name}.{at}")
            at += 1
        if "attention" in parts:
            for part, dense in parts["attention"].parts.items():
                found |= _kernel_and_bias(dense, f"{name}.{at}.{part}")
            at += 1
        found |= _kernel_and_bias(parts["expand"], f"{name}.{at}")
        found |= _norm(parts["expand_norm"], f"{name}.{at + 1}")
        found[f"{name}.{at + 3}.scale"] = layer.scales[number]
    return found


def _blstm(layer, theirs: str) -> dict[str, Any]:
    found = _kernel_and_bias(layer.linear, f"{theirs}.linear")
    for number, both in enumerate(layer.lstms):
        for one, way in ((both.forward_layer, ""), (both.backward_layer, "_reverse")):
            at = f"l{number}{way}"
            found[f"{theirs}.lstm.weight_ih_{at}"] = one.cell.kernel
            found[f"{theirs}.lstm.weight_hh_{at}"] = one.cell.recurrent_kernel
            found[f"{theirs}.lstm.bias_ih_{at} + bias_hh_{at}"] = one.cell.bias
    return found


def _transformer_layer(layer, theirs: str) -> dict[str, Any]:
    crosses = hasattr(layer, "others_norm")
    attention = f"{theirs}.cross_attn" if crosses else f"{theirs}.self_attn"
    found = _norm(layer.norm, f"{theirs}.norm1")
    found |= _norm(layer.hidden_norm, f"{theirs}.norm3" if crosses else f"{theirs}.norm2")
    if crosses:
        found |= _norm(layer.others_norm, f"{theirs}.norm2")
    found |= _norm(layer.norm_out, f"{theirs}.norm_out")
    found |= _kernel_and_bias(layer.widen, f"{theirs}.linear1")
    found |= _kernel_and_bias(layer.narrow, f"{theirs}.linear2")
    for number, scale in enumerate(layer.scales):
        found[f"{theirs}.gamma_{number + 1}.scale"] = scale
    parts = layer.attention.parts
    found |= _kernel_and_bias(parts["out"], f"{attention}.out_proj")
    for name in _PACKED:
        found[f"{attention}.in_proj_weight ({name})"] = parts[name].kernel
        found[f"{attention}.in_proj_bias ({name})"] = parts[name].bias
    return found


_PACKED = ("query", "key", "value")


def _kernel_and_bias(layer, theirs: str) -> dict[str, Any]:
    return {f"{theirs}.weight": layer.kernel, f"{theirs}.bias": layer.bias}


def _norm(layer, theirs: str) -> dict[str, Any]:
    return {f"{theirs}.weight": layer.gamma, f"{theirs}.bias": layer.beta}


def _arrays(weights, variables) -> dict[str, np.ndarray]:
    """The arrays as the variables have them: axes the other way round, those of 1 left out."""
    arrays = {}
    for name, value in summed_biases(weights).items():
        if name.endswith((".in_proj_weight", ".in_proj_bias")) and len(value) % 3 == 0:
            parts = np.split(np.asarray(value), 3)
            arrays |= {f"{name} ({part})": x for part, x in zip(_PACKED, parts, strict=True)}
        else:
            arrays[name] = np.asarray(value)
    for name, value in arrays.items():
        if name != "freq_emb.embedding.weight":
            value = np.transpose(value)
        while name in variables and value.ndim > len(variables[name].shape) and len(value) == 1:
            value = value[0]
        arrays[name] = value
    return arrays
