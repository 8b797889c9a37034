"""YAML to function calls: a key is an argument; unknown ones and wrong types are errors."""

from __future__ import annotations

import copy
import inspect
import sys
import typing
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

import yaml

from kzoo.files import replacing
from kzoo.hints import nearest

# Limits that an annotation may set, as pydantic calls them, and how an error calls them.
_LIMITS = {"ge": "at least", "gt": "above", "le": "at most", "lt": "below"}
# Both are safe, and libyaml's takes a tenth of the time.
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class ConfigError(ValueError):
    """A configuration that cannot be used; the message is one line that names the way out."""


def load_yaml(path: str | Path) -> dict[str, Any]:
    """Read the mapping in a YAML file; ConfigError where it is absent, broken or no mapping."""
    try:
        loaded = yaml.load(Path(path).read_text(encoding="utf-8"), _LOADER)
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
    """Write a mapping as YAML, whole or not at all; see `yaml_text`."""
    with replacing(path) as temporary:
        temporary.write_text(yaml_text(values), encoding="utf-8")


def yaml_text(values: Mapping[str, Any]) -> str:
    """A mapping as YAML, its keys in their order, with lists of numbers on one line."""
    return yaml.dump(dict(values), Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=96)


class _Dumper(yaml.SafeDumper):
    """PyYAML's, but for lists."""


def _represent_list(dumper: yaml.SafeDumper, values: list) -> yaml.SequenceNode:
    numbers = bool(values) and all(value is None or type(value) in (int, float) for value in values)
    return dumper.represent_sequence("tag:yaml.org,2002:seq", values, flow_style=numbers or None)


_Dumper.add_representer(list, _represent_list)


def plain(value: Any) -> Any:
    """Return `value` as a YAML file gives it back: tuples as lists, mappings as dicts."""
    if isinstance(value, Mapping):
        return {key: plain(item) for key, item in value.items()}
    return [plain(item) for item in value] if isinstance(value, list | tuple) else value


def override(values: dict[str, Any], settings: Iterable[str]) -> dict[str, Any]:
    """Put each "section.key=value" into a copy of `values`; the value is read as YAML.

    Raises ConfigError for a setting without "=", or one that would go into something that is no
    mapping. Numbers of a list are its positions: "data.steps.0.probability=1".
    """
    changed = copy.deepcopy(values)
    for setting in settings:
        path, sign, text = setting.partition("=")
        if not sign or not path:
            raise ConfigError(f"expected section.key=value; got {setting!r}")
        *parents, last = path.split(".")
        place: Any = changed
        for name in parents:
            if isinstance(place, list):
                place = _item(place, name, setting)
            elif isinstance(place, dict):
                if place.get(name) is None:  # an empty section
                    place[name] = {}
                place = place[name]
        if isinstance(place, list):
            _item(place, last, setting)
            place[int(last)] = _scalar(text, setting)
        elif isinstance(place, dict):
            place[last] = _scalar(text, setting)
        else:
            raise ConfigError(f"{setting!r}: {parents[-1]!r} is not a section")
    return changed


def named(
    known: Iterable[str],
    name: str,
    what: str,
    *,
    listing: str = "there are",
    error: type[ValueError] = ConfigError,
) -> Any:
    """Look `name` up in `known`: a mapping gives its value, other names give the name itself.

    what: the singular noun of the error for a name that is not there, which names the nearest one,
    or all of them behind `listing`.
    """
    if name in known:
        return known[name] if isinstance(known, Mapping) else name
    hint = nearest(name, known, f"{listing}: {', '.join(known) or 'none'}")
    raise error(f"no {what} is called {name!r}; {hint}")


def call(function: Callable, options: Mapping[str, Any], *, where: str = "", **others: Any) -> Any:
    """Call `function(**options, **others)` after options are checked by name and by type.

    Raises ConfigError as `check` does.
    """
    check(function, options, where=where, given=others)
    return function(**options, **others)


def defaults(function: Callable) -> dict[str, Any]:
    """Return the arguments of `function` that have a default, as {name: default}."""
    parameters = inspect.signature(function).parameters.values()
    return {p.name: p.default for p in parameters if p.default is not p.empty}


