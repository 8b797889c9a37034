"""Intervals hold the true average as often as they say, and differences are those of each clip."""

import numpy as np
import pytest
import scipy.stats

from kzoo.evaluation import statistics
from kzoo.evaluation.statistics import difference, estimate


@pytest.mark.parametrize("average", [np.mean, np.median])
def test_the_interval_is_that_of_scipy(rng, average):
    values = rng.gamma(2.0, size=25)
    found = estimate(values, average)
    expected = scipy.stats.bootstrap(
        (values,), average, method="percentile", n_resamples=20000, rng=1
    ).confidence_interval
    assert found.value == average(values)
    spread = expected.high - expected.low
    assert found.low == pytest.approx(expected.low, abs=0.05 * spread)
    assert found.high == pytest.approx(expected.high, abs=0.05 * spread)


@pytest.mark.parametrize("average", [np.mean, np.median])
def test_the_interval_holds_the_true_average_in_most_of_many_corpora(rng, average):
    estimates = [estimate(rng.standard_normal(20), average) for _ in range(250)]
    held = np.mean([found.low < 0 < found.high for found in estimates])
    assert 0.90 < held < 0.97  # 0.93 and 0.94; the standard error is 0.015


def test_the_same_clips_give_the_same_interval(rng, monkeypatch):
    values = rng.standard_normal(10)
    first = estimate(values)
    np.random.default_rng().standard_normal(5)
    assert estimate(values) == first
    monkeypatch.setattr(statistics, "SEED", 1)
    assert estimate(values) != first


def test_values_that_are_not_defined_do_not_count():
    assert estimate([1.0, np.nan, 3.0, 4.0]) == estimate([1.0, 3.0, 4.0])
    found = difference([1.0, np.nan, 3.0, 4.0], [0.0, 0.0, np.nan, 5.0])
    assert (found.value, found.low, found.high, found.better) == (0.0, -1.0, 1.0, 0.5)


def test_one_clip_says_nothing_of_others_and_none_nothing_at_all():
    one = difference([3.0, np.nan], [1.0, 1.0])
    assert (one.value, one.better) == (2.0, 1.0)
    assert np.isnan([one.low, one.high]).all()
    none = difference([np.nan], [1.0])
    assert np.isnan([none.value, none.low, none.high, none.better]).all()
    assert np.isnan(estimate([]).value)


def test_a_small_gain_on_every_clip_is_seen_through_large_differences_of_clips(rng):
    clips = 10 * rng.standard_normal(30)
    gains = 0.5 + 0.1 * rng.standard_normal(30)
    apart, paired = (estimate(clips + gains), estimate(clips)), difference(clips + gains, clips)
    assert apart[0].low < apart[1].value
    assert 0.4 < paired.low < 0.5 < paired.high < 0.6
    assert paired.better == 1.0


def test_a_tie_is_not_better():
    found = difference([1.0, 2.0, 2.0, 0.0], [1.0, 1.0, 2.0, 1.0], np.median)
    assert (found.value, found.better) == (0.0, 0.25)


def test_differences_are_of_as_many_clips():
    with pytest.raises(ValueError, match="got 2 values and 1"):
        difference([1.0, 2.0], [1.0])


@pytest.mark.parametrize(
    ("gains", "verdict"),
    [
        (np.linspace(0.5, 1.5, 12), "above"),
        (-np.linspace(0.5, 1.5, 12), "below"),
        ([3.0, -2.5, 2.0, -1.5, 1.0, -0.5, 0.2], "no difference seen"),
        ([0.0] * 8, "no difference seen"),
        ([1.0] * 5, "too few to tell"),
        ([1.0] * 5 + [np.nan], "too few to tell"),
        ([1.0] * 6, "above"),
    ],
)
def test_a_difference_is_called_one_where_interval_and_wilcoxon_agree(gains, verdict):
    found = difference(gains, np.zeros(len(gains)), np.median)
    assert found.verdict == verdict
    gains = np.asarray(gains)[~np.isnan(gains)]
    if len(gains) >= statistics.FEWEST and np.any(gains):
        assert found.p == scipy.stats.wilcoxon(gains).pvalue


def test_what_is_no_difference_is_seldom_called_one(rng):
    verdicts = [difference(rng.standard_normal(20), np.zeros(20)).verdict for _ in range(200)]
    assert verdicts.count("no difference seen") > 180
