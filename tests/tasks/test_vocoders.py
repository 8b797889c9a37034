"""Training of networks that play mel bands: of what is in a segment and what follows it."""

import numpy as np
import pytest
import soundfile

from kzoo import data, models, presets
from kzoo.tasks import task
from kzoo.training import train

RATE = 8000
MODEL = {
    "variant": "tiny", "conditions": "mel", "bands": 3, "hop_length": 16, "n_fft": 64,
    "speakers": ["a", "b"], "block_seconds": 0.024,
}  # fmt: skip


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    root, rng = tmp_path_factory.mktemp("voices"), np.random.default_rng(0)
    for name in MODEL["speakers"]:
        (root / name).mkdir()
        sound = 0.3 * rng.standard_normal(1000).astype(np.float32)
        soundfile.write(root / name / "0.wav", sound, RATE, subtype="FLOAT")
    return {"kind": "labelled", "path": str(root)}


def test_bands_are_those_of_the_whole_recording(corpus):
    size = models.sizes("wavenet", **MODEL)
    model = models.build("wavenet", **MODEL, samples=192)
    opened = data.open_corpus(**corpus, names=MODEL["speakers"])
    examples = task("generation")(model, {}, size).windows(opened)
    sound = opened.read(0, 0, 1000)["mixture"]
    example = examples.example(1)
    whole = size.levels_of(sound[:, 0])
    assert example["past"].shape == (192, 1)
    np.testing.assert_allclose(example["mel"], whole[12:24], atol=1e-6)
    assert np.ptp(example["mel"]) > 0.05


def test_a_vocoder_of_two_speakers_trains(corpus, tmp_path, eagerly):
    settings = {
        "name": "voices", "model": {"name": "wavenet", **MODEL},
        "data": {"train": corpus, "validation": corpus}, "loss": {"name": "code_cross_entropy"},
        "fit": {"batch_size": 2, "epochs": 1, "steps_per_epoch": 2},
    }  # fmt: skip
    folder = train(settings, tmp_path / "run", say=lambda line: None)
    size, _ = presets.open_preset(folder).sizes()
    assert size.speakers == ("a", "b")
    assert size.samples_ahead == 48
