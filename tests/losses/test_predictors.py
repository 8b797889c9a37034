"""`log_likelihood_ratio` against the measure of Loizou's book, which has its own float64 code."""

import numpy as np
import pytest
import scipy.signal

from kzoo import losses, metrics


def voice(seed, resonance_hz):
    """A second of noise with one resonance, `[1, 1, samples, 1]`."""
    pole = 0.9 * np.exp(2j * np.pi * resonance_hz / 16000)
    noise = np.random.default_rng(seed).standard_normal(16000)
    return scipy.signal.lfilter([0.1], np.poly([pole, pole.conjugate()]), noise)[
        None, None, :, None
    ]


@pytest.mark.parametrize("resonance_hz", [800.0, 3000.0])
def test_it_is_the_log_likelihood_ratio_of_the_metrics(resonance_hz):
    target, estimate = voice(0, 700.0), voice(1, resonance_hz)
    (found,) = losses.get("log_likelihood_ratio")(target, estimate)
    # The metric leaves the worst frames out, and its frames are somewhat shorter.
    assert float(found) == pytest.approx(
        metrics.llr(target.ravel(), estimate.ravel(), 16000), rel=0.1
    )


def test_the_level_counts_for_nothing_and_the_same_envelope_for_zero():
    target = voice(0, 700.0)
    loss = losses.get("log_likelihood_ratio")
    np.testing.assert_allclose(loss(target, target), [0.0], atol=1e-6)
    np.testing.assert_allclose(loss(target, 3.0 * target), [0.0], atol=1e-4)


def test_silence_has_a_flat_envelope():
    nothing = np.zeros((1, 1, 2048, 1))
    np.testing.assert_allclose(losses.log_likelihood_ratio(nothing, nothing), [0.0], atol=1e-6)
    assert np.isfinite(losses.log_likelihood_ratio(voice(0, 700.0), np.zeros((1, 1, 16000, 1))))
