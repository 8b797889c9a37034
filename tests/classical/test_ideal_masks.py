"""Ideal masks against the recorded values, a direct formula, and what they must preserve."""

import numpy as np
import pytest
from scipy.signal import ShortTimeFFT
from scipy.signal.windows import hann

from kzoo.classical.masks import KINDS, ideal_complex_masks, ideal_masks, oracle

SMALL = {"n_fft": 256, "hop_length": 64}


@pytest.fixture
def sound(rng):
    """A gliding tone on the left, a hum on the right, noise on both; and their sum."""
    t = np.arange(3000) / 8000
    references = {
        "tone": np.stack([np.sin(2 * np.pi * (500 + 400 * t) * t), 0 * t], axis=1),
        "hum": np.stack([0 * t, 0.5 * np.sin(2 * np.pi * 100 * t)], axis=1),
        "noise": 0.1 * rng.standard_normal((3000, 2)),
    }
    return references, sum(references.values())


def snr_db(reference, estimate):
    return 10 * np.log10(np.sum(reference**2) / np.sum((reference - estimate) ** 2))


@pytest.mark.parametrize("kind", KINDS)
def test_masks_equal_the_recorded_ones(vectors, kind):
    recorded = vectors("mulaw_masks")
    np.testing.assert_allclose(ideal_masks(kind, recorded["s"]), recorded[kind], rtol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_masks_sum_to_one_even_in_silence_and_on_ties(kind):
    magnitudes = np.array([[0.0, 1.0, 2.0], [0.0, 1.0, 0.0], [0.0, 1.0, 1e-300]])
    np.testing.assert_allclose(ideal_masks(kind, magnitudes).sum(axis=0), 1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [1, 63, 64, 255, 256, 257, 3000])
def test_estimates_sum_to_the_mixture_at_any_length(sound, kind, samples):
    references, mixture = sound
    references = {name: signal[:samples] for name, signal in references.items()}
    mixture = mixture[:samples] + 0.25  # what no reference explains is shared out as well
    estimates = oracle(kind, references, mixture, **SMALL)
    assert all(estimate.shape == mixture.shape for estimate in estimates.values())
    np.testing.assert_allclose(sum(estimates.values()), mixture, atol=1e-12)


@pytest.mark.parametrize("kind", KINDS)
def test_oracle_in_stretches_equals_the_masks_on_one_transform_of_it_all(sound, kind, monkeypatch):
    monkeypatch.setattr("kzoo.classical.masks._FRAMES", 7)
    references, mixture = sound
    transform = ShortTimeFFT(hann(256, sym=False), 64, 8000)
    spectra = {name: transform.stft(signal, axis=0) for name, signal in references.items()}
    masks = ideal_masks(kind, np.abs(np.stack(list(spectra.values()))))
    found = oracle(kind, references, mixture, **SMALL)
    for name, mask in zip(references, masks, strict=True):
        spectrum = mask * transform.stft(mixture, axis=0)
        expected = transform.istft(spectrum, k1=len(mixture), f_axis=0, t_axis=-1)
        np.testing.assert_allclose(found[name], expected, atol=1e-12)


def test_a_complex_mask_gives_the_references_back_where_it_may_be_loud_enough(rng):
    spectra = rng.standard_normal((2, 5, 7)) + 1j * rng.standard_normal((2, 5, 7))
    mixture = spectra.sum(axis=0)
    mixture[0, 0] = 0
    masks = ideal_complex_masks(spectra, mixture, limit=1e6)
    np.testing.assert_allclose(masks[:, 1:] * mixture[1:], spectra[:, 1:], rtol=1e-12)
    assert not masks[:, 0, 0].any()
    limited = ideal_complex_masks(spectra, mixture)
    assert np.abs(limited).max() <= 1 + 1e-12
    np.testing.assert_allclose(np.angle(limited[:, 1:]), np.angle(masks[:, 1:]), atol=1e-12)


def test_a_complex_mask_is_better_than_any_of_magnitudes(sound):
    references, mixture = sound
    best = oracle("cirm", references, mixture, **SMALL)
    for kind in KINDS:
        estimates = oracle(kind, references, mixture, **SMALL)
        for name, reference in references.items():
            assert snr_db(reference, best[name]) > snr_db(reference, estimates[name]) + 1


@pytest.mark.parametrize("kind", KINDS)
def test_every_source_is_nearer_its_reference_than_the_mixture_was(sound, kind):
    references, mixture = sound
    for name, estimate in oracle(kind, references, mixture, **SMALL).items():
        assert snr_db(references[name], estimate) > snr_db(references[name], mixture) + 6


def test_sources_that_never_meet_in_a_bin_are_recovered():
    t = np.arange(4000) / 8000
    references = {"low": np.sin(2 * np.pi * 250 * t), "high": np.sin(2 * np.pi * 2500 * t)}
    estimates = oracle("ibm", references, references["low"] + references["high"], **SMALL)
    for name, reference in references.items():
        assert snr_db(reference[256:-256], estimates[name][256:-256]) > 60


def test_float32_in_gives_float32_out(sound):
    references, mixture = sound
    references = {name: signal.astype("float32") for name, signal in references.items()}
    estimates = oracle("irm", references, mixture.astype("float32"), **SMALL)
    assert {estimate.dtype for estimate in estimates.values()} == {np.dtype("float32")}
    np.testing.assert_allclose(sum(estimates.values()), mixture, atol=1e-5)


def test_a_hop_that_does_not_divide_the_window_loses_nothing(sound):
    references, mixture = sound
    estimates = oracle("wfm", references, mixture, n_fft=250, hop_length=73)
    np.testing.assert_allclose(sum(estimates.values()), mixture, atol=1e-12)


def test_mistakes_are_named(sound):
    references, mixture = sound
    with pytest.raises(ValueError, match="did you mean 'irm'"):
        oracle("irn", references, mixture)
    with pytest.raises(ValueError, match="tone must be shaped as the mixture"):
        oracle("irm", references, mixture[:-1])
    with pytest.raises(ValueError, match="at most half of n_fft"):
        oracle("irm", references, mixture, n_fft=256, hop_length=200)
    with pytest.raises(ValueError, match="at least one reference"):
        oracle("irm", {}, mixture)
