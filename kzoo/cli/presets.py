"""Weights of a preset, fetched with a progress bar."""

from __future__ import annotations

from pathlib import Path

from kzoo import presets
from kzoo.cli.terminal import bar, quiet_tensorflow


def fetch(preset: str | presets.Preset, *, show: bool) -> Path:
    """Make sure that a preset's weights are here, with a progress bar where they must come."""
    preset = presets.open_preset(preset)
    if (here := preset.weights_path()) is not None:
        return here
    quiet_tensorflow()
    with bar(f"fetching {preset}", unit="bytes", show=show) as progress:
        return preset.download(progress=progress)
