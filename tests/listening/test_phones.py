"""Phones of recordings: from a network that tells of states, by the chain it has measured."""

import keras
import numpy as np
import pytest

from kzoo import models, presets
from kzoo.dsp.phones import state_names
from kzoo.listening.phones import Phone, PhoneRecogniser, phones

NAMES = state_names(["hum", "sil"], 2)


def test_phones_are_runs_of_states_and_begin_again_with_their_first():
    states = [2, 2, 3, 3, 0, 0, 1, 0, 1, 3]
    found = list(phones([states[:3], [], states[3:]], NAMES, 10.0))
    assert found == [
        Phone(0.0, 0.4, "sil"), Phone(0.4, 0.7, "hum"), Phone(0.7, 0.9, "hum"),
        Phone(0.9, 1.0, "sil"),
    ]  # fmt: skip
    assert list(phones([[0, 0, 1]], ["a", "b"], 10.0)) == [Phone(0, 0.2, "a"), Phone(0.2, 0.3, "b")]
    assert list(phones([], NAMES, 10.0)) == []


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A DNN-HMM that tells a loud frame from a quiet one, by weights that are written here."""
    options = {
        "variant": "tiny", "names": NAMES, "exclusive": True, "units": [1], "context": 1,
    }  # fmt: skip
    model = models.build("dnn_hmm", **options)
    hidden = model.get_layer("hidden1")
    hidden.set_weights([np.full(hidden.kernel.shape, 1 / 16), np.full(1, 50.0)])  # half at -50 dB
    signs = np.array([[1.0, 1.0, -1.0, -1.0]])
    model.get_layer("logits").set_weights([8 * signs, -4 * signs[0]])
    chain = model.get_layer("chain")
    chain.adapt([np.eye(4)[[2] * 10 + [3] * 10 + [0] * 10 + [1] * 10] for _ in range(3)])
    card = {
        "name": "hums", "task": "listening", "sample_rate": 8000, "channels": 1,
        "trained": "not at all", "model": {"name": "dnn_hmm", "options": options},
    }  # fmt: skip
    return presets.save_to_preset(model, tmp_path_factory.mktemp("hums"), card)


def hums(rng):
    sound = rng.normal(0, 1e-6, 40000).astype(np.float32)
    for start, end in ((8000, 16000), (24000, 29000)):
        sound[start:end] += 0.3 * np.sin(np.arange(end - start) * 0.5).astype(np.float32)
        sound[start:end] += rng.normal(0, 0.1, end - start)
    return sound


def test_phones_are_found_with_their_times_in_blocks_of_any_length(preset, rng):
    recogniser = PhoneRecogniser(preset)
    sound = hums(rng)
    found = recogniser(sound, 8000)
    assert [phone.name for phone in found] == ["sil", "hum", "sil", "hum", "sil"]
    edges = [phone.start_seconds for phone in found[1:]]
    np.testing.assert_allclose(edges, [1.0, 2.0, 3.0, 3.625], atol=0.05)
    assert found[-1].end_seconds == pytest.approx(5.0, abs=0.02)
    blocks = [sound[k : k + 1717, None] for k in range(0, len(sound), 1717)]
    assert list(recogniser.track(blocks, 8000)) == found


def test_a_small_weight_leaves_more_to_what_the_chain_expects(preset, rng):
    sound = hums(rng)
    assert len(PhoneRecogniser(preset, likelihood_weight=1e-3)(sound, 8000)) < 5
    with pytest.raises(ValueError, match=r"likelihood_weight must be above 0; got 0"):
        PhoneRecogniser(preset, likelihood_weight=0.0)


def test_a_listener_without_a_chain_is_refused(tmp_path):
    keras.utils.set_random_seed(0)
    card = {
        "name": "ear", "task": "listening", "sample_rate": 8000, "channels": 1,
        "trained": "not at all", "model": {"name": "onset_cnn", "options": {"variant": "tiny"}},
    }  # fmt: skip
    preset = presets.save_to_preset(models.build("onset_cnn", variant="tiny"), tmp_path, card)
    with pytest.raises(presets.PresetError, match="has no chain of states to find phones by"):
        PhoneRecogniser(preset)
