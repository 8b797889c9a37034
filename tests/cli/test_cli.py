"""The command line as its users meet it: files out, one line for a mistake, honest exit codes."""

import configparser
import errno
import io
import os
import re
import signal
import subprocess
import sys
import time
import types
from pathlib import Path

import numpy as np
import pytest
import soundfile
from made_once import once

from kzoo import api, cli, config
from kzoo.cli.doctor import EXTRAS
from kzoo.engines import tensorflow
from kzoo.presets import open_preset
from kzoo.presets.shelf import STEMS

RATE = 8000


@pytest.fixture
def run(monkeypatch, capfdbinary):
    """Run `kzoo WORDS...`; returns (exit status, stdout bytes, stderr text)."""

    def call(*words, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["kzoo", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(stdin)))
        status = 0
        try:
            cli.main()
        except SystemExit as stop:
            status = stop.code or 0
        out, err = capfdbinary.readouterr()
        return status, out, err.decode()

    return call


@pytest.fixture(scope="module")
def preset(tmp_path_factory, tiny_preset):
    """A preset folder, whose system is built once for all songs."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorflow, "system", once(tensorflow.system))
        yield tiny_preset(tmp_path_factory.mktemp("presets") / "tiny")


@pytest.fixture
def song(tmp_path, rng):
    path = tmp_path / "song.wav"
    soundfile.write(path, 0.2 * rng.standard_normal((12345, 2)), RATE, subtype="PCM_16")
    return path


def test_stems_lie_under_the_tracks_name_and_are_as_long_as_the_song(run, preset, song, tmp_path):
    status, _, err = run("separate", "-p", preset, "-o", tmp_path / "out", song)
    assert status == 0, err
    for name in ("vocals", "accompaniment"):
        info = soundfile.info(tmp_path / "out" / "song" / f"{name}.wav")
        assert (info.frames, info.samplerate, info.channels) == (12345, RATE, 2)
        assert info.subtype == "PCM_16"
    assert "song.wav: 1.5 s" in err


@pytest.mark.parametrize(
    ("words", "asked"),
    [(("best",), STEMS), (("best", "--only", "vocals"), ["vocals"]), (("best:a,b",), ["a", "b"])],
)
def test_the_best_preset_is_named(run, preset, song, tmp_path, monkeypatch, words, asked):
    def best(stems):
        assert list(stems) == list(asked)
        return open_preset(preset), "best of those here: tiny"

    monkeypatch.setattr("kzoo.presets.shelf.best", best)
    status, _, err = run("separate", song, "-o", tmp_path / "out", "-p", *words)
    assert (status, err.splitlines()[0]) == (0, "kzoo: best of those here: tiny")
    assert (tmp_path / "out" / "song" / "vocals.wav").is_file()
    if asked is STEMS:
        assert api.Separator.from_preset("best").notes == ["best of those here: tiny"]


def test_two_stems_sum_all_others(run, preset, song, tmp_path):
    out = ("-o", tmp_path / "out", "--bit-depth", "float32")
    run("separate", "-p", preset, *out, song)
    status, _, _ = run("separate", "-p", preset, *out, "--two-stems", "vocals", song, "--overwrite")
    assert status == 0
    folder = tmp_path / "out" / "song"
    rest, _ = soundfile.read(folder / "no_vocals.wav")
    accompaniment, _ = soundfile.read(folder / "accompaniment.wav")
    np.testing.assert_allclose(rest, accompaniment, atol=1e-6)


def test_only_goes_by_the_two_stems_where_both_are_given(run, preset, song, tmp_path):
    words = ("--two-stems", "vocals", "--only", "no_vocals")
    status, _, err = run("separate", "-p", preset, "-o", tmp_path / "out", *words, song)
    assert status == 0, err
    assert [path.name for path in (tmp_path / "out" / "song").iterdir()] == ["no_vocals.wav"]
    status, _, err = run("separate", "-p", preset, *words[:3], "accompaniment", song)
    assert status == 1
    assert "no stem 'accompaniment'; of two there are vocals, no_vocals" in err


def test_consistent_stems_sum_to_the_song(run, preset, song, tmp_path):
    run("separate", "-p", preset, "-o", tmp_path, "--consistent", "--bit-depth", "float32", song)
    stems = [soundfile.read(tmp_path / "song" / f"{n}.wav")[0] for n in ("vocals", "accompaniment")]
    np.testing.assert_allclose(sum(stems), soundfile.read(song)[0], atol=1e-6)


def test_start_and_duration_cut_to_the_sample(run, preset, song, tmp_path):
    words = ("--start", 0.5, "--duration", 0.25, "--format", "flac", "--bit-depth", 24)
    status, _, err = run("separate", "-p", preset, "-o", tmp_path / "out", *words, song)
    assert status == 0, err
    info = soundfile.info(tmp_path / "out" / "song" / "vocals.flac")
    assert (info.frames, info.subtype) == (2000, "PCM_24")


def test_files_that_exist_are_kept_unless_told_otherwise(run, preset, song, tmp_path):
    folder = tmp_path / "out" / "song"
    folder.mkdir(parents=True)
    (folder / "vocals.wav").write_bytes(b"precious")
    status, _, err = run("separate", "-p", preset, "-o", tmp_path / "out", song)
    assert status == 1
    assert "vocals.wav: exists already; --overwrite replaces it" in err
    assert (folder / "vocals.wav").read_bytes() == b"precious"
    assert [path.name for path in folder.iterdir()] == ["vocals.wav"]


def test_a_bad_file_does_not_lose_the_good_ones(run, preset, song, tmp_path):
    bad = tmp_path / "letter.wav"
    bad.write_text("Dear listener")
    status, _, err = run("separate", "-p", preset, "-o", tmp_path / "out", bad, song)
    assert status == 1
    assert (tmp_path / "out" / "song" / "vocals.wav").exists()
    assert not (tmp_path / "out" / "letter").exists()
    assert len([line for line in err.splitlines() if "letter.wav" in line]) == 1


def test_nan_in_the_middle_leaves_no_stem_behind(run, preset, tmp_path):
    sound = np.zeros((200_000, 1), np.float32)
    sound[150_000] = np.nan
    soundfile.write(tmp_path / "broken.wav", sound, RATE, subtype="FLOAT")
    status, _, err = run("separate", "-p", preset, "-o", tmp_path / "out", tmp_path / "broken.wav")
    assert status == 1
    assert "broken.wav" in err
    assert [p for p in (tmp_path / "out").rglob("*") if p.is_file()] == []


def test_a_stem_that_cannot_be_moved_into_place_takes_the_others_along(
    run, preset, song, tmp_path, monkeypatch
):
    def full(source, target, move=os.replace):
        if Path(target).name == "accompaniment.wav":
            raise OSError(errno.ENOSPC, "No space left on device")
        move(source, target)

    monkeypatch.setattr("kzoo.audio.writing.os.replace", full)
    status, _, err = run("separate", "-p", preset, "-o", tmp_path / "out", song)
    assert status == 1
    assert "accompaniment.wav: cannot be written: No space left on device" in err
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == []


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["separate", "-p", "spleter_2stems", "x.wav"], "did you mean 'spleeter_2stems'"),
        (["separate", "nowhere.wav"], "nowhere.wav"),
        (["separate", "--two-stems", "drums", "x.wav"], "this preset has vocals, accompaniment"),
        (["separate", "-o", "-", "x.wav"], "--only"),
        (["presets", "info", "nothing"], "no preset is called"),
        (["presets", "download", "spleeter_2stems"], "KZOO_OFFLINE"),
        (["export", "-p", "spleeter_2stems"], "KZOO_OFFLINE"),
        (["export", "--to", "coreml"], "one of saved_model, tflite, onnx; got 'coreml'"),
        (["export", "--to", "onnx", "--precision", "fp16"], "an ONNX file is fp32; got"),
        (["info", "nowhere.tflite"], "nowhere.tflite"),
        (["export", "--condition"], "has the same stems always"),
        (["export", "--precision", "int3"], "dynamic_int8, full_int8; got 'int3'"),
        (["export", "--block-seconds", "-5"], "more than 0 seconds; got -5"),
        (["export", "--sound", "nowhere.wav"], "nowhere.wav"),
    ],
)
def test_a_mistake_is_one_line_and_a_failure(run, words, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    status, out, err = run(*words)
    assert status == 1
    assert out == b""
    assert message in err
    assert len(err.strip().splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


def test_an_overlap_outside_its_range_is_refused_by_the_parser(run):
    status, _, err = run("separate", "--overlap", "0.9", "x.wav")
    assert status == 2
    assert re.search(r"'--overlap': .*0\.5", err)


def test_an_export_is_refused_before_anything_is_fetched(run, tmp_path, monkeypatch):
    (tmp_path / "spleeter_2stems_fp32.json").touch()
    status, _, err = run("export", "-o", tmp_path)
    assert status == 1
    assert "spleeter_2stems_fp32.json: is there already" in err
    monkeypatch.setitem(sys.modules, "ai_edge_litert", None)
    status, _, err = run("export", "-o", tmp_path / "out")
    assert status == 1
    assert err.strip().endswith("is not installed: pip install 'kzoo[tflite]'")
    assert len(err.splitlines()) == 1


def test_a_model_that_must_be_told_what_to_extract_is_no_separator(run, song, tmp_path):
    from kzoo import api

    options = {"sources": ["vocals", "rest"], "variant": "tiny", "condition": "input"}
    card = {
        "model": {"name": "cunet", "options": options}, "sources": options["sources"],
        "sample_rate": RATE, "trained": "not at all: random weights",
    }  # fmt: skip
    folder = api.save_to_preset(api.build("cunet", **options), tmp_path / "asked", card)
    status, _, err = run("separate", "-p", folder, "-o", tmp_path / "out", song)
    assert status == 1
    assert "its model takes condition; fix it to named sources in card.yaml" in err
    card["model"]["options"] = {**options, "condition": "fixed"}
    weights = config.load_yaml(folder / "card.yaml")["weights"]
    config.dump_yaml({**card, "weights": weights}, folder / "card.yaml")
    status, _, err = run("separate", "-p", folder, "-o", tmp_path / "out", song)
    assert status == 0, err


def test_two_songs_of_one_name_are_refused_before_any_work(run, preset, song, tmp_path):
    (tmp_path / "b").mkdir()
    twin = tmp_path / "b" / "song.wav"
    twin.write_bytes(song.read_bytes())
    status, _, err = run("separate", "-p", preset, "-o", tmp_path / "out", song, twin)
    assert status == 1
    assert "two recordings are called 'song'" in err


def test_sound_flows_from_stdin_to_stdout(run, preset, song, tmp_path):
    words = ("separate", "-p", preset, "--only", "vocals", "-")
    status, out, err = run(*words, "-o", "-", stdin=song.read_bytes())
    assert status == 0, err
    sound, rate = soundfile.read(io.BytesIO(out))
    assert (sound.shape, rate) == ((12345, 2), RATE)
    run("separate", "-p", preset, "--only", "vocals", "-o", tmp_path / "out", song)
    np.testing.assert_array_equal(sound, soundfile.read(tmp_path / "out/song/vocals.wav")[0])


def test_silence_and_a_stem_that_is_the_mixture_are_told(run, preset, tmp_path):
    soundfile.write(tmp_path / "hush.wav", np.zeros((5000, 2)), RATE)
    status, _, err = run("separate", "-p", preset, "-o", tmp_path / "out", tmp_path / "hush.wav")
    assert status == 0
    assert "the input is silent" in err


def test_the_presets_are_listed_with_what_they_are(run):
    status, out, _ = run("presets", "list")
    assert status == 0
    assert b"spleeter_2stems" in out
    assert b"to fetch" in out


def test_the_doctor_names_the_way_to_every_missing_extra(run):
    status, out, _ = run("doctor")
    assert status == 0
    assert b"tensorflow 2." in out
    for line in out.decode().splitlines():
        assert " absent: " not in line or "pip install 'kzoo[" in line


def test_the_doctor_knows_every_package_of_every_extra():
    setup = configparser.ConfigParser()
    setup.read(Path(__file__).parents[2] / "setup.cfg")
    packages = {}
    for extra, lines in setup.items("options.extras_require", raw=True):
        if extra not in ("dev", "demo", "docs"):  # made of the others, and of tools
            for line in lines.split("\n"):
                if name := re.match(r"[a-z][\w-]*", line):
                    module = name.group().replace("-", "_").replace("scikit_", "sk")
                    packages[module.removesuffix("_api").removeprefix("python_")] = extra
    assert {module: extra for module, (extra, _) in EXTRAS.items()} == packages


# `kzoo separate` with half of the mixture for each stem in place of a model, 50 blocks a second.
SLOWLY = """
import signal, sys, time
import numpy as np
import kzoo.cli.separate
from kzoo import cli, separation
from kzoo.dsp.blocks import BlockGrid

