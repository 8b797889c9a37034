"""`kzoo data prepare --runner`: by teachers, too, with what is refused, and by Beam's processes."""

import functools
import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_once import once

from kzoo import data
from kzoo.data import shards
from kzoo.engines import tensorflow

RATE = 8000
with_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="Apache Beam has an environment of its own: constraints-beam.txt",
)


@pytest.fixture
def run(verb_run, monkeypatch, tmp_path):
    """Run `kzoo data prepare WORDS...` in a folder of its own; returns (exit status, stderr)."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(verb_run, "data", "prepare")


@pytest.fixture
def music(tmp_path, rng):
    """Two songs with mixtures, and one that is damaged."""
    for song in ("a", "b"):
        (tmp_path / "music" / song).mkdir(parents=True)
        for part in ("mixture", "vocals"):
            sound = 0.1 * rng.standard_normal((3000, 2))
            soundfile.write(tmp_path / "music" / song / f"{part}.wav", sound, RATE)
    (tmp_path / "music" / "c").mkdir()
    (tmp_path / "music" / "c" / "mixture.wav").write_bytes(b"RIFF")
    (tmp_path / "music" / "c" / "vocals.wav").write_bytes(b"RIFF")
    return tmp_path / "music"


def sound(folder):
    corpus = data.open_corpus("shards", path=str(folder))
    return {name: corpus.read(k, 0, samples) for k, (name, samples) in enumerate(corpus.tracks)}


def assert_same(folder, other):
    found, expected = sound(folder), sound(other)
    assert list(found) == list(expected)
    for name, example in expected.items():
        for part, value in example.items():
            np.testing.assert_array_equal(found[name][part], value)


def test_damage_is_counted_listed_and_left_out(run, music):
    status, err = run("music", "-o", "out", "--runner", "local", "--licence", "CC0")
    assert status == 1
    assert err == (
        "music: 2 made and 0 kept in out\n"
        "kzoo: 1 could not be prepared; out/dead_letters.jsonl tells why of each\n"
    )
    assert run("music", "-o", "plain", "--exclude", "c")[0] == 0
    assert_same("out", "plain")
    index = shards.read_index(Path("out"))
    assert {entry["licence"] for entry in index["tracks"]} == {"CC0"}
    assert "holds a, which is excluded" in run(
        "music", "-o", "out", "--runner", "local", "--exclude", "a"
    )[1]  # fmt: skip


def test_a_teacher_teaches_in_each_worker(run, music, tiny_preset, tmp_path, monkeypatch):
    monkeypatch.setattr(tensorflow, "system", once(tensorflow.system))
    preset = tiny_preset(tmp_path / "tiny")
    taught = ("music", "--teacher", preset, "--kind", "stems", "--sources", "vocals")
    assert run(*taught, "-o", "out", "--runner", "local", "-q")[0] == 1
    assert run(*taught, "-o", "plain", "--exclude", "c")[0] == 0
    assert list(sound("out")) == ["a@tiny", "b@tiny"]
    assert_same("out", "plain")
    songs = ("music/a", "--teacher", preset)
    assert run(*songs, "-o", "songs", "--runner", "local")[0] == 0
    assert run(*songs, "-o", "plain songs")[0] == 0
    assert_same("songs", "plain songs")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--runner-option", "project=p"), "goes with --runner direct, flink"),
        (("--kind", "synthetic", "--runner", "local"), "corpus synthetic has no option 'path'"),
        (("--kind", "solo", "--teacher", "spleeter_2stems"), "kind solo takes no --teacher"),
        (("--kind", "solo", "--sources", "vocals"), "kind solo takes no --sources"),
        (("--kind", "solo", "--dtype", "float32"), "kind solo takes no --dtype"),
    ],
)
def test_what_does_not_go_together_is_refused(run, music, words, message):
    status, err = run("music", "-o", "out", *words)
    assert status == 1
    assert message in err
    assert err.count("\n") == 1
    assert not Path("out").exists()


@with_beam
def test_two_processes_of_beam_prepare_the_same(run, music):
    beam = ("--runner", "direct", "--runner-option", "direct_num_workers=2")
    status, err = run("music", "-o", "out", *beam)
    assert status == 1
    assert err.startswith("music: 2 made and 0 kept in out\nkzoo: 1 could not be prepared")
    (letter,) = map(json.loads, Path("out/dead_letters.jsonl").read_text().splitlines())
    assert letter["path"] == "c"
    assert run("music", "-o", "plain", "--exclude", "c")[0] == 0
    assert_same("out", "plain")
    assert "0 made and 2 kept" in run("music", "-o", "out", *beam)[1]
