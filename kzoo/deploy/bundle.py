"""What the bundle of every recipe has: a list of its operators, and a place to move to whole."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path


def write_operators(folder: Path, operators: Iterable[str]) -> str:
    """Write operators.txt; what is to be said of it."""
    listed = sorted(set(operators))
    (folder / "operators.txt").write_text("\n".join(listed) + "\n", encoding="utf-8")
    return f"operators.txt: {', '.join(listed)}"


def put(folder: Path, target: Path) -> str:
    """Move a finished bundle into place, and what was there beside it; what is to be said of it."""
    if target.exists():
        os.replace(target, folder.parent / "old")
    os.replace(folder, target)
    return f"{target}: complete"
