"""The hint that ends an error of every package: which known name an unknown one is like."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def nearest(name: str, known: Iterable[str], otherwise: str, *, likeness: float = 0.6) -> str:
    """Ask whether the known name most like `name`, in any case, was meant, or say `otherwise`.

    likeness: from 0, where any name is near enough, to 1, where only the same one is.
    """
    names = {one.lower(): one for one in known}
    near = difflib.get_close_matches(str(name).lower(), names, n=1, cutoff=likeness)
    return f"did you mean {names[near[0]]!r}?" if near else otherwise
