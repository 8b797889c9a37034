"""The ritual of an export: written, reloaded, compared, described, and in place only then."""

import contextlib
import json
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from made_artefacts import BLOCK, RATE, SOURCES, Fickle, InverseFFT, proof_of, small_model

from kzoo.deploy import parity
from kzoo.deploy.examples import sound_proof
from kzoo.deploy.export import _compare, _keras, _stamp, export
from kzoo.deploy.formats import tflite
from kzoo.deploy.formats.tflite import FlexError
from kzoo.deploy.proof import Proof, Streaming


def test_flex_is_refused_and_its_operators_are_named(tmp_path):
    model = small_model(InverseFFT())
    proof = proof_of(model)
    with pytest.raises(FlexError, match=r"Complex.*IRFFT, in .*inverse_fft.*allow Flex") as refusal:
        export(model, "tflite", tmp_path / "new", name="x", proof=proof, sample_rate=RATE)
    assert "IRFFT" in refusal.value.operators
    assert not (tmp_path / "new").exists()
    card = export(
        model, "tflite", tmp_path, name="x", proof=proof, sample_rate=RATE, allow_flex=True
    )
    assert "FlexIRFFT" in card["operators"]
    assert card["runtime"]["name"] == "tf.lite.Interpreter"
    # TensorFlow's interpreter may link no Flex delegate; then the card must not claim a comparison.
    assert bool(card["parity"]["sources"]) != bool(card["parity"]["not_compared"])


@pytest.mark.parametrize("to", ["saved_model", "tflite"])
def test_artefact_that_differs_from_its_model_leaves_nothing_behind(to, tmp_path):
    model = small_model(Fickle())
    refusal = (
        r"compared on .*, the artefact differs .* limit of 80 dB: a \d+\.\d dB; .* not written"
    )
    with pytest.raises(parity.ParityError, match=refusal):
        export(model, to, tmp_path / "new", name="x", proof=proof_of(model), sample_rate=RATE)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_overwritten_unless_asked_and_a_failure_keeps_the_old(bundle, model):
    folder, cards = bundle
    names = {"name": "tiny", "sample_rate": RATE}
    with pytest.raises(FileExistsError, match=r"tiny_fp32\.tflite: is there already"):
        export(model, "tflite", folder, **names, proof=sound_proof(model, sample_rate=RATE))
    fickle = small_model(Fickle())
    with pytest.raises(parity.ParityError):
        export(fickle, "tflite", folder, **names, proof=proof_of(fickle), overwrite=True)
    kept = _stamp(folder / "tiny_fp32.tflite")
    assert kept == cards["fp32"]["files"]["tiny_fp32.tflite"]
    assert not [path for path in folder.iterdir() if path.name.startswith(".")]


def test_saved_model_is_replaced_whole(tmp_path):
    mono = small_model(layers.Identity())
    for expected in ("first", "second"):
        card = export(
            mono, "saved_model", tmp_path, name="m", proof=proof_of(mono), sample_rate=RATE,
            overwrite=True, base_card={"summary": expected},
        )  # fmt: skip
    kept = json.loads((Path(card["path"]) / "assets.extra" / "card.json").read_text())
    assert kept["summary"] == "second"
    assert [path.name for path in (tmp_path / "m").iterdir()] == ["1"]
    assert kept["parity"]["sources"]["a"] == {"snr_db": None, "max_abs_difference": 0.0}


def test_card_says_what_an_app_must_know(bundle):
    folder, cards = bundle
    card = json.loads((folder / "tiny_fp16.json").read_text())
    assert {**card, "path": str(folder / "tiny_fp16.tflite")} == cards["fp16"]
    assert card["block_samples"] == BLOCK
    assert (card["sample_rate"], card["channels"], card["precision"]) == (RATE, 2, "fp16")
    assert tuple(card["sources"]) == SOURCES
    assert card["parity"]["sound"] == "notes"
    assert min(s["snr_db"] for s in card["parity"]["sources"].values()) > 50
    assert card["files"]["tiny_fp16.tflite"] == _stamp(folder / "tiny_fp16.tflite")
    assert card["licences"] == {"weights": "none"}
    assert "weights" not in card
    assert card["runtime"]["name"] == "LiteRT"
    assert card["versions"]["tensorflow"] == tf.__version__


def test_card_gives_the_worst_of_sounds_that_nobody_chose(bundle):
    _, cards = bundle
    for card in cards.values():
        worst = card["parity"]["worst"]
        assert worst["output"] in SOURCES
        assert worst["snr_db"] <= min(
            found["snr_db"] for found in card["parity"]["sources"].values()
        )
        assert worst["max_abs_difference"] > 0


