"""A translator as an artefact: its domain is an input, and every domain is proven."""

import keras
import numpy as np
import pytest

from kzoo import api, models, presets

DOMAINS = ["violin", "piano"]
OPTIONS = {"variant": "tiny", "domains": DOMAINS, "stacks": 1, "encoder_stacks": 1}


@pytest.mark.parametrize("to", ["saved_model", pytest.param("tflite", marks=pytest.mark.slow)])
def test_an_export_says_what_each_domain_plays_next(to, tmp_path):
    keras.utils.set_random_seed(0)
    model, rng = models.build("music_translation", **OPTIONS), np.random.default_rng(1)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.4, weight.shape))
    card = {
        "name": "three", "task": "translation", "sample_rate": 8000, "trained": "here",
        "domains": DOMAINS, "model": {"name": "music_translation", "options": OPTIONS},
    }  # fmt: skip
    preset = presets.save_to_preset(model, tmp_path / "preset", card)
    told = api.export(preset, to, tmp_path / "out")
    sources = told["parity"]["sources"]
    assert set(sources) == {"next_sample", "next_sample (played by piano)"}
    assert all(x["snr_db"] is None or x["snr_db"] > 100 for x in sources.values())
    assert told["domains"] == DOMAINS
    assert "stream" not in told
    assert set(told["inputs"]) == {"heard", "past", "domain"}
