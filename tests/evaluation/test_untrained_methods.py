"""Methods without training, and what knows no names, as systems of an evaluation."""

import functools

import numpy as np
import pytest
import soundfile

from kzoo import evaluation
from kzoo.api.systems import evaluation_systems
from kzoo.evaluation import Separation, scoring
from kzoo.evaluation.measures import what_to_score

RATE = 8000  # Ogg, in which the page keeps its sound, takes no less


@pytest.fixture
def corpus(tmp_path, rng, monkeypatch):
    """Two tracks of two instruments at two microphones; few taps, for speed."""
    monkeypatch.setattr(scoring, "bss_eval", functools.partial(scoring.bss_eval, filters_len=8))
    for track in ("a", "b"):
        (tmp_path / "songs" / track).mkdir(parents=True)
        for name, gains in (("vocals", (1.0, 0.3)), ("accompaniment", (-0.4, 0.9))):
            sound = 0.05 * rng.laplace(size=(3 * RATE, 1)) * np.array([gains])
            soundfile.write(tmp_path / "songs" / track / f"{name}.wav", sound, RATE, "FLOAT")
    return tmp_path / "songs"


def test_methods_are_scored_beside_baselines_and_resumed(corpus, tmp_path, monkeypatch):
    systems = evaluation_systems(["repet_sim", "auxiva:iterations=10"], {})
    assert [system.name for system in systems] == ["repet_sim", "auxiva_iterations=10"]
    sources, speech = what_to_score(corpus, systems)
    assert (sources, speech) == (("vocals", "accompaniment"), None)
    arguments = {
        "sources": sources,
        "baselines": ["mixture", "cirm", "irm"],
        "out": tmp_path / "out",
    }
    report = evaluation.evaluate(corpus, systems, **arguments)
    assert not report.failures
    sdr = {name: report.scores(name, "vocals")["SDR"] for name in ("mixture", "irm", "cirm")}
    assert sdr["cirm"] > sdr["irm"] + 1 > sdr["mixture"]
    assert report.scores("auxiva_iterations=10", "vocals")["SDR"] > sdr["mixture"] + 5
    monkeypatch.setattr(Separation, "stored", None)  # nothing is separated again
    assert evaluation.evaluate(corpus, systems, **arguments).averages == report.averages


def test_a_blind_method_alone_is_scored_and_heard_on_the_stems_of_the_corpus(corpus, tmp_path):
    (system,) = evaluation_systems(["auxiva:iterations=2"], {})
    sources, _ = what_to_score(corpus, [system])
    assert sorted(sources) == ["accompaniment", "vocals"]
    report = evaluation.evaluate(
        corpus, [system], sources=["vocals"], baselines=[], out=tmp_path / "out", page=True
    )
    assert not report.failures
    assert "vocals of auxiva" in (tmp_path / "out" / "report.html").read_text("utf-8")


def test_a_method_of_too_few_sources_fails_by_track(corpus, rng):
    sound = 0.1 * rng.standard_normal((3 * RATE, 2))
    soundfile.write(corpus / "a" / "drums.wav", sound, RATE, "FLOAT")
    systems = evaluation_systems(["auxiva:iterations=2"], {})
    sources = ["vocals", "accompaniment", "drums"]
    report = evaluation.evaluate(corpus, systems, sources=sources, baselines=[])
    assert [failure.reason for failure in report.failures] == [
        "auxiva_iterations=2: gives 2 sources, and 3 are scored"
    ]


@pytest.mark.parametrize("name", [[], "{songs}", "mixture", "repet", "repet+repet_sim", "pyin"])
@pytest.mark.parametrize("option", [{"shifts": 2}, {"overlap": 0.5}, {"mwf": True}], ids=str)
def test_options_of_presets_are_refused_where_no_system_is_one(name, option, tmp_path):
    names = [name.format(songs=tmp_path)] if name else []
    with pytest.raises(ValueError, match="is of presets and run folders that separate") as error:
        evaluation_systems(names, {"overlap": 0.0, "mwf": False, **option})
    assert str(error.value).startswith(f"{next(iter(option))} is of")
    assert len(evaluation_systems(names, {"overlap": 0.0, "mwf": False})) == len(names)


def test_a_preset_beside_or_within_others_takes_its_options():
    preset = "unet_2stems_mobile"
    for names in (["mixture", preset], [f"repet+{preset}"], [f"mine={preset}", "repet"]):
        assert len(evaluation_systems(names, {"overlap": 0.5})) == len(names)


def test_a_name_that_is_nothing_is_told_what_there_is():
    with pytest.raises(ValueError, match="nor is it a folder of estimates or a method"):
        evaluation_systems(["no_such_system"], {})
