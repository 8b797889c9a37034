"""Scores between the epochs: of what kzoo separate writes, and at a cost that is said."""

import csv
import re
from types import SimpleNamespace

import numpy as np
import pytest
from made_runs import history, without_graphs
from test_training import settings

from kzoo import api, data
from kzoo.config import ConfigError
from kzoo.metrics import score_track
from kzoo.training import TrackScores, train

pytestmark = pytest.mark.usefixtures("eagerly")

SOURCES = ["vocals", "accompaniment"]
SCORED = {
    "fit__epochs": 1, "fit__steps_per_epoch": 1, "fit__score_every": 2, "fit__score_tracks": 2,
    "fit__score_seconds": 1.25,
    "data__validation": {"kind": "synthetic", "tracks": 3, "seconds": 1.5, "seed": 4},
}  # fmt: skip


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """(lines, folder) of a run of one epoch, which is scored as its last."""
    lines = []
    with without_graphs():
        folder = train(
            settings(**SCORED), tmp_path_factory.mktemp("runs") / "scored", say=lines.append
        )
    return lines, folder


def test_scores_are_those_of_what_the_run_folder_separates(scored):
    _, folder = scored
    row = history(folder)[-1]
    corpus = data.open_corpus(
        "synthetic", sources=SOURCES, sample_rate=8000, channels=2, tracks=3, seconds=1.5, seed=4
    )
    separator = api.Separator.from_preset(folder, engine="tensorflow")
    found = []
    for track in (0, 2):
        sound = corpus.read(track, 1000, 10000)
        stems = separator.separate(sound["mixture"], 8000)
        estimates = np.stack([stems[source] for source in SOURCES])
        references = sound["sources"]
        found.append(score_track(["SDR", "SI-SDR"], references, estimates, None, 8000))
    for measure, key in (("SDR", "val_sdr"), ("SI-SDR", "val_si_sdr")):
        means = np.mean([scores[measure] for scores in found], axis=0)
        assert row[key] == pytest.approx(means.mean(), abs=1e-3)
        assert row[f"{key}_vocals"] == pytest.approx(means[0], abs=1e-3)


def test_the_history_has_the_scores_and_a_line_what_they_cost(scored):
    lines, folder = scored
    number = r"-?\d+\.\d+"
    (line,) = [line for line in lines if "SI-SDR" in line]
    assert re.fullmatch(
        rf"epoch 1: SDR {number} dB, SI-SDR {number} dB on 2 tracks "
        rf"\({number} s, \d+ % of the epoch\)",
        line,
    )
    with open(folder / "history.csv", newline="") as file:
        (row,) = csv.DictReader(file)
    assert float(row["val_sdr"]) == pytest.approx(
        np.mean([float(row[f"val_sdr_{source}"]) for source in SOURCES])
    )


@pytest.mark.slow
def test_a_run_that_goes_on_scores_as_often_as_it_is_told_now(tmp_path):
    values = settings(**{**SCORED, "fit__epochs": 3})
    straight = train(values, tmp_path / "straight", say=lambda line: None)
    values["fit"].update(epochs=1, score_every=1)
    again = train(values, tmp_path / "again", say=lambda line: None)
    values["fit"].update(epochs=3, score_every=2)
    train(values, again, say=lambda line: None)
    rows, expected = history(again), history(straight)
    assert ["val_sdr" in row for row in rows] == [True, True, True]
    assert ["val_sdr" in row for row in expected] == [False, True, True]
    assert rows[1:] == expected[1:]
    assert rows[0]["loss"] == expected[0]["loss"]


def synthetic(channels=1):
    return data.open_corpus(
        "synthetic", sources=SOURCES, sample_rate=8000, channels=channels, tracks=1, seconds=1.5
    )


def test_every_so_many_epochs_and_the_last_are_scored_by_the_chief(monkeypatch):
    scores = TrackScores(synthetic(), {"sources": SOURCES, "sample_rate": 8000}, every=2,
                         say=lambda line: None)  # fmt: skip
    monkeypatch.setattr(scores, "scores", lambda: {"val_sdr": 1.0, "val_si_sdr": 2.0})
    chief = SimpleNamespace(extended=SimpleNamespace(should_checkpoint=True))
    scores.set_params({"epochs": 5})
    scores.set_model(SimpleNamespace(distribute_strategy=chief))

    def scored_epochs():
        found = []
        for epoch in range(5):
            logs = {"loss": 0.5}
            scores.on_epoch_begin(epoch)
            scores.on_epoch_end(epoch, logs)
            found += [epoch + 1] * ("val_sdr" in logs)
        return found

    assert scored_epochs() == [2, 4, 5]
    chief.extended.should_checkpoint = False
    assert scored_epochs() == []


@pytest.mark.parametrize("interchangeable", [False, True])
def test_speakers_are_scored_in_their_best_order(monkeypatch, interchangeable):
    corpus = synthetic()
    card = {"sources": SOURCES, "sample_rate": 8000, "interchangeable": interchangeable}
    scores = TrackScores(corpus, card, seconds=1.5)

    class Swapped:
        def separate(self, mixture, sample_rate):
            noise = 0.01 * np.random.default_rng(0).standard_normal(mixture.shape)
            sources = corpus.read(0, 0, len(mixture))["sources"]
            return dict(zip(SOURCES, sources[::-1] + noise, strict=True))

    monkeypatch.setattr(scores, "_current", Swapped)
    found = scores.scores()
    assert (found["val_si_sdr"] > 10) == interchangeable
    assert (found["val_sdr_vocals"] > 10) == interchangeable


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fit__score_every": 1, "data__validation": None}, "name some by data.validation"),
        ({"fit__score_every": -1}, "score_every"),
        ({"fit__score_tracks": 0}, "score_tracks"),
        ({"fit__score_seconds": 0}, "score_seconds"),
    ],
)
def test_what_cannot_be_scored_is_said_before_the_first_step(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        train(settings(**changes), tmp_path / "run")
    assert not list(tmp_path.glob("run/*"))


@pytest.mark.parametrize(
    ("card", "message"),
    [
        ({"sources": ["drums"], "sample_rate": 8000}, "the card drums"),
        ({"sources": SOURCES, "sample_rate": 16000}, "at 8000 Hz, the card at 16000 Hz"),
    ],
)
def test_a_card_of_something_else_is_refused(card, message):
    with pytest.raises(ConfigError, match=message):
        TrackScores(synthetic(), card)
