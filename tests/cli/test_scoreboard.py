"""The table that fills while tracks are scored has the medians so far, and is gone at the end."""

import io

import numpy as np
from rich.console import Console

from kzoo.cli.scoreboard import _Board, scoreboard


class Terminal(io.StringIO):
    def isatty(self):
        return True


def shown(board, width=80):
    console = Console(file=io.StringIO(), width=width)
    console.print(board.table())
    return [line.split() for line in console.file.getvalue().splitlines() if line.strip()]


def test_it_has_the_median_of_each_source_and_system_so_far():
    board = _Board()
    for value in (1.0, 5.0, np.nan, 3.0):
        board.add("net", {"vocals": {"SDR": value, "SI-SDR": 2 * value}})
    board.add("mixture", {"vocals": {"SDR": np.nan, "SI-SDR": -1.0}})
    board.add("net", {})
    head, _, *rows = shown(board)
    assert head == ["source", "system", "tracks", "SDR", "SI-SDR"]
    assert rows == [
        ["vocals", "mixture", "1", "-", "-1.00"],
        ["vocals", "net", "4", "(1", "failed)", "3.00", "6.00"],
    ]


def test_it_is_drawn_on_a_terminal_alone(monkeypatch):
    monkeypatch.setenv("TERM", "xterm")
    for screen, drawn in ((Terminal(), True), (io.StringIO(), False)):
        monkeypatch.setattr("sys.stderr", screen)
        with scoreboard() as (progress, scored):
            scored("net", {"vocals": {"SDR": 1.25}})
            progress(1, 2)
        assert ("1.25" in screen.getvalue()) == drawn
    monkeypatch.setattr("sys.stderr", quiet := Terminal())
    with scoreboard(show=False) as (progress, _):
        progress(1, 2)
    assert quiet.getvalue() == ""
