"""Steps that change pitch, tempo or formants: each of these, and nothing else."""

from types import SimpleNamespace

import numpy as np
import pytest
from scipy.linalg import solve_toeplitz
from scipy.signal import lfilter

from kzoo import audio, data

RATE = 16000


def examples(*sources, rate=RATE):
    names = [f"source_{n}" for n in range(len(sources))]
    return SimpleNamespace(corpus=SimpleNamespace(sources=names, sample_rate=rate))


def changed(step, *sources, seed=0, rate=RATE):
    """What a step makes of sources `[samples]` or `[samples, channels]`."""
    arrays = [np.atleast_2d(np.asarray(s, np.float32).T).T for s in sources]
    rng = np.random.default_rng(seed)
    return step({"sources": np.stack(arrays)}, rng, examples(*sources, rate=rate))["sources"]


def tone(f0_hz, seconds=1.0, rate=RATE):
    t = np.arange(round(seconds * rate)) / rate
    return 0.1 * sum(np.sin(2 * np.pi * h * f0_hz * t) / h for h in range(1, 8))


def f0_hz(waveform, near_hz, rate=RATE):
    """The frequency of the strongest partial near to what is expected, of the middle."""
    middle = waveform[len(waveform) // 8 : -len(waveform) // 8]
    spectrum = np.abs(np.fft.rfft(middle * np.hanning(len(middle)), 1 << 20))
    grid = np.arange(len(spectrum)) * rate / (1 << 20)
    spectrum[np.abs(np.log2(grid.clip(1) / near_hz)) > 0.5] = 0
    return grid[spectrum.argmax()]


def vowel(f0, formants, rate=RATE):
    """Pulses through two-pole resonators, 80 Hz wide."""
    wave = np.zeros(rate)
    wave[(np.arange(0, rate, rate / f0)).astype(int)] = 1.0
    radius = np.exp(-np.pi * 80 / rate)
    for f in formants:
        wave = lfilter([1.0], [1, -2 * radius * np.cos(2 * np.pi * f / rate), radius**2], wave)
    return 0.1 * wave / np.abs(wave).max()


def formants_of(waveform):
    """The three lowest resonances below 4 kHz by linear prediction, apart from `kzoo`."""
    low = audio.resample(waveform[:, None], RATE, 8000)[1600:-1600, 0].astype(float)
    low *= np.hanning(len(low))
    correlation = np.correlate(low, low, "full")[len(low) - 1 :][:9]
    roots = np.roots([1, *-solve_toeplitz(correlation[:-1], correlation[1:])])
    roots = roots[(roots.imag > 0) & (np.abs(roots) > 0.85)]
    return np.sort(np.angle(roots) * 8000 / 2 / np.pi)[:3]


@pytest.mark.parametrize("semitones", [-3.0, 1.0, 4.0])
@pytest.mark.parametrize("keep_formants", [False, True])
def test_pitch_moves_f0_by_its_interval_within_five_cents(semitones, keep_formants):
    step = data.step("pitch", low=semitones, high=semitones, keep_formants=keep_formants)
    (higher,) = changed(step, tone(220.0))
    assert higher.shape == (RATE, 1)
    expected = 220.0 * 2 ** (semitones / 12)
    assert abs(1200 * np.log2(f0_hz(higher[:, 0], expected) / expected)) < 5


def test_a_transposed_voice_keeps_its_formants_where_that_is_asked_for():
    wave = vowel(110.0, [600, 1300, 2500])
    for keep, factor in ((True, 1.0), (False, 2 ** (3 / 12))):
        step = data.step("pitch", low=3.0, high=3.0, keep_formants=keep)
        ratio = formants_of(changed(step, wave)[0][:, 0]) / formants_of(wave)
        np.testing.assert_allclose(ratio, factor, rtol=0.04)


@pytest.mark.parametrize("tempo", [0.8, 1.25])
def test_stretch_keeps_f0_and_moves_onsets(tempo):
    step = data.step("stretch", low=tempo, high=tempo)
    clicks = np.zeros(2 * RATE)
    clicks[[4000, 9000, 16000]] = 1.0
    even, onsets = changed(step, tone(220.0, 2.0), clicks)
    assert abs(1200 * np.log2(f0_hz(even[: RATE + 8000, 0], 220.0) / 220.0)) < 2
    for at in (4000, 9000, 16000):
        place = round(at / tempo)
        energy = onsets[place - 800 : place + 800, 0] ** 2
        centre = (np.arange(1600) * energy).sum() / energy.sum() - 800
        assert abs(centre) < 0.001 * RATE
        assert energy.max() > 0.9  # as sharp as before


@pytest.mark.parametrize("factor", [0.87, 1.15])
def test_envelope_moves_formants_and_keeps_f0(factor):
    wave = vowel(110.0, [600, 1300, 2500])
    (moved,) = changed(data.step("envelope", low=factor, high=factor), wave)
    np.testing.assert_allclose(formants_of(moved[:, 0]) / formants_of(wave), factor, rtol=0.04)
    assert abs(1200 * np.log2(f0_hz(moved[:, 0], 110.0) / 110.0)) < 2
    level = 10 * np.log10(np.mean(moved**2) / np.mean(wave**2))
    assert abs(level) < 0.01


def test_examples_that_are_stretched_are_drawn_longer_and_have_no_silence_at_the_end():
    corpus = data.open_corpus("synthetic", tracks=2, seconds=4.0, sample_rate=8000, channels=1)
    step = data.step("stretch", low=1.5, high=1.5)
    drawn = data.Examples(corpus, samples=8000, steps=[step])
    assert drawn.drawn_samples == 12000
    for index in range(4):
        example = drawn.example(index)
        assert example["sources"].shape == (4, 8000, 1)
        assert example["mixture"].shape == (8000, 1)
        assert np.abs(example["mixture"][-400:]).max() > 1e-3
    plain = data.Examples(corpus, samples=12000).example(0)["sources"]
    expected = step({"sources": plain}, np.random.default_rng(0), drawn)["sources"][:, :8000]
    np.testing.assert_array_equal(drawn.example(0)["sources"], expected)


@pytest.mark.parametrize("name", ["pitch", "stretch", "envelope"])
def test_channels_keep_their_directions(name):
    wave = tone(220.0)
    step = data.step(name, probability=1.0)
    for right in (-0.5, 1.0, 0.0):
        (both,) = changed(step, np.stack([wave, right * wave], axis=1))
        np.testing.assert_allclose(both[:, 1], right * both[:, 0], atol=1e-5)
        assert np.abs(both).max() > 0.01
    (alone,) = changed(step, wave)
    (both,) = changed(step, np.stack([wave, -wave], axis=1))
    np.testing.assert_allclose(both[:, :1], alone, atol=1e-3 * np.abs(alone).max())
