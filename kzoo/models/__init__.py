"""Model architectures, one a file; the file's name is the model's name.

Each file offers a frozen dataclass of sizes, VARIANTS of it (the first is the default, `tiny` is
for tests), `core(...)`, the reference's network on the reference's own domain, and `build(...)`,
the system from waveform to waveforms. What architectures share lies in `models.base`.
"""

from __future__ import annotations

import ast
import dataclasses
import importlib.util
import inspect
import pkgutil
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from kzoo import config
from kzoo.models.base.memory import refuse_too_large

if TYPE_CHECKING:
    import keras

    from kzoo.models.base.sizes import Signal


def list_models() -> list[str]:
    """List the names of all architectures, which `architecture` takes."""
    return sorted(m.name for m in pkgutil.iter_modules(__path__) if not m.ispkg)


def architecture(name: str) -> ModuleType:
    """Import the module of one architecture; ValueError names the nearest for an unknown one."""
    known = list_models()
    config.named(known, name, "model")
    return importlib.import_module(f"{__name__}.{name}")


def defines(name: str, part: str) -> bool:
    """Whether an architecture's file has a function `part`, found without importing its backend."""
    return part in _functions(name)


def takes_sources(name: str) -> bool:
    """Whether an architecture gives named sources, found without importing its backend."""
    arguments = _functions(name)["build"].args
    return "sources" in [x.arg for x in (*arguments.args, *arguments.kwonlyargs)]


def _functions(name: str) -> dict[str, ast.FunctionDef]:
    config.named(list_models(), name, "model")
    path = importlib.util.find_spec(f"{__name__}.{name}").origin
    tree = ast.parse(Path(path).read_text("utf-8"))
    return {node.name: node for node in tree.body if isinstance(node, ast.FunctionDef)}


def sizes(name: str, *, variant: str | None = None, **changes: Any) -> Signal:
    """Return the sizes of a variant, by default the first of the file, with some changed.

    Lists, as YAML has them, count as tuples, and None is a value like any other. Raises
    ConfigError for an unknown variant or option, with the nearest known one, for a value of
    another type, and for sizes that do not fit each other.
    """
    variants = architecture(name).VARIANTS
    variant = next(iter(variants)) if variant is None else variant
    base = config.named(variants, variant, f"variant of {name}")
    return changed(base, changes, where=f"model {name}")


def changed(base: Any, changes: Mapping[str, Any], *, where: str) -> Any:
    """The dataclass `base` with some fields changed, checked by name and type as in `sizes`."""
    changes = {key: _tuples(value) for key, value in changes.items()}
    given = [field.name for field in dataclasses.fields(base)]
    config.check(type(base), changes, where=where, given=given)
    try:
        return dataclasses.replace(base, **changes)
    except config.ConfigError:
        raise
    except ValueError as error:
        raise config.ConfigError(f"{where}: {error}") from None


def split(name: str, options: Mapping[str, Any]) -> tuple[Signal, dict[str, Any]]:
    """Split the flat mapping of a card or a YAML section: (sizes, other arguments of `build`)."""
    own = _arguments(name)
    changes = {key: value for key, value in options.items() if key not in own}
    return sizes(name, **changes), {key: options[key] for key in options if key in own}


def build(name: str, size: Signal | None = None, **options: Any) -> keras.Model:
    """Build the untrained model `name` of `size`, or of a variant and changes in the options.

    options: `sources`, `samples` and whatever else the architecture's `build` takes beside its
    sizes; without `size` also `variant` and every field of its sizes. Raises ConfigError as
    `sizes` does, and for sizes whose weights are known not to fit into memory.
    """
    if size is None:
        size, options = split(name, options)
    module = architecture(name)
    where = f"model {name}"
    config.check(module.build, options, where=where, given=["size"])
    refuse_too_large(where, size.count_weights(len(options.get("sources", ()))))
    return module.build(size=size, **options)


def _arguments(name: str) -> set[str]:
    return set(inspect.signature(architecture(name).build).parameters) - {"size"}


def _tuples(value: Any) -> Any:
    return tuple(map(_tuples, value)) if isinstance(value, list | tuple) else value
