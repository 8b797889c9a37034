"""`kzoo synthesize`: controls of a file, played in blocks that nobody hears."""

import json
import sys

import keras
import numpy as np
import pytest
import soundfile

from kzoo import cli, models, presets
from kzoo.synthesis import player
from kzoo.synthesis.controls import frames, read_points, rests_as_silence

RATE = 16000


@pytest.fixture
def run(monkeypatch, capfd):
    """Run `kzoo synthesize WORDS...`; (exit status, stderr)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["kzoo", "synthesize", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, capfd.readouterr().err

    return call


def table(path, rows, header="time,f0_hz,loudness_db"):
    path.write_text("\n".join([header, *(",".join(map(str, row)) for row in rows)]) + "\n")
    return path


def sound(path):
    found, rate = soundfile.read(path)
    assert rate == RATE
    return found


def test_a_held_note_is_a_sine_that_never_clicks(run, tmp_path):
    controls = table(tmp_path / "a.csv", [(0, 441.3, -6), (3, 441.3, -6)])
    status, err = run(controls, "-o", tmp_path / "a.wav", "--harmonics", 1, "--noise", -200,
                      "--bit-depth", "float32")  # fmt: skip
    assert status == 0, err
    found = sound(tmp_path / "a.wav")
    assert len(found) == 751 * 64
    turns = np.arange(1, len(found) + 1) * (np.float64(np.float32(441.3)) / RATE)
    np.testing.assert_allclose(found, 10 ** (-6 / 20) * np.sin(2 * np.pi * turns), atol=5e-5)


def test_blocks_make_no_difference(tmp_path, monkeypatch, rng):
    rows = [(k / 10, rng.uniform(100, 400), rng.uniform(-30, -6)) for k in range(21)]
    controls = table(tmp_path / "a.csv", rows)
    made = []
    for block in (256, 37):
        monkeypatch.setattr(player, "BLOCK_FRAMES", block)
        play = player.sinusoids(RATE, 64, harmonics=20, given=False, slope_db=6, noise_db=-20)
        laid = frames(read_points(controls), 250)
        made.append(np.concatenate(list(player.played(play, laid, 64))))
    np.testing.assert_allclose(made[0], made[1], atol=1e-5)
    assert len(made[0]) == 501 * 64


def test_json_and_amplitudes_and_rests(run, tmp_path):
    controls = tmp_path / "a.json"
    controls.write_text(json.dumps({
        "time": [0.0, 0.5, 0.504, 1.0], "f0_hz": [200, 200, 0, 0],
        "harmonics": [[0.0, 0.5]] * 4,
    }))  # fmt: skip
    status, err = run(controls, "-o", tmp_path / "a.wav", "--noise", -100)
    assert status == 0, err
    found = sound(tmp_path / "a.wav")
    spectrum = np.abs(np.fft.rfft(found[:8000])) / 4000
    assert spectrum[200] == pytest.approx(0.5, abs=0.01)  # 400 Hz, bins of 2 Hz
    assert spectrum[100] < 0.01
    assert np.abs(found[8500:]).max() < 1e-3


def test_points_in_any_distance_become_frames_and_pitch_moves_in_notes(tmp_path):
    path = table(tmp_path / "a.csv", [(1, 100, -20), (1.02, 400, -20), (2, 400, -40)])
    found = np.stack(list(frames(read_points(path), 100)))
    assert len(found) == 101
    np.testing.assert_allclose(found[:3, 1], [100, 200, 400])
    np.testing.assert_allclose(found[51, 2], -30, atol=1e-9)


@pytest.mark.parametrize("cuts", [[], [1], [30, 31, 60], [250]])
def test_a_room_is_a_convolution_whatever_the_blocks(rng, cuts):
    dry, room = rng.normal(size=300).astype(np.float32), rng.normal(size=50).astype(np.float32)
    found = np.concatenate(list(player.in_room(np.split(dry, cuts), room)))
    np.testing.assert_allclose(found, np.convolve(dry, room)[:300], atol=1e-5)


def test_what_is_early_keeps_its_level_and_ends_softly():
    found = player.early(np.ones(8000), 8000)
    assert found.shape == (160,)
    assert found[:80] == pytest.approx(1)
    assert 0 < found[-1] < 1e-3
    assert np.all(np.diff(found) <= 0)
    assert player.early(np.ones(3), 8000).shape == (3,)


ROOM = {"reverb_seconds": 0.3}


@pytest.fixture(scope="module")
def in_a_room():
    """A tiny synthesiser of random weights in a room."""
    keras.utils.set_random_seed(0)
    model = models.build("ddsp", variant="tiny", **ROOM)
    model.get_layer("reverb").response.assign(np.random.default_rng(0).normal(0, 0.1, 2400))
    return model


@pytest.mark.parametrize("room", [pytest.param({}, marks=pytest.mark.slow), ROOM])
def test_a_trained_synthesiser_plays_the_file_as_its_model_does(
    run, in_a_room, tmp_path, monkeypatch, room
):
    monkeypatch.setattr(player, "BLOCK_FRAMES", 64)
    dry = keras.Model(in_a_room.input, in_a_room.get_layer("reverb").input)
    model = in_a_room if room else dry
    card = {
        "name": "x", "task": "synthesis", "sample_rate": 8000, "trained": "not at all",
        "model": {"name": "ddsp", "options": {"variant": "tiny", **room}},
    }  # fmt: skip
    presets.save_to_preset(model, tmp_path / "preset", card)
    rows = [(k / 250, 200 + k / 2, -20 - k / 100) for k in range(90)]  # two blocks
    controls = table(tmp_path / "a.csv", rows)
    words = ("-o", tmp_path / "a.wav", "--bit-depth", "float32")
    assert "name one (-p)" in run(controls, *words, "--dry")[1]
    status, err = run(controls, *words, "-p", tmp_path / "preset")
    assert status == 0, err
    found, rate = soundfile.read(tmp_path / "a.wav")
    assert rate == 8000
    notes = np.array(rows, np.float32)[None]
    whole = np.asarray(model({"f0_hz": notes[..., 1:2], "loudness_db": notes[..., 2:]}))[0, :, 0]
    assert len(found) == len(whole)
    # In the last hop the one fades into what the network would play next, the other holds.
    np.testing.assert_allclose(found[:-32], whole[:-32], atol=1e-4 * np.abs(whole).max())


def test_a_trained_synthesiser_is_silent_where_there_is_no_pitch(tmp_path):
    path = table(tmp_path / "a.csv", [(0, 0, -20), (0.1, 300, 6), (0.2, 0, -20), (0.3, 0, -20)])
    with pytest.raises(ValueError, match="loudness_db at most 0; got 300 Hz, 6 dB"):
        list(read_points(path))
    rows = list(rests_as_silence(frames(read_points(path, loudest_db=40.0), 10), 220.0))
    assert [list(row[1:]) for row in rows] == [[220, -80], [300, 6], [300, -80], [300, -80]]


@pytest.mark.parametrize(
    ("rows", "header", "message"),
    [
        ([(0, 100)], "time,f0_hz", "line 2: has no loudness_db"),
        ([(0, "x", -3)], "time,f0_hz,loudness_db", "f0_hz must be a number; got 'x'"),
        ([(0, 1, -3), (0, 1, -3)], "time,f0_hz,loudness_db", "times rise"),
        ([(0, -1, -3)], "time,f0_hz,loudness_db", "at least 0"),
        ([], "time,f0_hz,loudness_db", "holds no controls"),
    ],
)
def test_wrong_controls_are_one_line_and_no_file(run, tmp_path, rows, header, message):
    status, err = run(table(tmp_path / "a.csv", rows, header), "-o", tmp_path / "a.wav")
    assert status != 0
    assert message in err
    assert "Traceback" not in err
    assert not (tmp_path / "a.wav").exists()


def test_a_file_that_is_not_there_is_one_line(run, tmp_path):
    status, err = run(tmp_path / "a.csv", "-o", tmp_path / "a.wav")
    assert status != 0
    assert len(err.strip().splitlines()) == 1


def test_a_preset_that_separates_is_refused(run, tmp_path):
    controls = table(tmp_path / "a.csv", [(0, 100, -6)])
    status, err = run(controls, "-o", tmp_path / "a.wav", "-p", "spleeter_2stems")
    assert status != 0
    assert "no synthesiser" in err
