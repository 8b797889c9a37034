"""Pitch of whole signals: in tune, the same in any blocks, quiet about silence."""

import made_crepe as made
import numpy as np
import pytest

import kzoo
from kzoo.audio import mono
from kzoo.pitch_tracking import PitchTracker, check_request

RATE = 16000


@pytest.fixture(scope="module", autouse=True)
def networks():
    """Trackers that differ in what they make of a network's answers share it."""
    with pytest.MonkeyPatch.context() as patch:
        made.networks_once(patch)
        yield


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    """A preset of random weights, for what does not depend on them."""
    return made.nano_preset(tmp_path_factory.mktemp("presets") / "nano")


@pytest.fixture(scope="module")
def tracker(nano):
    return PitchTracker(nano)


def sweep(low, high, seconds, rate=RATE):
    """(A sine that glides from low to high, with a softer octave, its frequency per sample)."""
    hertz = low * (high / low) ** (np.arange(round(seconds * rate)) / (seconds * rate))
    phase = 2 * np.pi * np.cumsum(hertz) / rate
    return (0.4 * np.sin(phase) + 0.2 * np.sin(2 * phase)).astype(np.float32), hertz


def cents_off(found, hertz, rate=RATE):
    """Difference at the frames' centres, which are at whole samples."""
    at = np.minimum(np.round(found.times_seconds * rate).astype(int), len(hertz) - 1)
    return 1200 * np.log2(found.f0_hz / hertz[at])


@pytest.mark.parametrize("decoder", ["viterbi", "local_average"])
def test_a_glide_is_followed_within_a_few_cents(decoder):
    signal, hertz = sweep(150, 900, 2.0)
    found = PitchTracker(made.fetched("tiny"), hop_ms=10, decoder=decoder)(signal, RATE)
    inside = slice(10, -10)
    off = cents_off(found, hertz)[inside]
    assert np.median(np.abs(off)) < 6
    assert np.abs(off).max() < 25
    assert found.confidence[inside].min() > 0.5


def test_pyin_follows_a_glide_too():
    pytest.importorskip("librosa", reason="pip install 'kzoo[librosa]'")
    signal, hertz = sweep(200, 300, 0.6)
    found = PitchTracker("pyin", hop_ms=10, fmin_hz=150, fmax_hz=400)(signal, RATE)
    off = cents_off(found, hertz)[10:-10]
    assert np.median(np.abs(off)) < 6
    assert np.abs(off).max() < 25
    assert np.median(found.confidence[10:-10]) > 0.5


