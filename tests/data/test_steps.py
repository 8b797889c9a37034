"""Every step on odd sounds, and those that do what happens to recordings: rooms, codecs, clips."""

import functools
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from scipy.signal import correlate

from kzoo import data
from kzoo.data.steps import masking

VARYING = ("pitch", "stretch", "envelope", "equalise", "room", "codec", "clip", "spec_augment")
PLACED = tuple(name for name in VARYING if name != "spec_augment")  # take `sources`


def apply(step, sources, *, seed=0, rate=16000):
    """What a step makes of sources `[sources, samples, channels]`."""
    corpus = SimpleNamespace(sources=["vocals", "drums"][: len(sources)], sample_rate=rate)
    example = {"sources": np.asarray(sources, np.float32)}
    examples = SimpleNamespace(corpus=corpus)
    return step(example, np.random.default_rng(seed), examples)["sources"]


def noise(*shape, seed=0):
    return (0.1 * np.random.default_rng(seed).standard_normal(shape)).astype(np.float32)


@pytest.mark.parametrize("name", [*VARYING, "room of images"])
def test_odd_sounds_come_out_whole(name):
    if name == "room of images":
        pytest.importorskip("pyroomacoustics")
    step = data.step("room", kind="images") if name == "room of images" else data.step(name)
    for samples in (1, 7, 100, 3000):
        for channels in (1, 2):
            shape = (2, samples, channels)
            for sources in (noise(*shape), np.zeros(shape), 30 * noise(*shape)):
                changed = apply(step, sources)
                assert changed.shape == shape
                assert changed.dtype == np.float32
                assert np.isfinite(changed).all()
                assert np.abs(changed).max() <= 20 * np.abs(sources).max() + 1e-4


@pytest.mark.parametrize("name", VARYING)
def test_a_step_is_a_function_of_its_generator_and_happens_by_its_chance(name):
    sources = noise(2, 8000, 1)
    step = data.step(name)
    np.testing.assert_array_equal(apply(step, sources, seed=3), apply(step, sources, seed=3))
    assert not np.array_equal(apply(step, sources, seed=3), apply(step, sources, seed=4))
    assert not np.array_equal(apply(step, sources, seed=3), sources)
    seldom = data.step(name, probability=0.25)
    short = sources[:, :500]
    count = sum(not np.array_equal(apply(seldom, short, seed=s)[0], short[0]) for s in range(60))
    assert 5 <= count <= 27


@pytest.mark.parametrize("name", PLACED)
def test_sources_that_are_not_named_stay(name):
    sources = noise(2, 4000, 1)
    changed = apply(data.step(name, sources=["vocals"]), sources)
    np.testing.assert_array_equal(changed[1], sources[1])
    assert not np.array_equal(changed[0], sources[0])
    with pytest.raises(ValueError, match=f"no source of step {name} is called 'voice'"):
        apply(data.step(name, sources=["voice"]), sources)


@pytest.mark.parametrize("name", sorted(set(PLACED) - {"room"}))
def test_sources_are_changed_alike_or_each_by_itself(name):
    same = np.repeat(noise(1, 6000, 1), 2, axis=0)
    together = apply(data.step(name, together=True), same)
    np.testing.assert_array_equal(together[0], together[1])
    apart = apply(data.step(name, together=False), same)
    assert not np.array_equal(apart[0], apart[1])


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("pitch", {"low": 0.0, "high": 0.0}, "pitch: low and high of 0 change nothing"),
        (
            "pitch",
            {"low": 2.0, "high": 1.0},
            "pitch: -24 <= low <= high <= 24 is needed; got low=2",
        ),
        ("pitch", {"probability": 0.0}, "pitch: probability must be above 0 and at most 1; got 0"),
        ("gain", {"probability": 1.5}, "gain: probability must be above 0 and at most 1; got 1.5"),
        ("remix", {"probability": -1.0}, "remix: probability must be above 0"),
        ("stretch", {"low": 0.0}, "stretch: 0.25 <= low <= high <= 4 is needed; got low=0"),
        ("stretch", {"low": 1.0, "high": 1.0}, "stretch: low and high of 1 change nothing"),
        ("envelope", {"high": float("inf")}, "envelope: 0.5 <= low <= high <= 2 is needed"),
        ("envelope", {"sources": []}, "envelope: sources must name one or more"),
        ("equalise", {"bands": 0}, "equalise: bands and gain_db must be above 0; got 0 and 6"),
        ("equalise", {"gain_db": 0.0}, "equalise: bands and gain_db must be above 0"),
        ("equalise", {"low_hz": 900.0, "high_hz": 90.0}, "equalise: 1 <= low_hz <= high_hz <= 100"),
        ("room", {"kind": "hall"}, "no kind of room is called 'hall'"),
        ("room", {"low_seconds": 0.0}, "room: 0.02 <= low_seconds <= high_seconds"),
        ("codec", {"codecs": ["aac"]}, "no codec is called 'aac'"),
        ("codec", {"codecs": []}, "codec: codecs must name one or more of mp3, vorbis, opus"),
        ("codec", {"high": 2.0}, "codec: 0 <= low <= high <= 1 is needed; got low=0.3 and high=2"),
        ("clip", {"low_db": 0.0, "high_db": 0.0}, "clip: low_db and high_db of 0 change nothing"),
        ("clip", {"kinds": []}, "clip: kinds must name one or more of hard, soft"),
        ("clip", {"kinds": ["warm"]}, "no kind of clipping is called 'warm'"),
        ("spec_augment", {"bands": 0, "moments": 0}, "spec_augment: bands and moments .* both 0"),
        ("spec_augment", {"band_hz": 0.0}, "band_hz and moment_seconds must be above 0"),
    ],
)
def test_what_has_no_effect_or_makes_no_sense_is_refused(name, options, message):
    with pytest.raises(ValueError, match=message):
        data.step(name, **options)


