"""Solo recordings: followed once, silence shortened, read by frames, summed up for transfer."""

import sys
import types

import numpy as np
import pytest
import soundfile

from kzoo import cli, config, data
from kzoo.cli import data as data_commands
from kzoo.data import solo

RATE, HOP = 8000, 32


def tone(f0_hz, seconds, level=0.3):
    return level * np.sin(2 * np.pi * f0_hz * np.arange(int(seconds * RATE)) / RATE)


def estimate(waveform, sample_rate):
    """The truth about `recordings`: 440 Hz where it sounds."""
    frames = 1 + len(waveform) // HOP
    level = np.array([np.abs(waveform[k * HOP : k * HOP + HOP]).max(initial=0)
                      for k in range(frames)])  # fmt: skip
    return np.where(level > 0.01, 440.0, 100.0), np.where(level > 0.01, 0.9, 0.1)


@pytest.fixture
def recordings(tmp_path):
    folder = tmp_path / "violin"
    (folder / "suite").mkdir(parents=True)
    quiet = np.zeros(4 * RATE)
    played = np.concatenate([tone(440, 1.0), quiet, tone(440, 1.0)])
    soundfile.write(folder / "suite" / "one.wav", np.stack([played, played], 1), RATE)
    soundfile.write(folder / "two.flac", tone(440, 2.0), RATE)
    soundfile.write(folder / "silent.wav", quiet, RATE)
    return folder


@pytest.fixture
def prepared(recordings, tmp_path):
    lines = []
    solo.prepare(recordings, tmp_path / "out", estimate=estimate, sample_rate=RATE, hop_length=HOP,
                 say=lines.append)  # fmt: skip
    assert len(lines) == 1
    assert "silent.wav" in lines[0]
    return tmp_path / "out"


def test_long_silences_become_one_second_and_pitch_goes_on_through_them(prepared):
    corpus = data.open_corpus("solo", path=str(prepared))
    assert [name for name, _ in corpus.tracks] == ["suite/one", "two"]
    assert corpus.tracks[0][1] == pytest.approx(3 * RATE, abs=20 * HOP)
    found = corpus.read(0, 0, 3 * RATE)
    np.testing.assert_allclose(found["f0_hz"], 440, rtol=1e-5)
    loudness = found["loudness_db"][:, 0]
    silent = loudness < -70
    assert silent.sum() == pytest.approx(RATE / HOP, abs=20)
    assert not silent[: RATE // HOP - 10].any()


def test_frames_and_samples_of_a_segment_belong_together(prepared, recordings):
    corpus = data.open_corpus("solo", path=str(prepared), include=["two"])
    found = corpus.read(0, 10 * HOP + 5, 100 * HOP)
    assert found["f0_hz"].shape == found["loudness_db"].shape == (100, 1)
    played, _ = soundfile.read(recordings / "two.flac")
    np.testing.assert_allclose(found["waveform"][:, 0], played[10 * HOP : 110 * HOP], atol=1e-4)
    past = corpus.read(0, 2 * RATE - 10 * HOP, 20 * HOP)
    np.testing.assert_array_equal(past["waveform"][-10 * HOP :], 0)
    np.testing.assert_array_equal(past["loudness_db"][-10:], -80)
    np.testing.assert_allclose(past["f0_hz"], 440, rtol=1e-5)


def test_examples_and_windows_take_it_like_any_corpus(prepared):
    corpus = data.open_corpus("solo", path=str(prepared))
    examples = data.Examples(corpus, samples=50 * HOP, seed=1)
    for key, value in examples.example(3).items():
        np.testing.assert_array_equal(value, examples.example(3)[key])
    windows = data.Windows(corpus, samples=100 * HOP)
    heard = sum(len(windows.example(k)["waveform"]) for k in range(len(windows)))
    assert heard >= sum(samples for _, samples in corpus.tracks)


def test_statistics_are_of_the_frames_that_have_a_pitch(prepared):
    found = data.open_corpus("solo", path=str(prepared)).statistics()
    assert found["midi"]["mean"] == pytest.approx(69, abs=1e-3)
    assert found["midi"]["std"] == pytest.approx(0, abs=1e-3)
    quantiles = found["loudness_db"]["quantiles"]
    assert list(quantiles) == sorted(quantiles)
    assert found["loudness_db"]["mean"] > -30
    assert 0.7 < found["voiced"] < 0.9


def test_what_is_there_already_is_kept(prepared, recordings):
    def never(waveform, sample_rate):
        raise AssertionError("followed again")

    settings = {"sample_rate": RATE, "hop_length": HOP}
    solo.prepare(recordings, prepared, estimate=never, exclude=["silent"], **settings)
    soundfile.write(recordings / "two.flac", tone(440, 1.0), RATE)
    with pytest.raises(AssertionError, match="again"):
        solo.prepare(recordings, prepared, estimate=never, exclude=["silent"], **settings)
    with pytest.raises(ValueError, match="hop_length=32, not 64"):
        solo.prepare(recordings, prepared, estimate=never, sample_rate=RATE, hop_length=64)


def test_an_estimate_of_another_hop_is_refused(recordings, tmp_path):
    with pytest.raises(ValueError, match="set its hop to 8 ms"):
        solo.prepare(recordings, tmp_path / "x", estimate=estimate, sample_rate=RATE, hop_length=64)


def test_a_file_that_is_cut_short_is_refused(prepared):
    file = prepared / "00000_controls.raw"
    file.write_bytes(file.read_bytes()[:-8])
    with pytest.raises(ValueError, match="cut short"):
        data.open_corpus("solo", path=str(prepared))


def test_gaps_are_lines_on_the_scale_of_notes():
    f0_hz = np.array([5, 220, 1, 1, 1, 880, 3], np.float32)
    voiced = np.array([0, 1, 0, 0, 0, 1, 0], bool)
    expected = [220, 220, 220 * 2**0.5, 440, 440 * 2**0.5, 880, 880]
    np.testing.assert_allclose(solo.interpolate_unvoiced(f0_hz, voiced), expected, rtol=1e-6)


def test_only_the_middle_of_a_long_silence_goes():
    silent = np.array([0, 1, 1, 0, 1, 1, 1, 1, 1, 0, 1, 1, 1], bool)
    assert list(solo.sounding(silent, 3)) == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11, 12]


