"""What the gauntlets share: a model that says no more than it must is one of the zoo's."""

from pathlib import Path

import pytest

from kzoo import models

PLAIN = str(Path(__file__).parent / "plain")


@pytest.fixture(autouse=True)
def plain_model(monkeypatch):
    """The model of the folder `plain` is one of the zoo's."""
    monkeypatch.setattr(models, "__path__", [*models.__path__, PLAIN])
