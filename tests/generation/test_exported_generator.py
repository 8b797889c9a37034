"""A generator's file: kzoo, and a program without kzoo, draw by it what the preset draws."""

import sys
from pathlib import Path

import keras
import numpy as np
import pytest
import soundfile
from made_programs import run_program
from test_composing import command

from kzoo import api, models, presets
from kzoo.deploy.formats import tflite
from kzoo.deploy.formats.metadata import read_metadata
from kzoo.generation import steps
from kzoo.generation.composing import Composer

PROGRAM = Path(__file__).parents[2] / "export" / "consumers" / "generate_tflite.py"
RATE = 8000
OPTIONS = {"variant": "tiny", "stacks": 1, "depth": 4, "levels": 16}
pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    """(preset, card of its TFLite file) of a WaveNet that reaches beyond a block."""
    keras.utils.set_random_seed(0)
    model, rng = models.build("wavenet", **OPTIONS), np.random.default_rng(4)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.6, weight.shape))
    folder = tmp_path_factory.mktemp("exported")
    card = {
        "name": "free", "task": "generation", "sample_rate": RATE, "trained": "here",
        "model": {"name": "wavenet", "options": OPTIONS},
    }  # fmt: skip
    preset = presets.save_to_preset(model, folder / "preset", card)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(steps, "_LEAST", 4)
        return preset, api.export(preset, "tflite", folder / "out")


@pytest.fixture(scope="module")
def stream(exported):
    """The file that draws."""
    return Path(exported[1]["path"]).with_name(exported[1]["stream"]["file"])


def test_the_file_has_built_in_operators_and_says_what_keras_says(exported, stream):
    _, card = exported
    assert set(card["parity"]["sources"]) == {"next_sample", "stream"}
    assert all(x["max_abs_difference"] < 1e-5 for x in card["parity"]["sources"].values())
    for told in (card, tflite.describe(stream)):
        assert [kind for kind in told["operators"] if not kind.isupper()] == []
        assert told["dynamic_tensors"] == 0
    signatures = read_metadata(stream)["signatures"]
    assert set(signatures["step"]["outputs"]) == {"audio", "next_sample"}
    assert set(signatures["step"]["inputs"]) == {"past", "noise", "temperature"}


def test_the_file_draws_what_the_preset_draws_from_a_seed_and_behind_a_prime(
    exported, stream, tmp_path, monkeypatch
):
    monkeypatch.setattr("kzoo.generation.exported.BLOCK", 10)
    soundfile.write(tmp_path / "prime.wav", 0.3 * np.sin(np.arange(2 * RATE) / 5), 2 * RATE)
    composers = [Composer(which, voices=2) for which in (exported[0], stream)]
    for options in ({"temperature": 0.7}, {"prime": tmp_path / "prime.wav"}):
        blocks = [list(one.blocks(0.005, seed=3, **options)) for one in composers]
        assert len(blocks[1]) > 1
        for key in ("samples", "entropies"):
            preset, file = (np.concatenate([getattr(b, key) for b in one], 1) for one in blocks)
            np.testing.assert_allclose(file, preset, atol=1e-4 if key == "entropies" else 0)
        assert len(np.unique(preset)) > 3


def test_the_verb_takes_the_file_and_refuses_what_it_cannot_do(
    exported, stream, tmp_path, capsys, monkeypatch
):
    words = ("--seconds", "0.01", "--seed", "2", "-o", tmp_path / "a.wav", "--quiet")
    with monkeypatch.context() as patch:  # no backend is needed
        patch.setitem(sys.modules, "tensorflow", None)
        patch.setattr("kzoo.cli.terminal.quiet_tensorflow", lambda: pytest.fail("TensorFlow"))
        status, _ = command("-p", stream, *words, capsys=capsys)
    assert status == 0
    sound, rate = soundfile.read(tmp_path / "a.wav")
    expected = Composer(exported[0])(0.01, seed=2)
    assert rate == RATE
    np.testing.assert_allclose(sound, expected, atol=1e-4)
    status, told = command("-p", stream, *words, "--top-k", "2", "--overwrite", capsys=capsys)
    assert (status, told.count("\n")) == (1, 1)
    assert "draws from all codes; leave top_k out" in told
    status, told = command("-p", exported[1]["path"], *words, "--overwrite", capsys=capsys)
    assert (status, told.count("\n")) == (1, 1)
    assert "draws nothing; free_stream.tflite" in told
    with pytest.raises(ValueError, match="is run by LiteRT; leave the engine numba out"):
        Composer(stream, engine="numba")


def test_a_program_without_kzoo_draws_the_same(exported, stream, tmp_path):
    done = run_program(
        PROGRAM, stream, "--seconds", "0.01", "--seed", "2", "-o", tmp_path / "b.wav"
    )
    assert done.returncode == 0, done.stderr
    sound, rate = soundfile.read(tmp_path / "b.wav")
    assert rate == RATE
    np.testing.assert_allclose(sound, Composer(exported[0])(0.01, seed=2), atol=1e-4)
    for wrong, said in [
        (("--seconds", "0"), "--seconds must be above 0"),
        (("--temperature", "-1"), "--temperature must be 0 or above; got -1.0"),
        (("--controls", "melody.csv"), "--controls is for files that play pitch and loudness"),
        (("--card", "other.json"), "other.json"),
    ]:
        done = run_program(PROGRAM, stream, *wrong, "-o", tmp_path / "c.wav")
        assert (done.returncode, done.stderr.count("\n")) == (1, 1), done.stderr
        assert said in done.stderr
        assert not (tmp_path / "c.wav").exists()
