"""The engine of separation, with callables in place of models: what goes in must come out."""

import dataclasses
import os
import pickle
import threading

import numpy as np
import pytest

from kzoo import api
from kzoo.dsp.blocks import BlockGrid
from kzoo.separation import SAME_DB, BlockSeparator, Cancelled, Levels, System, at_level

RATE = 8000


def halves(block):
    """Two sources: three quarters and one quarter of the mixture."""
    return np.stack([0.75 * block, 0.25 * block], axis=1)


def system(function=halves, *, samples=400, hop=300, start=0, channels=2, **extra):
    return System(
        function=function,
        sources=("loud", "soft"),
        sample_rate=RATE,
        channels=channels,
        grid=BlockGrid(samples, hop, start),
        **extra,
    )


@pytest.mark.parametrize("samples", [1, 2, 299, 300, 301, 400, 401, 1234, 12345])
@pytest.mark.parametrize(("hop", "start"), [(400, 0), (300, 0), (200, 0), (300, -400), (400, -7)])
def test_blocks_of_a_memoryless_system_join_without_a_trace(rng, samples, hop, start):
    waveform = rng.standard_normal((samples, 2)).astype(np.float32)
    stems = BlockSeparator(system(hop=hop, start=start)).separate(waveform, RATE)
    assert stems["loud"].shape == waveform.shape
    np.testing.assert_allclose(stems["loud"], 0.75 * waveform, atol=1e-6)
    np.testing.assert_allclose(stems["soft"], 0.25 * waveform, atol=1e-6)


def test_the_result_does_not_depend_on_how_the_reader_cut_the_signal(rng):
    waveform = rng.standard_normal((5000, 2)).astype(np.float32)

    def blurred(block):  # depends on the whole block, so that its place matters
        return np.stack([block - block.mean(axis=1, keepdims=True), block], axis=1)

    separator = BlockSeparator(system(blurred))
    whole = separator.separate(waveform, RATE)["loud"]

    def crumbs():
        at = 0
        while at < len(waveform):
            n = int(rng.integers(1, 500))
            yield waveform[at : at + n]
            at += n

    parts = [stems for _, stems in separator.stream(crumbs, RATE, 2)]
    np.testing.assert_array_equal(np.concatenate(parts, axis=1)[0], whole)


def test_overlap_averages_what_neighbouring_blocks_disagree_on():
    def numbered(block, calls=[0]):  # noqa: B006 - the count must live from call to call
        calls[0] += 1
        return np.full((1, 2, *block.shape[1:]), calls[0] % 2, np.float32)

    stems = BlockSeparator(system(numbered, hop=400), overlap=0.5).separate(
        np.ones((2000, 2), np.float32), RATE
    )
    steps = np.abs(np.diff(stems["loud"][:, 0]))
    assert steps.max() < 0.02  # without the fade it jumps by one
    assert stems["loud"].max() == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize("channels", [1, 2, 3, 6])
def test_any_channel_layout_comes_back_as_it_went_in(rng, channels):
    waveform = rng.standard_normal((1000, channels)).astype(np.float32)
    stems = BlockSeparator(system()).separate(waveform, RATE)
    np.testing.assert_allclose(stems["loud"], 0.75 * waveform, atol=1e-6)


def test_a_one_dimensional_waveform_gives_one_dimensional_stems(rng):
    stems = BlockSeparator(system()).separate(rng.standard_normal(700), RATE)
    assert stems["soft"].shape == (700,)


def test_one_channel_of_a_stereo_system_is_the_mean_of_its_two():
    def lopsided(block):
        return np.stack([block * [1, 3], block * [0, 0.5]], axis=1)

    waveform = np.linspace(-1, 1, 900, dtype=np.float32)
    stems = BlockSeparator(system(lopsided)).separate(waveform, RATE)
    np.testing.assert_allclose(stems["loud"], 2 * waveform, atol=1e-6)
    np.testing.assert_allclose(stems["soft"], 0.25 * waveform, atol=1e-6)


