"""LiteRT as the engine: the stems of TensorFlow, without it, from a file that is made once."""

import dataclasses
import subprocess
import sys
from pathlib import Path

import keras
import made_crepe
import numpy as np
import pytest

from kzoo import api, audio, cli, models, presets
from kzoo.deploy import parity
from kzoo.engines import folder, litert, making, tensorflow
from kzoo.pitch_tracking import PitchTracker
from kzoo.separation import BlockSeparator
from kzoo.synthesis import player

pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")

RATE = 8000
# What a machine has that cannot hold TensorFlow: its import fails.
ALONE = """
import sys
sys.modules["tensorflow"] = sys.modules["keras"] = None
import numpy as np
import kzoo
separator = kzoo.Separator.from_preset(sys.argv[1])
stems = separator.separate(np.load(sys.argv[2]), int(sys.argv[3]))
from kzoo import presets
from kzoo.synthesis import player, transfer
instrument = player.instrument(presets.open_preset(sys.argv[5]))
np.savez(sys.argv[4], sound=instrument.begin()(np.load(sys.argv[6])), **stems)
"""


def speech_preset(folder):
    """A preset of the tiny DTLN, which streams, for recordings of one level."""
    keras.utils.set_random_seed(0)
    model = models.build("dtln", sources=["speech", "noise"], variant="tiny")
    card = {
        "name": "tiny_speech",
        "summary": "untrained, for tests",
        "model": {
            "name": "dtln",
            "options": {"sources": ["speech", "noise"], "variant": "tiny"},
        },
        "sources": ["speech", "noise"],
        "sample_rate": RATE,
        "channels": 1,
        "level_db": -27.0,
        "trained": "not at all: random weights from a seed",
        "licences": {"code": "Apache-2.0", "weights": "none", "data": "none"},
    }
    return presets.save_to_preset(model, folder, card)


def organ_preset(folder):
    """A preset of a tiny synthesiser of random weights, in a room."""
    options = {"variant": "tiny", "reverb_seconds": 0.1}
    keras.utils.set_random_seed(0)
    model = models.build("ddsp", **options)
    model.get_layer("reverb").response.assign(np.random.default_rng(0).normal(0, 0.1, 800))
    card = {
        "name": "organ", "task": "synthesis", "sample_rate": RATE, "trained": {"steps": 1},
        "model": {"name": "ddsp", "options": options},
    }  # fmt: skip
    return presets.save_to_preset(model, folder, card)


def controls(frames):
    """`[frames, 3]`: seconds, a pitch that glides, a loudness that swells."""
    k = np.arange(frames)
    return np.stack([k / 250, 200 + k / 2, -20 + 10 * np.sin(k / 40)], axis=1)


@pytest.fixture(scope="module")
def folders(tiny_preset, tmp_path_factory):
    """{kind: a preset's folder}: blocks on a grid, a stream, and what is played by controls."""
    folder = tmp_path_factory.mktemp("presets")
    return {
        "blocks": tiny_preset(folder / "unet"),
        "stream": speech_preset(folder / "dtln"),
        "synthesiser": organ_preset(folder / "organ"),
    }


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    """Where no other test finds a file that makes LiteRT its engine, too."""
    monkeypatch.setenv("KZOO_CACHE", str(tmp_path_factory.getbasetemp() / "litert"))


@pytest.fixture
def mixture(rng):
    """Three blocks and a part, of two channels, at another rate than the models'."""
    return (0.1 * rng.standard_normal((30_011, 2))).astype(np.float32)


@pytest.fixture
def download(monkeypatch):
    """`kzoo presets download PRESET --litert`."""

    def call(preset):
        words = ["kzoo", "presets", "download", str(preset), "--litert", "--quiet"]
        monkeypatch.setattr(sys, "argv", words)
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code

    return call


