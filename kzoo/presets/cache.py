"""The cache: where fetched presets are kept."""

from __future__ import annotations

import os
from pathlib import Path


def cache_folder() -> Path:
    """Where fetched presets are kept: KZOO_CACHE, or kzoo in the user's cache folder."""
    if place := os.environ.get("KZOO_CACHE"):
        return Path(place).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "kzoo"
