"""How far an artefact is from Keras, in decibels."""

import numpy as np
import pytest

from kzoo.deploy import parity


def test_parity_is_a_signal_to_noise_ratio_with_a_floor_under_the_inaudible():
    rng = np.random.default_rng(0)
    stem, mixture = rng.normal(size=(100, 2)), rng.normal(size=(100, 2))
    error = rng.normal(size=(100, 2))
    error *= 1e-4 * np.linalg.norm(stem) / np.linalg.norm(error)
    found = parity.compare({"a": stem}, {"a": stem + error}, mixture)["a"]
    assert found.snr_db == pytest.approx(80)
    assert found.max_abs == pytest.approx(np.abs(error).max())

    silence = np.zeros((100, 2))
    assert parity.compare({"a": silence}, {"a": silence}, silence)["a"].snr_db == float("inf")
    error *= 1e-8 * np.linalg.norm(mixture) / np.linalg.norm(error)
    assert parity.compare({"a": silence}, {"a": error}, mixture)["a"].snr_db == pytest.approx(100)
    assert parity.compare({"a": silence}, {"a": error}, silence)["a"].snr_db == float("-inf")


def test_what_is_not_a_number_is_under_every_limit():
    stem = np.ones((10, 1))
    found = parity.compare({"a": stem}, {"a": stem * np.nan}, stem)
    with pytest.raises(parity.ParityError, match="a nan dB"):
        parity.check(found, -1000)
