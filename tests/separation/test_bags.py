"""Bags: the mean of several separators, weighted source by source, one of them at a time."""

import functools
import pickle

import numpy as np
import pytest

from kzoo.separation import Bag, Cancelled, Part, Streamed

RATE, SOURCES = 8000, ("vocals", "rest")


class Gains(Streamed):
    """Gives each source the recording times a gain, in pieces of its own; counts itself."""

    made = 0

    def __init__(self, gains, piece=700, sources=SOURCES):
        self.sources, self.gains, self.piece = sources, np.float32(gains), piece
        Gains.made += 1

    def stream(self, pieces, sample_rate, channels, *, samples=None, progress=None, surveyed=None):
        whole = np.concatenate(list(pieces()))
        for at in range(0, len(whole), self.piece):
            if progress:
                progress(at / sample_rate, samples and samples / sample_rate)
            part = whole[at : at + self.piece]
            yield part, self.gains[:, None, None] * part


@pytest.fixture
def bag():
    Gains.made = 0
    return Bag(
        SOURCES,
        [
            Part(lambda: Gains([1, 2]), {"vocals": 3.0, "rest": 1.0}),
            Part(lambda: Gains([10, 20], piece=333), {"vocals": 1.0}),
            # Sources in another order, and one more.
            Part(lambda: Gains([7, 5, 9], sources=("more", "rest", "vocals")), {"rest": 2.0}),
        ],
    )


def test_a_bag_is_the_mean_of_its_parts_weighted_source_by_source(bag, rng):
    waveform = rng.standard_normal((5000, 2)).astype(np.float32)
    stems = bag.separate(waveform, RATE)
    np.testing.assert_allclose(stems["vocals"], (3 * 1 + 10) / 4 * waveform, rtol=1e-5)
    np.testing.assert_allclose(stems["rest"], (2 + 2 * 5) / 3 * waveform, rtol=1e-5)


def test_each_part_is_made_once_when_it_is_first_needed_and_kept(bag, rng):
    assert Gains.made == 0
    for _ in range(2):
        bag.separate(rng.standard_normal((900, 1)).astype(np.float32), RATE)
        assert Gains.made == 3


def test_a_copy_of_a_bag_elsewhere_makes_its_parts_itself():
    Gains.made = 0
    bag = Bag(
        ("vocals", "rest"), [Part(functools.partial(Gains, [1, 2]), {"vocals": 1, "rest": 1})]
    )
    sound = np.ones((900, 1), np.float32)
    bag.separate(sound, RATE)
    copy = pickle.loads(pickle.dumps(bag))
    assert Gains.made == 1
    np.testing.assert_array_equal(copy.separate(sound, RATE)["rest"], 2 * sound)
    assert Gains.made == 2


def test_the_sum_of_stems_is_the_mixture_where_that_is_asked_for(bag, rng):
    waveform = rng.standard_normal((1000, 2)).astype(np.float32)
    stems = Bag(bag.sources, bag.parts, consistent=True).separate(waveform, RATE)
    np.testing.assert_allclose(stems["vocals"] + stems["rest"], waveform, atol=1e-5)
    with pytest.raises(ValueError, match="vocals is the only one"):
        Bag(("vocals",), [Part(Gains, {"vocals": 1.0})], consistent=True)


def test_progress_is_that_of_all_parts_and_can_cancel(bag):
    seen = []
    bag.separate(np.zeros((4000, 1), np.float32), RATE, progress=lambda *now: seen.append(now))
    done = [seconds for seconds, _ in seen]
    assert done == sorted(done)
    assert {whole for _, whole in seen} == {0.5}
    assert 0.3 < done[-1] <= 0.5
    with pytest.raises(Cancelled):
        bag.separate(np.zeros((4000, 1), np.float32), RATE, progress=lambda *now: now[0] < 0.2)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({"vocals": 1.0}, "a bag must weigh every source; none weighs rest"),
        ({"vocals": 0.0, "rest": 1.0}, "weights of a bag must be above 0; got 0 for vocals"),
        ({"vocal": 1.0}, "a bag weighs its sources, vocals, rest; got vocal"),
    ],
    ids=["lacking", "zero", "unknown"],
)
def test_weights_that_make_no_mean_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        Bag(SOURCES, [Part(Gains, weights)])
