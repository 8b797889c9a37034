"""PEASS: what the package is asked, what is refused before, and its recorded scores."""

import sys
import types
from pathlib import Path

import numpy as np
import pytest

from kzoo import metrics

RATE = 16000


@pytest.fixture
def stand_in(monkeypatch):
    """A package of this name that remembers what it was asked, and litters as the real one does."""
    asked = []

    def predict(originals, estimate, configuration, sampling_frequency_hz):
        folder = Path(configuration.destination_directory)
        (folder / "estimate_target.wav").write_bytes(b"")
        print("computing")
        asked.append((originals, estimate, sampling_frequency_hz, folder))
        return types.SimpleNamespace(
            overall_perceptual_score=40.0,
            target_perceptual_score=50.0,
            interference_perceptual_score=60.0,
            artifact_perceptual_score=70.0,
        )

    package = types.ModuleType("peass")
    package.predict_perceptual_evaluation_scores = predict
    package.DecompositionConfiguration = types.SimpleNamespace
    monkeypatch.setitem(sys.modules, "peass", package)
    return asked


def test_the_package_is_given_the_target_first_and_a_folder_that_goes(stand_in, rng, capsys):
    sources = rng.standard_normal((3, 400, 2))
    scores = metrics.score_track(["IPS", "OPS"], sources, sources, None, RATE)
    assert {name: list(values) for name, values in scores.items()} == {
        "IPS": [60.0] * 3,
        "OPS": [40.0] * 3,
    }
    originals, estimate, rate, folder = stand_in[1]
    np.testing.assert_array_equal(originals, sources[[1, 0, 2]])
    np.testing.assert_array_equal(estimate, sources[1])
    assert rate == RATE
    assert not folder.exists()
    assert capsys.readouterr().out == ""


def test_what_peass_is_not_defined_for_is_refused(stand_in, rng):
    sources = rng.standard_normal((2, 400))
    with pytest.raises(ValueError, match="needs the other sources"):
        metrics.peass(sources[:1], sources[0], RATE)
    with pytest.raises(ValueError, match=r"got \(2, 400\) and \(399,\)"):
        metrics.peass(sources, sources[0, 1:], RATE)
    with pytest.raises(ValueError, match="silence"):
        metrics.peass(sources * [[1], [0]], sources[0], RATE)
    assert stand_in == []


def test_without_the_package_one_line_names_its_extra(monkeypatch, rng):
    monkeypatch.setitem(sys.modules, "peass", None)
    sources = rng.standard_normal((2, 400))
    with pytest.raises(ImportError, match=r"pip install 'kzoo\[peass\]'"):
        metrics.peass(sources, sources[0], RATE)


def test_the_licence_and_the_port_are_said_where_the_scores_are_defined():
    for name in ("OPS", "TPS", "IPS", "APS"):
        assert "unofficial port of PEASS 2.0.1 under the GPL-3" in metrics.MEASURES[name].definition
        assert metrics.MEASURES[name].extra == "peass"


@pytest.mark.slow
def test_the_package_s_recorded_scores_are_met(vectors, tmp_path, monkeypatch):
    pytest.importorskip("peass", reason="python-peass is optional, under the GPL-3")
    monkeypatch.chdir(tmp_path)
    data = vectors("peass")
    sources = data["sources_int16"] / 32768
    for name in ("lowpass_leak", "flawed_mask"):
        estimate = data[f"estimate_{name}_int16"] / 32768
        scores = metrics.peass(sources, estimate, RATE)
        np.testing.assert_allclose(scores, data[f"{name}_OPS_TPS_IPS_APS_64"], atol=0.5)
    assert list(tmp_path.iterdir()) == []
