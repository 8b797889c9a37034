"""Presets: a model, its verified weights, and a card that says what they are.

A preset is a folder with `card.yaml` and `weights.npz`. Those that kzoo knows by name have their
card in the package; weights that are not bundled are fetched once, checked, converted and kept in
the cache (KZOO_CACHE, or ~/.cache/kzoo). KZOO_OFFLINE=1 forbids fetching.

`open_preset` reads a card once, for all that is asked of it; the functions here are the short way.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kzoo.files import file_sha256
from kzoo.presets.cache import cache_folder
from kzoo.presets.card import (
    CARD,
    CARDS,
    EXPORTED,
    WEIGHTS,
    PresetError,
    Progress,
    list_presets,
    refuse_untrained,
    sources,
)
from kzoo.presets.folder import save_to_preset
from kzoo.presets.opening import (
    ENHANCER,
    SYNTHESISER,
    Preset,
    enhancer,
    open_preset,
    synthesiser,
)
from kzoo.presets.weights import load_weights, read_weights

if TYPE_CHECKING:
    import keras

__all__ = [
    "CARD",
    "CARDS",
    "ENHANCER",
    "EXPORTED",
    "SYNTHESISER",
    "WEIGHTS",
    "Preset",
    "PresetError",
    "Progress",
    "cache_folder",
    "download",
    "enhancer",
    "file_sha256",
    "from_preset",
    "list_presets",
    "load_card",
    "load_weights",
    "open_preset",
    "read_weights",
    "refuse_untrained",
    "save_to_preset",
    "sources",
    "synthesiser",
    "verified_weights",
    "weights_path",
]


def load_card(preset: str | Path) -> dict[str, Any]:
    """The card of a preset, by name or folder; PresetError for an unknown one."""
    return dict(open_preset(preset).card)


def weights_path(preset: str | Path) -> Path | None:
    """The weights of a preset where they are on this machine already, else None."""
    return open_preset(preset).weights_path()


def download(
    preset: str | Path, *, progress: Progress | None = None, accept_licence: bool = False
) -> Path:
    """Make sure that the weights of a preset are here; see `Preset.download`."""
    return open_preset(preset).download(progress=progress, accept_licence=accept_licence)


def verified_weights(
    preset: str | Path, *, progress: Progress | None = None
) -> dict[str, np.ndarray]:
    """The weights of a preset by their paths, fetched if need be, their sha256 checked."""
    return open_preset(preset).weights(progress=progress)


def from_preset(
    preset: str | Path, *, progress: Progress | None = None, **options: Any
) -> keras.Model:
    """A model with the verified weights of a preset, by its name or its folder.

    options: of the architecture's sizes and `build`, over the card's own (samples=...).
    Raises PresetError for an unknown preset, and for weights that are absent, untrained, or do not
    match the sha256 of the card; nothing is ever left at random values.
    """
    return open_preset(preset).model(progress=progress, **options)
