"""The bundle of a separator: it has run, says what it needs, and carries its licences."""

import importlib
import os
import re
import subprocess
import sys
from pathlib import Path

import made_artefacts
import pytest
from made_artefacts import OPTIONS, RATE, SOURCES
from made_programs import run_program

import kzoo
from kzoo import audio, models, presets
from kzoo.presets import save_to_preset

ROOT = Path(__file__).parents[2]
MISTAKE = "export.mobile: crepe_tiny is for pitch; there are bundles for separation, synthesis\n"
pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")


@pytest.fixture
def mobile(monkeypatch):
    monkeypatch.syspath_prepend(ROOT)  # export/ is no package: recipes run from the root
    return importlib.import_module("export.mobile")


def test_a_separators_bundle_has_run_and_is_whole(mobile, tmp_path, capsys):
    model = models.build("unet", **OPTIONS)
    model.set_weights(made_artefacts.tiny_unet().get_weights())
    options = {**OPTIONS, "sources": list(SOURCES), "filters": list(OPTIONS["filters"])}
    card = {
        "name": "small", "model": {"name": "unet", "options": options}, "sources": list(SOURCES),
        "sample_rate": RATE, "trained": "not at all: random weights from a seed",
        "licences": {"code": "Apache-2.0 (kzoo)", "weights": "MIT (Deezer SA)"},
    }  # fmt: skip
    save_to_preset(model, tmp_path / "preset", card)
    arguments = ["-p", str(tmp_path / "preset"), "-o", str(tmp_path / "out")]
    arguments += ["--precision", "fp16", "--block-seconds", "0.01"]
    assert mobile.main(arguments) == 0
    folder = tmp_path / "out" / "small"
    assert {path.name for path in folder.iterdir()} == {
        "LICENCES.txt", "kotlin", "operators.txt", "recording.h", "separate_tflite.c",
        "separate_tflite.py", "small_fp16.json", "small_fp16.tflite", "swift",
    }  # fmt: skip
    lines = capsys.readouterr().out
    assert "separate_tflite.py with small_fp16.tflite, against Keras in blocks:" in lines
    assert "small: its blocks last 0.032 s, not 0.01 s" in lines
    assert "CONV_2D" in (folder / "operators.txt").read_text().split()
    licences = (folder / "LICENCES.txt").read_text()
    assert licences.startswith("code: Apache-2.0 (kzoo)\nweights: MIT (Deezer SA)\n")
    assert "Copyright (c) 2019-present, Deezer SA." in licences
    assert "TERMS AND CONDITIONS FOR USE, REPRODUCTION" in licences
    assert mobile.main(arguments) == 1
    assert "is there already" in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["small"]


@pytest.mark.slow
def test_hybrid_demucs_is_joined_by_its_bundles_program_as_by_its_preset(mobile, tmp_path, rng):
    options = {"sources": ["vocals", "rest"], "variant": "tiny"}
    model = models.build("htdemucs", **options)
    card = {
        "name": "small", "model": {"name": "htdemucs", "options": options},
        "sources": options["sources"], "sample_rate": RATE, "channels": 2, "trained": "not at all",
    }  # fmt: skip
    preset = save_to_preset(model, tmp_path / "preset", card)
    arguments = ["-p", str(tmp_path / "preset"), "-o", str(tmp_path / "out")]
    assert mobile.main([*arguments, "--precision", "fp32"]) == 0
    song = tmp_path / "song.wav"
    audio.write(song, 0.1 + 0.02 * rng.standard_normal((10_000, 2)), RATE, bit_depth=24)
    folder = tmp_path / "out" / "small"
    run = run_program(
        folder / "separate_tflite.py", folder / "small_fp32.tflite", song, "-o", tmp_path
    )
    assert run.returncode == 0, run.stderr
    heard, _ = audio.read(song)
    separator = kzoo.Separator.from_preset(preset, engine="tensorflow")
    for source, stem in separator.separate(heard, RATE).items():
        found, _ = audio.read(tmp_path / f"{source}.wav")
        assert made_artefacts.decibels(stem, found) > 80


@pytest.mark.parametrize("name", presets.list_presets())
def test_the_licence_of_every_presets_weights_has_its_text(mobile, name, tmp_path):
    licences = presets.load_card(name)["licences"]
    mobile.write_licences(tmp_path, {"weights": licences["weights"]})
    text = (tmp_path / "LICENCES.txt").read_text()
    begins = {
        "MIT": "Permission is hereby granted",
        "ISC": "Permission to use, copy, modify",
        "Apache-2.0": "Apache License",
    }
    found = [name for name, words in begins.items() if words in text]
    # A card that says under what the code is does not put weights under it.
    granted = re.split(r" \(| as the code of", licences["weights"])[0].split(" or ")
    assert found == [name for name in begins if name in granted]


def test_a_mistake_is_one_line(mobile, tmp_path, capsys):
    assert mobile.main(["-p", "crepe_tiny", "-o", str(tmp_path / "out")]) == 1
    assert capsys.readouterr().err == MISTAKE
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_mistake_is_one_line_and_tensorflow_says_nothing(tmp_path):
    """In a process of its own: TensorFlow says what it has to say where it is imported."""
    loud = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    run = subprocess.run(
        [sys.executable, "-m", "export.mobile", "-p", "crepe_tiny", "-o", tmp_path / "out"],
        cwd=ROOT, env=loud, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 1
    assert run.stderr == MISTAKE
    assert not (tmp_path / "out").exists()
