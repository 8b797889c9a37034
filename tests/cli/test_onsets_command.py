"""`kzoo onsets` as its users meet it, and how peaks become onsets."""

import csv
import sys

import keras
import numpy as np
import pytest
import soundfile

import kzoo
from kzoo import cli, models, presets
from kzoo.listening import FrameListener, Listener, OnsetDetector
from kzoo.listening.onset_files import write_clicks
from kzoo.listening.onsets import THRESHOLD, peaks, smoothed

RATE = 8000


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """Two presets of random weights that say much of what they hear: of one name and of two."""
    folder = tmp_path_factory.mktemp("presets")

    def made(*names):
        keras.utils.set_random_seed(3)
        options = {"variant": "tiny", "names": list(names)}
        model = models.build("onset_cnn", **options)
        model.get_layer("standardised").mean.assign(np.full((18, 2), -40.0))
        model.get_layer("standardised").scale.assign(np.full((18, 2), 0.03))
        kernel = model.get_layer("logits").kernel
        kernel.assign(2.4 * np.random.default_rng(1).standard_normal(kernel.shape))
        card = {
            "task": "listening", "sample_rate": RATE, "channels": 1,
            "trained": "not at all: random weights from a seed",
            "model": {"name": "onset_cnn", "options": options},
        }  # fmt: skip
        return presets.save_to_preset(model, folder / "_".join(names), card)

    return made("onset"), made("low", "high")


@pytest.fixture(scope="module")
def detector(tiny):
    return OnsetDetector(tiny[0])


@pytest.fixture
def run(monkeypatch, capfd, tiny):
    """Run `kzoo onsets WORDS...`; returns (exit status, stdout, stderr)."""

    def call(*words):
        words = ["kzoo", "onsets", *map(str, words)]
        if "-p" not in words:
            words += ["-p", str(tiny[0])]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capfd.readouterr()

    return call


@pytest.fixture
def song(tmp_path, rng):
    """Three seconds of strokes, in two channels that differ."""
    sound = 0.001 * rng.standard_normal((3 * RATE, 2))
    for start in range(2000, 3 * RATE - 2000, 3000):
        decay = np.exp(-np.arange(2000) / 300)[:, None]
        sound[start : start + 2000] += 0.4 * decay * rng.standard_normal((2000, 1))
    path = tmp_path / "song.wav"
    soundfile.write(path, sound, RATE, subtype="FLOAT")
    return path


def rows(text):
    header, *lines = csv.reader(text.splitlines())
    return header, lines


def test_an_exported_stream_hears_what_its_preset_hears(run, tiny, song, tmp_path):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    file = kzoo.export(tiny[0], "tflite", tmp_path / "files")["path"]
    (stream,) = (tmp_path / "files").glob("*_stream.tflite")
    sound, _ = soundfile.read(song, dtype="float32")
    for samples in (len(sound), 1000, 1):
        found, expected = (FrameListener(p)(sound[:samples], RATE) for p in (stream, tiny[0]))
        np.testing.assert_array_equal(found.times_seconds, expected.times_seconds)
        np.testing.assert_allclose(found.probabilities, expected.probabilities, atol=1e-4)
    status, out, err = run(song, "-p", stream, "-o", "-", "--threshold", 0.3)
    assert status == 0, err
    assert len(rows(out)[1]) == len(rows(run(song, "-o", "-", "--threshold", 0.3)[1])[1]) > 0
    assert "_stream.tflite, which kzoo export writes" in run(song, "-p", file)[2]
    assert "device needs TensorFlow; leave it out" in run(song, "-p", stream, "--device", "cpu")[2]
    with pytest.raises(presets.PresetError, match="tells of frames, not of windows"):
        Listener(stream)


def test_peaks_are_higher_than_neighbours_and_threshold_and_of_two_close_ones_one_stays():
    curve = np.array([0.5, 0.1, 0.3, 0.3, 0.3, 0.1, 0.9, 0.2, 0.8, 0.1, 0.29, 0.1, 0.4])
    assert peaks(curve, 100, 0.3, 0.02).tolist() == [0, 3, 6, 8, 12]
    assert peaks(curve, 100, 0.3, 0.03).tolist() == [0, 3, 6, 12]
    assert peaks(curve, 100, 0.95, 0.03).tolist() == []
    assert peaks(np.array([0.6]), 100, 0.3, 0.03).tolist() == [0]


