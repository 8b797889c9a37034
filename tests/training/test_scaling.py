"""benchmarks/scaling.py: estimates follow from what is counted, and what it measures runs."""

import argparse

import pytest
from test_training import settings

from benchmarks import scaling
from kzoo.training import forecast

NOWHERE = {"kind": "musdb", "path": "nowhere"}


def test_the_estimate_counts_a_network_and_divides_the_steps_among_gpus():
    values = {**settings(fit__epochs=7, fit__steps_per_epoch=64), "data": {"train": NOWHERE}}
    found, _ = forecast.forecast(values)
    header, *lines = scaling.rows(values)
    assert f"{found.forwards.multiply_adds / 1e9:.2f} billion multiply-adds" in header
    assert [line.split(":")[0].strip() for line in lines] == ["1 GPUs", "8 GPUs", "64 GPUs"]
    hours, step = scaling.hours_and_step(found, 1)
    assert hours == pytest.approx(step * 7 * 64 / 3600)
    fewer, longer = scaling.hours_and_step(found, 64)
    assert longer > step, "gradients are added up"
    assert fewer == pytest.approx(longer * 7 / 3600)


@pytest.mark.slow
def test_every_setup_is_measured(capsys):
    scaling.measure(argparse.Namespace(steps=1, epochs=2))
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split(":")[0].strip() for row in rows] == list(scaling.SETUPS)
    assert "1.00 times as fast as one device" in rows[0]
