"""The examples that prove exports: they fill the length, and say what they are."""

import types

import keras
import numpy as np
import pytest
from keras import ops
from made_artefacts import RATE

from kzoo import models
from kzoo.deploy import examples
from kzoo.deploy.export import export
from kzoo.deploy.formats import saved_model, tflite
from kzoo.dsp.blocks import BlockGrid
from kzoo.tasks.separation import Separation

LOAD = {"saved_model": saved_model.load, "tflite": tflite.load}


def test_parity_sound_fills_the_length_and_says_what_it_is(monkeypatch):
    monkeypatch.setattr(examples, "stempeg_song", lambda: None)
    waveform, what = examples.parity_sound(RATE, 2, 12345)
    assert waveform.shape == (12345, 2)
    assert waveform.dtype == np.float32
    assert 0.02 < waveform.std() < 0.5
    assert not np.allclose(waveform[:, 0], waveform[:, 1])
    assert "synthetic" in what
    np.testing.assert_array_equal(waveform, examples.parity_sound(RATE, 2, 12345)[0])


@pytest.mark.parametrize("samples", [1, 4321])
def test_noisy_speech_has_the_level_that_was_asked_for(samples):
    waveform, what = examples.noisy_speech(RATE, 2, samples, level_db=-30.0)
    assert (waveform.shape, waveform.dtype) == ((samples, 2), np.float32)
    assert 10 * np.log10(np.mean(np.square(waveform))) == pytest.approx(-30, abs=1e-3)
    assert what == f"a made-up voice in noise 10 dB below it, -30 dBFS, seed 0, {RATE} Hz"


def test_what_gives_speech_is_proven_on_speech_at_its_level_and_probed_on_music():
    waveform = keras.Input((400, 1))
    model = keras.Model(waveform, ops.expand_dims(0.5 * waveform, 1))
    grid = BlockGrid(400, 300)
    sizes = types.SimpleNamespace(
        sample_rate=RATE, streams=False, standardised=False, grid=lambda: grid
    )
    music = examples.parity_sound(RATE, 1, 400)

    def proof(sources, **card):
        preset = types.SimpleNamespace(module=None, sources=sources, card=card)
        return Separation.prove(preset, sizes, sound=None, stream=True)(model, sources=sources)

    found = proof(["speech"], level_db=-40.0)
    speech = examples.noisy_speech(RATE, 1, 400, level_db=-40.0)
    np.testing.assert_array_equal(found.inputs["waveform"][0], speech[0])
    assert found.description == speech[1]
    np.testing.assert_array_equal(found.probes[music[1]]["waveform"][0], music[0])
    assert "-26 dBFS" in proof(["speech", "noise"]).description
    assert proof(["vocals"]).description == music[1]


@pytest.mark.parametrize(("samples", "heard"), [(500, 500), (40 * 100, 30 * 100)])
def test_any_recording_is_fitted_to_a_model_of_any_length(samples, heard, rng):
    waveform = keras.Input((None, 2))
    model = keras.Model(waveform, ops.expand_dims(0.5 * waveform, 1), name="half")
    for channels in (1, 2, 6):
        sound = 0.1 * rng.standard_normal((samples, channels))
        proof = examples.sound_proof(model, sample_rate=100, sources=["a"], sound=sound)
        assert {array.shape for array in proof.inputs.values()} == {(1, heard, 2)}
        assert {x["waveform"].shape for x in proof.probes.values()} == {(1, heard, 2)}


def test_sources_are_those_that_the_last_layer_names():
    model = models.build("unet", sources=["speech", "rest"], variant="tiny")
    assert examples.sound_proof(model, sample_rate=RATE).outputs == ["speech", "rest"]
    waveform = keras.Input((None, 2))
    with pytest.raises(ValueError, match="names no sources"):
        examples.sound_proof(keras.Model(waveform, 1.0 * waveform), sample_rate=RATE)


@pytest.mark.parametrize("to", ["saved_model", pytest.param("tflite", marks=pytest.mark.slow)])
def test_random_numbers_are_a_named_input_or_a_constant(tmp_path, rng, to):
    if to == "tflite":
        pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    keras.utils.set_random_seed(1)
    sound, ran, weights = 0.1 * rng.standard_normal((2048, 1)).astype(np.float32), {}, None
    for z in ("fixed", "input"):
        model = models.build("segan", variant="tiny", samples=2048, z=z)
        weights = weights or model.get_weights()
        model.set_weights(weights)
        proof = examples.sound_proof(model, sample_rate=8000, sources=["speech"], sound=sound)
        card = export(model, to, tmp_path / z, name="tiny", proof=proof, sample_rate=8000)
        assert set(card["inputs"]) == {"waveform"} | ({"z"} if z == "input" else set())
        level = card["parity"]["sources"]["speech"]["snr_db"]  # None where all bits are the same
        assert level is None or level > 80
        ran[z] = LOAD[to](card["path"])
    numbers = np.random.default_rng(0).standard_normal((1, 16, 2)).astype(np.float32)
    given = {"waveform": sound[None]}
    fixed, own = ran["fixed"](given)["speech"], ran["input"]({**given, "z": numbers})["speech"]
    np.testing.assert_allclose(own, fixed, atol=1e-5)
    assert np.abs(ran["input"]({**given, "z": -numbers})["speech"] - fixed).max() > 1e-4


def test_a_further_input_of_open_shape_is_refused():
    waveform, other = keras.Input((100, 1)), keras.Input((None, 2))
    width = ops.mean(other, axis=(1, 2), keepdims=True)
    model = keras.Model([waveform, other], waveform * width)
    with pytest.raises(ValueError, match="further inputs of fixed shapes"):
        examples.sound_proof(model, sample_rate=RATE, sources=["speech"])
