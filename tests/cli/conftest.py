"""What the tests of verbs share."""

import sys

import pytest

from kzoo import cli


@pytest.fixture
def verb_run(monkeypatch, capfd):
    """Run `kzoo WORDS...`; returns (exit status, stderr)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["kzoo", *map(str, words)])
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
        return status, capfd.readouterr().err

    return call
