"""What `kzoo separate` refuses before it builds anything, and under which names it writes."""

import errno
import io
import os
import shutil
import sys
import types

import numpy as np
import pytest
import soundfile

from kzoo.audio import safe_track_name
from kzoo.cli import separate as verb
from kzoo.dsp.blocks import BlockGrid
from kzoo.separation import BlockSeparator, System

RATE = 8000
SOURCES = ["vocals", "accompaniment"]


@pytest.fixture
def run(verb_run, monkeypatch):
    """Run `kzoo WORDS...` with an identity for a model; returns (exit status, stderr)."""
    system = System(
        function=lambda block: np.stack([block, 0.5 * block], axis=1), sources=SOURCES,
        sample_rate=RATE, channels=2, grid=BlockGrid(4000, 4000),
    )  # fmt: skip
    monkeypatch.setattr(verb, "_separator", lambda *_, **__: BlockSeparator(system))
    monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(b"sound")))
    return verb_run


@pytest.fixture
def unbuilt(monkeypatch, run):
    """As `run`, where building the model is a failure of the test."""

    def build(*_, **__):
        raise AssertionError("the model was built")

    monkeypatch.setattr(verb, "_separator", build)
    return run


@pytest.fixture
def song(tmp_path, rng):
    path = tmp_path / "song.wav"
    soundfile.write(path, 0.2 * rng.standard_normal((8000, 2)), RATE)
    return path


def test_a_recording_is_not_replaced_by_a_stem_of_another(run, song, tmp_path):
    (tmp_path / "song").mkdir()
    second = tmp_path / "song" / "vocals.wav"
    shutil.copy(song, second)
    before = second.read_bytes()
    status, err = run("separate", song, second, "-o", tmp_path, "--overwrite")
    assert status == 1
    assert f"{second}: is another recording; name another place by -o" in err
    assert second.read_bytes() == before
    assert (tmp_path / "vocals" / "vocals.wav").is_file()  # of the second, which is in no way
    status, err = run("separate", song, "-o", tmp_path, "--overwrite")
    assert status == 0, err


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--duration", 0), "the duration must be above 0 s"),
        (("--start", 5), "song.wav"),
        (("--two-stems", "drums"), "there is no stem 'drums'"),
    ],
)
def test_an_empty_stretch_is_refused_before_the_model_is_built(
    unbuilt, song, tmp_path, words, message
):
    status, err = unbuilt("separate", song, "-o", tmp_path / "out", *words)
    assert status == 1
    assert message in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--consistent",), "consistent makes the stems sum to the mixture, and speech is the"),
        (("--two-stems", "speech"), "two_stems sums all stems but one, and speech is the only"),
    ],
)
def test_options_for_several_stems_are_refused_of_a_preset_of_one(
    unbuilt, song, tmp_path, words, message
):
    status, err = unbuilt("separate", song, "-p", "dtln", "-o", tmp_path / "out", *words)
    assert status == 1
    assert message in err
    assert not (tmp_path / "out").exists()


def test_a_filter_that_the_model_does_not_have_is_refused(unbuilt, song, tmp_path):
    refused = (1, "kzoo: preset conv_tasnet_2speakers has no multichannel Wiener filter (--mwf)\n")
    words = ("-p", "conv_tasnet_2speakers", "-o", tmp_path / "out", "--mwf")
    assert unbuilt("separate", song, *words) == refused
    words = ("conv_tasnet_2speakers", "--corpus", tmp_path, "--mwf")
    assert unbuilt("evaluate", *words) == refused


def test_a_full_folder_for_temporary_files_is_named(unbuilt, tmp_path, monkeypatch):
    def full(source, target):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(shutil, "copyfileobj", full)
    status, err = unbuilt("separate", "-", "-o", tmp_path / "out")
    assert status == 1
    (line,) = err.splitlines()
    assert line.startswith("kzoo: stdin cannot be copied to ")
    assert "kzoo." in line
    assert "No space left on device; the variable TMPDIR names another folder" in line


@pytest.mark.parametrize("name", ["...wav", "..wav", ".wav", ". .wav", "a.stem.wav"])
def test_stems_of_any_name_are_written_inside_of_out(run, song, tmp_path, name):
    folder = tmp_path / "in"
    folder.mkdir()
    song.rename(folder / name)
    out = tmp_path / "deep" / "out"
    status, err = run("separate", folder / name, "-o", out)
    assert status == 0, err
    written = [path for path in tmp_path.rglob("*.wav") if path.name[:-4] in SOURCES]
    assert len(written) == 2
    assert {path.parent.parent for path in written} == {out}


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere file names are Unicode")
@pytest.mark.parametrize("words", [("separate",), ("pitch", "--method", "crepe_tiny")])
def test_a_name_that_is_no_utf_8_is_refused_and_printed_as_an_escape(
    unbuilt, song, tmp_path, words
):
    odd = os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.wav")
    song.rename(odd)
    status, err = unbuilt(*words, odd, "-o", tmp_path / "out")
    assert (status, len(err.splitlines())) == (1, 1)
    assert "caf\\xe9.wav: its name is not UTF-8; rename it" in err


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("a/song.mp3", "song"), ("song.stem.mp4", "song"), ("song", "song"), ("v1.2.wav", "v1.2"),
        (".hidden.wav", ".hidden"), (".wav", ".wav"), ("...wav", "...wav"), ("..", "recording"),
        ("", "recording"), (" .wav", " .wav"),
        ("caf\udce9.wav", "caf_"), (".stem.wav", ".stem.wav"),
    ],
)  # fmt: skip
def test_the_name_of_a_track_is_its_files_and_never_a_folder_above(path, name):
    assert safe_track_name(path) == name
