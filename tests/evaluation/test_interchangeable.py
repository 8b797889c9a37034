"""Speakers are scored in the best order of each track, and the report says so."""

import json
import shutil

import numpy as np
import pytest
import soundfile

from kzoo import config
from kzoo.api.systems import evaluation_systems
from kzoo.evaluation import EstimatesFolder, Separation, evaluate
from kzoo.evaluation.scoring import best_order
from kzoo.metrics import si_sdr

RATE = 8000
SOURCES = ("speaker1", "speaker2")


@pytest.fixture
def corpus(tmp_path, rng):
    """Two tracks of two noises."""
    for name in ("one", "two"):
        folder = tmp_path / "corpus" / name
        folder.mkdir(parents=True)
        for source in SOURCES:
            sound = 0.1 * rng.standard_normal((2 * RATE, 1))
            soundfile.write(folder / f"{source}.wav", sound, RATE, subtype="FLOAT")
    return tmp_path / "corpus"


def truth(corpus, track):
    return [soundfile.read(corpus / track / f"{s}.wav", always_2d=True)[0] for s in SOURCES]


@pytest.fixture
def estimates(corpus, tmp_path, rng):
    """Good estimates, whose names are exchanged in the second track."""
    for track in ("one", "two"):
        folder = tmp_path / "estimates" / track
        folder.mkdir(parents=True)
        sounds = truth(corpus, track)[:: 1 if track == "one" else -1]
        for source, sound in zip(SOURCES, sounds, strict=True):
            noisy = sound + 0.01 * rng.standard_normal(sound.shape)
            soundfile.write(folder / f"{source}.wav", noisy, RATE, subtype="FLOAT")
    return tmp_path / "estimates"


def test_each_track_is_scored_in_its_best_order(corpus, estimates, tmp_path):
    plain = EstimatesFolder("plain", estimates)
    free = EstimatesFolder("free", estimates, interchangeable=True)
    report = evaluate(corpus, [plain, free], sources=SOURCES, out=tmp_path / "out")
    scores = {(r.system, r.track, r.source): r.scores["SI-SDR"] for r in report.tracks}
    for track in ("one", "two"):
        exchanged = track == "two"
        for k, source in enumerate(SOURCES):
            name = SOURCES[1 - k] if exchanged else source
            sound, _ = soundfile.read(estimates / track / f"{name}.wav", always_2d=True)
            expected = si_sdr(truth(corpus, track)[k].ravel(), sound.ravel())
            assert scores["free", track, source] == pytest.approx(expected, abs=1e-4)
            assert scores["free", track, source] > 15
            assert (scores["plain", track, source] < 0) == exchanged
    text = report.text()
    assert "order: free: sources in the best order of each track, by SI-SDR" in text
    document = json.loads((tmp_path / "out" / "free" / "test" / "two.json").read_text())
    assert document["kzoo"]["order"] == {"speaker1": "speaker2", "speaker2": "speaker1"}
    assert set(document["targets"][0]) == {"name", "SI-SDR", "condition", "frames"}


def test_scores_of_one_order_are_not_taken_for_those_of_the_best(corpus, estimates, tmp_path):
    for interchangeable in (False, True, False):
        system = EstimatesFolder("mine", estimates, interchangeable=interchangeable)
        report = evaluate(corpus, [system], sources=SOURCES, out=tmp_path, baselines=())
        worst = min(row.scores["SI-SDR"] for row in report.tracks)
        assert (worst > 15) == interchangeable


def test_a_separator_is_scored_in_the_best_order_in_other_processes_too(corpus):
    def separate(waveform, rate):
        return {"speaker1": 0.3 * waveform, "speaker2": waveform}

    system = Separation("half", SOURCES, separate, interchangeable=True)
    report = evaluate(corpus, [system], sources=SOURCES, baselines=(), processes=2)
    assert "order: half" in report.text()


def test_the_improvement_is_what_a_track_gains_over_its_mixture(corpus, estimates):
    system = EstimatesFolder("free", estimates, interchangeable=True)
    report = evaluate(corpus, [system], sources=SOURCES)
    scores = {(r.system, r.track, r.source): r.scores for r in report.tracks}
    gains = []
    for track in ("one", "two"):
        own, mixture = (scores[name, track, "speaker1"] for name in ("free", "mixture"))
        assert own["SI-SDRi"] == pytest.approx(own["SI-SDR"] - mixture["SI-SDR"])
        assert mixture["SI-SDRi"] == 0
        gains.append(own["SI-SDRi"])
    assert report.scores("free", "speaker1")["SI-SDRi"] == pytest.approx(np.median(gains))
    titles = next(line for line in report.text().splitlines() if line.startswith("source "))
    assert titles.split()[-2:] == ["SI-SDR", "SI-SDRi"]
    without = evaluate(corpus, [system], sources=SOURCES, baselines=("irm",))
    assert "SI-SDRi" not in without.text()


def test_the_best_order_of_three_is_found_and_silence_takes_what_is_left(rng):
    sounds = rng.standard_normal((3, 500, 1))
    names = ["a", "b", "c"]
    references = dict(zip(names, sounds, strict=True))
    estimates = {"a": sounds[2], "b": sounds[0] + 0.1, "c": sounds[1] * 3}
    assert best_order(references, estimates) == {"a": "b", "b": "c", "c": "a"}
    references["c"] = 0 * sounds[2]
    assert best_order(references, estimates) == {"a": "b", "b": "c", "c": "a"}


def test_the_card_or_the_word_makes_a_system_interchangeable(tiny_preset, tmp_path):
    named, free = tmp_path / "named", tmp_path / "free"
    shutil.copytree(tiny_preset(named), free)
    card = config.load_yaml(free / "card.yaml")
    config.dump_yaml({**card, "interchangeable": True}, free / "card.yaml")
    named, free = str(named), str(free)
    options = {"overlap": 0.0, "mwf": False}
    assert [s.interchangeable for s in evaluation_systems([named, free], options)] == [False, True]
    (tmp_path / "folder").mkdir()
    names = [named, str(tmp_path / "folder")]
    assert all(s.interchangeable for s in evaluation_systems(names, options, interchangeable=True))
