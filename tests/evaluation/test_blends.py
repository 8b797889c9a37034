"""Blends: the weighted mean of what several systems say."""

import numpy as np
import pytest

from kzoo.api.systems import evaluation_systems
from kzoo.evaluation.systems import Separation, blend

RATE = 8000


def made(name, gain, sources=("vocals", "accompaniment"), **options):
    def separate(waveform, sample_rate):
        return {source: (gain + k) * waveform for k, source in enumerate(sources)}

    return Separation(name, sources, separate, {"preset": name}, parameters=3, **options)


def test_a_blend_is_the_weighted_mean_of_the_stems(rng):
    mixture = rng.standard_normal((100, 2)).astype(np.float32)
    mixed = blend([(3.0, made("a", 1.0)), (1.0, made("b", 5.0))])
    assert (mixed.name, mixed.parameters) == ("3_a+1_b", 6)
    assert mixed.known_by == {"blend": [[3.0, {"preset": "a"}], [1.0, {"preset": "b"}]]}
    stems = mixed.separate(mixture, RATE)
    np.testing.assert_allclose(stems["vocals"], 2 * mixture, rtol=1e-6)
    np.testing.assert_allclose(stems["accompaniment"], 3 * mixture, rtol=1e-6)
    assert stems["vocals"].dtype == np.float32


def test_four_stems_are_summed_to_the_two_of_the_first():
    four = made("four", 0.0, ("vocals", "drums", "bass", "other"))
    mixed = blend([(1.0, made("two", 1.0)), (1.0, four)])
    stems = mixed.separate(np.ones((4, 1), np.float32), RATE)
    np.testing.assert_allclose(stems["accompaniment"], (2.0 + (1 + 2 + 3)) / 2)
    with pytest.raises(ValueError, match="two: no estimate of drums, bass"):
        blend([(1.0, four), (1.0, made("two", 1.0))])


def test_what_cannot_be_blended_is_refused():
    with pytest.raises(ValueError, match=r"weights of a blend must be above 0; got 0 of a"):
        blend([(0.0, made("a", 1.0))])
    with pytest.raises(ValueError, match="b gives its sources in any order, and cannot be blended"):
        blend([(1.0, made("a", 1.0)), (1.0, made("b", 1.0, interchangeable=True))])
    for given, message in (
        ("x*repet+hpss", "expected A.B or 0.7.A.0.3.B; 'x' is no number"),
        ("repet+", "a system is missing"),
        ("repet+irm", "only presets, run folders and methods are blended"),
    ):
        with pytest.raises(ValueError, match=message):
            evaluation_systems([given], {})


def test_a_blend_is_asked_for_by_its_parts_and_has_a_name(rng):
    (mixed,) = evaluation_systems(["repet"], {})
    (named,) = evaluation_systems(["both=0.5*repet+1.5*repet"], {})
    assert named.name == "both"
    (twice,) = evaluation_systems(["repet+repet"], {})
    assert twice.name == "repet+repet"
    mixture = rng.standard_normal((2 * RATE, 1)).astype(np.float32)
    expected = mixed.separate(mixture, RATE)
    for source, stem in named.separate(mixture, RATE).items():
        np.testing.assert_allclose(stem, expected[source], atol=1e-6)
