"""`kzoo enhance` and `kzoo.enhance`: one clean file for a noisy one, by the rules of separate."""

import io
import os
import re
import sys
import types

import numpy as np
import pytest
import soundfile
from made_once import once

import kzoo
from kzoo import cli, presets, separation
from kzoo.dsp.blocks import BlockGrid
from kzoo.engines import tensorflow
from kzoo.separation import BlockSeparator, System

RATE = 8000


@pytest.fixture
def run(monkeypatch, capfdbinary):
    """Run `kzoo WORDS...`; returns (exit status, stdout bytes, stderr text)."""

    def call(*words, stdin=b""):
        monkeypatch.setattr(sys, "argv", ["kzoo", *map(str, words)])
        monkeypatch.setattr(sys, "stdin", types.SimpleNamespace(buffer=io.BytesIO(stdin)))
        with pytest.raises(SystemExit) as stop:
            cli.main()
        out, err = capfdbinary.readouterr()
        return stop.value.code or 0, out, err.decode()

    return call


@pytest.fixture(scope="module")
def enhancer(tmp_path_factory):
    """A mono enhancer of random weights, which its card calls trained; its system is built once."""
    import keras

    from kzoo import models

    keras.utils.set_random_seed(0)
    sources = ["noise", "speech"]
    card = {
        "summary": "untrained, for tests", "task": "speech enhancement", "sources": sources,
        "model": {"name": "conv_tasnet", "options": {"sources": sources, "variant": "tiny"}},
        "sample_rate": RATE, "channels": 1, "trained": "not at all: random weights from a seed",
    }  # fmt: skip
    model = models.build("conv_tasnet", sources=sources, variant="tiny")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(tensorflow, "system", once(tensorflow.system))
        yield presets.save_to_preset(model, tmp_path_factory.mktemp("preset") / "tiny", card)


@pytest.fixture
def talk(tmp_path, rng):
    path = tmp_path / "talk.wav"
    soundfile.write(path, 0.2 * rng.standard_normal((12345, 1)), RATE, subtype="FLOAT")
    return path


def test_the_speech_is_one_file_of_the_recordings_name_and_length(run, enhancer, talk, tmp_path):
    other = tmp_path / "other.flac"
    soundfile.write(other, np.zeros((777, 2)), RATE)
    out = tmp_path / "out"
    status, _, err = run("enhance", "-p", enhancer, "-o", out, talk, other)
    assert status == 0, err
    assert sorted(p.name for p in out.iterdir()) == ["other.wav", "talk.wav"]
    info = soundfile.info(out / "talk.wav")
    assert (info.frames, info.samplerate, info.channels) == (12345, RATE, 1)
    assert info.subtype == "PCM_16"
    assert soundfile.info(out / "other.wav").channels == 2
    assert f"talk.wav: 1.5 s -> {out}: talk.wav" in err


def test_the_file_is_what_separate_writes_as_speech_and_what_the_function_gives(
    run, enhancer, talk, tmp_path
):
    depth = ("--bit-depth", "float32")
    assert run("enhance", "-p", enhancer, "-o", tmp_path / "e", *depth, talk)[0] == 0
    assert run("separate", "-p", enhancer, "-o", tmp_path / "s", *depth, talk)[0] == 0
    found = soundfile.read(tmp_path / "e" / "talk.wav")[0]
    np.testing.assert_array_equal(found, soundfile.read(tmp_path / "s" / "talk" / "speech.wav")[0])
    sound = soundfile.read(talk, dtype="float32")[0]
    given = kzoo.enhance(sound, RATE, preset=enhancer)
    assert given.shape == sound.shape
    np.testing.assert_allclose(given, found, atol=1e-6)
    assert np.abs(given - sound).max() > 0.01


def test_channels_are_enhanced_one_by_one_at_any_rate(enhancer, rng):
    sound = (0.2 * rng.standard_normal((5001, 3))).astype(np.float32)
    together = kzoo.enhance(sound, 11025, preset=enhancer)
    assert together.shape == sound.shape
    for channel in (0, 2):
        alone = kzoo.enhance(sound[:, channel], 11025, preset=enhancer)
        np.testing.assert_allclose(together[:, channel], alone, atol=1e-6)