@pytest.mark.parametrize("kind", ["blocks", "stream"])
def test_stems_are_those_of_tensorflow(folders, kind, mixture, download):
    preset = presets.open_preset(folders[kind])
    assert not litert.chosen("auto", preset)
    download(preset)
    assert litert.chosen("auto", preset)
    separator = api.Separator.from_preset(folders[kind], engine="litert")
    found = separator.separate(mixture, 11_025)
    expected = BlockSeparator(tensorflow.system(preset)).separate(mixture, 11_025)
    assert list(found) == list(expected) == preset.sources
    for source, stem in expected.items():
        error = found[source] - stem
        assert np.sum(error**2) < 1e-10 * np.sum(stem**2)  # 100 dB
        assert np.sum(stem**2) > 0

    again = api.Separator.from_preset(folders[kind], engine="litert").separate(mixture, 11_025)
    assert all(np.array_equal(again[source], found[source]) for source in found)


def test_a_synthesiser_plays_as_by_tensorflow(folders, download):
    preset = presets.open_preset(folders["synthesiser"])
    download(preset)
    assert litert.chosen("auto", preset, frames=player.BLOCK_FRAMES)
    found, expected = (
        player.instrument(preset, engine=engine) for engine in ("litert", "tensorflow")
    )
    assert found.hop_length == expected.hop_length == 32
    np.testing.assert_array_equal(found.room, expected.room)
    rows, watched = controls(3 * player.BLOCK_FRAMES), ([], [])
    sounds = []
    for instrument, seen in ((found, watched[0]), (expected, watched[1])):
        play = instrument.begin(watch=lambda *both, seen=seen: seen.append(both))
        sounds.append(np.concatenate(list(player.played(play, iter(rows), 32))))
    error = sounds[0] - sounds[1]
    assert np.sum(error**2) < 1e-9 * np.sum(sounds[1] ** 2)  # 90 dB
    for ours, theirs in zip(*watched, strict=True):
        for mine, other in zip(ours, theirs, strict=True):
            np.testing.assert_allclose(mine, other, atol=1e-4 * np.abs(other).max())


def test_a_machine_without_tensorflow_separates_and_plays(folders, mixture, tmp_path):
    organ = presets.open_preset(folders["synthesiser"])
    played = player.instrument(organ, engine="litert").begin()(controls(player.BLOCK_FRAMES))
    np.save(tmp_path / "controls.npy", controls(player.BLOCK_FRAMES))
    found = api.Separator.from_preset(folders["blocks"], engine="litert").separate(mixture, 11_025)
    np.save(tmp_path / "mixture.npy", mixture)
    words = [folders["blocks"], tmp_path / "mixture.npy", "11025", tmp_path / "stems.npz"]
    words += [folders["synthesiser"], tmp_path / "controls.npy"]
    subprocess.run([sys.executable, "-c", ALONE, *words], check=True)
    with np.load(tmp_path / "stems.npz") as alone:
        assert all(np.array_equal(alone[source], found[source]) for source in found)
        np.testing.assert_array_equal(alone["sound"], played)


@pytest.mark.skipif(sys.platform != "linux", reason="the maps of a process are Linux's")
def test_the_pages_of_the_file_are_given_back(folders):
    preset = presets.open_preset(folders["blocks"])
    system = litert.system(preset)
    path = folder.place(preset) / folder.FILE
    blocks = Path("/proc/self/smaps").read_text().split(f"{path.resolve()}\n")[1:]
    assert system.begin or system.function
    assert blocks
    assert {line for block in blocks for line in block.splitlines()[:8] if "Rss:" in line} == {
        "Rss:                   0 kB"
    }


def test_a_pitch_is_that_of_tensorflow(tmp_path, mixture, download):
    nano = made_crepe.nano_preset(tmp_path / "nano", contrast=20.0)
    preset = presets.open_preset(nano)
    download(nano)
    expected, found = (
        PitchTracker(nano, hop_ms=4, engine=engine)(mixture, 11_025)
        for engine in ("tensorflow", "litert")
    )
    np.testing.assert_allclose(found.f0_hz, expected.f0_hz, rtol=1e-5)
    np.testing.assert_allclose(found.confidence, expected.confidence, atol=1e-6)
    assert litert.chosen("auto", preset, hop_length=64)
    assert not litert.chosen("auto", preset, hop_length=128)  # a file is of one hop
    with pytest.raises(ValueError, match="pyin is no network"):
        PitchTracker("pyin", engine="litert")