@pytest.mark.parametrize("rate", [4000, 11025, 16000, 44100])
def test_other_rates_keep_their_length_and_their_sound(rate):
    time = np.arange(rate) / rate
    waveform = np.sin(2 * np.pi * 440 * time)[:, None].repeat(2, axis=1).astype(np.float32)
    stems = BlockSeparator(system()).separate(waveform, rate)
    assert stems["loud"].shape == waveform.shape
    middle = slice(rate // 10, -rate // 10)
    np.testing.assert_allclose(stems["loud"][middle], 0.75 * waveform[middle], atol=2e-3)


@pytest.mark.parametrize("rate", [RATE, 44100])
def test_consistent_stems_sum_to_the_mixture_at_its_own_rate(rng, rate):
    waveform = (0.1 * rng.standard_normal((9999, 2))).astype(np.float32)

    def lossy(block):
        return np.stack([0.5 * block, np.zeros_like(block)], axis=1)

    stems = BlockSeparator(system(lossy), consistent=True).separate(waveform, rate)
    np.testing.assert_allclose(stems["loud"] + stems["soft"], waveform, atol=1e-6)


def test_progress_counts_seconds_and_ends_at_the_total(rng):
    seen = []
    waveform = rng.standard_normal((3 * (1 << 18), 1)).astype(np.float32)
    BlockSeparator(system(samples=1 << 16, hop=1 << 16)).separate(
        waveform, RATE, progress=lambda done, total: seen.append((done, total))
    )
    assert [total for _, total in seen] == [len(waveform) / RATE] * len(seen)
    assert seen == sorted(seen)
    assert seen[-1][0] == pytest.approx(len(waveform) / RATE)


def test_the_second_of_two_passes_begins_at_half_the_seconds(rng):
    seen = []
    waveform = rng.standard_normal((2 * (1 << 18), 1)).astype(np.float32)
    surveyed = system(
        lambda block, state: halves(block), survey=lambda state, block: 0, samples=1 << 16,
        hop=1 << 16,
    )  # fmt: skip
    BlockSeparator(surveyed).separate(
        waveform, RATE, progress=lambda done, total: seen.append(done / total)
    )
    np.testing.assert_allclose(seen, [0.25, 0.5, 0.75, 1])


def test_a_callback_that_says_false_cancels(rng):
    with pytest.raises(Cancelled):
        BlockSeparator(system()).separate(
            rng.standard_normal((100, 2)), RATE, progress=lambda done, total: False
        )


def test_a_survey_sees_the_whole_signal_before_anything_is_separated(rng):
    waveform = rng.standard_normal((2500, 2)).astype(np.float32)
    order = []

    def survey(state, block):
        order.append("survey")
        return (state or 0.0) + float(np.abs(block).max())

    def function(block, state):
        order.append("separate")
        return np.stack([block * state, block], axis=1)

    stems = BlockSeparator(system(function, survey=survey, hop=400)).separate(waveform, RATE)
    blocks = -(-len(waveform) // 400)
    assert order == ["survey"] * blocks + ["separate"] * blocks
    peaks = sum(np.abs(waveform[at : at + 400]).max() for at in range(0, len(waveform), 400))
    np.testing.assert_allclose(stems["loud"], waveform * peaks, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("fits", [400, 200, 100])
def test_blocks_get_shorter_where_memory_runs_out(rng, fits):
    def attempt(size):
        def function(block):
            if block.shape[1] > fits:
                raise MemoryError
            return halves(block)

        def smaller():
            return attempt(size // 2) if size > 50 else None

        return system(function, samples=size, hop=size - 20, smaller=smaller)

    waveform = rng.standard_normal((3000, 2)).astype(np.float32)
    separator = BlockSeparator(attempt(400))
    stems = separator.separate(waveform, RATE)
    np.testing.assert_allclose(stems["loud"], 0.75 * waveform, atol=1e-6)
    assert separator.grid.samples == fits


@pytest.mark.parametrize("overlap", [0.0, 0.5])
def test_channels_stay_together_where_memory_runs_out_in_the_second(rng, overlap):
    refused = []

    def attempt(size):
        def function(block):
            if block[0, 0, 0] < 0 and not refused:  # the second channel, some blocks in
                refused.append(size)
                raise MemoryError
            return halves(block)

        return system(
            function, samples=size, hop=size - 20, channels=1, smaller=lambda: attempt(size // 2)
        )

    waveform = rng.uniform(0.1, 1, (3000, 2)).astype(np.float32)
    waveform[1000:, 1] *= -1
    stems = BlockSeparator(attempt(400), overlap=overlap).separate(waveform, RATE)
    assert refused == [400]
    np.testing.assert_allclose(stems["loud"], 0.75 * waveform, atol=1e-6)


def test_a_block_that_never_fits_is_an_error_that_says_so():
    def function(block):
        raise MemoryError

    with pytest.raises(MemoryError, match="400 samples"):
        BlockSeparator(system(function)).separate(np.zeros((100, 2), np.float32), RATE)


def test_threads_share_one_separator_without_mixing_their_songs(rng):
    separator = BlockSeparator(system(hop=200))
    songs = [np.full((5000, 2), k, np.float32) for k in range(4)]
    results = {}

    def work(k):
        results[k] = separator.separate(songs[k], RATE)["loud"]

    threads = [threading.Thread(target=work, args=(k,)) for k in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for k in range(4):
        np.testing.assert_allclose(results[k], 0.75 * k, atol=1e-6)


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros((0, 2), np.float32), "got shape"),
        (np.zeros((2, 3, 4), np.float32), "got shape"),
        (np.zeros((5, 2), np.int16), "full scale"),
        (np.array([[0.0], [np.nan]]), "NaN"),
        (np.zeros((2, 16000), np.float32), "transpose"),
    ],
)
def test_unusable_waveforms_are_refused_with_the_reason(waveform, message):
    with pytest.raises(ValueError, match=message):
        BlockSeparator(system()).separate(waveform, RATE)


def test_a_single_source_is_not_made_consistent():
    alone = System(
        function=lambda block: block[:, None], sources=("speech",), sample_rate=RATE, channels=1,
        grid=BlockGrid(400, 400),
    )  # fmt: skip
    with pytest.raises(ValueError, match="speech is the only one"):
        BlockSeparator(alone, consistent=True)


def test_a_separator_of_before_a_fork_says_so_in_the_child(monkeypatch):
    separator = BlockSeparator(system())
    monkeypatch.setattr(os, "getpid", lambda: -1)
    with pytest.raises(RuntimeError, match="'spawn'"):
        separator.separate(np.zeros((100, 2), np.float32), RATE)


def test_a_separator_around_a_callable_says_that_it_cannot_be_sent():
    with pytest.raises(TypeError, match="make one there"):
        pickle.dumps(BlockSeparator(system()))


def test_a_separator_of_a_preset_is_built_anew_where_it_is_unpickled(tiny_preset, tmp_path, rng):
    made = api.Separator.from_preset(tiny_preset(tmp_path / "tiny"), overlap=0.3, consistent=True)
    copy = pickle.loads(pickle.dumps(made))
    assert (copy.overlap, copy.consistent, copy.sources) == (0.3, True, made.sources)
    waveform = (0.1 * rng.standard_normal((500, 2))).astype(np.float32)
    expected, found = (each.separate(waveform, RATE)["vocals"] for each in (made, copy))
    np.testing.assert_array_equal(found, expected)


def test_an_impossible_overlap_is_refused():
    with pytest.raises(ValueError, match="between 0 and 0"):
        BlockSeparator(system(), overlap=0.7)


def test_a_silent_stem_and_a_stem_that_is_the_mixture_are_told(rng):
    mixture = rng.standard_normal((1000, 2))
    levels = Levels(["vocals", "accompaniment"])
    levels.add(mixture, np.stack([1e-6 * mixture, mixture * (1 - 1e-6)]))
    told = levels.warnings()
    assert "vocals is silent" in told[0]
    assert "accompaniment is the mixture" in told[1]


def test_stems_that_are_neither_are_passed_over_in_silence(rng):
    mixture = rng.standard_normal((1000, 2))
    levels = Levels(["vocals", "accompaniment"])
    levels.add(mixture, np.stack([0.1 * mixture, 0.9 * mixture]))
    assert SAME_DB > 20
    assert levels.warnings() == []


def late_sums(delay):
    """Begins signals whose estimates are running sums, `delay` samples late."""

    def begin():
        total, kept = np.zeros((1, 1, 2), np.float32), np.zeros((1, delay, 2), np.float32)

        def function(block):
            nonlocal total, kept
            sums = np.concatenate([kept, total + np.cumsum(block, axis=1)], axis=1)
            total, kept = sums[:, -1:], sums[:, sums.shape[1] - delay :]
            return np.stack([sums[:, : block.shape[1]]] * 2, axis=1)

        return function

    return begin


@pytest.mark.parametrize("delay", [0, 70, 950])
@pytest.mark.parametrize("channels", [2, 4])
def test_a_system_that_remembers_hears_the_blocks_of_each_signal_in_order(rng, delay, channels):
    remembering = system(None, samples=400, hop=400, delay=delay, begin=late_sums(delay))
    separator = BlockSeparator(remembering)
    for samples in (1, 399, 1234):
        mixture = rng.standard_normal((samples, channels)).astype(np.float32)
        stems = separator.separate(mixture, RATE)
        np.testing.assert_allclose(stems["loud"], np.cumsum(mixture, axis=0), atol=1e-3)


def test_a_recording_is_brought_to_a_level_and_back(rng):
    heard = []

    def quarter_of_the_loud(block):
        heard.append(np.sqrt(np.mean(block**2)))
        return np.stack([0.25 * block * (np.abs(block) > 0.01), block], axis=1)

    at_20 = at_level(system(quarter_of_the_loud), -20.0)
    speech = 0.2 * rng.standard_normal((4000, 2)).astype(np.float32)
    speech[2000:] = 0  # a pause
    expected = None
    for gain in (1e-3, 0.1, 1.0):
        heard.clear()
        stems = BlockSeparator(at_20).separate(gain * speech, RATE)
        assert max(heard) == pytest.approx(0.1, rel=0.1)
        found = stems["loud"] / gain
        expected = found if expected is None else expected
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)
    silence = BlockSeparator(at_20).separate(np.zeros((900, 2), np.float32), RATE)
    assert not np.any(silence["loud"])


@pytest.mark.parametrize("limit_db", [0.0, 6.0, 20.0])
def test_so_much_of_the_mixture_stays_in_limited_speech(rng, limit_db):
    speaker = System(
        function=lambda block: np.stack([0.25 * block, 0.75 * block], axis=1),
        sources=("noise", "speech"), sample_rate=RATE, channels=1, grid=BlockGrid(400, 300),
    )  # fmt: skip
    mixture = rng.standard_normal(1000).astype(np.float32)
    stems = BlockSeparator(speaker, attenuation_limit_db=limit_db).separate(mixture, RATE)
    share = 10 ** (-limit_db / 20)
    np.testing.assert_allclose(stems["speech"], (0.75 + 0.25 * share) * mixture, atol=1e-5)
    np.testing.assert_allclose(stems["speech"] + stems["noise"], mixture, atol=1e-5)


def test_an_attenuation_limit_of_no_speech_or_below_zero_is_refused():
    with pytest.raises(ValueError, match="is of speech; the system gives loud, soft"):
        BlockSeparator(system(), attenuation_limit_db=6.0)
    speaker = System(
        function=lambda x: x,
        sources=("speech",),
        sample_rate=RATE,
        channels=1,
        grid=BlockGrid(400, 300),
    )
    with pytest.raises(ValueError, match=r"at least 0; got -1"):
        BlockSeparator(speaker, attenuation_limit_db=-1.0)


def centred(function=halves, **extra):
    made = system(function, **extra)
    grid = dataclasses.replace(made.grid, centred=True, linear=True, fade=None)
    return dataclasses.replace(made, grid=grid)


@pytest.mark.parametrize("samples", [1, 299, 400, 401, 650, 1234])
def test_the_last_block_begins_earlier_by_half_of_what_it_lacks(rng, samples):
    waveform, blocks = rng.standard_normal((samples, 2)).astype(np.float32), []

    def seen(block):
        blocks.append(block[0].copy())
        return halves(block)

    stems = BlockSeparator(centred(seen)).separate(waveform, RATE)
    np.testing.assert_allclose(stems["loud"], 0.75 * waveform, atol=1e-6)
    for number, block in enumerate(blocks):
        start = 300 * number - max(0, 400 - (samples - 300 * number)) // 2
        around = np.pad(waveform, ((400, 800), (0, 0)))  # silence where there is nothing
        np.testing.assert_array_equal(block, around[400 + start : 800 + start])


def test_shifts_are_the_mean_over_recordings_that_begin_later(rng):
    waveform = rng.standard_normal((5000, 2)).astype(np.float32)

    def by_place(block):  # so that it matters where a block begins
        return np.stack([block * np.linspace(0, 1, 400)[:, None], block], axis=1, dtype=np.float32)

    alone = BlockSeparator(system(by_place))
    shifted = BlockSeparator(system(by_place), shifts=3, seed=5)
    found = shifted.separate(waveform, RATE)["loud"]
    lates = np.random.default_rng(5).integers(0, RATE // 2 + 1, 3)
    expected = [
        alone.separate(np.pad(waveform, ((late, 0), (0, 0))), RATE)["loud"][late:] for late in lates
    ]
    np.testing.assert_allclose(found, np.mean(expected, axis=0), atol=1e-6)
    np.testing.assert_array_equal(found, shifted.separate(waveform, RATE)["loud"])
    other = BlockSeparator(system(by_place), shifts=3, seed=6).separate(waveform, RATE)["loud"]
    assert np.abs(found - other).max() > 0.01


def test_shifts_that_cannot_be_are_refused():
    with pytest.raises(ValueError, match="shifts must be at least 0; got -1"):
        BlockSeparator(system(), shifts=-1)
    with pytest.raises(ValueError, match="shifts are of models that hear each block by itself"):
        BlockSeparator(system(interchangeable=True), shifts=1)


@pytest.mark.parametrize("rate", [RATE, 2 * RATE])
def test_standardised_recordings_have_mean_0_and_deviation_1_and_come_back(rng, rate):
    tone = 0.01 * np.sin(np.arange(9000) / 20)[:, None] * [1.0, 0.5] + 0.2
    waveform, blocks = tone.astype(np.float32), []

    def seen(block):
        blocks.append(block[0].copy())
        return halves(block)

    separator = BlockSeparator(system(seen, hop=400, standardised=True))
    stems = separator.separate(waveform, rate)
    mono = np.concatenate(blocks)[: 9000 * RATE // rate].mean(axis=1)
    assert abs(mono.mean()) < 0.01
    assert abs(mono.std() - 1) < 0.01
    mean = waveform.mean()
    inside = slice(500, -500)  # a resampler rings where a constant begins and ends
    expected = 0.75 * (waveform - mean) + mean
    np.testing.assert_allclose(stems["loud"][inside], expected[inside], atol=1e-4)
    silent = separator.separate(np.zeros((1000, 2), np.float32), rate)
    assert not np.any(silent["loud"])