@pytest.mark.parametrize("method", ["nano", "pyin"])
def test_frames_lie_a_hop_apart_from_the_first_sample_on(nano, method):
    if method == "pyin":
        pytest.importorskip("librosa", reason="pip install 'kzoo[librosa]'")
    tracker = PitchTracker(nano if method == "nano" else method, fmin_hz=300, fmax_hz=400)
    assert tracker.frame_rate == 250
    signal = np.random.default_rng(0).standard_normal(RATE // 2).astype(np.float32)
    for samples in (1, 64, 8000) if method == "nano" else (63, 3000):
        found = tracker(signal[:samples], RATE)
        assert all(part.shape == (1 + samples // 64,) for part in found)
        np.testing.assert_allclose(found.times_seconds, np.arange(1 + samples // 64) * 0.004)
        assert np.isfinite(found.f0_hz).all()


@pytest.mark.parametrize("size", [7, 1000, 65536])
@pytest.mark.parametrize("decoder", ["viterbi", "local_average"])
def test_how_a_recording_is_cut_into_blocks_does_not_matter(nano, rng, size, decoder):
    tracker = PitchTracker(nano, decoder=decoder)
    signal = 0.1 * rng.standard_normal((RATE, 1)).astype(np.float32)
    if size == 7:
        signal = signal[:3000]
    whole = tracker(signal, RATE)
    parts = list(tracker.track((signal[i : i + size] for i in range(0, len(signal), size)), RATE))
    for found, expected in zip(zip(*parts, strict=True), whole, strict=True):
        np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-6)


def test_any_rate_and_channels_come_to_one_at_sixteen_kilohertz():
    left, _ = sweep(200, 400, 0.5, rate=44100)
    mixed = np.concatenate(list(mono([np.stack([left, 0 * left], axis=1)], 44100, 16000)))
    alone = np.concatenate(list(mono([left[:, None]], 44100, 16000)))
    assert len(mixed) == 8000
    np.testing.assert_allclose(mixed, alone / 2, atol=1e-6)


def test_hops_that_are_longer_than_a_frame_work_too(nano, rng):
    signal = 0.1 * rng.standard_normal((5 * RATE, 1)).astype(np.float32)
    sparse = PitchTracker(nano, hop_ms=100, decoder="local_average")
    dense = PitchTracker(nano, hop_ms=10, decoder="local_average")
    parts = list(sparse.track([signal[:50000], signal[50000:]], RATE))
    found = np.concatenate([part.f0_hz for part in parts])
    np.testing.assert_allclose(found, dense(signal, RATE).f0_hz[::10], rtol=1e-5)


def test_silence_has_no_confidence_and_the_path_runs_straight_on(tracker, rng):
    signal = 0.1 * rng.standard_normal(3 * RATE).astype(np.float32)
    signal[RATE:-RATE] *= 1e-6
    found = tracker(signal, RATE)
    silent = slice(250 + 8, 500 - 8)
    assert (found.confidence[silent] == 0).all()
    assert (found.confidence[:240] > 0).all()
    assert (found.level_db[silent] < -120).all()
    assert found.level_db[:240].mean() == pytest.approx(-20, abs=1)
    jumps = np.abs(1200 * np.log2(found.f0_hz[silent][1:] / found.f0_hz[silent][:-1]))
    assert (jumps > 1).sum() <= 60  # at most what leads from one end to the other


def test_all_silence_is_finite(tracker):
    found = tracker(np.zeros(1000, np.float32), RATE)
    assert np.isfinite(found.f0_hz).all()
    assert (found.confidence == 0).all()


def test_limits_hold(nano, rng):
    signal = 0.1 * rng.standard_normal(RATE).astype(np.float32)
    for decoder in ("viterbi", "local_average"):
        found = PitchTracker(nano, fmin_hz=200, fmax_hz=300, decoder=decoder)(signal, RATE)
        assert found.f0_hz.min() > 195
        assert found.f0_hz.max() < 305


def test_a_recording_is_followed_while_it_comes(nano, rng):
    tracker = PitchTracker(nano, decoder="local_average")
    block = 0.1 * rng.standard_normal((RATE, 1)).astype(np.float32)
    given = taken = 0

    def blocks():
        nonlocal given
        for _ in range(8):
            given += RATE // 64
            yield block
            assert given - taken <= 128 + 16

    for part in tracker.track(blocks(), RATE):
        taken += len(part.f0_hz)
    assert taken == 1 + given


def test_the_seam_gives_two_arrays(tracker, rng):
    signal = 0.1 * rng.standard_normal(RATE).astype(np.float32)
    f0_hz, confidence = tracker.estimate(signal, RATE)
    assert f0_hz.dtype == confidence.dtype == np.float32
    times, same, _ = kzoo.pitch(signal, RATE, tracker.method)
    np.testing.assert_allclose(same, f0_hz, rtol=1e-6)
    assert times[1] == pytest.approx(0.004)
    _, voiced, sure = kzoo.pitch(signal, RATE, tracker.method, threshold=np.median(confidence))
    assert 0.3 < np.isnan(voiced).mean() < 0.7
    np.testing.assert_array_equal(np.isnan(voiced), sure < np.median(confidence))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"hop_ms": 3.99}, "multiples of 0.0625 ms; got 3.99"),
        ({"hop_ms": 0}, "got 0 ms"),
        ({"decoder": "best"}, "viterbi, local_average; got 'best'"),
        ({"fmin_hz": 500, "fmax_hz": 100}, "got fmin 500 and fmax 100"),
        ({"method": "pyin", "fmin_hz": 500, "fmax_hz": 100}, "got fmin 500 and fmax 100"),
        ({"method": "crepe_tine"}, "did you mean 'crepe_tiny'"),
        ({"method": "spleeter_2stems"}, "no pitch tracker; there are crepe_full, crepe_la.*, pyin"),
    ],
)
def test_what_cannot_be_done_is_refused_before_a_backend_loads(options, message):
    with pytest.raises(ValueError, match=message):
        check_request(**{"method": "crepe_tiny", "hop_ms": 4.0, **options})


@pytest.mark.parametrize(
    ("waveform", "message"),
    [
        (np.zeros(100, np.int16), "floating point"),
        (np.zeros((1, 100, 1), np.float32), r"shape \(1, 100, 1\)"),
        (np.full(100, np.nan, np.float32), "NaN"),
        (np.zeros((1, 16000), np.float32), "transpose"),
    ],
)
def test_what_is_no_waveform_is_refused(tracker, waveform, message):
    with pytest.raises(ValueError, match=message):
        tracker(waveform, RATE)