def test_other_weights_and_another_card_have_a_file_of_their_own(folders, tiny_preset, tmp_path):
    api.Separator.from_preset(folders["blocks"], engine="litert")
    other = tiny_preset(tmp_path / "unet", seed=1)
    assert not litert.is_made(presets.open_preset(other))
    preset = presets.open_preset(folders["blocks"])
    assert litert.is_made(preset)
    changed = dataclasses.replace(preset, card={**preset.card, "overlap": 0.25})
    assert not litert.is_made(changed)


def test_a_file_that_says_something_else_is_not_kept(tiny_preset, tmp_path, monkeypatch):
    def otherwise(network, folder, level_db):
        place = folder / "separate_fp32.tflite"
        raise parity.ParityError(f"vocals 20.0 dB; {place} was not written")

    preset = presets.open_preset(tiny_preset(tmp_path / "unet", seed=4))
    monkeypatch.setattr(making, "_make_block", otherwise)
    with pytest.raises(presets.PresetError, match=r"needs engine tensorflow.*: vocals 20.0 dB$"):
        litert.system(preset)
    assert not litert.is_made(preset)


def test_what_is_interrupted_leaves_nothing_behind(tiny_preset, tmp_path, monkeypatch):
    preset = presets.open_preset(tiny_preset(tmp_path / "unet", seed=2))

    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(making, "_make_block", interrupted)
    with pytest.raises(KeyboardInterrupt):
        litert.system(preset)
    assert not litert.is_made(preset)
    place = folder.place(preset)
    assert not list(place.parent.glob(f"*{place.stem}*"))


def test_the_verb_runs_what_was_asked_for(folders, mixture, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    audio.write("mixture.wav", mixture, 11_025)
    found = api.Separator.from_preset(folders["blocks"], engine="litert")
    asked = []

    def made(preset, *, engine, **options):
        asked.append(engine)
        return found

    monkeypatch.setattr(api.Separator, "from_preset", made)
    for engine in ("tensorflow", "litert", "auto"):
        words = ["separate", "mixture.wav", "-p", str(folders["blocks"]), "--engine", engine]
        monkeypatch.setattr(sys, "argv", ["kzoo", *words, "-o", engine, "--quiet"])
        with pytest.raises(SystemExit) as stop:
            cli.main()
        assert not stop.value.code
    assert asked == ["tensorflow", "litert", "auto"]
    assert "is made" not in capsys.readouterr().err  # it is there


def test_without_tensorflow_and_without_a_file_it_says_where_one_is_made(
    tiny_preset, tmp_path, monkeypatch
):
    preset = presets.open_preset(tiny_preset(tmp_path / "unet", seed=3))
    monkeypatch.setitem(sys.modules, "tensorflow", None)
    with pytest.raises(ValueError, match=r"TensorFlow is not installed.*--engine litert"):
        litert.chosen("auto", preset)
    with pytest.raises(ValueError, match="mwf needs TensorFlow, which is not installed"):
        litert.chosen("auto", preset, mwf=True)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"engine": "steam"}, "one of auto, litert, tensorflow; got 'steam'"),
        ({"engine": "litert", "mwf": True}, "mwf needs TensorFlow"),
        ({"engine": "litert", "device": "gpu"}, "device needs TensorFlow"),
        ({"engine": "litert", "mask_extension": "average"}, "mask_extension needs TensorFlow"),
        ({"engine": "litert", "dropout": 0.0}, "dropout needs TensorFlow"),
    ],
)
def test_what_it_cannot_do_is_refused(folders, options, words):
    with pytest.raises(ValueError, match=words):
        api.Separator.from_preset(folders["blocks"], **options)
