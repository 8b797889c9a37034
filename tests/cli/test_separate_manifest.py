"""`kzoo separate --manifest`: the stems of the verb, each once, and a list of damage."""

import json
import sys
from pathlib import Path

import pytest
import soundfile

from kzoo import cli

RATE = 2000


@pytest.fixture
def run(monkeypatch, capfd, tmp_path):
    """Run `kzoo separate --method repet WORDS...`; returns (exit status, stderr)."""
    monkeypatch.chdir(tmp_path)

    def call(*words):
        command = ["kzoo", "separate", "--method", "repet", *map(str, words)]
        monkeypatch.setattr(sys, "argv", command)
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
        return status, capfd.readouterr().err

    return call


@pytest.fixture
def songs(tmp_path, rng):
    """Two recordings, and a manifest of them."""
    for name in ("a", "b"):
        soundfile.write(tmp_path / f"{name}.wav", 0.1 * rng.standard_normal((RATE, 2)), RATE)
    path = tmp_path / "songs.csv"
    path.write_text("path,id,start\na.wav,,\nb.wav,late,0.25\n")
    return path


def stems(folder):
    return {path.name: path.read_bytes() for path in Path(folder).glob("*.wav")}


def test_stems_are_those_of_the_verb(run, songs):
    status, err = run("--manifest", songs)
    assert (status, err) == (0, "songs.csv: 2 made and 0 kept in out\n")
    assert run("a.wav", "-o", "plain")[0] == 0
    assert run("b.wav", "-o", "plain", "--start", "0.25")[0] == 0
    assert stems("out/a") == stems("plain/a")
    assert len(stems("out/a")) == 2
    assert stems("out/late") == stems("plain/b")
    assert run("--manifest", songs) == (0, "songs.csv: 0 made and 2 kept in out\n")


def test_damage_is_counted_and_listed(run, songs):
    Path("a.wav").write_bytes(b"RIFF")
    status, err = run("--manifest", songs, "-q")
    assert status == 1
    assert err == "kzoo: 1 could not be separated; out/dead_letters.jsonl tells why of each\n"
    (letter,) = map(json.loads, Path("out/dead_letters.jsonl").read_text().splitlines())
    assert letter["path"] == str(Path("a.wav").absolute())
    assert "a.wav: " in letter["reason"]


def test_options_of_the_outputs_are_settings(run, songs):
    assert run("--manifest", songs, "--only", "vocals")[0] == 0
    assert list(stems("out/a")) == ["vocals.wav"]
    status, _err = run("--manifest", songs)
    assert (status, len(Path("out/dead_letters.jsonl").read_text().splitlines())) == (1, 2)
    assert run("--manifest", songs, "--overwrite")[0] == 0
    assert len(stems("out/a")) == 2


@pytest.mark.parametrize("words", [("a.wav",), ("-o", "-")])
def test_a_manifest_names_the_recordings_itself(run, songs, words):
    status, err = run("--manifest", songs, *words)
    assert status == 1
    assert "--manifest takes no FILES" in err
    assert err.count("\n") == 1