def test_an_equaliser_raises_or_lowers_one_band_and_leaves_the_rest():
    click = np.zeros((1, 16384, 1))
    click[0, 0] = 1.0
    options = {"bands": 1, "gain_db": 9.0, "low_hz": 1000.0, "high_hz": 1000.0}
    for seed in range(3):
        heard = apply(data.step("equalise", **options), click, seed=seed)[0, :, 0]
        level = 20 * np.log10(np.abs(np.fft.rfft(heard)))
        assert abs(np.abs(level).argmax() * 16000 / 16384 - 1000) < 10
        assert 0.5 < np.abs(level).max() <= 9.0
        assert np.abs(level[[0, -1]]).max() < 0.01


@pytest.mark.parametrize("kind", ["noise", "images"])
def test_a_room_dies_away_in_its_time(kind):
    if kind == "images":
        pytest.importorskip("pyroomacoustics")
    click = np.zeros((2, 16000, 2))
    click[:, 0] = 1.0
    measured = []
    for seconds in (0.2, 0.4):
        step = data.step("room", kind=kind, low_seconds=seconds, high_seconds=seconds)
        heard = apply(step, click)
        assert not np.allclose(heard[0], heard[1])  # each has its place
        assert np.abs(heard[0, :, 0]).argmax() < 80  # the direct path comes at once
        energy = np.square(heard).sum(axis=(0, 2))
        decay = 10 * np.log10(energy[::-1].cumsum()[::-1] / energy.sum())
        from_5_to_25 = np.searchsorted(-decay, 25) - np.searchsorted(-decay, 5)
        measured.append(3 * from_5_to_25 / 16000)
        assert 0.7 * seconds < measured[-1] < 1.35 * seconds
        levels = np.square(heard).sum(axis=(1, 2))
        np.testing.assert_allclose(levels, np.square(click).sum(axis=(1, 2)), rtol=0.01)
    assert measured[1] > 1.5 * measured[0]