def test_what_is_taken_away_is_written_where_it_is_asked_for(run, enhancer, talk, tmp_path):
    out = tmp_path / "out"
    words = ("--noise", "--bit-depth", "float32", "--start", 0.5, "--duration", 0.25)
    status, _, err = run("enhance", "-p", enhancer, "-o", out, *words, talk)
    assert status == 0, err
    assert "talk.wav noise/talk.wav" in err.replace(os.sep, "/")
    speech, noise = (soundfile.read(out / p)[0] for p in ("talk.wav", "noise/talk.wav"))
    np.testing.assert_allclose(speech + noise, soundfile.read(talk)[0][4000:6000], atol=1e-6)


def test_a_recording_is_not_replaced_by_its_own_speech(run, enhancer, talk):
    before = talk.read_bytes()
    words = ("-p", enhancer, "-o", talk.parent)
    status, _, err = run("enhance", *words, "--overwrite", talk)
    assert status == 1
    assert "talk.wav: is the recording itself; name another place by -o" in err
    assert talk.read_bytes() == before
    talk.with_name("noise").mkdir()
    (talk.parent / "noise" / "talk.flac").touch()
    status, _, err = run("enhance", *words, "--noise", "--format", "flac", talk)
    assert status == 1
    assert "exists already; --overwrite replaces it" in err
    assert not (talk.parent / "talk.flac").exists()


def test_stdin_to_stdout(run, enhancer, talk):
    status, out, _ = run("enhance", "-p", enhancer, "-o", "-", "-", stdin=talk.read_bytes())
    assert status == 0
    assert soundfile.info(io.BytesIO(out)).frames == 12345
    status, out, err = run("enhance", "-p", enhancer, "-o", "-", "--noise", talk)
    assert (status, out) == (1, b"")
    assert "stdout takes one recording, and no --noise" in err


def test_a_band_that_is_lost_is_told_of(run, enhancer, tmp_path):
    soundfile.write(tmp_path / "wide.wav", np.full((4800, 1), 0.1), 48000)
    _, _, err = run("enhance", "-p", enhancer, "-o", tmp_path / "out", tmp_path / "wide.wav")
    assert "wide.wav: nothing is left above 4000 Hz by this preset" in err


def test_an_overlap_that_changes_nothing_is_told_of_once(run, enhancer, talk, tmp_path):
    other = tmp_path / "other.wav"
    soundfile.write(other, np.zeros((777, 1)), RATE)
    words = ("-p", enhancer, "--overlap", 0.2, "-o", tmp_path / "out", talk, other)
    _, _, err = run("enhance", *words)
    assert err.count("kzoo: overlap 0.2 changes nothing: the model's blocks carry their") == 1


def test_what_gives_no_speech_is_no_enhancer(run, tiny_preset, talk, tmp_path):
    preset = tiny_preset(tmp_path / "music")
    status, _, err = run("enhance", "-p", preset, "-o", tmp_path / "out", talk)
    assert status == 1
    assert "is no enhancer: it gives vocals, accompaniment and no speech; kzoo separate -p" in err
    assert not (tmp_path / "out").exists()
    with pytest.raises(presets.PresetError, match="no enhancer"):
        kzoo.enhance(np.zeros(100), RATE, preset="spleeter_2stems")


def test_without_a_preset_the_best_is_taken_or_where_it_cannot_be_had_the_one_that_is_here(
    run, enhancer, talk, tmp_path, monkeypatch
):
    # The working directory may hold a folder of any name.
    monkeypatch.setattr("kzoo.presets.opening.BUNDLED_ENHANCER", str(enhancer))
    status, _, err = run("enhance", "-o", tmp_path / "out", talk)
    assert status == 0
    told = f"kzoo: {enhancer} is used, and not the better deepfilternet3: preset 'deepfilternet3' "
    assert err.startswith(f"{told}is not on this machine and KZOO_OFFLINE is set")
    before = (tmp_path / "out" / "talk.wav").read_bytes()
    monkeypatch.setattr("kzoo.presets.opening.ENHANCER", str(enhancer))
    status, _, err = run("enhance", "-o", tmp_path / "again", talk)
    assert status == 0
    assert "is used" not in err
    assert (tmp_path / "again" / "talk.wav").read_bytes() == before


