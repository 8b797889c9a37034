"""Checkpoints of other frameworks, made presets: what weights do not tell must be told."""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kzoo import config, convert, models
from kzoo.files import file_sha256
from kzoo.presets.card import PresetError
from kzoo.presets.folder import save_to_preset
from kzoo.presets.weights import load_weights


def converted(
    network: str,
    files: Path | Mapping[str, Path],
    folder: str | Path,
    *,
    licence: str = "not stated",
    **told: Any,
) -> Path:
    """Make the preset `folder` of a checkpoint, and return it.

    network: one of `convert.list_converters`. files: as its `read` takes them, a file, a folder or
        {target: file}; nothing in them is executed.
    told: arguments of its `from_weights` and fields of the model's sizes, over what the file says
        of itself. licence: of the weights.
    Raises ValueError that names what must be told and is not, an unknown option, and every weight
    that is missing, of another shape, or left over.
    """
    config.named(convert.list_converters(), network, "converter")
    converter = convert.converter(network)
    fields = type(models.sizes(converter.model)).__dataclass_fields__
    known = [*converter.told, *fields, *(["variant"] if converter.takes_size else [])]
    for key in told:
        config.named(known, key, f"option of {network}")
    if converter.said_in is not None:
        said = {key: value for key, value in converter.said_in(files).items() if key in known}
        told = {**said, **told}
    _refuse_untold(network, converter, fields, told)
    statistics = converter.statistics_in(files) if converter.statistics_in else {}
    arguments = {key: value for key, value in told.items() if key in converter.told}
    config.check_types(converter.from_weights, arguments, where=network)
    weights = converter.read(files)
    # A default of None stands for what the arrays, or the model's own sizes, say.
    defaults = {key: p.default for key, p in converter.told.items() if p.default is not p.empty}
    chosen = {**{key: value for key, value in defaults.items() if value is not None}, **told}
    sizes = {key: value for key, value in chosen.items() if key in fields or key == "variant"}
    if converter.variant:
        sizes = {"variant": converter.variant, **sizes}
    whole = {"size": models.sizes(converter.model, **sizes)} if converter.takes_size else {}
    core = converter.from_weights(weights, **arguments, **whole)
    options = {**sizes, **_options(converter, weights, {**defaults, **arguments})}
    options |= {key: value for key, value in told.items() if key in sizes}
    if models.takes_sources(converter.model):
        options["sources"] = list(_source_names(core) or chosen["sources"])
    size, others = models.split(converter.model, options)
    built = models.build(converter.model, size, **others)
    load_weights(built, {weight.path: weight.value for weight in core.weights}, where=network)
    card = {
        "name": Path(folder).resolve().name,
        "task": size.task,
        "summary": f"{network}, converted",
        "model": {"name": converter.model, "options": options},
        **({"sources": options["sources"]} if "sources" in options else {}),
        "sample_rate": size.sample_rate,
        "channels": size.channels,
        "licences": {"code": "Apache-2.0 (kzoo)", "weights": licence, "data": "not stated"},
        "trained": f"elsewhere; converted from {_origin(files)}",
        **({"statistics": statistics} if statistics else {}),
    }
    return save_to_preset(built, folder, card)


def _refuse_untold(
    network: str, converter: convert.Converter, fields: Mapping[str, Any], told: Mapping[str, Any]
) -> None:
    needed = [key for key, argument in converter.told.items() if argument.default is argument.empty]
    # Networks of many sizes were trained at many rates; those of one rate say it by their type.
    if converter.options_of is not None and "Literal" not in str(fields["sample_rate"].type):
        needed.append("sample_rate")
    if missing := [key for key in dict.fromkeys(needed) if key not in told]:
        raise PresetError(
            f"the weights of {network} do not tell {', '.join(missing)}, and a wrong one loads and "
            f"spoils every result; give --option {missing[0]}=VALUE"
        )


def _options(converter: convert.Converter, weights, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """What the arrays tell of the sizes."""
    if converter.options_of is None:
        return {}
    wanted = inspect.signature(converter.options_of).parameters
    return dict(
        converter.options_of(weights, **{k: arguments[k] for k in wanted if k in arguments})
    )


def _source_names(core) -> Sequence[str]:
    """The sources of a network, by the last of its layers that carries their names, if any."""
    carriers = (layer for layer in reversed(core.layers) if hasattr(layer, "sources"))
    return next((layer.sources for layer in carriers), ())


def _origin(files: Path | Mapping[str, Path]) -> str:
    paths = files.values() if isinstance(files, Mapping) else [files]
    return ", ".join(
        f"{path.name} (sha256 {file_sha256(path)})" if path.is_file() else path.name
        for path in paths
    )
