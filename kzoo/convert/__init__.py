"""Published weights converted to kzoo's models; each file takes those of one source.

Each file offers `from_weights(weights: Mapping[str, array], ...) -> keras.Model`, which takes the
reference's own names and is strict both ways, and readers for the files the reference ships.
"""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:
    import keras

# Of models whose weights come from a package for several: the file here, and how its functions
# for this model begin.
_ELSEWHERE = {
    "conv_tasnet": ("asteroid", "conv_tasnet_"),
    "tasnet": ("asteroid", "tasnet_"),
    "dual_path_rnn": ("asteroid", "dual_path_rnn_"),
    "deep_clustering": ("asteroid", "chimera_"),
    "dcunet": ("asteroid", "dcunet_"),
}
# Networks of https://github.com/minzwon/sota-music-tagging-models: model and variant.
_SOTA = {
    "sota_fcn": ("choi", "fcn5"),
    "sota_crnn": ("choi", "crnn_torch"),
    "sota_musicnn": ("musicnn", "torch"),
    "sota_short": ("vgg", "short_chunk"),
    "sota_hcnn": ("harmonic_cnn", "mtat"),
}
# Files for several models, of which nothing in a checkpoint says which, and files that only read.
_NO_CONVERTERS = {"asteroid", "onnx_files", "sota_tagging", "torch_files"}


class Converter(NamedTuple):
    """read: files of the reference to its arrays by name. from_weights: those to a model.

    model: which model. told: the arguments of `from_weights` that say what arrays do not.
    takes_size: whether there is a whole `size` beside them; variant: whose sizes it has where no
        others are told, by default the model's first. options_of: the model's options that arrays
        do say; None where they are all of a size that is published. said_in: what a file says of
        itself beside its arrays; None where it says nothing. statistics_in: what a file says of a
        synthesiser's training.
    """

    model: str
    read: Callable[[Any], Mapping[str, np.ndarray]]
    from_weights: Callable[..., keras.Model]
    told: Mapping[str, inspect.Parameter]
    takes_size: bool
    options_of: Callable[..., Mapping[str, Any]] | None
    said_in: Callable[[Any], dict[str, Any]] | None
    variant: str | None = None
    statistics_in: Callable[[Any], dict[str, Any]] | None = None


def converter(name: str) -> Converter:
    """The converter of published weights for the model `name`, or that of the file `name` here."""
    file, prefix = _ELSEWHERE.get(name, ("sota_tagging" if name in _SOTA else name, ""))
    module = importlib.import_module(f"{__name__}.{file}")
    from_weights = getattr(module, f"{prefix}from_weights")
    arguments = inspect.signature(from_weights).parameters
    told = {
        key: argument
        for key, argument in arguments.items()
        if argument.kind is argument.KEYWORD_ONLY and key not in ("size", "samples")
    }
    model, variant = _SOTA.get(name, (getattr(module, "MODEL", name), None))
    return Converter(
        model,
        module.read,
        from_weights,
        told,
        "size" in arguments,
        getattr(module, f"{prefix}options_of", None),
        getattr(module, "said_in", None),
        variant,
        getattr(module, "statistics_in", None),
    )


def list_converters() -> list[str]:
    """The names that `converter` takes, most of them those of models."""
    files = {module.name for module in pkgutil.iter_modules(__path__)} - _NO_CONVERTERS
    return sorted({name for name in files if not name.startswith("_")} | {*_ELSEWHERE, *_SOTA})


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
