"""What a run keeps of a network's sizes, so that no later change of a variant changes it."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from kzoo import config


def keep(variant: str, size: Any) -> dict[str, Any]:
    """Every field of `size`, a dataclass, as YAML has it, beside the name of its variant."""
    return {"variant": variant, **config.plain(dataclasses.asdict(size))}


def kept(section: Mapping[str, Any], variant: str) -> dict[str, Any] | None:
    """The sizes under `sizes` of a network's section; None where `variant` is not what they are of.

    They stand, whatever has become of the variant since.
    """
    sizes = dict(section.get("sizes") or {})
    return sizes if sizes.pop("variant", None) == variant else None
