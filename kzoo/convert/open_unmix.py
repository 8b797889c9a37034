"""Weights of Open-Unmix's authors, https://github.com/sigsep/open-unmix-pytorch (MIT).

A published file, such as umxhq's vocals-b62c91ce.pth, is the state dict of the network of one
target. What it does not tell is in the sizes: the rate, and the STFT's hop. PyTorch's LSTMs have
two biases where Keras's have their sum.
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
from kzoo.models import open_unmix

_TARGET = "target_models."


def read(paths: Mapping[str, str | Path]) -> dict[str, np.ndarray]:
    """{"<target>.<name>": array} of the files of several targets, {target: path}."""
    return {
        f"{target}.{name}": array
        for target, path in paths.items()
        for name, array in read_torch(path).items()
    }


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    sample_rate: int,
    hop_length: int,
    sources: Sequence[str] | None = None,
    residual: bool = False,
    softmask: bool = False,
    wiener_iterations: int = 0,
    wiener_frames: int | None = 300,
) -> keras.Model:
    """`open_unmix.build` with the weights of one target or several.

    weights: arrays by "<target>.<name>", as `read` gives them or, of the authors' Separator,
        "target_models.<target>.<name>". Channels, bins, hidden features, layers and directions are
        read off them.
    sources: in the order of the output, by default the targets in theirs. With residual=True the
        last one has no weights.
    sample_rate, hop_length: what arrays do not tell: 44100 and 1024 of umx, umxhq and umxl, 16000
        and 512 of umxse.
    residual, softmask, wiener_iterations, wiener_frames: of `OpenUnmix`, about what is behind the
        network.
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    weights = {
        name.removeprefix(_TARGET): np.asarray(array)
        for name, array in weights.items()
        if name.startswith(_TARGET) or name not in ("sample_rate", "stft.window", "istft.window")
    }
    if sources is None:
        sources = targets_of(weights) + ["residual"] * residual
    size = models.sizes(
        "open_unmix",
        **options_of(weights),
        sample_rate=sample_rate,
        hop_length=hop_length,
        residual=residual,
        softmask=softmask,
        wiener_iterations=wiener_iterations,
        wiener_frames=wiener_frames,
    )
    model = open_unmix.build(sources, size)
    network = model.get_layer("open_unmix_core")
    places = {}
    for target in size.targets(sources):
        places |= _places(network, target, size)
    assign(places, torch_layers.summed_biases(weights), unused=_beside_the_network(weights))
    return model


def targets_of(weights: Mapping[str, np.ndarray]) -> list[str]:
    """The targets of weights by "<target>.<name>", in their order."""
    return list(dict.fromkeys(name.partition(".")[0] for name in weights))


def options_of(weights: Mapping[str, np.ndarray]) -> dict[str, int | bool]:
    """The options of `OpenUnmix` that weights by "<target>.<name>" tell; ValueError for others."""
    first = next(iter(targets_of(weights)), "vocals")
    try:
        hidden, width = weights[f"{first}.fc1.weight"].shape
        bins = len(weights[f"{first}.input_mean"])
        all_bins = len(weights[f"{first}.output_mean"])
    except (KeyError, ValueError) as error:
        raise ValueError(
            "weights must be those of Open-Unmix, <target>.fc1.weight and others; "
            f"got {', '.join(list(weights)[:4]) or 'none'} ({error})"
        ) from None
    layers = sum(f"{first}.lstm.weight_ih_l{n}" in weights for n in range(len(weights)))
    return {
        "channels": max(width // bins, 1),
        "n_fft": 2 * (all_bins - 1),
        "bins": bins,
        "hidden": hidden,
        "n_layers": max(layers, 1),
        "bidirectional": f"{first}.lstm.weight_ih_l0_reverse" in weights,
    }


def _places(network: keras.Model, target: str, size: open_unmix.OpenUnmix) -> dict:
    places = {}
    for ours, theirs in (("input", "input"), ("output", "output")):
        layer = network.get_layer(f"{target}_{ours}")
        for part in ("mean", "scale"):
            places[f"{target}.{theirs}_{part}"] = torch_layers.whole(getattr(layer, part))
    for number in (1, 2, 3):
        kernel = network.get_layer(f"{target}_dense{number}").kernel
        places[f"{target}.fc{number}.weight"] = torch_layers.transposed(kernel)
        norm = network.get_layer(f"{target}_norm{number}")
        places |= torch_layers.batch_norm(norm, f"{target}.bn{number}")
    for number in range(size.n_layers):
        layer = network.get_layer(f"{target}_lstm{number + 1}")
        ways = {"": layer}
        if size.bidirectional:
            ways = {"": layer.forward_layer, "_reverse": layer.backward_layer}
        for way, one in ways.items():
            places |= torch_layers.lstm(one, f"{target}.lstm", f"l{number}{way}")
    return places


def _beside_the_network(weights: Mapping[str, np.ndarray]) -> list[str]:
    """Counters, and what a network of the authors' first version (2019) had of its transform."""
    others = ("sample_rate", "stft.window", "transform.0.window")
    return [
        *torch_layers.counters(weights),
        *(name for name in weights if name.partition(".")[2] in others),
    ]
