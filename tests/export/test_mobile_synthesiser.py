"""What an app gets of a synthesiser: a stream, and a program that plays it as kzoo does."""

import importlib
import sys
from pathlib import Path

import keras
import made_crepe
import numpy as np
import pytest
import soundfile
from made_programs import run_program

from kzoo import cli, models, presets
from kzoo.engines import exported
from kzoo.models import ddsp
from kzoo.synthesis import player, transfer
from kzoo.synthesis.files import synthesize_file

ROOT = Path(__file__).parents[2]
pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")


@pytest.fixture(scope="module")
def bundle(tmp_path_factory):
    """(folder, what was said) of a tiny synthesiser in a room."""
    keras.utils.set_random_seed(0)
    options = {"variant": "tiny", "reverb_seconds": 0.1, "loudness_range_db": 120}
    model = models.build("ddsp", **options)
    weights = {weight.path: weight for weight in model.weights}
    weights["controls/bias"].assign(np.full(22, -1.5))  # below full scale
    weights[ddsp.ROOM].assign(np.random.default_rng(0).normal(0, 0.05, 800))
    card = {"name": "organ", "task": "synthesis", "sample_rate": 8000, "trained": {"steps": 1},
            "model": {"name": "ddsp", "options": options}}  # fmt: skip
    folder = tmp_path_factory.mktemp("bundle")
    presets.save_to_preset(model, folder / "preset", card)
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(ROOT)  # export/ is no package: recipes run from the root
        mobile = importlib.import_module("export.mobile")
        words = ["-p", str(folder / "preset"), "-o", str(folder / "out"), "--block-seconds", "0.4"]
        options = mobile.parser().parse_args([*words, "--precision", "fp16"])
        said = list(mobile.bundle(options))
        assert mobile.main(["-p", str(folder / "preset"), "-o", str(folder / "out")]) == 1
        words = ["-p", str(folder / "preset"), "-o", str(folder / "other"), "--sound", "a.wav"]
        assert mobile.main(words) == 1
        assert not (folder / "other").exists()
    return folder / "out" / "organ", said


def play(bundle, controls, *words):
    return run_program(bundle / "play_tflite.py", bundle / "organ_stream.tflite", controls, *words)


def test_the_bundle_is_whole_and_its_program_plays_what_kzoo_plays(bundle):
    folder, said = bundle
    assert sorted(path.name for path in folder.iterdir()) == [
        "LICENCES.txt", "kotlin", "operators.txt", "organ_fp16.json", "organ_fp16.tflite",
        "organ_stream.tflite", "play_tflite.py", "swift",
    ]  # fmt: skip
    operators = (folder / "operators.txt").read_text().split()
    assert {"ASSIGN_VARIABLE", "DEQUANTIZE", "SIN", "RFFT2D"} <= set(operators)
    assert all(operator.isupper() for operator in operators)
    line = next(line for line in said if line.startswith("play_tflite.py with"))
    assert float(line.split(": ")[1].split()[0]) > 60  # dB, of 16 bits


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("time,f0_hz\n0,440\n", "needs columns time, f0_hz, loudness_db"),
        ("time,f0_hz,loudness_db\n0,440,-20\n0,440,-20\n", "times that rise"),
        ("time,f0_hz,loudness_db\n", "needs rows"),
        ("time,f0_hz,loudness_db\n0,-5,-20\n", "f0_hz must be at least 0; got -5"),
        ("time,f0_hz,loudness_db\n0,\udce9,-20\n", "needs columns"),
        ("time,f0_hz,loudness_db\n0,nan,-20\n", "finite numbers"),
    ],
)
def test_controls_that_cannot_be_played_are_one_line(bundle, tmp_path, text, message):
    (tmp_path / "a.csv").write_bytes(text.encode("utf-8", "surrogateescape"))
    run = play(bundle[0], tmp_path / "a.csv", "-o", tmp_path / "a.wav")
    assert run.returncode == 1
    assert message in run.stderr
    assert len(run.stderr.strip().splitlines()) == 1
    assert not (tmp_path / "a.wav").exists()


