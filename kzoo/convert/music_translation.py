"""Weights of https://github.com/facebookresearch/music-translation (CC BY-NC 4.0).

Its training writes a file a domain, such as bestmodel_0.pth, with the states of an encoder, of the
domain's decoder and of a classifier, which translation does not need. Encoders of several files are
taken to be alike, as its own program takes them: the first one counts. The names of layers are
those of its source; nothing here has met the published files yet.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo.convert import assign
from kzoo.convert.torch_files import read_torch
from kzoo.models import music_translation
from kzoo.models.music_translation import MusicTranslation

_LAST = "lastmodel_"  # of the names of its last files, which its program is run with


def read(paths: Mapping[str, str | Path] | Path) -> dict[str, np.ndarray]:
    """{"encoder.<name>", "<domain>.<name>": array} of files by the names of their domains.

    paths: or the folder of a training, of whose last files the domains are numbers. Raises
    ValueError for a folder that has none.
    """
    if isinstance(paths, Path):
        files = {file.stem.removeprefix(_LAST): file for file in paths.glob(f"{_LAST}*.pth")}
        if not files or not all(map(str.isdigit, files)):
            raise ValueError(f"{paths}: holds no {_LAST}0.pth and others, a file a domain")
        paths = {number: files[number] for number in sorted(files, key=int)}
    found: dict[str, np.ndarray] = {}
    for domain, path in paths.items():
        if not found:
            found = {f"encoder.{k}": x for k, x in read_torch(path, "encoder_state").items()}
        found |= {f"{domain}.{k}": x for k, x in read_torch(path, "decoder_state").items()}
    return found


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    encoder_depth: int,
    depth: int,
    pool: int,
    sample_rate: int,
    domains: Sequence[str] = (),
) -> keras.Model:
    """`music_translation.build` with the arrays of files, as `read` gives them.

    encoder_depth, depth, pool, sample_rate: of `MusicTranslation`, which arrays do not tell: 10,
        14, 800 and 16000 by its train.sh. The rest, and the domains, are read off the arrays.
    domains: their names, in the order of the files, by default as `read` has them.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    domains, weights = _named(weights, domains)
    options = options_of(weights, encoder_depth=encoder_depth, depth=depth, domains=domains)
    size = MusicTranslation(pool=pool, sample_rate=sample_rate, **options)
    model = music_translation.build(size)
    targets, arrays = {}, {}
    for name, (variable, arrange) in _places(model, size):
        targets[name] = variable
        if name.startswith("encoder."):
            if name in weights:
                arrays[name] = arrange(weights[name])
            continue
        parts = [weights.get(f"{domain}.{name}") for domain in domains]
        if all(part is not None for part in parts):
            arrays[name] = np.stack([arrange(part) for part in parts])
    for name, array in weights.items():
        if (name if name.startswith("encoder.") else name.partition(".")[2]) not in targets:
            arrays[name] = array  # which `assign` refuses
    assign(targets, arrays)
    return model


def _named(
    weights: Mapping[str, np.ndarray], names: Sequence[str]
) -> tuple[list[str], dict[str, np.ndarray]]:
    """(the domains, the arrays by them), called by `names` where there are some."""
    own = list(dict.fromkeys(name.partition(".")[0] for name in weights))
    own = [name for name in own if name != "encoder"]
    names = list(names) or own
    if len(names) != len(own):
        raise ValueError(f"there are {len(own)} domains; got the names of {len(names)}")
    called = {"encoder": "encoder", **dict(zip(own, names, strict=True))}
    parts = {name: name.partition(".") for name in weights}
    return names, {f"{called[parts[k][0]]}.{parts[k][2]}": x for k, x in weights.items()}


def options_of(
    weights: Mapping[str, np.ndarray],
    *,
    encoder_depth: int,
    depth: int,
    domains: Sequence[str] = (),
) -> dict[str, Any]:
    """The options of `MusicTranslation`, as far as arrays and these tell.

    Raises ValueError for arrays of something else.
    """
    domains, weights = _named(weights, domains)

    def shape(name: str) -> tuple[int, ...]:
        if name not in weights:
            raise ValueError(f"these are no weights of music translation: {name} is missing")
        return np.shape(weights[name])

    def layers(start: str, end: str) -> int:
        return sum(name.startswith(start) and name.endswith(end) for name in weights)

    first = domains[0] if domains else "decoder"
    skip, residual, _ = shape(f"{first}.skip_conv.weight")
    counts = (
        layers("encoder.dilated_convs.", ".dilated_conv.weight"),
        layers(f"{first}.layers.", ".causal.weight"),
    )
    for count, of in zip(counts, (encoder_depth, depth), strict=True):
        if count % of:
            raise ValueError(
                f"{count} layers are no whole stacks of {of}: give the depth they have"
            )
    return {
        "domains": tuple(domains), "levels": shape(f"{first}.logits.weight")[0],
        "encoder_channels": shape("encoder.start.weight")[0],
        "latent": shape("encoder.conv_1x1.weight")[0],
        "encoder_stacks": counts[0] // encoder_depth, "encoder_depth": encoder_depth,
        "stacks": counts[1] // depth, "depth": depth,
        "kernel_size": shape(f"{first}.first_conv.weight")[2], "residual": residual, "skip": skip,
    }  # fmt: skip


def _places(model: keras.Model, size: MusicTranslation) -> Iterator:
    """(their name, (variable, how their array becomes it)): a decoder's of one domain."""

    def pair(layer, name: str, arrange):
        kernel, bias = layer.weights
        yield f"{name}.weight", (kernel, arrange)
        yield f"{name}.bias", (bias, _swapped if arrange is _gates else np.asarray)

    encoder, get = model.get_layer("encoder"), model.get_layer
    yield from pair(encoder.get_layer("encoder_first"), "encoder.start", _taps)
    yield from pair(encoder.get_layer("encoder_latent"), "encoder.conv_1x1", _product)
    for k in range(len(size.encoder_dilations)):
        name, own = f"encoder.dilated_convs.{k}", f"encoder{k + 1}"
        yield from pair(encoder.get_layer(f"{own}_dilated"), f"{name}.dilated_conv", _taps)
        yield from pair(encoder.get_layer(f"{own}_dense"), f"{name}.conv_1x1", _product)
    for own, name in (
        ("first", "first_conv"), ("first_skip", "skip_conv"), ("output1", "fc"),
        ("output1_latent", "condition"), ("output2", "logits"),
    ):  # fmt: skip
        yield from pair(get(own), name, _product)
    for k in range(len(size.dilations)):
        block, name = get(f"block{k + 1}"), f"layers.{k}"
        yield from pair(block.gates, f"{name}.causal", _gates)
        yield from pair(get(f"block{k + 1}_latent"), f"{name}.condition", _gates)
        yield from pair(block.to_residual, f"{name}.residual", _product)
        yield from pair(block.to_skip, f"{name}.skip", _product)


def _taps(kernel):
    """PyTorch's `[out, in, taps]` as `[taps, in, out]`."""
    return np.transpose(kernel, (2, 1, 0))


def _product(kernel):
    """The same as a matrix `[taps * in, out]`."""
    kernel = _taps(kernel)
    return kernel.reshape(-1, kernel.shape[-1])


def _swapped(array):
    """Outputs with the half of tanh first, where theirs is that of the sigmoid."""
    return np.roll(array, array.shape[-1] // 2, axis=-1)


def _gates(kernel):
    return _swapped(_product(kernel))
