"""Examples are pure functions of a seed and a number, and batches of them come in order."""

import threading

import numpy as np
import pytest

from kzoo import data

STEPS = sorted(data.STEPS)


@pytest.fixture(scope="module")
def corpus():
    return data.open_corpus("synthetic", tracks=3, seconds=3.0, sample_rate=8000)


def examples(corpus, *steps, seed=0, samples=2048):
    return data.Examples(corpus, samples=samples, seed=seed, steps=steps)


def test_an_example_is_the_same_whenever_it_is_asked_for(corpus):
    steps = [data.step(name) for name in STEPS]
    one, other = examples(corpus, *steps), examples(corpus, *steps)
    late = one.example(41)
    for index in (3, 7, 41):
        again = other.example(index)
    np.testing.assert_array_equal(late["sources"], again["sources"])
    assert not np.array_equal(late["sources"], one.example(42)["sources"])
    assert not np.array_equal(late["sources"], examples(corpus, seed=1).example(41)["sources"])


@pytest.mark.parametrize("name", STEPS)
def test_after_every_step_the_sources_sum_to_the_mixture(corpus, name):
    chosen = examples(corpus, data.step(name, probability=1.0))
    for index in range(4):
        example = chosen.example(index)
        assert example["mixture"].dtype == example["sources"].dtype == np.float32
        np.testing.assert_allclose(example["mixture"], example["sources"].sum(axis=0), atol=1e-6)


def test_the_steps_do_what_they_say(corpus):
    plain = examples(corpus).example(3)["sources"]

    def changed(name, **options):
        return examples(corpus, data.step(name, probability=1.0, **options)).example(3)["sources"]

    np.testing.assert_array_equal(changed("swap_channels"), plain[:, :, ::-1])
    np.testing.assert_array_equal(changed("flip_polarity"), -plain)
    ratio = np.abs(changed("gain", low_db=6.0, high_db=6.0)).max() / np.abs(plain).max()
    assert 20 * np.log10(ratio) == pytest.approx(6.0, abs=1e-4)
    levels = 10 * np.log10(np.mean(changed("level", low_db=-20.0, high_db=-20.0) ** 2, (1, 2)))
    np.testing.assert_allclose(levels[np.abs(plain).max((1, 2)) > 1e-3], -20, atol=1e-3)
    np.testing.assert_allclose(
        np.sort(changed("shift").ravel()), np.sort(plain.ravel()), atol=0
    )  # the same samples, elsewhere
    silent = [not source.any() for source in changed("mute")]
    assert sum(silent) == len(plain) - 1  # never all


def test_one_source_is_shifted_by_multiples_and_the_other_stays(corpus):
    plain = examples(corpus).example(3)["sources"]
    options = {"seconds": 0.25, "step_seconds": 0.0625, "sources": corpus.sources[1:2]}
    moved = [
        examples(corpus, data.step("shift", **options), seed=0).example(index)["sources"]
        for index in (3, 3)
    ]
    np.testing.assert_array_equal(moved[0], moved[1])
    np.testing.assert_array_equal(moved[0][0], plain[0])
    rolls = [k for k in range(-4, 5) if np.array_equal(moved[0][1], np.roll(plain[1], 500 * k, 0))]
    assert len(rolls) == 1
    with pytest.raises(ValueError, match="no source of step shift is called 'voice'"):
        examples(corpus, data.step("shift", sources=["voice"])).example(0)
    with pytest.raises(ValueError, match="step_seconds must be above 0 and at most seconds"):
        data.step("shift", seconds=1.0, step_seconds=2.0)


def test_speed_moves_pitch_and_tempo_together():
    tone = np.sin(2 * np.pi * 500 * np.arange(8000) / 8000).astype(np.float32)
    example = {"sources": np.stack([tone[:, None], tone[:, None]])}
    faster = data.step("speed", low=1.25, high=1.25)(example, np.random.default_rng(0), None)
    for source in faster["sources"]:
        assert np.abs(np.fft.rfft(source[:6400, 0])).argmax() * 8000 / 6400 == 625
        assert not source[6400:].any()


def test_remixed_sources_are_drawn_again_while_they_rest(corpus):
    active = examples(corpus, data.step("remix", active_db=-40.0))
    resting = examples(corpus, data.step("remix"))

    def rests(chosen):
        sources = [chosen.example(index)["sources"] for index in range(30)]
        return sum(np.mean(source**2) < 1e-4 for found in sources for source in found)

    assert rests(active) < 0.5 * rests(resting)


