"""One file for any stem: its proof, its card, and the program that asks it for stems."""

import importlib.util
import subprocess
import sys
import wave
from pathlib import Path

import keras
import numpy as np
import pytest
from keras import ops
from made_artefacts import RATE

from kzoo.deploy.examples import sound_proof
from kzoo.deploy.export import export
from kzoo.deploy.formats.metadata import read_metadata

CONSUMER = Path(__file__).parents[2] / "export" / "consumers" / "separate_tflite.py"
NAMES = ["low", "high"]
BLOCK = 256

pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")


@pytest.fixture(scope="module")
def card(tmp_path_factory):
    """A network that takes a quarter of the sound for "low", and half of it for "high"."""
    waveform, asked = keras.Input((BLOCK, 2), name="waveform"), keras.Input((2,), name="asked")
    share = ops.sum(asked * np.array([0.25, 0.5], np.float32), axis=-1)
    model = keras.Model(
        [waveform, asked], ops.expand_dims(waveform * share[:, None, None], 1), name="told"
    )
    proof = sound_proof(model, sample_rate=RATE, sources=["estimate"], conditions=NAMES)
    folder = tmp_path_factory.mktemp("any_stem")
    return export(model, "tflite", folder, name="told", proof=proof, sample_rate=RATE)


def consume(path, *arguments):
    command = [sys.executable, "-I", str(CONSUMER), *map(str, (path, *arguments))]
    run = subprocess.run(command, capture_output=True, text=True)
    return run.returncode, run.stdout + run.stderr


def test_each_condition_alone_and_a_mix_are_proven(card):
    assert list(card["parity"]["sources"]) == [
        "estimate", "estimate (high)", "estimate (a mix of all)"
    ]  # fmt: skip
    assert card["parity"]["sound"].endswith(", asked for low")
    assert card["condition"] == {"input": "asked", "names": NAMES}
    assert read_metadata(card["path"])["condition"] == card["condition"]


def test_the_program_extracts_stems_and_remixes_without_a_card(card, tmp_path):
    alone = tmp_path / "alone.tflite"
    alone.write_bytes(Path(card["path"]).read_bytes())
    values = np.random.default_rng(0).integers(-20000, 20000, (600, 2)).astype("<i2")
    song = tmp_path / "song.wav"
    with wave.open(str(song), "wb") as writer:
        writer.setparams((2, 2, RATE, 0, "NONE", None))
        writer.writeframes(values.tobytes())
    for arguments, found in (
        ((), {"low": 0.25, "high": 0.5}),
        (("--stem", "high"), {"high": 0.5}),
        (("--remix", "low=1,high=0.2"), {"remix": 0.35}),
    ):
        out = tmp_path / "-".join(("out", *found))
        code, said = consume(alone, song, "-o", out, *arguments)
        assert code == 0, said
        assert {path.stem for path in out.iterdir()} == set(found)
        for name, share in found.items():
            with wave.open(str(out / f"{name}.wav")) as reader:
                data = np.frombuffer(reader.readframes(1000), np.uint8).reshape(-1, 3)
            wide = np.zeros((len(data), 4), np.uint8)
            wide[:, 1:] = data
            stem = wide.view("<i4")[:, 0].reshape(-1, 2) / 2**31
            np.testing.assert_allclose(stem, share * values / 2**15, atol=1e-6)


@pytest.mark.parametrize(("stems", "remix"), [(["bass"], None), (None, "low=2"), (None, "low")])
def test_what_the_file_does_not_know_is_refused(stems, remix, card):
    spec = importlib.util.spec_from_file_location("separate_tflite", CONSUMER)
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    with pytest.raises(program.Problem, match=r"shares from 0 to 1 of low, high|needs NAME=SHARE"):
        program.asked_for(card, stems, remix)
