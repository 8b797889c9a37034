"""Predictors beside which a generator's bits a sample stand: their chances are chances."""

import numpy as np
from scipy.signal import lfilter

from benchmarks.next_sample import linear_bits, predictor, unigram_bits
from kzoo.dsp.quantisation import amplitudes_of, codes_of


def resonance(samples):
    """(waveform, the two coefficients that it comes from)."""
    taps = np.array([1.8, -0.9])
    noise = np.random.default_rng(0).laplace(0, 0.01, samples)
    return lfilter([1.0], np.r_[1.0, -taps], noise), taps


def test_the_linear_predictor_finds_what_a_sound_comes_from():
    waveform, taps = resonance(20_000)
    np.testing.assert_allclose(predictor([waveform[:9000], waveform[9000:]], 2), taps, atol=0.02)


def test_the_chances_of_all_codes_are_one_together_and_its_own_is_likely():
    waveform, taps = resonance(4000)
    edges = np.float64(amplitudes_of(np.arange(15) + 0.5, 16, "mu_law"))
    each = [
        linear_bits(taps, waveform, np.full(len(waveform), code), edges, 0.97, 1.0)
        for code in range(16)
    ]
    np.testing.assert_allclose(np.sum(2.0 ** -np.array(each), axis=0), 1.0, atol=1e-9)
    codes = codes_of(waveform, 16, "mu_law")
    found = linear_bits(taps, waveform, codes, edges, 0.97, 1.0)
    assert found.shape == (3998,)
    assert found.mean() < 0.6 * unigram_bits(codes, codes, 16)
