"""`kzoo separate --method`: what is written, under which names, and what is refused."""

import functools
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from kzoo import audio
from kzoo.classical import METHODS
from kzoo.cli.app import command as program

RATE = 2000


@pytest.fixture
def run(verb_run, monkeypatch, tmp_path):
    """Run `kzoo separate WORDS...` without TensorFlow; returns (exit status, stderr)."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    monkeypatch.setitem(sys.modules, "keras", None)
    return functools.partial(verb_run, "separate")


@pytest.fixture
def song(tmp_path, rng):
    path = tmp_path / "song.wav"
    sources = rng.laplace(size=(2 * RATE, 2)) @ [[0.05, 0.02], [-0.03, 0.04]]
    soundfile.write(path, sources, RATE, subtype="FLOAT")
    return path


def written(folder="out/song"):
    """{name: waveform} of the stems."""
    return {path.stem: audio.read(path)[0] for path in sorted(Path(folder).glob("*.wav"))}


def test_every_method_is_named_in_the_help():
    (option,) = [p for p in program.commands["separate"].params if p.name == "method"]
    for name in METHODS:
        assert name in option.help.replace(",", " ").split()


QUICK = ("repet", "repet_sim", "auxiva")  # the others import scikit-learn, which takes seconds


@pytest.mark.parametrize(
    "name", [n if n in QUICK else pytest.param(n, marks=pytest.mark.slow) for n in METHODS]
)
def test_a_method_writes_its_sources(run, song, name):
    status, err = run(song, "--method", name)
    assert status == 0, err
    stems = written()
    assert list(stems) == sorted(METHODS[name]().sources)
    assert {stem.shape for stem in stems.values()} == {(2 * RATE, 2)}


@pytest.mark.parametrize(
    ("flag", "value", "option"),
    [
        ("--n-sources", "3", ("n_sources", 3)),
        ("--components", "5", ("components", 5)),
        ("--divergence", "euclidean", ("divergence", "euclidean")),
        ("--templates", "solos", ("templates", "solos")),
        ("--margin", "2", ("margin", 2.0)),
    ],
)
def test_options_of_methods_come_to_the_method(run, song, monkeypatch, flag, value, option):
    def method(name, **options):
        assert (name, options) == ("any", dict([option]))
        return METHODS["repet"]()

    monkeypatch.setattr("kzoo.classical.method", method)
    status, err = run(song, "--method", "any", flag, value)
    assert status == 0, err
    assert list(written()) == ["accompaniment", "vocals"]


@pytest.mark.slow
def test_options_of_methods_change_what_is_written(run, song, tmp_path, rng):
    def stems(*words):
        status, err = run(song, "--overwrite", "-o", "other", "--bit-depth", "float32", *words)
        assert status == 0, err
        return written("other/song")

    first = stems("--method", "nmf")
    assert list(first) == ["source1", "source2"]
    for words in (("--components", "6"), ("--divergence", "itakura_saito")):
        assert not np.allclose(stems("--method", "nmf", *words)["source1"], first["source1"])
    assert "source3" in stems("--method", "isa", "--n-sources", "3", "--components", "4")
    assert "residual" in stems("--method", "hpss", "--margin", "3")
    for name in ("bass", "drums"):
        solo = 0.1 * rng.standard_normal((RATE, 1))
        audio.write(tmp_path / "solos" / f"{name}.wav", solo.astype(np.float32), RATE)
    found = stems("--method", "nmf", "--templates", "solos", "--components", "2")
    assert {"bass", "drums"} <= set(found)


def test_consistent_and_two_stems_are_of_methods_too(run, song):
    words = ("--method", "auxiva", "--bit-depth", "float32")
    status, err = run(song, *words, "--consistent", "--two-stems", "source1")
    assert status == 0, err
    stems = written()
    assert list(stems) == ["no_source1", "source1"]
    np.testing.assert_allclose(sum(stems.values()), audio.read(song)[0], atol=1e-5)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--method", "repet", "-p", "spleeter_2stems"), "--preset is of presets; --method repet"),
        (("--method", "repet", "--engine", "litert"), "--engine is of presets"),
        (("--method", "repet", "--mwf"), "--mwf is of presets"),
        (("--method", "repet", "--overlap", "0.5"), "--overlap is of presets"),
        (("--method", "repet", "--device", "cpu"), "--device is of presets"),
        (("--method", "repit"), "no method is called 'repit'; did you mean 'repet'?"),
        (("--method", "repet", "--components", "3"), "repet has no option 'components'"),
        (("--components", "3"), "--components is an option of --method"),
        (("--n-sources", "3"), "n_sources is of presets that separate by clusters"),
        (("--method", "nmf", "--templates", "none"), "none: is no folder of solo recordings"),
        (("--method", "fastica", "--n-sources", "3"), "got 2 channels: --n-sources 2 takes them"),
    ],
)
def test_what_does_not_go_together_is_one_line(run, song, words, message):
    status, err = run(song, *words)
    assert status == 1
    (line,) = err.splitlines()
    assert message in line


def test_a_recording_that_a_method_cannot_separate_does_not_lose_the_others(run, song, tmp_path):
    mono = tmp_path / "mono.wav"
    soundfile.write(mono, 0.1 * np.ones(RATE), RATE)
    copies = tmp_path / "copies.wav"
    soundfile.write(copies, np.repeat(soundfile.read(song)[0][:, :1], 2, axis=1), RATE)
    status, err = run(mono, copies, song, "--method", "auxiva", "-q")
    assert status == 1
    first, second = err.splitlines()
    assert f"{mono}: it takes one microphone for each of its 2 sources; got 1 channel" in first
    assert f"{copies}: its channels are no different microphones" in second
    assert list(written()) == ["source1", "source2"]
    assert not (tmp_path / "out" / "mono").exists()
