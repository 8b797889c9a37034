"""Lanes of recordings: stretches that follow each other, a function of their number."""

import numpy as np

from kzoo.data import Lanes, LaneWindows
from kzoo.data.corpus import Corpus

LENGTHS = (45, 7, 93, 30)
SAMPLES, MANY = 10, 3


class Counting(Corpus):
    """Sample n of track t is 1000 t + n."""

    sources, channels, sample_rate = ("audio",), 1, 8000
    tracks = tuple((str(t), length) for t, length in enumerate(LENGTHS))

    def read_part(self, track, part, start, samples):
        at = start + np.arange(samples)
        found = np.where(at < LENGTHS[track], 1000.0 * track + at, 0.0)
        return found[:, None].astype(np.float32)


class Framed(Counting):
    """As the kind solo, it gives whole frames only."""

    hop_length = 4

    def read_part(self, track, part, start, samples):
        assert start % 4 == samples % 4 == 0
        return super().read_part(track, part, start, samples)


def lane_of(examples, lane, steps):
    return [examples.example(step * MANY + lane) for step in range(steps)]


def test_a_lane_goes_through_all_recordings_in_stretches_that_follow_each_other():
    examples = Lanes(Counting(), samples=SAMPLES, lanes=MANY, seed=3)
    stretches = 4 + 1 + 9 + 2  # of SAMPLES, and one sample behind
    orders = set()
    for lane in range(MANY):
        # The first lap is begun in its midst, so what follows it is looked at.
        found = lane_of(examples, lane, 3 * stretches)
        starts = [int(x["waveform"][0, 0]) for x in found]
        begins = [bool(x["begins"][0]) for x in found]
        assert begins[0]
        for before, after, new in zip(starts, starts[1:], begins[1:], strict=False):
            assert new == (after % 1000 == 0)
            assert new or after == before + SAMPLES
        first_lap = stretches - lane * stretches // MANY
        lap = starts[first_lap : first_lap + stretches]
        expected = {1000 * t + SAMPLES * k for t, n in enumerate((4, 1, 9, 2)) for k in range(n)}
        assert sorted(lap) == sorted(expected)
        orders.add(tuple(lap))
    assert len(orders) == MANY
    # The sample behind a stretch is the first one of the next.
    one, two = lane_of(Lanes(Counting(), samples=20, lanes=MANY, seed=1), 0, 2)
    assert two["begins"][0] or one["waveform"][-1] == two["waveform"][0]


def test_an_example_depends_on_its_number_alone():
    first, again = (Lanes(Counting(), samples=SAMPLES, lanes=MANY, seed=3) for _ in range(2))
    for index in (77, 4, 1000, 4):
        for key, array in first.example(index).items():
            np.testing.assert_array_equal(array, again.example(index)[key])
    other = Lanes(Counting(), samples=SAMPLES, lanes=MANY, seed=4)
    assert any(
        not np.array_equal(first.example(k)["waveform"], other.example(k)["waveform"])
        for k in range(30)
    )


def test_recordings_that_come_in_frames_are_cut_within_them():
    framed = Lanes(Framed(), samples=SAMPLES, lanes=MANY, seed=3)
    plain = Lanes(Counting(), samples=SAMPLES, lanes=MANY, seed=3)
    for index in range(60):
        expected, found = (x.example(index)["waveform"] for x in (plain, framed))
        np.testing.assert_array_equal(found, expected)


def test_validation_takes_the_recordings_in_their_order():
    windows = LaneWindows(Counting(), samples=SAMPLES, lanes=MANY, most=100)
    assert len(windows) == 15  # of 16 stretches, five for each lane
    starts = [[int(x["waveform"][0, 0]) for x in lane_of(windows, lane, 5)] for lane in range(MANY)]
    assert starts == [
        [0, 10, 20, 30, 1000], [2000, 2010, 2020, 2030, 2040], [2050, 2060, 2070, 2080, 3000],
    ]  # fmt: skip
    begins = [[int(x["begins"][0]) for x in lane_of(windows, lane, 5)] for lane in range(MANY)]
    assert begins == [[1, 0, 0, 0, 1], [1, 0, 0, 0, 0], [1, 0, 0, 0, 1]]
    assert len(LaneWindows(Counting(), samples=SAMPLES, lanes=MANY, most=7)) == 9
    assert len(LaneWindows(Counting(), samples=SAMPLES, lanes=17, most=100)) == 0
