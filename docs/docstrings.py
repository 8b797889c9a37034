"""Lines "name: meaning" of kzoo's docstrings, for the tables of the reference and as lists.

mkdocstrings loads `OptionsAsLists` (see `mkdocs.yml`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import griffe


def split(text: str, names: Iterable[str]) -> list[tuple[list[str], str]]:
    """Pieces of a docstring in their order: (names, meaning), or ([], lines of anything else).

    A meaning goes on in indented lines, and in others until a sentence has ended.
    """
    known = "|".join(sorted(map(re.escape, names), key=len, reverse=True))
    if not known:
        return [([], text)]
    heading = re.compile(rf"(?:^|(?<=\. )|(?<=\) ))((?:{known})(?:, (?:{known}))*): ")
    pieces: list[tuple[list[str], str]] = []
    for line in text.splitlines():
        keys, before = pieces[-1] if pieces else ([], "")
        if heading.match(line):
            pieces.append((["?"], line))
        elif keys and line and (line.startswith("    ") or not before.endswith((".", ")"))):
            pieces[-1] = (keys, f"{before} {line.strip()}")
        elif pieces and not keys:
            pieces[-1] = ([], f"{before}\n{line}")
        else:
            pieces.append(([], line))
    found: list[tuple[list[str], str]] = []
    for keys, piece in pieces:
        if not keys:
            found.append(([], piece))
            continue
        parts = heading.split(piece)[1:]
        for several, meaning in zip(parts[::2], parts[1::2], strict=True):
            found.append((several.split(", "), meaning.strip()))
    return found


class OptionsAsLists(griffe.Extension):
    """Shows the lines "name: meaning" of a docstring as a list."""

    def on_object(self, *, obj: griffe.Object, **_) -> None:
        """Rewrite the docstring of a function or class whose arguments or fields it explains."""
        if obj.docstring is None or not (obj.is_function or obj.is_class):
            return
        names = [p.name for p in obj.parameters] if obj.is_function else list(obj.members)
        if obj.is_class and "__init__" in obj.members:
            names += [p.name for p in obj.members["__init__"].parameters]
        text, listed = "", False
        for keys, piece in split(obj.docstring.value, names):
            if keys:
                text += ("" if listed else "\n") + f"- `{'`, `'.join(keys)}`: {piece}\n"
            else:
                text += ("\n" if listed else "") + f"{piece}\n"
            listed = bool(keys)
        obj.docstring.value = text.strip()
