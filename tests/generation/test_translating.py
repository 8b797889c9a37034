"""Translation of recordings: any length and rate, by machine code or by XLA, from a seed."""

import keras
import numpy as np
import pytest

import kzoo
from kzoo import audio, presets
from kzoo.config import ConfigError
from kzoo.dsp.quantisation import mu_law_amplitudes, mu_law_codes
from kzoo.generation import translation
from kzoo.generation.generator import XlaLoop
from kzoo.generation.loops import Loop
from kzoo.generation.translation import Translator
from kzoo.models.music_translation import VARIANTS, Sampler, build

TINY = VARIANTS["tiny"]
RATE = TINY.sample_rate


@pytest.fixture(scope="module")
def preset(tmp_path_factory):
    """A translator that was trained, as it says, and tells domains and codes well apart."""
    keras.utils.set_random_seed(3)
    model = build(TINY)
    for name in ("output1", "output2"):
        kernel = model.get_layer(name).kernel
        kernel.assign(3 * kernel)
    card = {
        "name": "three", "task": "translation", "domains": list(TINY.domains),
        "summary": "three domains", "model": {"name": "music_translation", "variant": "tiny"},
        "sample_rate": RATE, "channels": 1,
        "licences": {"code": "Apache-2.0", "weights": "CC0-1.0", "data": "none"},
        "trained": {"command": "a test", "seed": 3, "data": "none", "steps": 1},
    }  # fmt: skip
    return presets.save_to_preset(model, tmp_path_factory.mktemp("presets") / "three", card)


@pytest.fixture(scope="module")
def translator(preset):
    return Translator(preset, to="b", seed=5)


def sound(samples, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, samples).astype(np.float32)


def test_what_is_drawn_is_what_the_whole_network_says(translator, preset):
    """A code is another than the one whose share holds the noise only next to its border."""
    waveform = sound(1000)
    drawn, rate = translator(waveform, RATE)
    assert rate == RATE
    assert len(drawn) == 1000
    codes = mu_law_codes(drawn, 16)
    np.testing.assert_allclose(mu_law_amplitudes(codes, 16), drawn)
    model = kzoo.from_preset(preset)
    heard = mu_law_codes(waveform, 16, rounding="down")
    past = np.concatenate([mu_law_codes(np.zeros(1), 16), codes[:-1]])
    given = {"heard": heard[None, :, None], "past": past[None, :, None], "domain": [[1]]}
    logits = np.asarray(model({k: np.array(x) for k, x in given.items()}))[0].astype(float)
    shares = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
    above = np.cumsum(shares, axis=-1)[np.arange(1000), codes]
    noise = np.random.default_rng(5).random((1000, 1, 2))[:, 0, 0]
    assert (noise <= above + 1e-5).all()
    assert (noise >= above - shares[np.arange(1000), codes] - 1e-5).all()


def test_machine_code_and_xla_draw_the_same(preset):
    model, rng = kzoo.from_preset(preset), np.random.default_rng(0)
    sampler = Sampler(model, TINY, domain=2)
    state = {name: np.asarray(x) for name, x in sampler.state(1).items()}
    noise = rng.random((80, 1, 2)).astype(np.float32)
    known = np.asarray(sampler.conditions(latents=rng.normal(size=(1, 2, 4)).astype("f")))
    loops = (Loop.of_translation(model, TINY, 2), XlaLoop(sampler))
    one, other = (loop(np.full((1, 1), 8.0), state, 0, noise, known) for loop in loops)
    np.testing.assert_array_equal(one[0], other[0])
    np.testing.assert_allclose(one[1], other[1], atol=1e-4)


def test_a_recording_in_blocks_is_translated_as_the_whole(translator, monkeypatch):
    waveform = sound(1790)
    whole, _ = translator(waveform, RATE)
    monkeypatch.setattr(translation, "CHUNK_SECONDS", 0.03)
    monkeypatch.setattr(translation, "BLOCK", 56)
    blocks = np.split(waveform[:, None], [3, 500, 501, 1200])
    parts = list(translator.stream(blocks, RATE))
    assert len(parts) > 20
    np.testing.assert_array_equal(np.concatenate(parts), whole)


def test_memory_does_not_grow_with_the_recording(translator, monkeypatch):
    monkeypatch.setattr(translation, "CHUNK_SECONDS", 0.03)
    longest = []
    encoder = translator._encoder
    monkeypatch.setattr(
        translator, "_encoder", lambda codes: longest.append(codes.shape[1]) or encoder(codes)
    )
    for _ in translator.stream((sound(100)[:, None] for _ in range(30)), RATE):
        pass
    assert max(longest) < 450
    assert len(longest) > 5


def test_domain_seed_temperature_and_top_k_change_what_is_drawn(preset, translator):
    waveform = sound(400)
    plain = translator(waveform, RATE)[0]
    np.testing.assert_array_equal(translator(waveform, RATE)[0], plain)
    for change in ({"to": "c"}, {"seed": 6}, {"temperature": 0.3}, {"top_k": 2}):
        other = Translator(preset, **{"to": "b", "seed": 5, **change})(waveform, RATE)[0]
        assert (other != plain).any(), change
    surest = {"to": "b", "temperature": 0.0}
    one, two = (Translator(preset, seed=k, **surest)(waveform, RATE)[0] for k in (1, 2))
    np.testing.assert_array_equal(one, two)


def test_other_rates_and_channels_are_their_mean_at_the_presets_rate(preset, translator):
    waveform = sound(1500)
    stereo = np.stack([waveform, np.zeros_like(waveform)], axis=1)
    found, rate = kzoo.translate(stereo, 12000, preset, to="b", seed=5)
    assert rate == RATE
    assert len(found) == 1000
    mean = audio.resample(stereo.mean(axis=1, keepdims=True), 12000, RATE)
    np.testing.assert_array_equal(found, translator(mean, RATE)[0])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"to": "harp"}, "no domain of preset .* is called 'harp'"),
        ({"temperature": -1.0}, "temperature must be 0 or above; got -1.0"),
        ({"top_k": 0}, "top_k must be 1 or more; got 0"),
        ({"preset": "unet_2stems_mobile"}, "translates nothing; its task is separation"),
    ],
)
def test_a_request_that_makes_no_sense_is_refused(preset, change, said):
    with pytest.raises((ConfigError, ValueError), match=said):
        Translator(**{"preset": preset, "to": "a", **change})