def test_a_sound_that_was_not_chosen_is_reported_and_refuses_nothing(tmp_path):
    model = small_model(layers.Identity())
    proof = proof_of(model)
    compared = []

    def run(inputs):
        compared.append(inputs)
        wrong = 1.0 if inputs is proof.inputs else 1.5  # on the example itself all is well
        return {"a": wrong * inputs["waveform"]}

    expected = _keras(model, proof)
    found = _compare(expected, tmp_path, lambda path: run, proof, 80.0, repeat=False)
    assert found["sources"]["a"]["snr_db"] is None
    assert found["worst"]["snr_db"] == pytest.approx(6.02, abs=0.01)
    assert len(compared) == 1 + len(proof.probes)


@pytest.mark.parametrize("leaking", [0, 1, None])
def test_an_artefact_that_answers_with_remains_of_earlier_calls_is_refused(leaking, tmp_path):
    """As LiteRT does in one interpreter of several, where memory happens to lie so."""
    model = small_model(layers.Identity())
    proof = proof_of(model)
    loads = []

    def load(path):
        leaks, heard = leaking == len(loads), []
        loads.append(path)

        def run(inputs):
            heard.append(inputs["waveform"])
            remains = 1e-6 * heard[-2] if leaks and len(heard) > 1 else 0.0
            return {"a": inputs["waveform"] + np.float32(remains)}

        return run

    refused = contextlib.nullcontext()
    if leaking is not None:
        refused = pytest.raises(parity.ParityError, match=r"something else after another call: a$")
    with refused:
        _compare(_keras(model, proof), tmp_path, load, proof, 80.0, repeat=True)
    assert len(loads) == 2


def test_a_model_of_anything_goes_by_the_names_of_its_proof(tmp_path):
    """A listener, say: one tensor of scores under one name, and no waveform comes out."""
    waveform = keras.Input((None, 1), name="waveform")
    scores = layers.Dense(3, activation="sigmoid")(layers.GlobalAveragePooling1D()(waveform))
    model = keras.Model(waveform, scores, name="listener")
    proof = Proof(
        inputs={"sound": np.ones((1, 50, 1), np.float32)}, outputs=["scores"],
        description="ones", card={"labels": ["a", "b", "c"]},
    )  # fmt: skip
    card = export(model, "saved_model", tmp_path, name="x", proof=proof, sample_rate=RATE)
    assert (card["inputs"], card["outputs"]) == ({"sound": [None, None, 1]}, {"scores": [None, 3]})
    assert card["labels"] == ["a", "b", "c"]
    level = card["parity"]["sources"]["scores"]["snr_db"]
    assert level is None or level > 100


def late(frames):
    """A stream that gives what it hears one sample late, and its state."""
    x, last = keras.Input((frames, 1), name="x"), keras.Input((1, 1), name="state_last")
    heard = ops.concatenate([last, x], axis=1)
    outputs = {"audio": heard[:, :-1], "state_last": heard[:, -1:]}
    return keras.Model({"x": x, "state_last": last}, outputs), {"last": np.zeros((1, 1, 1), "f4")}


def test_the_stream_of_every_precision_is_the_same_and_another_is_kept(tmp_path, monkeypatch):
    pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    x = keras.Input((12, 1), name="x")
    model = keras.Model(x, layers.Identity()(x), name="plain")
    step, state = late(4)
    proof = Proof(
        inputs={"x": np.random.default_rng(0).standard_normal((1, 12, 1)).astype(np.float32)},
        outputs=["audio"], description="noise",
        stream=Streaming(
            step=step, state=state, frames=4, hop_length=1, delay_samples=1, twin=True
        ),
    )  # fmt: skip

    convert, plain = tflite.convert, []

    def plain_once(signatures, name, **options):
        """Both precisions are made of one file; of a stream each must come out the same."""
        if name != model.name:
            return convert(signatures, name, **options)
        plain[:] = plain or [convert(signatures, name, **options)]
        return plain[0]

    monkeypatch.setattr(tflite, "convert", plain_once)

    def write(precision):
        options = {"name": "x", "proof": proof, "sample_rate": RATE, "precision": precision}
        return export(model, "tflite", tmp_path, **options)

    for precision in ("fp32", "fp16"):
        card = write(precision)
        for form in ("stream", "step"):
            assert card["parity"]["sources"][form] == {"snr_db": None, "max_abs_difference": 0.0}
        assert card["stream"]["file"] == "x_stream.tflite"
        assert card["stream"]["latency_ms"] == pytest.approx(5000 / RATE)  # a block and the delay
    assert len(list(tmp_path.iterdir())) == 6
    (tmp_path / "x_stream.tflite").write_bytes(b"another")
    (tmp_path / "x_fp16.tflite").unlink()
    (tmp_path / "x_fp16.json").unlink()
    with pytest.raises(FileExistsError, match="is another"):
        write("fp16")
    assert not (tmp_path / "x_fp16.tflite").exists()
    assert (tmp_path / "x_stream.tflite").read_bytes() == b"another"
