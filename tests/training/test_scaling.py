"""benchmarks/scaling.py: estimates follow from what is counted, and what it measures runs."""

import argparse

import pytest

from benchmarks import scaling
from benchmarks.multiply_adds import multiply_adds
from kzoo import models


def test_the_estimate_counts_the_published_network_and_divides_its_steps(capsys):
    published = scaling.Published("unet", "tiny", ("vocals",), 1.0, 2, 7200, "nowhere")
    header, one, *_, many = scaling.rows(published)
    size, _ = models.split("unet", {"variant": "tiny"})
    segment, block = size.segment(size.sample_rate)
    system = models.build("unet", segment, sources=["vocals"], **block)
    count = multiply_adds(system, block["samples"])
    assert f"{count / 1e9:.2f} GMAC" in header
    computing, adding = scaling.step_seconds(2 * count, 4 * system.count_params(), 1)
    assert adding == 0
    assert computing == pytest.approx(scaling.OVERHEAD + 12 * count / scaling.FLOPS)
    assert f"{1000 * computing:.1f} ms a step (0% adding up), {2 * computing:8.2f} h" in one
    same, adding = scaling.step_seconds(2 * count, 4 * system.count_params(), 64)
    assert same == computing
    assert f"{(computing + adding) / 32:8.2f} h" in many


@pytest.mark.slow
def test_every_setup_is_measured(capsys):
    scaling.measure(argparse.Namespace(steps=1, epochs=2))
    _, *rows = capsys.readouterr().out.splitlines()
    assert [row.split(":")[0].strip() for row in rows] == list(scaling.SETUPS)
    assert "1.00 times as fast as one device" in rows[0]
