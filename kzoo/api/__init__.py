"""The short way in: what `import kzoo` offers by name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo import presets
from kzoo.api.exporting import export, export_all, export_page
from kzoo.api.hearing import embed, generate, melody, onsets, pitch, tag, transfer, translate
from kzoo.api.scoring import compare, evaluate
from kzoo.api.separating import Separator, enhance, separate
from kzoo.models import list_models
from kzoo.presets import list_presets

if TYPE_CHECKING:
    import keras

__all__ = [
    "Separator",
    "build",
    "compare",
    "embed",
    "enhance",
    "evaluate",
    "export",
    "export_all",
    "export_page",
    "from_preset",
    "generate",
    "list_models",
    "list_presets",
    "melody",
    "onsets",
    "pitch",
    "save_to_preset",
    "separate",
    "tag",
    "transfer",
    "translate",
]


def build(name: str, **options: Any) -> keras.Model:
    """Build an untrained model by the name of its architecture.

    options: `sources`, `samples` and whatever else the architecture's `build` takes; `variant`,
    by default the first of its VARIANTS; and any field of its sizes, which replaces the
    variant's.
    Raises ValueError for an unknown name or option, with the nearest known one.
    """
    from kzoo import models

    return models.build(name, **options)


def from_preset(preset: str | Path, **options: Any) -> keras.Model:
    """Build a preset's model with its verified weights; see `kzoo.presets.from_preset`."""
    return presets.from_preset(preset, **options)


def save_to_preset(model: keras.Model, folder: str | Path, card: Mapping[str, Any]) -> Path:
    """Write a model and its card as a preset folder; see `kzoo.presets.save_to_preset`."""
    return presets.save_to_preset(model, folder, card)
