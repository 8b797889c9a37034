"""The whole state of a run in one file: weights, optimizer, random state, and where it was.

A run that goes on from here takes the same steps as one that was never stopped: the seeds of
dropout are variables of the model, and the data of a step are a function of its number.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import keras
import numpy as np

from kzoo.files import replacing

_STATE = "state"


def save(path: Path, model: keras.Model, state: dict[str, Any]) -> None:
    """Write beside `path` and move into place: a kill leaves the old checkpoint or the new one."""
    arrays = {
        f"{number:05d} {variable.path}": np.asarray(variable.value)
        for number, variable in enumerate(_variables(model))
    }
    arrays[_STATE] = np.array(json.dumps(state))
    with replacing(path) as temporary:
        np.savez(temporary, **arrays)


def restore(path: Path, model: keras.Model) -> dict[str, Any]:
    """Set every variable of `model` and its optimizers; the state that was saved with them.

    Raises ValueError where the checkpoint is of another model or optimizer.
    """
    with np.load(path, allow_pickle=False) as arrays:
        names = [name for name in arrays.files if name != _STATE]
        variables = _variables(model)
        if len(names) != len(variables):
            raise ValueError(
                f"{path}: holds {len(names)} variables where this run has {len(variables)}; "
                "the configuration has changed: train into a new folder"
            )
        for name, variable in zip(names, variables, strict=True):
            if arrays[name].shape != tuple(variable.shape):
                raise ValueError(
                    f"{path}: {name.split(' ', 1)[1]} has shape {arrays[name].shape} where this "
                    f"run has {tuple(variable.shape)}: train into a new folder"
                )
        for name, variable in zip(names, variables, strict=True):
            variable.assign(arrays[name])
        return json.loads(str(arrays[_STATE]))


def _variables(model: keras.Model) -> list:
    # Metrics start anew with every epoch, and checkpoints are made between epochs.
    metrics = {id(v) for metric in model.metrics for v in metric.variables}
    own = [variable for variable in model.variables if id(variable) not in metrics]
    optimizers = getattr(model, "optimizers", [model.optimizer])
    return [*own, *(variable for optimizer in optimizers for variable in optimizer.variables)]


def read_state(path: Path) -> dict[str, Any]:
    """The state alone that was saved with the variables."""
    with np.load(path, allow_pickle=False) as arrays:
        return json.loads(str(arrays[_STATE]))
