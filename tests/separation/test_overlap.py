"""A wider overlap: heard where blocks fade, and said to change nothing where they need none."""

import numpy as np
import pytest
from made_once import once

from kzoo import api
from kzoo.api.systems import evaluation_systems
from kzoo.dsp.blocks import BlockGrid
from kzoo.engines import tensorflow
from kzoo.models import architecture, cunet, list_models, unet
from kzoo.separation import BlockSeparator, System

RATE = 8000
TINY = {name: architecture(name).VARIANTS["tiny"] for name in list_models()}
CUT = [name for name, size in TINY.items() if size.task == "separation"]


def separator(grid, overlap):
    return BlockSeparator(
        System(
            function=lambda block: block[:, None], sources=("all",), sample_rate=RATE, channels=1,
            grid=grid,
        ),
        overlap=overlap,
    )  # fmt: skip


@pytest.mark.parametrize("name", CUT)
def test_overlap_widens_the_blocks_of_every_model_or_a_note_says_why_not(name):
    grid = TINY[name].grid()
    wider = separator(grid, 0.5)
    assert grid.context <= (TINY[name].context_samples() is not None)
    if grid.context or grid.overlap >= grid.samples // 2:
        assert wider.grid is grid
        assert "changes nothing" in wider.notes[0]
    else:
        assert wider.grid.overlap > max(grid.overlap, 0.45 * grid.samples)
        assert wider.notes == []
    assert separator(grid, 0.0).notes == []


def test_the_note_says_what_the_blocks_have_already():
    assert separator(BlockGrid.with_context(300, 20, 20), 0.25).notes == [
        "overlap 0.25 changes nothing: the model's blocks carry their context, and joined they "
        "equal the whole"
    ]
    assert separator(BlockGrid(400, 200), 0.25).notes == [
        "overlap 0.25 changes nothing: the model's own blocks share 50% already"
    ]


def test_blocks_of_spectrograms_move_by_whole_frames():
    assert unet.VARIANTS["spleeter"].grid().with_overlap(0.25).hop == 387 * 1024
    grid = cunet.VARIANTS["tiny"].grid()
    assert grid.step > 1
    assert grid.with_overlap(0.25).hop % grid.step == 0


def test_overlap_changes_a_separated_recording_and_keeps_its_length_and_its_sum(
    tiny_preset, tmp_path, rng, monkeypatch
):
    preset = tiny_preset(tmp_path / "tiny")
    monkeypatch.setattr(tensorflow, "system", once(tensorflow.system))  # the overlap is none of it
    waveform = (0.1 * rng.standard_normal((40_000, 2))).astype(np.float32)
    # Masks that sum to one above the network's bins too, so that the stems sum to the mixture.
    full_band = {"mask_extension": "average"}
    alone = api.Separator.from_preset(preset, **full_band)
    fading = api.Separator.from_preset(preset, overlap=0.25, **full_band)
    assert len(waveform) > 2 * alone.grid.samples
    plain, faded = (made.separate(waveform, RATE) for made in (alone, fading))
    for name in plain:
        assert faded[name].shape == waveform.shape
        difference = np.sqrt(np.mean((faded[name] - plain[name]) ** 2))
        assert 1e-5 < difference < 0.05
    np.testing.assert_allclose(sum(plain.values()), waveform, atol=1e-5)
    np.testing.assert_allclose(sum(faded.values()), waveform, atol=1e-5)


def test_evaluate_says_that_overlap_changes_nothing(monkeypatch):
    said = []
    carrying = BlockGrid.with_context(4000, 500, 500)
    monkeypatch.setattr(
        api.Separator, "from_preset", lambda name, *, engine, overlap: separator(carrying, overlap)
    )
    (system,) = evaluation_systems(["unet_2stems_mobile"], {"overlap": 0.25}, say=said.append)
    for _ in range(2):
        system.separate(np.zeros((10, 1), np.float32), RATE)
    (line,) = said
    assert "overlap 0.25 changes nothing" in line
