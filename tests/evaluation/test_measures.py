"""Measures are chosen by name, and each is what `kzoo.metrics` has by that name."""

import numpy as np
import pytest

from kzoo import metrics
from kzoo.evaluation import Settings
from kzoo.evaluation.measures import named_measures
from kzoo.evaluation.scoring import targets, track_scores

RATE = 8000


@pytest.mark.parametrize(
    ("names", "kind", "columns"),
    [
        ([], None, ()),
        (["separation"], "separation", ()),
        (["usdr", "si-sdr", "uSDR"], None, ("uSDR", "SI-SDR")),
        (["LSD", "separation"], "separation", ("SDR", "SIR", "ISR", "SAR", "SI-SDR", "LSD")),
    ],
)
def test_names_are_those_of_the_table_of_measures(names, kind, columns):
    assert named_measures(names) == (kind, columns)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["SRDi"], "did you mean"),
        (["loudness"], "there are separation, speech, SDR"),
        (["separation", "speech"], "not of both"),
    ],
)
def test_mistakes_name_the_way_out(names, message):
    with pytest.raises(ValueError, match=message):
        named_measures(names)


def test_a_column_is_what_metrics_has_by_its_name(rng, monkeypatch):
    monkeypatch.setattr("kzoo.evaluation.scoring.bss_eval", None)  # no column asks for it
    truth = {source: 0.1 * rng.standard_normal((RATE, 2)) for source in ("vocals", "bass")}
    mixture = sum(truth.values())
    guess = {source: sound + 0.01 * mixture for source, sound in truth.items()}
    names = ("uSDR", "SI-SAR", "LSD", "uSDRi", "SI-SDR")
    made = targets(truth, guess, RATE, Settings(tuple(truth), columns=names), mixture=mixture)
    stacked = [np.stack(list(signals.values())) for signals in (truth, guess)]
    expected = metrics.score_track(names, *stacked, mixture, RATE)
    scores = track_scores({"targets": made})
    for number, source in enumerate(truth):
        for name in names:
            assert scores[source][name] == pytest.approx(expected[name][number], abs=1e-5)
