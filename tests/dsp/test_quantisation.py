"""Quantisation: the references' codes, and amplitudes that come back within half a step."""

import numpy as np
import pytest

from kzoo.dsp import quantisation
from kzoo.dsp.quantisation import (
    linear_amplitudes,
    linear_codes,
    mu_law_amplitudes,
    mu_law_codes,
    sequence_codes,
)


def test_mu_law_has_the_codes_of_both_references(vectors):
    vector = vectors("mulaw_masks")
    np.testing.assert_array_equal(mu_law_codes(vector["x"]), vector["quantised_round"])
    truncated = mu_law_codes(vector["x"], rounding="down")
    np.testing.assert_array_equal(truncated, vector["quantised_trunc"].astype(np.int32))


def test_wavenets_codes_and_amplitudes_are_those_of_ibab(vectors):
    vector = vectors("wavenet_ibab_plain")
    np.testing.assert_array_equal(mu_law_codes(vector["audio"]), vector["encoded"])
    np.testing.assert_allclose(mu_law_amplitudes(vector["encoded"]), vector["decoded"], atol=1e-6)


@pytest.mark.parametrize("levels", [2, 16, 255, 256, 65536])
def test_codes_come_back_from_the_amplitudes_they_stand_for(levels):
    codes = np.arange(levels)
    np.testing.assert_array_equal(mu_law_codes(mu_law_amplitudes(codes, levels), levels), codes)
    if levels % 2 == 0:
        found = linear_codes(linear_amplitudes(codes, levels), levels)
        np.testing.assert_array_equal(found, codes)


def test_amplitudes_come_back_within_a_step():
    x = np.linspace(-1, 1, 10_001)
    assert np.abs(linear_amplitudes(linear_codes(x)) - x).max() <= 2 / 256 + 1e-6
    assert np.abs(mu_law_amplitudes(mu_law_codes(x)) - x).max() < np.log(256) / 256  # at full scale
    quiet = np.linspace(-0.002, 0.002, 101)
    assert np.abs(mu_law_amplitudes(mu_law_codes(quiet)) - quiet).max() < 2e-4


def test_what_is_beyond_full_scale_is_full_scale():
    np.testing.assert_array_equal(mu_law_codes([-7.0, 7.0]), [0, 255])
    np.testing.assert_array_equal(linear_codes([-7.0, 7.0]), [0, 255])


def test_a_sequence_fills_the_codes_whatever_its_level():
    x = np.random.default_rng(0).uniform(-1, 1, (2, 1000))
    codes = sequence_codes(x * [[1e-3], [5.0]] + 0.3)
    np.testing.assert_array_equal(codes.min(axis=-1), [0, 0])
    np.testing.assert_array_equal(codes.max(axis=-1), [255, 255])
    # Computed as SampleRNN's `linear_quantize` does it, for one sequence.
    one = x[0] - x[0].min()
    one = (one / one.max()) * (256 - 0.01) + 0.01 / 2
    np.testing.assert_array_equal(sequence_codes(x)[0], one.astype(np.int32))
    np.testing.assert_array_equal(sequence_codes(np.zeros(3)), [128, 128, 128])
    assert linear_amplitudes(128) == 0


def test_what_is_no_quantisation_is_refused():
    for function in (mu_law_codes, mu_law_amplitudes, linear_codes, sequence_codes):
        with pytest.raises(ValueError, match="levels must be 2 or more; got 1"):
            function(np.zeros(3), 1)
    with pytest.raises(ValueError, match="one of nearest, down; got 'up'"):
        quantisation.mu_law_codes(0.0, rounding="up")
