"""An exported file in the place of a preset: the same sound, at any length, and clear refusals."""

import dataclasses
import sys
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops

import kzoo
from kzoo import audio, cli, presets
from kzoo.deploy.examples import sound_proof
from kzoo.deploy.export import export
from kzoo.deploy.proof import Streaming
from kzoo.engines import exported, litert
from kzoo.synthesis import transfer

pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")

RATE, BLOCK, HOP = 8000, 4096, 64
GAINS = {"speech": 0.25, "noise": 0.75}
STATISTICS = {
    name: {"quantiles": {str(q): float(k) for k, q in enumerate(transfer.solo.QUANTILES)}}
    for name in ("midi", "loudness_db")
}


def gains_of(x):
    return np.array(list(GAINS.values()), np.float32).reshape(-1, *(1,) * x)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Files of a network that takes a share of the sound for each source, whole and hop by hop."""
    folder = tmp_path_factory.mktemp("exported")
    waveform = keras.Input((BLOCK, 1), name="waveform")
    model = keras.Model(waveform, waveform[:, None] * gains_of(2), name="shares")
    hop, last = keras.Input((HOP, 1), name="waveform"), keras.Input((HOP, 1), name="state_last")
    shares = {source: last * gain for source, gain in GAINS.items()}
    step = keras.Model({"waveform": hop, "state_last": last}, {**shares, "state_last": hop * 1.0})
    state = {"last": np.zeros((1, HOP, 1), np.float32)}
    stream = Streaming(
        step=step, state=state, frames=1, hop_length=HOP, delay_samples=HOP, twin=True
    )
    proof = sound_proof(model, sample_rate=RATE, sources=list(GAINS), stream=stream)
    card = {"level_db": -26.0, "trained": {"data": {"statistics": STATISTICS}, "steps": 1}}
    export(model, "tflite", folder, name="shares", proof=proof, sample_rate=RATE, base_card=card)
    waveform, asked = keras.Input((BLOCK, 2), name="waveform"), keras.Input((2,), name="asked")
    share = ops.sum(asked * gains_of(0), axis=-1)
    model = keras.Model([waveform, asked], waveform[:, None] * share[:, None, None, None])
    proof = sound_proof(model, sample_rate=RATE, sources=["estimate"], conditions=list(GAINS))
    card = {"interchangeable": True}
    export(model, "tflite", folder, name="told", proof=proof, sample_rate=RATE, base_card=card)
    return folder


@pytest.fixture
def run(monkeypatch, capfd):
    """Run `kzoo WORDS...`; (exit status, stderr)."""

    def call(*words):
        monkeypatch.setattr(sys, "argv", ["kzoo", *map(str, words)])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        return stop.value.code or 0, capfd.readouterr().err

    return call


@pytest.fixture
def song(rng, tmp_path):
    """(path, waveform) of three blocks and a part, of two channels."""
    waveform = (0.1 * rng.standard_normal((3 * BLOCK + 777, 2))).astype(np.float32)
    audio.write(tmp_path / "song.wav", waveform, RATE, bit_depth="float32")
    return tmp_path / "song.wav", waveform


@pytest.mark.parametrize("name", ["shares_fp32", "shares_step", "shares_stream", "told_fp32"])
def test_a_file_separates_sound_of_any_length(folder, song, name):
    _, waveform = song
    separator = kzoo.Separator.from_preset(folder / f"{name}.tflite")
    for length in (len(waveform), 100):
        stems = separator.separate(waveform[:length], RATE)
        assert list(stems) == list(GAINS)
        for source, gain in GAINS.items():
            assert stems[source].shape == (length, 2)
            np.testing.assert_allclose(stems[source], gain * waveform[:length], atol=1e-6)


def test_two_signals_of_one_stream_have_states_of_their_own(folder):
    file = exported.opened(folder / "shares_stream.tflite")
    system = litert.system(file, live=True)
    first, second = system.begin(), system.begin()
    assert (system.grid.samples, system.delay) == (HOP, HOP)
    one, other = np.ones((1, HOP, 1), np.float32), np.full((1, HOP, 1), 2, np.float32)
    first(one), second(other)
    assert np.all(first(one)[0, :, :, 0] == gains_of(1))
    assert np.all(second(one)[0, :, :, 0] == 2 * gains_of(1))


def test_what_a_file_tells_takes_the_place_of_the_card(folder):
    file = exported.opened(folder / "shares_fp32.tflite")
    assert (file.task, file.sources, file.card["sample_rate"]) == ("separation", list(GAINS), RATE)
    assert not litert.system(file).interchangeable
    assert litert.system(exported.opened(folder / "told_fp32.tflite")).interchangeable
    target = transfer.target(file)
    assert target.midi == transfer.solo.QUANTILES.index(0.5)
    np.testing.assert_array_equal(target.loudness_db, np.arange(len(transfer.solo.QUANTILES)))


def test_verbs_take_a_file_where_a_preset_stands(folder, song, run, tmp_path):
    path, waveform = song
    words = ["--bit-depth", "float32", "-p", folder / "shares_step.tflite", "-q", "-o"]
    assert run("separate", path, *words, tmp_path) == (0, "")
    assert run("enhance", path, *words, tmp_path / "out") == (0, "")
    for written in (tmp_path / "song/speech.wav", tmp_path / "out/song.wav"):
        np.testing.assert_allclose(audio.read(written)[0], 0.25 * waveform, atol=1e-6)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("separate", "--engine", "tensorflow"), "is an exported file, which LiteRT runs"),
        (("separate", "--mwf"), "has no multichannel Wiener filter"),
        (("separate", "--device", "cpu"), "device needs TensorFlow; leave it out"),
        (("separate", "--n-sources", "3"), "gives speech, noise and no other number of sources"),
        (("separate", "--plot"), "draws clusters"),
        (("synthesize",), "is no synthesiser; its task is separation"),
        (("transfer",), "is no synthesiser; its task is separation"),
        (("export",), "name the preset here"),
        (("pitch",), "name the preset here"),
    ],
)
def test_what_a_file_cannot_do_is_one_line(folder, song, run, tmp_path, words, message):
    verb, *options = words
    out = tmp_path / ("out.wav" if verb in ("synthesize", "transfer") else "out")
    given = [] if verb == "export" else [song[0]]
    preset = "--method" if verb == "pitch" else "-p"
    status, said = run(verb, *given, preset, folder / "shares_fp32.tflite", *options, "-o", out)
    assert status == 1
    assert message in said
    assert said.count("\n") == 1
    assert not out.exists()


def test_whole_blocks_are_not_run_live(folder, run):
    status, said = run("enhance", "--live", "-", "-p", folder / "shares_fp32.tflite")
    assert status == 1
    assert "hears whole blocks and cannot run live" in said


def test_a_joining_that_is_not_known_is_refused(folder):
    file = exported.opened(folder / "shares_fp32.tflite")
    newer = dataclasses.replace(file, card={**file.card, "joining": {"mirrored": True}})
    with pytest.raises(presets.PresetError, match="are joined mirrored, which this kzoo does not"):
        litert.system(newer)


def test_foreign_and_damaged_files_are_one_line(folder, song, run, tmp_path):
    content = (folder / "shares_fp32.tflite").read_bytes()
    silent = content.replace(b"kzoo", b"kzou")
    files = {
        "cut short": content[: len(content) // 2],
        "LiteRT cannot use it": content[:-1],
        "is not a TFLite file": Path(song[0]).read_bytes(),
        "tells nothing of itself": silent,
        "is not there": None,
    }
    for message, damaged in files.items():
        path = tmp_path / "x.tflite"
        path.unlink(missing_ok=True)
        if damaged is not None:
            path.write_bytes(damaged)
        status, said = run("separate", song[0], "-p", path, "-o", tmp_path / "out")
        assert status == 1
        assert message in said, message
        assert said.count("\n") == 1
        assert not (tmp_path / "out").exists()
    assert not isinstance(exported.opened("spleeter_2stems"), presets.Preset)
