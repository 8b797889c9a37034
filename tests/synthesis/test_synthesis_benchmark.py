"""benchmarks/synthesis.py: what it measures, on sounds of which everything is known."""

import runpy
from pathlib import Path

import numpy as np
import pytest

ROOT = Path(__file__).parents[2]
RATE, HOP = 16000, 64


@pytest.fixture(scope="module")
def benchmark():
    return runpy.run_path(str(ROOT / "benchmarks" / "synthesis.py"))


@pytest.fixture
def tone(rng):
    """A second of vibrato of two harmonics, and noise."""
    n = np.arange(RATE)
    f0_hz = 300 * (1 + 0.01 * np.sin(2 * np.pi * 5 * n / RATE))
    phase = 2 * np.pi * np.cumsum(f0_hz) / RATE
    wave = 0.3 * np.sin(phase) + 0.05 * np.sin(4 * phase) + 0.02 * rng.uniform(-1, 1, RATE)
    return {"waveform": wave.astype(np.float32), "f0_hz": f0_hz[::HOP].astype(np.float32),
            "confidence": np.ones(RATE // HOP), "loudness_db": np.zeros(RATE // HOP)}  # fmt: skip


def test_harmonics_and_noise_are_measured(benchmark, tone):
    amplitudes, noise = benchmark["copied"](
        tone["waveform"], tone["f0_hz"], np.arange(250) < 200, rate=RATE, hop_length=HOP,
        harmonics=8, bands=65,
    )  # fmt: skip
    inside = amplitudes[10:180].mean(axis=0)
    np.testing.assert_allclose(inside[[0, 3]], [0.3, 0.05], rtol=0.02)
    assert inside[[1, 2, 4, 5]].max() < 0.003
    assert np.sqrt(np.mean(noise[10:180, 20:] ** 2)) == pytest.approx(0.02, rel=0.05)
    assert amplitudes[200:].max() == 0
    assert noise[215:240, 2:4].max() > 0.3  # where nothing has a pitch all is noise


def test_a_copy_is_near_and_a_wrong_note_is_seen(benchmark, tone):
    size = {"rate": RATE, "hop_length": HOP}
    copy = benchmark["copy_synthesis"](tone, **size, harmonics=8, bands=65)
    assert len(copy) == RATE

    def follow(sound, rate):
        return np.append(tone["f0_hz"], 300.0) * 2 ** (1 / 24), np.r_[np.ones(200), np.zeros(51)]

    spectral, floored, level, pitch, lost = benchmark["scores"](tone, copy, **size, follow=follow)
    assert 0 < floored <= spectral < 10
    assert level < 1.0
    assert pitch == pytest.approx(0.5, abs=1e-4)
    assert lost == pytest.approx(0.2)
    quiet = benchmark["scores"](tone, 0.5 * copy, **size, follow=follow)
    assert quiet[0] > spectral
    assert quiet[2] == pytest.approx(6.0, abs=1.0)
