"""Where a run starts: fresh weights, those of a preset, some of them frozen, or another run."""

from __future__ import annotations

import fnmatch
from collections.abc import Mapping, Sequence
from pathlib import Path

import keras

from kzoo import presets
from kzoo.config import ConfigError
from kzoo.training import checkpoint
from kzoo.training.folder import CHECKPOINT


def start(
    model: keras.Model,
    *,
    preset: str | None = None,
    sources: Mapping[str, str] | None = None,
    new: Sequence[str] = (),
    freeze: Sequence[str] = (),
    run: str | None = None,
) -> list[str]:
    """Give `model` the weights of a preset and freeze what is not to learn; lines that say so.

    preset: a name or folder. sources: {source of this model: source of the preset whose weights
        it starts from}; without it, sources of one name belong together.
    new: patterns of weight paths that keep their fresh values, such as "drums_*".
    freeze: patterns of weight paths that do not learn; a batch norm's statistics stay too.
    run: the folder of a run that this one goes on from in another folder, by another learning rate
        say; see `take_over`, which the other arguments do not go with.
    Raises ValueError for a pattern that fits nothing, and for weights that neither the preset has
    nor `new` names.
    """
    lines = []
    if run is not None and (preset or sources or new or freeze):
        raise ValueError("start.run takes all of a run as it is: leave the rest of start out")
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


def take_over(run: str | Path, trainer: keras.Model) -> str:
    """Give `trainer` the weights and optimizers of a run's last epoch; a line that says so.

    The optimizers keep their own learning rates, and take the moments and the count of steps, from
    which a schedule goes on. Raises ConfigError where `run` has no checkpoint, ValueError where it
    is of another network or optimizer.
    """
    path = Path(run) / CHECKPOINT
    if not path.is_file():
        raise ConfigError(f"start.run: {run} holds no {CHECKPOINT}: name the folder of a run")
    rates = {}
    for optimizer in getattr(trainer, "optimizers", [trainer.optimizer]):
        if isinstance(optimizer._learning_rate, keras.Variable):
            rates[optimizer] = float(optimizer.learning_rate)
    state = checkpoint.restore(path, trainer)
    for optimizer, rate in rates.items():
        optimizer.learning_rate = rate
    return f"goes on from {run} after epoch {state['epoch']}, with its optimizer"


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