def test_the_command_follows_a_folder_and_says_what_it_heard(
    recordings, tmp_path, monkeypatch, capsys
):
    asked = []

    class Tracker:
        def __init__(self, method, *, hop_ms):
            asked.append((method, hop_ms))

        estimate = staticmethod(estimate)

    module = types.ModuleType("kzoo.pitch_tracking")
    module.PitchTracker = Tracker
    monkeypatch.setitem(sys.modules, "kzoo.pitch_tracking", module)
    words = f"kzoo data prepare {recordings} -o {tmp_path / 'out'} --kind solo --pitch truth"
    words = [*words.split(), "--sample-rate", str(RATE), "--exclude", "silent"]
    monkeypatch.setattr(sys, "argv", words)
    with pytest.raises(SystemExit) as stop:
        cli.main()
    assert not stop.value.code
    assert asked == [("truth", 4.0)]
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("2 recordings, 0.1 minutes, 8000 Hz; ")
    assert lines[1].startswith("midi: mean 69.0, deviation 0.0 notes")


def test_a_rate_without_whole_hops_is_refused(tmp_path):
    with pytest.raises(ValueError, match="got 44117"):
        data_commands.prepare("x", tmp_path, kind="solo", sample_rate=44117, quiet=True)


def test_recordings_and_what_was_made_of_them_can_be_checked(prepared, recordings, capfd):
    data_commands.check(str(recordings), kind="solo", quiet=True)
    out = capfd.readouterr().out
    assert "suite/one: 6.0 s, 8000 Hz" in out
    assert "silent: audio is silent" in out
    data_commands.check(str(prepared), quiet=True)
    assert "2 recordings, 0.1 minutes, 8000 Hz" in capfd.readouterr().out
    with pytest.raises(config.ConfigError, match="subset"):
        data_commands.check(str(prepared), kind="solo", subset="test", quiet=True)
    for part in ("waveform", "controls"):
        file = prepared / f"00001_{part}.raw"
        file.write_bytes(bytes(file.stat().st_size))
    (prepared / "00000_controls.raw").unlink()
    with pytest.raises(SystemExit):
        data_commands.check(str(prepared), kind="solo", quiet=True)
    err = capfd.readouterr().err
    assert "00001_waveform.raw: is damaged" in err
    assert "00001_controls.raw: is damaged" in err
    assert "00000_controls.raw: is missing" in err
