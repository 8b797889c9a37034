"""The verb `models`: the architectures."""

from __future__ import annotations


def models() -> None:
    """List the architectures."""
    from kzoo.models import list_models

    for name in list_models():
        print(name)