def test_what_the_stems_leave_is_written_piece_by_piece(tmp_path, rng):
    sound = (0.1 * rng.standard_normal((300_000, 2))).astype(np.float32)
    soundfile.write(tmp_path / "long.wav", sound, RATE, subtype="FLOAT")
    system = System(
        function=lambda block: 0.25 * block[:, None], sources=("speech",), sample_rate=RATE,
        channels=1, grid=BlockGrid(4000, 3000, 0),
    )  # fmt: skip
    targets = {name: tmp_path / f"{name}.wav" for name in ("speech", "noise")}
    separation.separate_file(
        BlockSeparator(system), tmp_path / "long.wav", targets,
        stems=separation.enhancement(["speech"], noise=True),
        output=separation.OutputOptions(bit_depth="float32"),
    )  # fmt: skip
    np.testing.assert_allclose(soundfile.read(targets["speech"])[0], 0.25 * sound, atol=1e-6)
    np.testing.assert_allclose(soundfile.read(targets["noise"])[0], 0.75 * sound, atol=1e-6)


@pytest.fixture(scope="module")
def streaming(tmp_path_factory):
    """An enhancer that streams, of random weights which its card calls trained."""
    import keras

    from kzoo import models

    keras.utils.set_random_seed(0)
    card = {
        "summary": "untrained, for tests", "task": "enhancement", "sources": ["speech"],
        "model": {"name": "dtln", "options": {"sources": ["speech"], "variant": "tiny"}},
        "sample_rate": RATE, "channels": 1, "trained": "not at all: random weights from a seed",
        "level_db": -26.0,
    }  # fmt: skip
    model = models.build("dtln", sources=["speech"], variant="tiny")
    return presets.save_to_preset(model, tmp_path_factory.mktemp("preset") / "tiny", card)


@pytest.mark.parametrize("engine", ["auto", "litert"])
def test_sound_as_it_comes_is_what_the_model_says_of_the_whole(
    run, streaming, rng, monkeypatch, engine
):
    if engine == "litert":
        pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    given = rng.integers(-9000, 9000, 1234).astype("<i2")
    sink = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(buffer=sink, write=print))
    words = ("enhance", "--live", "-", "-p", streaming, "--engine", engine)
    status, _, err = run(*words, stdin=given.tobytes())
    assert status == 0, err
    whole = presets.from_preset(streaming)(given[None, :, None] / np.float32(32768))
    found = np.frombuffer(sink.getvalue(), "<i2")
    np.testing.assert_allclose(found, 32768 * np.asarray(whole)[0, 0, :, 0], atol=0.51)
    assert ("the LiteRT file" in err) == (engine == "litert")
    assert f"kzoo: {streaming} at 8000 Hz, one channel, 8 ms of latency" in err
    told = r"0\.2 s of sound, real-time factor \d+\.\d\d, worst block \d+\.\d ms of 2\.0, "
    assert re.search(told + "0 blocks dropped, 0 late\n", err)


def test_speakers_are_separated_as_they_come_a_channel_each(run, rng, tmp_path, monkeypatch):
    import keras

    from kzoo import models

    keras.utils.set_random_seed(0)
    options = {"sources": ["a", "b"], "variant": "tiny", "causal": True, "block_seconds": 0.05}
    model = models.build("conv_tasnet", **options)
    card = {"model": {"name": "conv_tasnet", "options": options}, "sources": ["a", "b"],
            "sample_rate": RATE, "trained": "not at all: random weights"}  # fmt: skip
    folder = presets.save_to_preset(model, tmp_path / "causal", card)
    given, sink = rng.integers(-9000, 9000, 1234).astype("<i2"), io.BytesIO()
    monkeypatch.setattr(sys, "stdout", types.SimpleNamespace(buffer=sink, write=print))
    status, _, err = run("separate", "--live", "-", "-p", folder, stdin=given.tobytes())
    assert status == 0, err
    assert f"kzoo: {folder} at 8000 Hz, one channel to 2 (a, b), 2 ms of latency" in err
    found = np.frombuffer(sink.getvalue(), "<i2").reshape(-1, 2).T
    sound = given[:, None] / np.float32(32768)
    expected = np.asarray(presets.from_preset(folder)(sound[None]))[0, ..., 0]
    np.testing.assert_allclose(found, np.clip(32768 * expected, -32768, 32767), atol=0.51)
    in_longer_blocks = BlockSeparator(tensorflow.system(folder))
    stems = in_longer_blocks.separate(sound, RATE)
    np.testing.assert_allclose([stems[name][:, 0] for name in "ab"], expected, atol=1e-5)
    status, _, err = run("separate", "--live", "-", "-p", folder, "--two-stems", "a")
    assert (status, err) == (
        1,
        "kzoo: --live takes no --two-stems, --consistent, --mwf or --shifts\n",
    )


