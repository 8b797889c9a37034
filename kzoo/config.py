"""YAML to function calls: every key is an argument, and an unknown one is an error with advice."""

from __future__ import annotations

import difflib
import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import yaml


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line that names the way out."""


def load_yaml(path: str | Path) -> dict[str, Any]:
    """The mapping in a YAML file; ConfigError where it is absent, broken or no mapping."""
    try:
        loaded = yaml.safe_load(Path(path).read_text(encoding="utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror})") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        where = getattr(error, "problem_mark", None)
        line = f" at line {where.line + 1}" if where else ""
        raise ConfigError(f"{path}: is not valid YAML{line}") from None
    if not isinstance(loaded, dict):
        raise ConfigError(f"{path}: must hold a mapping, not {type(loaded).__name__}")
    return loaded


def dump_yaml(values: Mapping[str, Any], path: str | Path) -> None:
    """Write a mapping as YAML, its keys in their order."""
    text = yaml.safe_dump(dict(values), sort_keys=False, allow_unicode=True, width=96)
    Path(path).write_text(text, encoding="utf-8")


def call(function: Callable, options: Mapping[str, Any], *, where: str = "") -> Any:
    """`function(**options)`; ConfigError with the nearest name for a key that it does not take."""
    known = list(inspect.signature(function).parameters)
    for key in options:
        if key not in known:
            near = difflib.get_close_matches(str(key), known, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"it takes {', '.join(known)}"
            place = where or function.__name__
            raise ConfigError(f"{place} has no option {key!r}; {hint}")
    return function(**options)
