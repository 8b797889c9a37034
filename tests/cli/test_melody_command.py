"""`kzoo melody` as its users meet it: whole files out, one line for a mistake, any length."""

import csv
import sys

import keras
import numpy as np
import pytest
import soundfile

import kzoo
from kzoo import cli, models, presets
from kzoo.audio import AudioWriter
from kzoo.engines import litert
from kzoo.pitch_tracking.melody import Melody, MelodyTracker, notes
from kzoo.pitch_tracking.melody_files import Tone, write_midi

RATE = 8000


@pytest.fixture(scope="module")
def tiny(tmp_path_factory):
    """A preset of random weights that say something of what they hear; and its model."""
    keras.utils.set_random_seed(3)
    model = models.build("deep_salience", variant="tiny")
    rng = np.random.default_rng(0)
    last = model.get_layer("deep_salience_core").get_layer("salience")
    last.kernel.assign(40 * rng.standard_normal(last.kernel.shape))
    card = {
        "task": "pitch", "sample_rate": RATE, "channels": 1,
        "trained": "not at all: random weights from a seed",
        "model": {"name": "deep_salience", "options": {"variant": "tiny"}},
    }  # fmt: skip
    return presets.save_to_preset(model, tmp_path_factory.mktemp("presets") / "tiny", card), model


@pytest.fixture(scope="module")
def tracker(tiny):
    return MelodyTracker(tiny[0])


@pytest.fixture
def run(monkeypatch, capfd, tiny, tracker):
    """Run `kzoo melody WORDS...`; returns (exit status, stdout, stderr)."""
    monkeypatch.setattr(
        "kzoo.pitch_tracking.melody.MelodyTracker",
        lambda preset, device=None, engine="auto": (
            MelodyTracker(preset, device=device) if device else tracker
        ),
    )

    def call(*words):
        words = ["kzoo", "melody", *map(str, words)]
        if "-p" not in words:
            words += ["-p", str(tiny[0])]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, *capfd.readouterr()

    return call


@pytest.fixture
def song(tmp_path, rng):
    """Six seconds, stereo, notes and noise; longer than the stretches of the tracker."""
    time = np.arange(6 * RATE) / RATE
    hz = np.repeat([220.0, 330.0, 262.0], 2 * RATE)
    tone = 0.3 * np.sin(2 * np.pi * hz * time) + 0.2 * np.sin(4 * np.pi * hz * time)
    sound = np.stack([tone, tone], axis=1) + 0.02 * rng.standard_normal((6 * RATE, 2))
    sound *= np.minimum(1, 5 * np.minimum(time, 6 - time))[:, None]
    path = tmp_path / "song.wav"
    soundfile.write(path, sound, RATE, subtype="FLOAT")
    return path


def rows(text):
    header, *lines = csv.reader(text.splitlines())
    return header, np.array(lines, float)