def check(
    function: Callable, options: Mapping[str, Any], *, where: str = "", given: Iterable[str] = ()
) -> None:
    """Raise ConfigError where `function` cannot be called with `options` and what is `given`.

    It names the nearest option for a key that the function does not take, one that is missing, and
    a value of another type than the annotation says ("1e-3" in quotes, or without a dot, is text in
    YAML and no number). A function that ends in **options looks at further keys itself.
    """
    parameters = inspect.signature(function).parameters
    named = {name: p for name, p in parameters.items() if p.kind is not p.VAR_KEYWORD}
    place = where or function.__name__
    for key in options:
        if key not in named and len(named) == len(parameters):
            hint = nearest(key, named, f"it takes {', '.join(named)}")
            raise ConfigError(f"{place} has no option {key!r}; {hint}")
    missing = [
        name
        for name, parameter in named.items()
        if parameter.default is parameter.empty and name not in options and name not in given
    ]
    if missing:
        raise ConfigError(f"{place} needs {', '.join(missing)}")
    check_types(function, options, where=place)


def check_types(function: Callable, options: Mapping[str, Any], *, where: str) -> None:
    """Raise ConfigError for a value of another type than the annotation of `function` says."""
    parameters = inspect.signature(function).parameters
    for key, value in options.items():
        if key not in parameters:
            continue
        annotation = parameters[key].annotation
        if isinstance(annotation, str):
            annotation = _evaluated(annotation, key, function)
        if annotation is not inspect.Parameter.empty:
            _check_type(value, annotation, f"{where}: {key}")


def _evaluated(annotation: str, key: str, function: Callable) -> Any:
    """An annotation in words, by the names of its module: of a field, its own class's."""

    # One annotation at a time: those of the other arguments may name what only checkers import.
    def holder(value):
        return value

    holder.__annotations__ = {"value": annotation}
    if inspect.isclass(function):
        homes = (kind for kind in function.__mro__ if key in inspect.get_annotations(kind))
        home = next(homes, function)
        names = vars(sys.modules[home.__module__])
        return typing.get_type_hints(holder, globalns=names, include_extras=True)["value"]
    holder.__wrapped__ = function
    return typing.get_type_hints(holder, include_extras=True)["value"]


def _check_type(value: Any, annotation: Any, what: str) -> None:
    # Here, not above: pydantic takes a tenth of a second to import.
    from pydantic import ConfigDict, TypeAdapter, ValidationError
    from pydantic.errors import PydanticSchemaGenerationError, PydanticUserError

    if isinstance(value, str) and annotation is not str and _is_number(value):
        value_hint = f" (YAML reads {value} as text: write {float(value)!r})"
    else:
        value_hint = ""
    try:
        adapter = TypeAdapter(annotation, config=ConfigDict(arbitrary_types_allowed=True))
    except PydanticUserError:  # the type brings a configuration of its own
        adapter = TypeAdapter(annotation)
    except PydanticSchemaGenerationError:
        return
    try:
        adapter.validate_python(value, strict=True)
    except ValidationError as error:
        found = error.errors()[0]
        for limit in _LIMITS.keys() & found.get("ctx", {}):
            words = f"{_LIMITS[limit]} {found['ctx'][limit]:g}"
            raise ConfigError(f"{what} must be {words}; got {value!r}") from None
        if found["type"] == "literal_error" and not found["loc"]:
            known = ", ".join(str(choice) for choice in typing.get_args(annotation))
            raise ConfigError(f"{what} must be one of {known}; got {value!r}") from None
        raise ConfigError(f"{what}: {found['msg']}; got {value!r}{value_hint}") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _item(place: list, name: str, setting: str) -> Any:
    try:
        return place[int(name)]
    except (ValueError, IndexError):
        raise ConfigError(f"{setting!r}: {name!r} is not one of {len(place)} positions") from None


def _scalar(text: str, setting: str) -> Any:
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        raise ConfigError(f"{setting!r}: the value is not valid YAML") from None
    # 1e-3 has no dot, so YAML 1.1 reads text; on a command line a number is meant.
    return float(value) if isinstance(value, str) and _is_number(value) else value
