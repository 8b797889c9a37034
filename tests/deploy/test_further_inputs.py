"""Artefacts of models that take more than a waveform: inputs of their own names."""

import keras
import numpy as np
import pytest

from kzoo import models
from kzoo.deploy import artefact
from kzoo.deploy.saved_model import load_saved_model
from kzoo.deploy.signature import serving_function
from kzoo.deploy.tflite import load_tflite

LOAD = {"saved_model": load_saved_model, "tflite": load_tflite}


@pytest.mark.parametrize("to", LOAD)
def test_random_numbers_are_a_named_input_or_a_constant(tmp_path, rng, to):
    if to == "tflite":
        pytest.importorskip("ai_edge_litert", reason="pip install 'kzoo[tflite]'")
    keras.utils.set_random_seed(1)
    sound, ran, weights = 0.1 * rng.standard_normal((2048, 1)).astype(np.float32), {}, None
    for z in ("fixed", "input"):
        model = models.build("segan", variant="tiny", samples=2048, z=z)
        weights = weights or model.get_weights()
        model.set_weights(weights)
        card = artefact.export(
            model, to, tmp_path / z, name="tiny", sources=["speech"], sample_rate=8000, sound=sound
        )
        assert set(card["inputs"]) == {"waveform"} | ({"z"} if z == "input" else set())
        level = card["parity"]["sources"]["speech"]["snr_db"]  # None where all bits are the same
        assert level is None or level > 80
        ran[z] = LOAD[to](card["path"])
    numbers = np.random.default_rng(0).standard_normal((16, 2)).astype(np.float32)
    fixed, given = ran["fixed"](sound)["speech"], ran["input"](sound, z=numbers)["speech"]
    np.testing.assert_allclose(given, fixed, atol=1e-5)
    assert np.abs(ran["input"](sound, z=-numbers)["speech"] - fixed).max() > 1e-4


def test_a_further_input_of_open_shape_is_refused():
    waveform, other = keras.Input((100, 1)), keras.Input((None, 2))
    width = keras.ops.mean(other, axis=(1, 2), keepdims=True)
    model = keras.Model([waveform, other], waveform * width)
    with pytest.raises(ValueError, match="further ones of fixed shapes"):
        serving_function(model, ["speech"])