def test_a_card_of_another_file_is_refused(bundle, tmp_path):
    (tmp_path / "a.csv").write_text("time,f0_hz,loudness_db\n0,440,-20\n1,0,0\n")
    (tmp_path / "a.json").write_text('{"files": {}}')
    run = play(bundle[0], tmp_path / "a.csv", "--card", tmp_path / "a.json")
    assert run.returncode == 1
    assert "no card of" in run.stderr
    program, model = bundle[0] / "play_tflite.py", bundle[0] / "organ_fp16.tflite"
    run = run_program(program, model, tmp_path / "a.csv")
    assert run.returncode == 1
    assert "belong together" in run.stderr
    words = ("--card", bundle[0] / "organ_fp16.json", "-o", tmp_path / "a.wav")
    run = play(bundle[0], tmp_path / "a.csv", *words)
    assert run.returncode == 0


def test_odd_controls_are_read_as_kzoo_reads_them(bundle, tmp_path):
    """A byte order mark, spaces, a level under silence, and an end between two frames."""
    (tmp_path / "a.csv").write_text(
        "\ufefftime, f0_hz, loudness_db\n0, 0, -150\n0.01, 300, -150\n0.5, 300, -10\n0.706, 0, 0\n"
    )
    run = play(bundle[0], tmp_path / "a.csv", "-o", tmp_path / "app.wav")
    assert run.returncode == 0, run.stderr
    players = {
        "kzoo": presets.open_preset(bundle[0].parents[1] / "preset"),
        "file": exported.opened(bundle[0] / "organ_stream.tflite"),
    }
    sounds = [soundfile.read(tmp_path / "app.wav")[0]]
    for name, preset in players.items():
        instrument = player.instrument(preset)
        synthesize_file(tmp_path / "a.csv", tmp_path / f"{name}.wav", instrument=instrument)
        sounds.append(soundfile.read(tmp_path / f"{name}.wav")[0])
    app, kzoo, file = sounds
    assert app.shape == kzoo.shape == file.shape
    assert np.abs(kzoo).max() > 0.01
    for other in (app, file):
        np.testing.assert_allclose(other, kzoo, atol=7e-5)  # two steps of 16 bits


def test_what_a_stream_cannot_do_is_refused(bundle):
    with pytest.raises(ValueError, match="has its room in its sound: leave dry out"):
        player.instrument(exported.opened(bundle[0] / "organ_stream.tflite"), dry=True)
    with pytest.raises(
        presets.PresetError, match=r"organ_stream\.tflite, which kzoo export writes"
    ):
        exported.opened(bundle[0] / "organ_fp16.tflite")
    with pytest.raises(ValueError, match="keeps no statistics of pitch and loudness"):
        transfer.check_request(bundle[0] / "organ_stream.tflite")


def test_a_recording_is_played_by_the_stream_without_a_picture(
    bundle, tmp_path, monkeypatch, capsys
):
    heard = 0.3 * np.sin(2 * np.pi * 220 * np.arange(16000) / 16000)
    soundfile.write(tmp_path / "a.wav", heard, 16000)
    nano = made_crepe.nano_preset(tmp_path / "nano", contrast=20.0)
    words = ["transfer", tmp_path / "a.wav", "-o", tmp_path / "b.wav", "--octaves", "0",
             "--no-match", "--gate", "0", "--method", nano,
             "-p", bundle[0] / "organ_stream.tflite"]  # fmt: skip
    for more, status in ((["--picture", tmp_path / "b.png"], 1), ([], 0)):
        monkeypatch.setattr(sys, "argv", ["kzoo", *map(str, [*words, *more])])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert (stop.value.code or 0) == status
        assert (tmp_path / "b.wav").exists() == (not status)
        assert ("leave the picture out" in capsys.readouterr().err) == bool(status)
    assert np.abs(soundfile.read(tmp_path / "b.wav")[0]).max() > 1e-3
