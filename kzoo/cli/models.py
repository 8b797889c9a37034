"""The verb `models`: the architectures, and the options of one."""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Annotated

import typer

from kzoo.cli.terminal import quiet_tensorflow


def models(
    name: Annotated[
        str | None,
        typer.Argument(metavar="MODEL", help="Architecture whose options are printed."),
    ] = None,
) -> None:
    """List the architectures, or the options of one."""
    from kzoo.models import list_models

    for line in list_models() if name is None else options_of(name):
        print(line)


def options_of(name: str) -> Iterator[str]:
    """The options of an architecture with their types and defaults, then its variants."""
    from kzoo import config
    from kzoo.models import architecture, list_models

    config.named(list_models(), name, "model")  # before TensorFlow is loaded
    quiet_tensorflow()
    module = architecture(name)
    variants = module.VARIANTS
    default = next(iter(variants.values()))
    for kind in type(default).__mro__:
        if dataclasses.is_dataclass(kind):
            yield inspect.cleandoc(kind.__doc__)
            yield ""
    yield "options, as in kzoo.build, in the section model of a configuration, and in cards:"
    for field in dataclasses.fields(default):
        yield f"  {field.name}: {field.type} = {getattr(default, field.name)!r}"
    others = [p for p in inspect.signature(module.build).parameters if p != "size"]
    yield f"and of kzoo.build alone: {', '.join(others)}"
    yield ""
    yield "variants, and what each changes:"
    for variant, size in variants.items():
        changes = (
            f"{field.name}={getattr(size, field.name)!r}"
            for field in dataclasses.fields(size)
            if getattr(size, field.name) != getattr(default, field.name)
        )
        weights = size.count_weights(len(getattr(module, "SOURCES", ())))
        memory = "" if weights is None else f"; {weights:,} weights, {4 * weights / 1e9:.3g} GB"
        yield f"  {variant}: {', '.join(changes) or 'the defaults'}{memory}"
