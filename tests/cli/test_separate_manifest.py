"""`kzoo separate --manifest`: the stems of the verb, each once, and a list of damage."""

import functools
import importlib.util
import json
import pickle
import sys
from pathlib import Path

import pytest
import soundfile

from kzoo import batches

RATE = 2000
with_beam = pytest.mark.skipif(
    importlib.util.find_spec("apache_beam") is None,
    reason="Apache Beam has an environment of its own: constraints-beam.txt",
)


@pytest.fixture
def run(verb_run, monkeypatch, tmp_path):
    """Run `kzoo separate --method repet WORDS...`; returns (exit status, stderr)."""
    monkeypatch.chdir(tmp_path)
    return functools.partial(verb_run, "separate", "--method", "repet")


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


def test_a_job_comes_to_other_processes_whole(run, songs, monkeypatch):
    """What Beam's workers do is what this process does, with a job that was pickled."""
    in_process = batches.run

    def unpickled(rows, job, out, **options):
        return in_process(rows, pickle.loads(pickle.dumps(job)), out, **options)

    monkeypatch.setattr(batches, "run", unpickled)
    assert run("--manifest", songs)[0] == 0
    assert run("a.wav", "-o", "plain")[0] == 0
    assert stems("out/a") == stems("plain/a")


def test_without_beam_a_line_says_how_to_have_it(run, songs, monkeypatch):
    monkeypatch.setitem(sys.modules, "apache_beam", None)
    monkeypatch.delitem(sys.modules, "kzoo.batches.on_beam", raising=False)
    monkeypatch.delattr(batches, "on_beam", raising=False)
    status, err = run("--manifest", songs, "--runner", "direct")
    assert status == 1
    assert err.endswith("pip install -c constraints-beam.txt 'kzoo[beam]'\n")
    assert not Path("out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("a.wav", "--runner", "direct"), "--runner and --runner-option go with --manifest"),
        (("--manifest", "songs.csv", "--runner-option", "project=p"), "goes with --runner"),
    ],
)
def test_a_runner_without_a_manifest_is_refused(run, songs, words, message):
    status, err = run(*words)
    assert status == 1
    assert message in err


@with_beam
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("steam",), "--runner must be one of local, direct, flink, spark, dataflow; got 'steam'"),
        (("direct", "--runner-option", "direct_num_worker=2"), "mean 'direct_num_workers'"),
        (("direct", "--runner-option", "direct_num_workers=two"), "invalid int value: 'two'"),
        (("flink",), "--runner flink needs --runner-option flink_master=VALUE"),
        (("dataflow", "--runner-option", "project=kzoo1"), "region=VALUE --runner-option temp_"),
    ],
)
def test_options_of_runners_are_checked(run, songs, words, message):
    status, err = run("--manifest", songs, "--runner", *words)
    assert status == 1
    assert message in err.splitlines()[-1]
    assert not Path("out").exists()


@with_beam
def test_two_processes_of_beam_give_the_same_stems(run, songs):
    with open(songs, "a") as file:
        file.write("a.wav,,\ngone.wav,,\n")
    beam = ("--runner", "direct", "--runner-option", "direct_num_workers=2")
    status, err = run("--manifest", songs, *beam)
    assert status == 1
    assert err.startswith("songs.csv: 2 made and 1 kept in out\nkzoo: 1 could not be separated")
    assert run("a.wav", "-o", "plain")[0] == 0
    assert run("b.wav", "-o", "plain", "--start", "0.25")[0] == 0
    assert stems("out/late") == stems("plain/b")
    assert stems("out/a") == stems("plain/a")
    (letter,) = map(json.loads, Path("out/dead_letters.jsonl").read_text().splitlines())
    assert letter["id"] == "gone"
    assert "0 made and 3 kept" in run("--manifest", songs, *beam)[1]