def halves(block):
    time.sleep(0.02)
    return np.stack([0.5 * block] * 2, axis=1)

def separator(preset, **options):
    return separation.BlockSeparator(separation.System(
        function=halves, sources=preset.sources, sample_rate=8000, channels=2,
        grid=BlockGrid(80, 80)))

kzoo.cli.separate._separator = separator
# A test run in a shell's background inherits a SIGINT that is ignored.
signal.signal(signal.SIGINT, signal.default_int_handler)
cli.main()
"""


@pytest.mark.parametrize(
    ("sent", "status", "word"),
    [(signal.SIGINT, 130, "interrupted"), (signal.SIGTERM, 143, "terminated")],
)
def test_a_signal_leaves_nothing_half_written(preset, tmp_path, rng, sent, status, word):
    song = tmp_path / "long.wav"
    soundfile.write(song, 0.1 * rng.standard_normal((60 * RATE, 2)), RATE)
    out = tmp_path / "out"
    command = [sys.executable, "-c", SLOWLY, "separate", "-p", preset, "-o", out, song]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        deadline = time.monotonic() + 60
        while not list(out.rglob("*.*")) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert list(out.rglob("*.*")), "the run never began to write"
        time.sleep(0.1)
        process.send_signal(sent)
        _, err = process.communicate(timeout=60)
    assert process.returncode == status
    assert err == f"kzoo: {word}; nothing half-written was kept\n"
    assert [path for path in out.rglob("*") if path.is_file()] == []