def test_computed_rooms_ask_for_their_package(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyroomacoustics", None)
    with pytest.raises(ValueError, match=r"needs pyroomacoustics: pip install 'kzoo\[rooms\]'"):
        data.step("room", kind="images")


@pytest.mark.parametrize("name", ["mp3", "vorbis", "opus"])
@pytest.mark.parametrize("rate", [8000, 16000, 44100])
def test_a_codec_delays_nothing_and_loses_more_the_harder_it_works(name, rate):
    t = np.arange(rate) / rate
    chirp = 0.3 * np.sin(2 * np.pi * (200 * t + 1000 * t**2))
    sound = (chirp + noise(rate) * 0.05)[None, :, None]
    losses = []
    for compression in (0.0, 1.0):
        step = data.step("codec", codecs=[name], low=compression, high=compression)
        heard = apply(step, sound, rate=rate)
        lag = correlate(heard[0, :, 0], sound[0, :, 0]).argmax() - (rate - 1)
        assert lag == 0
        losses.append(np.square(heard - sound).mean() / np.square(sound).mean())
    assert 0 < losses[0] < losses[1] < 0.1


def test_mp3_of_many_channels_is_refused():
    with pytest.raises(ValueError, match="mp3 holds one or two channels; got 3"):
        apply(data.step("codec", codecs=["mp3"]), noise(1, 800, 3))


def test_clipping_cuts_or_bends_at_its_limit():
    sound = noise(1, 4000, 2)
    peak, limit = np.abs(sound).max(), np.abs(sound).max() * 10 ** (-6 / 20)
    hard = apply(data.step("clip", low_db=6.0, high_db=6.0, kinds=["hard"]), sound)
    np.testing.assert_allclose(hard, np.clip(sound, -limit, limit), atol=1e-6)
    soft = apply(data.step("clip", low_db=6.0, high_db=6.0, kinds=["soft"]), sound)
    assert np.abs(soft).max() == pytest.approx(limit * np.tanh(peak / limit), rel=1e-4)
    small = np.abs(sound) < 0.05 * limit
    np.testing.assert_allclose(soft[small], sound[small], rtol=2e-3)
    assert not np.array_equal(hard, soft)


@pytest.mark.parametrize("masks", ["numpy", "tensorflow_io"])
def test_spec_augment_silences_bands_and_moments_of_all_sources_alike(masks):
    if masks == "tensorflow_io":
        pytest.importorskip("tensorflow_io")
    sources, step = noise(2, 32000, 1), functools.partial(data.step, "spec_augment", masks=masks)
    changed = apply(step(bands=1, moments=0, band_hz=4000.0), sources, seed=2)
    again = apply(step(bands=1, moments=0, band_hz=4000.0), sources, seed=2)
    np.testing.assert_array_equal(changed, again)
    lost = np.abs(np.fft.rfft(changed[..., 0])) / np.abs(np.fft.rfft(sources[..., 0]))
    lost = np.median(lost.reshape(2, -1)[:, :16000].reshape(2, 160, 100), axis=2)
    assert ((lost < 0.05) | (lost > 0.95)).mean() > 0.95  # bands of 50 Hz are there or are not
    np.testing.assert_array_equal(lost[0] < 0.5, lost[1] < 0.5)
    assert 0 < (lost[0] < 0.5).sum() <= 4000 / 50
    options = {"bands": 0, "moments": 1, "moment_seconds": 0.5}
    changed = apply(step(**options), sources, seed=2)
    silent = [np.square(source.reshape(-1, 160)).mean(axis=1) < 1e-9 for source in changed]
    np.testing.assert_array_equal(silent[0], silent[1])
    assert 0 < silent[0].sum() <= 50
    assert np.diff(silent[0].astype(int)).clip(0).sum() == 1  # one moment


def test_masks_of_tensorflow_io_are_drawn_anew_and_leave_its_seed_alone():
    pytest.importorskip("tensorflow_io")
    import tensorflow as tf

    options = {"bands": 2, "widest_bins": 9.0, "moments": 1, "longest_frames": 1000.0}
    tf.random.set_seed(1)
    expected = float(tf.random.uniform(()))
    tf.random.set_seed(1)
    first, other = (
        masking.tensorflow_io_masks(np.random.default_rng(seed), 50, 40, **options)
        for seed in (1, 2)
    )
    assert float(tf.random.uniform(())) == expected
    assert first.shape == (50, 40)
    assert not np.array_equal(first, other)


def test_without_tensorflow_io_a_line_says_how_to_have_it(monkeypatch):
    masking._tensorflow_io.cache_clear()
    monkeypatch.setitem(sys.modules, "tensorflow_io", None)
    with pytest.raises(ImportError, match=r"pip install 'kzoo\[tfio\]'"):
        data.step("spec_augment", masks="tensorflow_io")


def test_masks_are_as_wide_as_is_said_and_anywhere():
    widths, places = [], []
    rng = np.random.default_rng(0)
    for _ in range(300):
        keep = masking.numpy_masks(
            rng,
            50,
            80,
            bands=1,
            widest_bins=20,
            moments=0,
            longest_frames=0,
        )
        assert (keep == keep[0]).all()
        masked = np.flatnonzero(keep[0] == 0)
        widths.append(len(masked))
        places += [masked.mean()] if len(masked) else []
    assert (min(widths), max(widths)) == (0, 20)
    assert np.mean(widths) == pytest.approx(10, abs=1)
    assert np.mean(places) == pytest.approx(39.5, abs=4)
