"""Licences of weights: said before they are fetched, and accepted where they restrict their use.

A card whose weights may not be used by everybody for everything has `restricted`, which says to
what they are: "non-commercial use". What was accepted is remembered in the cache.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from typing import Any

from kzoo.files import replacing
from kzoo.presets.cache import cache_folder
from kzoo.presets.card import PresetError

VARIABLE = "KZOO_ACCEPT_LICENCE"


def ask(name: str, card: Mapping[str, Any], *, accepted: bool) -> None:
    """Raise PresetError, with the way out, for restricted weights whose licence nobody accepted.

    accepted: whoever fetches accepts it, which is remembered. KZOO_ACCEPT_LICENCE does the same:
    names of presets between commas, or "all".
    """
    if "restricted" not in card:
        return
    licence = card["licences"]["weights"]
    if not (accepted or _accepted(name, licence)):
        raise PresetError(
            f"preset {name!r}: its weights are for {card['restricted']} ({licence}); to accept "
            f"that: kzoo presets download {name} --accept-licence, or {VARIABLE}={name}"
        )
    if accepted:
        with replacing(_note(name)) as temporary:
            temporary.write_text(licence, encoding="utf-8")


def say(name: str, card: Mapping[str, Any]) -> None:
    """Say on stderr what licences a preset has, before its weights are fetched."""
    licences = card["licences"]
    print(
        f"kzoo: fetching {name}; licence of its weights: {licences['weights']}; of the code: "
        f"{licences['code']}",
        file=sys.stderr,
    )


def _accepted(name: str, licence: str) -> bool:
    if {name, "all"} & {word.strip() for word in os.environ.get(VARIABLE, "").split(",")}:
        return True
    note = _note(name)
    return note.is_file() and note.read_text(encoding="utf-8") == licence


def _note(name: str):
    return cache_folder() / "licences" / name