@pytest.mark.parametrize(("rate", "frames"), [(100, 5), (62.5, 3), (10, 1)])
def test_smoothing_is_the_hamming_window_of_50_ms(rate, frames):
    curve = np.zeros(21)
    curve[10] = 1.0
    window = np.hamming(frames) if frames > 1 else np.ones(1)
    expected = np.zeros(21)
    expected[10 - frames // 2 : 11 + frames // 2] = window / window.sum()
    np.testing.assert_allclose(smoothed(curve, rate), expected)
    assert len(smoothed(np.ones(1), rate)) == 1


def test_onsets_are_the_peaks_of_what_the_model_says(detector, tiny, song):
    sound, _ = soundfile.read(song, dtype="float32")
    curve = presets.from_preset(tiny[0])(sound.mean(axis=1)[None, :, None])[0, :, 0]
    curve = smoothed(np.asarray(curve), RATE / 128)
    expected = peaks(curve, RATE / 128, THRESHOLD, 0.03)
    assert len(expected) > 3
    times, strengths = kzoo.onsets(sound, RATE, tiny[0])
    np.testing.assert_allclose(times, expected * 128 / RATE)
    np.testing.assert_allclose(strengths, curve[expected], atol=1e-5)
    assert len(kzoo.onsets(sound, RATE, tiny[0], threshold=1.0)[0]) == 0
    parts = [sound[:999], sound[999:]]
    np.testing.assert_array_equal(detector.detect(parts, RATE)[0].times_seconds, times)
    for options, message in (
        ({"threshold": 2}, "threshold must be 0 to 1; got 2"),
        ({"distance_seconds": -1}, "distance_seconds must not be negative; got -1"),
    ):
        with pytest.raises(ValueError, match=message):
            OnsetDetector(tiny[0], **options)


def test_detectors_are_scored_beside_librosa(tiny, detector, song):
    mir_eval = pytest.importorskip("mir_eval", reason="pip install 'kzoo[eval]'")
    song.with_suffix(".onsets").write_text("0.25\n0.625\n1.0\n")
    report = kzoo.evaluate(song.parent, [tiny[0]])
    assert [row.system for row in report.averages] == ["onset", "librosa"]
    found = detector(*soundfile.read(song, dtype="float32")).times_seconds
    expected = mir_eval.onset.f_measure(np.array([0.25, 0.625, 1.0]), found)
    scores = report.scores("onset", "onsets")
    np.testing.assert_allclose(
        [scores[k] for k in ("F", "precision", "recall")], expected, atol=1e-5
    )


def test_every_option_changes_what_is_written(run, tiny, song, detector, tmp_path):
    pytest.importorskip("matplotlib", reason="pip install 'kzoo[plot]'")
    place = tmp_path / "a"
    status, _, err = run(song, "-o", place, "--plot", "--clicks")
    assert status == 0, err
    assert sorted(p.name for p in place.iterdir()) == ["song.csv", "song.png", "song.wav"]
    assert (place / "song.png").read_bytes()[:4] == b"\x89PNG"
    header, lines = rows((place / "song.csv").read_text())
    onsets = detector(*soundfile.read(song, dtype="float32"))
    assert header == ["time_s", "strength"]
    expected = np.stack([onsets.times_seconds, onsets.strengths], axis=1)
    np.testing.assert_allclose(np.array(lines, float), expected, atol=6e-4)
    assert f"song.wav: 3.0 s, {len(lines)} onsets -> " in err
    assert run(song, "-o", place)[0] == 1  # exists
    assert run(song, "-o", place, "--overwrite", "-q")[2] == ""
    strongest = sorted(onsets.strengths)[-2]
    status, out, _ = run(song, "-o", "-", "--threshold", strongest - 1e-6)
    assert status == 0
    assert len(rows(out)[1]) == 2 < len(lines)
    apart = np.array(rows(run(song, "-o", "-", "--distance-ms", 600)[1])[1], float)[:, 0]
    assert np.diff(apart).min() > 0.55 > np.diff(onsets.times_seconds).min()
    header, lines = rows(run(song, "-o", "-", "-p", tiny[1])[1])
    assert header == ["time_s", "strength", "name"]
    assert {name for _, _, name in lines} <= {"low", "high"}
    assert "'gpu:99'" in run(song, "-o", "-", "--device", "gpu:99")[2]


def test_clicks_lie_on_the_onsets_of_the_recording(song, tmp_path):
    times = np.array([0.0, 0.5, 0.505, 2.999])
    write_clicks(tmp_path / "clicks.wav", song, times)
    sound, rate = soundfile.read(tmp_path / "clicks.wav")
    before, _ = soundfile.read(song)
    assert (rate, sound.shape) == (RATE, before.shape)
    added = sound - 0.5 * before
    clicks = np.zeros(len(before) + 240)
    seconds = np.arange(240) / RATE
    for time in times:
        at = round(time * RATE)
        clicks[at : at + 240] += 0.5 * np.sin(2 * np.pi * 2000 * seconds) * np.exp(-seconds / 0.006)
    np.testing.assert_allclose(added, np.repeat(clicks[: len(before), None], 2, 1), atol=1e-4)
    np.testing.assert_allclose(added[2000:3900], 0, atol=1e-4)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("-o", "-", "--clicks"),
            "stdout takes the CSV of one recording; got 1 recordings, csv, w",
        ),
        (("-p", "crepe_tiny"), "preset crepe_tiny is no listener; its task is pitch"),
        (("--threshold", "2"), "less than or equal to 1"),
        (("--distance-ms", "-1"), "greater than or equal to 0"),
    ],
)
def test_a_mistake_is_one_line(run, song, words, message):
    status, _, err = run(song, *words)
    assert status != 0
    assert message in err


def test_one_bad_file_loses_no_other(run, song, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    status, _, err = run(bad, song, "-o", tmp_path / "out")
    assert status == 1
    assert "bad.wav" in err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["song.csv"]
