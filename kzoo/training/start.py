"""Where a run starts: fresh weights, or those of a preset, some of them frozen."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence

import keras

from kzoo import presets


def start(
    model: keras.Model,
    *,
    preset: str | None = None,
    sources: Mapping[str, str] | None = None,
    new: Sequence[str] = (),
    freeze: Sequence[str] = (),
) -> list[str]:
    """Give `model` the weights of a preset and freeze what is not to learn; lines that say so.

    preset: a name or folder. sources: {source of this model: source of the preset whose weights
        it starts from}; without it, sources of one name belong together.
    new: patterns of weight paths that keep their fresh values, such as "drums_*".
    freeze: patterns of weight paths that do not learn; a batch norm's statistics stay too.
    Raises ValueError for a pattern that fits nothing, and for weights that neither the preset has
    nor `new` names.
    """
    lines = []
    if preset is not None:
        found = _with_prefixes(presets.verified_weights(preset), sources or {})
        fresh = []
        for weight in model.weights:
            value = found.get(weight.path)
            if _fits(weight.path, new):
                fresh.append(weight.path)
            elif value is None or tuple(value.shape) != tuple(weight.shape):
                reason = "is not in" if value is None else f"has shape {value.shape} in"
                raise ValueError(
                    f"{weight.path} {reason} {preset}; name it under start.new to begin it afresh, "
                    "or say under start.sources from which source it starts"
                )
            else:
                weight.assign(value)
        lines.append(
            f"{len(model.weights) - len(fresh)} weights start from {preset}, {len(fresh)} afresh"
        )
    if freeze:
        _check_patterns(freeze, model, "freeze")
        frozen = 0
        for layer in _leaves(model):
            if layer.weights and all(_fits(weight.path, freeze) for weight in layer.weights):
                layer.trainable = False
                frozen += len(layer.weights)
        if not frozen:
            raise ValueError(f"freeze: {', '.join(freeze)} fits no whole layer")
        lines.append(f"{frozen} of {len(model.weights)} weights are frozen")
    _check_patterns(new, model, "new")
    return lines


def _with_prefixes(weights: Mapping, sources: Mapping[str, str]) -> dict:
    renamed = dict(weights)
    for source, origin in sources.items():
        for path, value in weights.items():
            if path.startswith(f"{origin}_"):
                renamed[source + path.removeprefix(origin)] = value
    return renamed


def _fits(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatch(path, pattern) for pattern in patterns)


def _check_patterns(patterns: Sequence[str], model: keras.Model, what: str) -> None:
    for pattern in patterns:
        if not any(fnmatch.fnmatch(weight.path, pattern) for weight in model.weights):
            raise ValueError(
                f"{what}: no weight is called {pattern!r}; one is {model.weights[0].path!r}"
            )


def _leaves(model: keras.Model) -> list[keras.layers.Layer]:
    return [layer for layer in model._flatten_layers() if not isinstance(layer, keras.Model)]
