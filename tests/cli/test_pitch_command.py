"""`kzoo pitch` as its users meet it: whole files out, one line for a mistake."""

import csv
import sys

import made_crepe as made
import numpy as np
import pytest
import soundfile

from kzoo import cli
from kzoo.pictures.pitch import Overview
from kzoo.pitch_tracking import Pitch, PitchTracker
from kzoo.pitch_tracking.files import follow_file


@pytest.fixture(scope="module")
def nano(tmp_path_factory):
    """A preset folder, whose network is built once for each hop."""
    with pytest.MonkeyPatch.context() as patch:
        made.networks_once(patch)
        yield made.nano_preset(tmp_path_factory.mktemp("presets") / "nano")


@pytest.fixture
def run(monkeypatch, capfd):
    """Run `kzoo pitch WORDS...`; returns (exit status, stdout, stderr)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["kzoo", "pitch", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capfd.readouterr()

    return call


@pytest.fixture
def violin(tmp_path, rng):
    """Not a violin, but stereo at 22.05 kHz with a silent start."""
    noise = 0.1 * rng.standard_normal((22050, 2))
    noise[:8000] = 0
    path = tmp_path / "violin.wav"
    soundfile.write(path, noise, 22050, subtype="FLOAT")
    return path


def rows(path):
    with open(path, newline="") as file:
        header, *lines = csv.reader(file)
    return header, np.array(lines, float)


def test_a_csv_and_a_picture_say_what_the_tracker_says(run, nano, violin, tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'kzoo[plot]'")
    status, _, err = run(violin, "-o", tmp_path / "out", "--method", nano, "--hop-ms", 8)
    assert status == 0, err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["violin.csv", "violin.png"]
    header, table = rows(tmp_path / "out" / "violin.csv")
    assert header == ["time_s", "f0_hz", "confidence", "level_db"]
    waveform, rate = soundfile.read(violin, dtype="float32")
    expected = PitchTracker(nano, hop_ms=8)(waveform, rate)
    np.testing.assert_allclose(table, np.stack(expected, axis=1), rtol=2e-4, atol=6e-3)
    assert (tmp_path / "out" / "violin.png").read_bytes()[:4] == b"\x89PNG"
    assert "violin.wav: 1.0 s" in err


def test_below_the_threshold_the_pitch_is_zero(run, nano, violin, tmp_path):
    words = ("--no-plot", "--method", nano, "--threshold", 0.5)
    status, out, _ = run(violin, "-o", "-", *words)
    assert status == 0
    _, *lines = csv.reader(out.splitlines())
    table = np.array(lines, float)
    assert ((table[:, 1] == 0) == (table[:, 2] < 0.5)).all()
    assert 0 < (table[:, 1] == 0).mean() < 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.wav"], "none.wav"),
        (["violin.wav", "--hop-ms", "3.99"], "multiples of 0.0625 ms"),
        (["violin.wav", "--method", "spleeter_2stems"], "no pitch tracker"),
        (["violin.wav", "--fmin", "900", "--fmax", "100"], "fmin 900"),
        (["violin.wav", "--decoder", "best"], "got 'best'"),
        (["violin.wav", "other/violin.flac"], "two recordings are called 'violin'"),
        (["violin.wav", "more.wav", "-o", "-"], "stdout takes one recording"),
        (["violin.wav"], "KZOO_OFFLINE"),
    ],
)
def test_a_mistake_is_one_line(run, violin, tmp_path, monkeypatch, words, message):
    monkeypatch.chdir(tmp_path)
    status, _, err = run(*words, "--no-plot")
    assert status == 1
    assert message in err.strip().splitlines()[-1]
    assert len(err.strip().splitlines()) == 1
    assert sorted(p.name for p in tmp_path.iterdir()) == ["violin.wav"]


def test_a_bad_recording_does_not_lose_the_others(run, nano, violin, tmp_path):
    (tmp_path / "bad.wav").write_text("no sound")
    out = tmp_path / "out"
    status, _, err = run(tmp_path / "bad.wav", violin, "-o", out, "--method", nano, "--no-plot")
    assert status == 1
    assert "bad.wav" in err.splitlines()[0]
    assert [p.name for p in out.iterdir()] == ["violin.csv"]


def test_what_is_there_stays_unless_overwriting_is_asked_for(run, nano, violin, tmp_path):
    words = (violin, "-o", tmp_path, "--method", nano, "--no-plot")
    (tmp_path / "violin.csv").write_text("years of work")
    status, _, err = run(*words)
    assert (status, "--overwrite replaces it" in err) == (1, True)
    assert (tmp_path / "violin.csv").read_text() == "years of work"
    assert run(*words, "--overwrite")[0] == 0
    assert len(rows(tmp_path / "violin.csv")[1]) == 251


@pytest.mark.parametrize("stop", [KeyboardInterrupt, MemoryError])
def test_nothing_half_written_stays(nano, violin, tmp_path, stop):
    def interrupt(done, total):
        if done > 0.5:
            raise stop

    targets = {"csv": tmp_path / "out" / "violin.csv", "png": tmp_path / "out" / "violin.png"}
    with pytest.raises(stop):
        follow_file(PitchTracker(nano), violin, targets, picture=Overview(), progress=interrupt)
    assert list((tmp_path / "out").iterdir()) == []


def test_the_picture_of_a_long_recording_stays_small(rng, tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'kzoo[plot]'")
    overview = Overview()
    second = rng.standard_normal(16000).astype(np.float32)
    for minute in range(2):
        overview.hear(np.tile(second, 60))
        times = 60 * minute + np.arange(15000) / 250
        overview.follow(Pitch(times, np.full(15000, 440.0), np.ones(15000), np.zeros(15000)))
    assert len(overview._spectrogram._columns) < 2 * 1500
    assert len(overview._points) <= 4 * 1500
    assert overview.seconds == 120
    overview.draw(tmp_path / "long.png", "two minutes")
    assert (tmp_path / "long.png").stat().st_size > 10_000
