"""Packages that kzoo does without until they are asked for: the extras of setup.cfg."""

from __future__ import annotations

import importlib
from types import ModuleType


def package(name: str, needed_by: str, extra: str) -> ModuleType:
    """The module `name` of an extra's package; ImportError with the pip line without it.

    needed_by: what a user has asked for, as the line begins.
    """
    try:
        return importlib.import_module(name)
    except ImportError as error:
        top = name.partition(".")[0]
        raise ImportError(f"{needed_by} needs {top}: pip install 'kzoo[{extra}]'") from error
