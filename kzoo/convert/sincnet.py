"""SincNet by the names of its authors' checkpoints, https://github.com/mravanelli/SincNet (MIT).

A file holds three state dicts: CNN_model_par, DNN1_model_par (hidden layers) and DNN2_model_par
(the speakers). Every layer of theirs has a layer norm and a batch norm, whether it uses them or
not; which it uses is no matter of the weights, and is told here by `norm`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import keras
import numpy as np

from kzoo.convert import assign
from kzoo.convert._torch_layers import Place, batch_norm, counters, linear, shape_of, whole
from kzoo.convert.torch_files import read_torch
from kzoo.models import sincnet

_CNN, _HIDDEN, _SPEAKERS = (f"{name}_model_par" for name in ("CNN", "DNN1", "DNN2"))


def read(path: str | Path) -> dict[str, np.ndarray]:
    """The arrays of an authors' file, as CNN_model_par.conv.1.weight; nothing in it is executed."""
    return {
        f"{part}.{name}": array
        for part in (_CNN, _HIDDEN, _SPEAKERS)
        for name, array in read_torch(path, key=part).items()
    }


def from_weights(
    weights: Mapping[str, np.ndarray],
    *,
    names: Sequence[str] | None = None,
    kernel_size: int = 251,
    sample_rate: int = 16000,
    norm: str = "layer",
    pool: int = 3,
) -> keras.Model:
    """`sincnet.build` with the authors' weights; windows, filters and units are read off them.

    What cannot be are the options here: taps of the band-passes, rate, norms, steps pooled.

    names: of the speakers, by default by number. norm: as in `sincnet.SincNet`; the authors'
        batch norm is "batch_slip".
    Raises ValueError that names every weight which is missing, of another shape, or left over.
    """
    size = sincnet.SincNet(
        sample_rate=sample_rate, norm=norm, pool=pool,
        **_options(weights, names, sample_rate, kernel_size),
    )  # fmt: skip
    model = sincnet.build(size)
    used, unused = _places(model, norm)
    assign(used, weights, unused=[*unused, *counters(weights)])
    return model


def _options(weights, names, sample_rate, kernel_size) -> dict:
    samples, *_ = shape_of(weights, f"{_CNN}.ln0.gamma")
    filters, *_ = shape_of(weights, f"{_CNN}.conv.0.low_hz_")
    filters, kernels = [filters], [kernel_size]
    while (name := f"{_CNN}.conv.{len(filters)}.weight") in weights:
        filters.append(np.shape(weights[name])[0])
        kernels.append(np.shape(weights[name])[2])
    hidden = []
    while (name := f"{_HIDDEN}.wx.{len(hidden)}.weight") in weights:
        hidden.append(np.shape(weights[name])[0])
    speakers, *_ = shape_of(weights, f"{_SPEAKERS}.wx.0.weight")
    if names is None:
        names = [f"speaker{number:03}" for number in range(speakers)]
    return {
        "names": tuple(names), "block_seconds": samples / sample_rate, "filters": tuple(filters),
        "hidden": tuple(hidden), "kernels": tuple(kernels),
    }  # fmt: skip


def _places(model: keras.Model, norm: str) -> tuple[dict[str, Place], list[str]]:
    """({their name: its place}, the names of their norms that are not used)."""
    steps, channels = model.get_layer("flat").input.shape[1:]

    def turned(array):
        """Theirs is flattened a channel after another, ours a step after another."""
        parts = array.reshape(*array.shape[:-1], channels, steps)
        return np.swapaxes(parts, -1, -2).reshape(array.shape)

    layer = model.get_layer
    first, bands = layer("dense1").kernel, layer("band_passes")
    places = {
        f"{_CNN}.conv.0.low_hz_": whole(bands.low_hz, np.ravel, (bands.filters, 1)),
        f"{_CNN}.conv.0.band_hz_": whole(bands.band_hz, np.ravel, (bands.filters, 1)),
        **_step_norm(layer("input_norm"), f"{_CNN}.ln0", np.reshape),
        **_step_norm(layer("flat_norm"), f"{_HIDDEN}.ln0", lambda array, _: turned(array)),
        **linear(layer("logits"), f"{_SPEAKERS}.wx.0"),
    }
    unused = _norm_names(f"{_SPEAKERS}.ln.0") + _norm_names(f"{_SPEAKERS}.bn.0")
    for level in range(sum(one.name.startswith("pool") for one in model.layers)):
        if level:
            conv, theirs = layer(f"conv{level}"), f"{_CNN}.conv.{level}"
            places[f"{theirs}.weight"] = whole(conv.kernel, np.transpose, conv.kernel.shape[::-1])
            places[f"{theirs}.bias"] = whole(conv.bias)
        kinds = {"ln": _step_norm, "bn": batch_norm}
        kind, other = ("ln", "bn") if norm == "layer" else ("bn", "ln")
        places |= kinds[kind](layer(f"norm{level}"), f"{_CNN}.{kind}.{level}")
        unused += _norm_names(f"{_CNN}.{other}.{level}")
    for level in range(sum(one.name.startswith("dense_norm") for one in model.layers)):
        places |= linear(layer(f"dense{level + 1}"), f"{_HIDDEN}.wx.{level}")
        places |= batch_norm(layer(f"dense_norm{level + 1}"), f"{_HIDDEN}.bn.{level}")
        unused += _norm_names(f"{_HIDDEN}.ln.{level}")
    places[f"{_HIDDEN}.wx.0.weight"] = whole(
        first, lambda array: turned(array).T, tuple(first.shape[::-1])
    )
    return places, unused


def _step_norm(layer, theirs: str, arranged=lambda array, shape: array.T) -> dict[str, Place]:
    """Of their layer norm, `[channels, steps]` or `[steps]`."""
    shape = tuple(layer.gamma.shape)
    own = shape[::-1] if len(shape) == 2 and shape[1] > 1 else shape[:1]
    return {
        f"{theirs}.{name}": whole(getattr(layer, name), lambda array: arranged(array, shape), own)
        for name in ("gamma", "beta")
    }


def _norm_names(theirs: str) -> list[str]:
    batch = theirs.split(".")[1] == "bn"
    names = ("weight", "bias", "running_mean", "running_var") if batch else ("gamma", "beta")
    return [f"{theirs}.{name}" for name in names]
