"""Weights of a preset, fetched with a progress bar."""

from __future__ import annotations

from pathlib import Path

from kzoo import presets
from kzoo.cli.terminal import bar, quiet_tensorflow


def fetch(name: str, *, show: bool) -> Path:
    """Make sure that a preset's weights are here, with a progress bar where they must come."""
    if (here := presets.weights_path(name)) is not None:
        return here
    presets.load_card(name)
    quiet_tensorflow()
    with bar(f"fetching {name}", unit="bytes", show=show) as progress:
        return presets.download(name, progress=progress)
