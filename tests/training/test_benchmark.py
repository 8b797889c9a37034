"""benchmarks/training.py takes the steps that kzoo train takes."""

import argparse
import runpy
from pathlib import Path

import pytest
from test_training import SMALL, settings

from kzoo import config

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "changes",
    [
        {"loss": {"name": "weighted_sdr"}},
        pytest.param(
            {
                "model": {
                    "name": "cunet",
                    "sources": ["vocals", "drums"],
                    "variant": "tiny",
                    **SMALL,
                }
            },
            marks=pytest.mark.slow,
        ),
    ],
    ids=["mixture", "condition"],
)
def test_the_benchmark_times_the_step_of_a_configuration(tmp_path, capsys, changes):
    path = tmp_path / "run.yaml"
    config.dump_yaml(settings(**changes), path)
    benchmark = runpy.run_path(str(ROOT / "benchmarks" / "training.py"))
    benchmark["step"](argparse.Namespace(config=path, settings=["fit.batch_size=1"], steps=3))
    assert "run.yaml, batch 1, 3 steps" in capsys.readouterr().out
