"""Published weights converted to kzoo's models; each file takes those of one source.

Each file offers `from_weights(weights: Mapping[str, array], ...) -> keras.Model`, which takes the
reference's own names and is strict both ways, and readers for the files the reference ships.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np


def assign(targets: Mapping[str, object], weights: Mapping[str, np.ndarray], *, unused=()) -> None:
    """Give every variable of `targets` (reference name -> variable) its array.

    `unused` names weights that are known to have no place. Raises ValueError that names any weight
    that is missing, left over or of another shape; nothing is assigned then.
    """
    missing = [name for name in targets if name not in weights]
    spare = [name for name in weights if name not in targets and name not in set(unused)]
    wrong = [
        f"{name} is {tuple(np.shape(weights[name]))}, not {tuple(variable.shape)}"
        for name, variable in targets.items()
        if name in weights and tuple(np.shape(weights[name])) != tuple(variable.shape)
    ]
    problems = [
        f"{label}: {_shortened(names)}"
        for label, names in (("missing", missing), ("unused", spare), ("wrong shape", wrong))
        if names
    ]
    if problems:
        raise ValueError("these weights do not fit the model; " + "; ".join(problems))
    for name, variable in targets.items():
        variable.assign(np.asarray(weights[name]))


def _shortened(names: Iterable[str], most: int = 6) -> str:
    names = list(names)
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
