"""Tables in the Markdown of the site, and what stands in their cells."""

from __future__ import annotations

import html
import re
from collections.abc import Iterable, Sequence
from typing import Any


def table(header: Sequence[str], rows: Iterable[Sequence[Any]]) -> str:
    """A table in Markdown; what is in angle brackets stays as it is."""
    lines = [header, ["---"] * len(header), *rows]
    return "".join(f"| {' | '.join(map(cell, line))} |\n" for line in lines)


def cell(value: Any) -> str:
    """`value` as one cell: text without pipes, tags and stars; code in backticks is untouched."""
    parts = re.split(r"(`[^`]*`)", str(value).replace("\n", " "))
    # Every second part is code, in which Markdown and HTML mean nothing.
    parts[::2] = [
        html.escape(part, quote=False).replace("|", "&#124;").replace("*", r"\*")
        for part in parts[::2]
    ]
    return "".join(parts)


def code(value: Any) -> str:
    """`value` as it is written in Python, in backticks."""
    return f"`{value}`" if isinstance(value, str) else f"`{value!r}`"
