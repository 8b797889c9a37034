"""benchmarks/separate.py: what an interrupted run has made is made again."""

import runpy
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from kzoo import models, presets

BENCHMARKS = Path(__file__).parents[2] / "benchmarks"


def test_a_preset_is_made_again_where_a_run_was_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [str(BENCHMARKS), *sys.path])
    benchmark = runpy.run_path(str(BENCHMARKS / "separate.py"))
    make, commands = benchmark["make"], []

    def converted(command):
        commands.append(command)
        if "convert" in command:
            command[command.index("-o") + 1].mkdir(parents=True)

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    preset = SimpleNamespace(sizes=lambda: (models.sizes("scnet", variant="tiny"), {}))
    monkeypatch.setitem(make.__globals__, "_quietly", converted)
    monkeypatch.setattr(presets, "open_preset", lambda folder: preset)
    with monkeypatch.context() as patched:
        patched.setattr(np, "savez", interrupted)
        with pytest.raises(KeyboardInterrupt):
            make("scnet", tmp_path / "scnet", "python")
    made = make("scnet", tmp_path / "scnet", "python")
    assert made.name == "preset"
    assert made.is_dir()
    assert (tmp_path / "scnet" / "grid.npz").is_file()
    assert len(commands) == 4
    assert make("scnet", tmp_path / "scnet", "python") == made
    assert len(commands) == 4  # it is whole