def test_gains_are_drawn_evenly_in_decibels_or_as_factors():
    def gains(evenly):
        changed = data.step("gain", low_db=-12.04, high_db=1.94, evenly=evenly)
        rng = np.random.default_rng(0)
        ones = {"sources": np.ones((500, 1, 1), np.float32)}
        return changed(ones, rng, None)["sources"].ravel()

    for evenly, middle in (("db", 10 ** ((-12.04 + 1.94) / 40)), ("factor", 0.75)):
        found = gains(evenly)
        assert 0.249 < found.min() < 0.27
        assert 1.23 < found.max() < 1.2503
        assert np.median(found) == pytest.approx(middle, rel=0.05)
    with pytest.raises(ValueError, match="gain: evenly must be one of db, factor; got 'loud'"):
        data.step("gain", evenly="loud")


@pytest.mark.parametrize("workers", [1, 4])
def test_batches_hold_their_own_examples_whatever_the_threads(corpus, workers):
    chosen = examples(corpus)
    found = list(data.dataset(chosen, 3, start=2, batches=4, workers=workers))
    assert len(found) == 4
    for number, batch in enumerate(found, start=2):
        expected = np.stack([chosen.example(3 * number + k)["mixture"] for k in range(3)])
        np.testing.assert_array_equal(batch["mixture"], expected)


@pytest.fixture
def op_determinism():
    """TensorFlow's determinism of operations, which is a switch of the process."""
    from tensorflow.python.framework import config  # switching off is not public

    before = config.is_op_determinism_enabled()
    config.enable_op_determinism()
    yield
    if not before:
        config.disable_op_determinism()


def test_deterministic_training_reads_in_as_many_threads_as_are_asked_for(op_determinism):
    met = threading.Barrier(3, timeout=30)

    class Slow:
        def example(self, index):
            if 0 < index < 4:
                met.wait()
            return {"mixture": np.full((4, 1), index, np.float32)}

    batches = iter(data.dataset(Slow(), 1, start=1, workers=3))
    found = [float(next(batches)["mixture"][0, 0, 0]) for _ in range(6)]
    assert found == [1, 2, 3, 4, 5, 6]


def test_a_dataset_starts_anywhere(corpus):
    chosen = examples(corpus)
    straight = list(data.dataset(chosen, 2, batches=5))
    later = list(data.dataset(chosen, 2, start=3, batches=2))
    for one, other in zip(straight[3:], later, strict=True):
        np.testing.assert_array_equal(one["sources"], other["sources"])


def test_what_reading_raises_comes_through_the_dataset_as_it_was(corpus):
    chosen = examples(corpus)

    class Damaged:
        def example(self, index):
            if index == 7:
                raise ValueError("song.wav: is damaged")
            return chosen.example(index)

    errors, seen = data.ReadErrors(), []
    with pytest.raises(ValueError, match=r"^song\.wav: is damaged$"), errors.told():
        seen.extend(data.dataset(Damaged(), 2, errors=errors))
    assert len(seen) == 3


def test_windows_cover_every_track_once_and_end(corpus):
    windows = data.Windows(corpus, samples=8000)
    assert len(windows) == 9
    total = np.concatenate([windows.example(k)["mixture"] for k in range(3)])
    np.testing.assert_allclose(total, corpus.read(0, 0, 24000)["mixture"], atol=1e-6)
    batches = list(data.dataset(windows, 4))
    assert [len(batch["mixture"]) for batch in batches] == [4, 4, 1]


@pytest.mark.parametrize(("samples", "hop"), [(7000, None), (9000, 4000), (24001, None)])
def test_the_last_window_goes_on_in_silence_after_the_end(corpus, samples, hop):
    windows = data.Windows(corpus, samples=samples, hop=hop)
    whole = corpus.read(2, 0, 24000)["mixture"]
    last = windows.example(len(windows) - 1)["mixture"]
    start = (-(-(24000 - samples) // (hop or samples))) * (hop or samples)
    start = max(start, 0)
    np.testing.assert_allclose(last[: 24000 - start], whole[start:], atol=1e-6)
    assert not last[24000 - start :].any()


def test_tracks_are_drawn_in_proportion_to_their_length():
    corpus = data.open_corpus("synthetic", tracks=2, seconds=4.0, sample_rate=8000)
    corpus.tracks = [("short", 4000), ("long", 12000)]
    chosen = examples(corpus, samples=100)
    drawn = [chosen._place(np.random.default_rng(n), None)[0] for n in range(1000)]
    assert np.mean(drawn) == pytest.approx(0.75, abs=0.05)


def test_unknown_steps_and_options_are_named():
    with pytest.raises(ValueError, match="did you mean 'remix'"):
        data.step("remxi")
    with pytest.raises(ValueError, match="did you mean 'probability'"):
        data.step("remix", probabilty=1.0)
    with pytest.raises(ValueError, match="low_db must not exceed"):
        data.step("gain", low_db=3.0, high_db=1.0)