def test_a_melody_is_scored_as_it_is_followed(tiny, tracker, tmp_path):
    sound = np.random.default_rng(5).uniform(-0.3, 0.3, RATE // 2)
    soundfile.write(tmp_path / "a.wav", sound, RATE)
    sound, _ = soundfile.read(tmp_path / "a.wav")
    found = tracker(sound, RATE)
    rows = zip(found.times_seconds, np.where(found.confidence >= 0.3, found.f0_hz, 0), strict=True)
    (tmp_path / "a.csv").write_text("\n".join(f"{time},{hertz}" for time, hertz in rows))
    report = kzoo.evaluate(tmp_path, [tiny[0]], baselines=())
    assert report.scores("tiny", "melody")["OA"] == 1


def test_a_recording_in_stretches_is_the_model_on_the_whole(tiny, tracker, song):
    sound, _ = soundfile.read(song, dtype="float32")
    melody = tracker(sound, RATE)
    whole = np.asarray(tiny[1](sound.mean(axis=1)[None, :, None]))[0]
    assert melody.salience.shape == whole.shape == (1 + len(sound) // 128, 36)
    # At both ends the model fills its convolutions with zeros, and the tracker hears silence.
    np.testing.assert_allclose(melody.salience[7:-7], whole[7:-7], atol=2e-3)
    np.testing.assert_array_equal(melody.confidence, melody.salience.max(axis=1))
    expected = 110 * 2 ** (melody.salience.argmax(axis=1) / 12)
    np.testing.assert_allclose(melody.f0_hz, expected)
    blocks = [sound[:1000], sound[1000:33000], sound[33000:]]
    parts = list(tracker.track(lambda: iter(blocks), RATE))
    assert len(parts) > 1
    np.testing.assert_allclose(
        np.concatenate([part.salience for part in parts]), melody.salience, atol=1e-5
    )


def test_a_csv_says_what_the_tracker_and_the_function_say(run, tiny, tracker, song, tmp_path):
    status, _, err = run(song, "-o", tmp_path / "out", "--threshold", 0.6)
    assert status == 0, err
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["song.csv"]
    header, table = rows((tmp_path / "out" / "song.csv").read_text())
    assert header == ["time_s", "f0_hz", "voiced", "confidence"]
    sound, _ = soundfile.read(song, dtype="float32")
    melody = tracker(sound, RATE)
    voiced = melody.confidence >= 0.6
    assert 0 < voiced.mean() < 1
    columns = [melody.times_seconds, melody.f0_hz, voiced, melody.confidence]
    np.testing.assert_allclose(table, np.stack(columns, axis=1), atol=1e-3)
    _, f0_hz, salience = kzoo.melody(sound, RATE, tiny[0], threshold=0.6)
    np.testing.assert_array_equal(np.isnan(f0_hz), salience < 0.6)
    assert "song.wav: 6.0 s, melody in" in err


def test_litert_hears_what_keras_hears(run, tiny, tracker, song, tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path / "cache"))
    preset = presets.open_preset(tiny[0])
    assert not litert.is_made(preset)
    sound, _ = soundfile.read(song, dtype="float32")
    found = MelodyTracker(tiny[0], engine="litert")(sound, RATE)
    assert litert.is_made(preset)  # so that "auto" takes it from now on
    for ours, theirs in zip(found, tracker(sound, RATE), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-3)
    for words in (("--engine", "litert", "--device", "cpu"), ("--engine", "torch")):
        status, _, err = run(song, "-o", tmp_path / "out", *words)
        assert (status, "Traceback" in err) == (1, False), err
    assert "engine must be one of auto, litert, tensorflow; got 'torch'" in err
    assert "which --engine litert runs" in run(song, "-p", tmp_path / "a.tflite")[2]


def test_every_option_changes_what_is_written(run, tiny, song, tmp_path, monkeypatch):
    pytest.importorskip("matplotlib", reason="pip install 'kzoo[plot]'")
    mido = pytest.importorskip("mido", reason="pip install 'kzoo[midi]'")
    place = tmp_path / "a"
    status, _, err = run(song, "-o", place, "--plot", "--sonify", "--midi", "--threshold", 0.0)
    assert status == 0, err
    assert sorted(p.suffix for p in place.iterdir()) == [".csv", ".mid", ".png", ".wav"]
    assert (place / "song.png").read_bytes()[:4] == b"\x89PNG"
    _, table = rows((place / "song.csv").read_text())
    assert soundfile.info(place / "song.wav").frames == 128 * len(table)
    starts = [m for m in mido.MidiFile(place / "song.mid").tracks[0] if m.type == "note_on"]
    assert starts
    assert run(song, "-o", place)[0] == 1  # exists
    assert run(song, "-o", place, "--overwrite", "-q")[2] == ""
    status, out, _ = run(song, "-o", "-", "--threshold", 0.6)
    assert status == 0
    assert 0 < rows(out)[1][:, 2].mean() < 1 == table[:, 2].mean()
    status, _, err = run(song, "-o", "-", "--device", "gpu:99")
    assert status == 1
    assert "'gpu:99'" in err


def test_the_tone_has_the_pitch_of_the_melody_and_is_silent_between(tmp_path):
    f0_hz = np.concatenate([np.full(20, 200.0), np.full(20, 900.0), np.full(20, 300.0)])
    voiced = np.arange(60) // 20 != 1
    with AudioWriter(tmp_path / "tone.wav", RATE, 1) as writer:
        tone = Tone(writer, 128)
        tone.play(f0_hz[:7], voiced[:7])
        tone.play(f0_hz[7:], voiced[7:])
    sound, rate = soundfile.read(tmp_path / "tone.wav")
    assert (rate, len(sound)) == (RATE, 60 * 128)
    for first, hz in ((3, 200.0), (43, 300.0)):
        part = sound[first * 128 : first * 128 + 1600]
        spectrum = np.abs(np.fft.rfft(part * np.hanning(1600)))
        assert spectrum.argmax() * RATE / 1600 == hz
        np.testing.assert_allclose(np.abs(part).max(), 0.3, atol=0.01)
    np.testing.assert_array_equal(sound[21 * 128 : 40 * 128], 0)
    assert np.abs(np.diff(sound)).max() < 0.3 * 2 * np.pi * 310 / RATE  # no click


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (
            ("-o", "-", "--midi"),
            "stdout takes the CSV of one recording; got 1 recordings, csv, mid",
        ),
        (("-p", "crepe_tiny"), "crepe_tiny hears no melodies; there are deep_salience_melody"),
        (("--threshold", "2"), "less than or equal to 1"),
    ],
)
def test_a_mistake_is_one_line(run, song, words, message):
    status, _, err = run(song, *words)
    assert status != 0
    assert message in err


def test_one_bad_file_loses_no_other(run, song, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"no sound")
    status, _, err = run(bad, song, "-o", tmp_path / "out", "--sonify")
    assert status == 1
    assert "bad.wav" in err
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["song.csv", "song.wav"]


def test_notes_are_runs_of_one_semitone_and_short_ones_are_left_out():
    hz = np.array([440, 442, 438, 466.2, 440, 440, 440, 440, 220, 220], float)
    confidence = np.array([0.9, 0.7, 0.8, 0.9, 0.9, 0.5, 0.1, 0.9, 0.6, 0.6])
    times = np.arange(10) / 10

    def stretch(a, b):
        return Melody(times[a:b], hz[a:b], confidence[a:b], np.zeros((b - a, 1)))

    found = list(notes([stretch(0, 2), stretch(2, 10)], 10.0, 0.3, least_seconds=0.15))
    expected = [(69, 0.0, 0.3, 0.8), (69, 0.4, 0.6, 0.7), (57, 0.8, 1.0, 0.6)]
    np.testing.assert_allclose(found, expected)


def test_midi_has_the_notes_at_their_times(tmp_path):
    mido = pytest.importorskip("mido", reason="pip install 'kzoo[midi]'")
    write_midi(tmp_path / "a.mid", [(69, 0.0, 0.3, 0.8), (57, 0.3, 1.0, 0.6)])
    seconds, found = 0.0, []
    for message in mido.MidiFile(tmp_path / "a.mid"):
        seconds += message.time
        if message.type.startswith("note"):
            found.append((message.type, message.note, message.velocity, round(seconds, 3)))
    assert found == [
        ("note_on", 69, 102, 0.0),
        ("note_off", 69, 0, 0.3),
        ("note_on", 57, 76, 0.3),
        ("note_off", 57, 0, 1.0),
    ]