def test_files_that_hold_no_sound_are_a_line_each_and_do_not_lose_the_others(
    run, streaming, talk, tmp_path
):
    voice = soundfile.read(talk)[0][:3000]
    broken = np.where(np.arange(3000) == 2000, np.nan, voice)
    given = {
        "telephone": (voice, 8000, "ULAW"),
        "clipped": (np.clip(20 * voice, -1, 1), 16000, "PCM_16"),
        "unlike": (np.stack([voice, 0 * voice], axis=1), 22050, "PCM_24"),
        "one": (voice[:1], 48000, "PCM_16"), "silence": (0 * voice, RATE, "PCM_16"),
        "broken": (broken, RATE, "FLOAT"), "none": (voice[:0], RATE, "PCM_16"),
    }  # fmt: skip
    files = [tmp_path / f"{name}.wav" for name in (*given, "empty")]
    for path, (sound, rate, subtype) in zip(files, given.values(), strict=False):
        soundfile.write(path, sound, rate, subtype=subtype)
    files[-1].touch()
    out = tmp_path / "out"
    status, _, err = run("enhance", "-p", streaming, "-o", out, "--quiet", *files)
    assert status == 1
    refused = [line for line in err.splitlines() if line.startswith("kzoo: ")]
    assert len(refused) == 3
    assert "broken.wav: the sample at 0.250 s is not a number" in err
    assert "none.wav: holds no sound" in err
    assert "empty.wav: is empty (0 bytes)" in err
    assert "silence.wav: the input is silent, and so are the stems" in err
    assert {path.stem for path in out.iterdir()} == {*given} - {"broken", "none"}
    for path in out.iterdir():
        sound, rate, _ = given[path.stem]
        found, found_rate = soundfile.read(path)
        assert (found.shape, found_rate) == (sound.shape, rate)
        assert np.isfinite(found).all()


def test_live_takes_no_recordings_and_no_model_of_whole_blocks(run, enhancer, talk):
    status, _, err = run("enhance", talk, "--live", "-")
    assert (status, err) == (1, "kzoo: --live takes sound as it comes, and no recordings\n")
    status, _, err = run("enhance")
    assert status == 1
    assert "name recordings to enhance, or --live DEVICE" in err
    status, _, err = run("enhance", "--live", "-", "-p", enhancer)
    assert status == 1
    assert "hears whole blocks and cannot run live; these can: " in err
    assert "dtln" in err


def test_the_list_shows_the_cost_that_a_card_names(run, monkeypatch):
    cards = {name: presets.load_card(name) for name in ("dtln", "gtcrn_speech", "spleeter_2stems")}
    cards["dtln"]["cost"] = {"cpu_ms_per_second": 24.53}
    cards["gtcrn_speech"].pop("cost", None)
    monkeypatch.setattr(presets, "list_presets", lambda: list(cards))
    monkeypatch.setattr(presets, "load_card", cards.__getitem__)
    status, out, _ = run("enhance", "--list")
    assert status == 0
    head, dtln, gtcrn = out.decode().splitlines()
    end = head.index("CPU per s") + len("CPU per s")
    assert dtln[:end].endswith("  24.5 ms")
    assert gtcrn[:end].endswith("0.02 M" + " " * 11)


def test_the_list_has_a_row_for_every_preset_that_gives_speech(run):
    status, out, _ = run("enhance", "--list")
    assert status == 0
    head, *rows = out.decode().splitlines()
    assert head.split()[:4] == ["preset", "kHz", "latency", "weights"]
    names = {row.split()[0] for row in rows}
    assert {"deepfilternet3", "ul_unas_dns3", "dtln", "gtcrn_dns3", "gtcrn_speech"} <= names
    assert "spleeter_2stems" not in names
    (row,) = (row for row in rows if row.startswith("dtln "))
    assert row.split()[1:4] == ["16", "32", "ms"]
