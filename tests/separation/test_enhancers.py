"""The enhancer that ships: however far a recording is turned up, and however silent it is."""

import numpy as np

from kzoo import Separator, presets

RATE = 16000


def test_a_recordings_level_changes_nothing_but_its_estimates_level(rng):
    separator = Separator.from_preset(presets.opening.BUNDLED_ENHANCER)
    seconds = np.arange(RATE) / RATE
    voice = np.sin(2 * np.pi * 200 * seconds) * (np.sin(2 * np.pi * 3 * seconds) > 0)
    noisy = (0.1 * voice + 0.01 * rng.standard_normal(RATE)).astype(np.float32)
    expected = separator.separate(noisy, RATE)["speech"]
    for gain in (0.01, 3.0):
        error = separator.separate(np.float32(gain * noisy), RATE)["speech"] / gain - expected
        assert np.sum(error**2) < 1e-6 * np.sum(expected**2)
    for stem in separator.separate(np.zeros(RATE, np.float32), RATE).values():
        assert not np.any(stem)


def test_a_card_says_how_much_its_blocks_share_unless_the_caller_does(tiny_preset, tmp_path):
    preset = tiny_preset(tmp_path / "sharing", overlap=0.25)
    samples = Separator.from_preset(tiny_preset(tmp_path / "own")).grid.samples
    assert Separator.from_preset(preset).grid.overlap > 0.2 * samples
    assert Separator.from_preset(preset, overlap=0.1).grid.overlap < 0.15 * samples
