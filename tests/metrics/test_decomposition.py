"""An estimate taken apart: the parts against BSS Eval's recorded ratios, and by construction."""

import math

import numpy as np
import pytest
from scipy.signal import lfilter

from kzoo import metrics


@pytest.fixture
def scene(rng):
    """Three sources and a microphone's noise, `[samples, channels]` of two channels each."""
    return rng.standard_normal((3, 4000, 2)), 0.5 * rng.standard_normal((4000, 2))


def total(parts):
    return parts.target + parts.interference + parts.noise + parts.artefacts


def test_ratios_are_those_of_mir_eval(vectors):
    data = vectors("bss_eval")
    for source in range(2):
        parts = metrics.decompose(data["ref"], data["est"][source], source=source)
        for name in ("sdr", "sir", "sar"):
            expected = data[f"mir_eval_sources/{name}"][source]
            assert getattr(parts.ratios, name) == pytest.approx(expected, abs=1e-6)
        assert parts.ratios.snr == math.inf
        np.testing.assert_allclose(total(parts), data["est"][source], atol=1e-12)


def test_images_have_bss_eval_s_sir_and_sar(scene, rng):
    sources, _ = scene
    estimates = sources + 0.1 * sources[::-1] + 0.1 * rng.standard_normal(sources.shape)
    expected = metrics.bss_eval(sources, estimates, window=None, filters_len=16)
    for source in range(3):
        parts = metrics.decompose(sources, estimates[source], source=source, taps=16)
        assert parts.ratios.sir == pytest.approx(expected.sir[source, 0], abs=1e-6)
        assert parts.ratios.sar == pytest.approx(expected.sar[source, 0], abs=1e-6)


def test_what_was_mixed_is_taken_apart(scene, rng):
    sources, noise = scene
    target = lfilter([0.7, 0, 0.2], 1, sources[1], axis=0)
    interference = 0.2 * sources[0] - 0.1 * lfilter([0, 1], 1, sources[2], axis=0)
    artefacts = 0.01 * rng.standard_normal(target.shape)
    parts = metrics.decompose(
        sources, target + interference + 0.3 * noise + artefacts, source=1, noise=noise, taps=4
    )
    for name, truth in (("target", target), ("interference", interference), ("noise", 0.3 * noise)):
        error = np.sum((getattr(parts, name) - truth) ** 2) / np.sum(truth**2)
        assert error < 0.05, name  # noises of 4000 samples correlate a little
    assert np.sum(parts.artefacts**2) == pytest.approx(np.sum(artefacts**2), rel=0.05)


def test_gains_alone_are_the_scale_invariant_ratios(rng):
    sources = rng.standard_normal((2, 3000))
    estimate = 0.8 * sources[0] + 0.1 * sources[1] + 0.05 * rng.standard_normal(3000)
    parts = metrics.decompose(sources, estimate, taps=1)
    ratios = metrics.scale_invariant(sources, np.stack([estimate, estimate]))
    assert parts.target.shape == (3000,)
    assert parts.ratios.sdr == pytest.approx(ratios.sdr[0], abs=1e-9)
    assert parts.ratios.sir == pytest.approx(ratios.sir[0], abs=1e-9)
    assert parts.ratios.sar > ratios.sar[0]  # BSS Eval's has the interference above the line, too


def test_parts_sum_up_where_the_system_is_singular_and_where_blocks_meet(scene, monkeypatch):
    sources, noise = scene
    monkeypatch.setattr(metrics.decomposition, "_BLOCK", 700)
    both = sources[:, :, :1].repeat(2, axis=2)  # the same on both channels
    estimate = both[0] + 0.1 * both[1] + 0.01 * noise
    parts = metrics.decompose(both, estimate, taps=8)
    np.testing.assert_allclose(total(parts), estimate, atol=1e-12)
    assert parts.ratios.sir == pytest.approx(20, abs=1)
    mono = metrics.decompose(both[:, :, 0], estimate[:, 0], taps=8)
    assert parts.ratios.sir == pytest.approx(mono.ratios.sir, abs=0.3)


def test_silence_is_no_part_of_anything(scene):
    sources, noise = scene
    sources[2] = 0
    parts = metrics.decompose(sources, np.zeros_like(noise), noise=0 * noise, taps=4)
    assert not total(parts).any()
    assert all(math.isnan(ratio) for ratio in parts.ratios)
    alone = metrics.decompose(sources[:1], sources[0], taps=4)
    assert alone.ratios.sir == alone.ratios.snr == math.inf


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda s, n: ((s, s[0, 1:]), {}), r"references must be .*got \(3, 4000, 2\)"),
        (lambda s, n: ((s, s[0]), {"noise": n[:9]}), "noise must be"),
        (lambda s, n: ((s, s[0]), {"source": 3}), "one of 3 references; got 3"),
        (lambda s, n: ((s, s[0]), {"taps": 0}), "taps must be 1 or more; got 0"),
        (lambda s, n: ((0 * s, s[0]), {}), r"references\[0\] is silent"),
        (lambda s, n: ((s, s[0] * np.nan), {}), "NaN"),
    ],
)
def test_what_cannot_be_taken_apart_is_named(scene, spoil, message):
    given, options = spoil(*scene)
    with pytest.raises(ValueError, match=message):
        metrics.decompose(*given, **options)
