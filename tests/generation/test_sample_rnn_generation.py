"""A SampleRNN sample by sample, its frame tiers once a frame, and the whole network over it."""

import keras
import numpy as np
import pytest
import soundfile
from made_sample_rnn import RECORDED, of_reference
from test_composing import command

from kzoo import presets
from kzoo.dsp.quantisation import codes_of, linear_codes
from kzoo.generation.generator import Drawing, Generator, Position
from kzoo.models.sample_rnn import VARIANTS, build

TINY = VARIANTS["tiny"]


@pytest.fixture(autouse=True)
def short_loops(monkeypatch):
    monkeypatch.setattr("kzoo.generation.generator.BLOCK", 40)


@pytest.fixture(scope="module")
def generator():
    """Two voices of a network that says something."""
    keras.utils.set_random_seed(3)
    model = build(TINY)
    rng = np.random.default_rng(4)
    for weight in model.weights:
        weight.assign(weight + rng.normal(0, 0.5, weight.shape))
    return Generator(model, TINY, name="sample_rnn", batch=2)


def sound(blocks):
    return np.concatenate([block.samples for block in blocks], axis=1)


def check_drawn(generator, samples):
    """One pass of the whole network over what was drawn, against the noise it was drawn from."""
    drawn = sound(generator.blocks(samples, seed=5))
    codes = codes_of(drawn, TINY.levels, TINY.quantisation)
    past = np.concatenate([np.full((2, 1), TINY.levels // 2), codes[:, :-1]], axis=1)
    logits = np.float64(generator._sampler.model({"past": past[..., None]}))
    shares = np.exp(logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True))
    noise = np.random.default_rng(5).random((samples, 2, 2)).astype(np.float32)[..., 0].T
    own = np.take_along_axis(shares, codes[..., None], axis=-1)[..., 0]
    above = np.take_along_axis(np.cumsum(shares, axis=-1), codes[..., None], axis=-1)[..., 0]
    assert len(np.unique(codes)) > 3
    # A code may be another only where the noise lies within 1e-5 of the border between two.
    assert np.all(np.abs(above - own / 2 - noise) < own / 2 + 1e-5)


def test_what_is_drawn_with_kept_tiers_is_what_the_whole_network_draws(generator):
    check_drawn(generator, 160)


@pytest.mark.slow
def test_ten_thousand_samples_with_kept_tiers_are_those_of_the_whole_network(generator):
    check_drawn(generator, 10_000)


def test_a_position_in_the_midst_of_a_frame_goes_on_bit_by_bit(generator, tmp_path):
    whole = sound(generator.blocks(60, seed=1))
    *_, first = generator.blocks(23, seed=1)
    first.position.save(tmp_path / "position.npz")
    position = Position.load(tmp_path / "position.npz")
    rest = sound(generator.blocks(37, seed=1, position=position))
    np.testing.assert_array_equal(rest, whole[:, 23:])


def test_a_prime_of_any_length_is_heard(generator):
    prime = np.random.default_rng(0).uniform(-1, 1, 11)
    greedy = Drawing(temperature=0)
    found = sound(generator.blocks(21, prime=prime, drawing=greedy))
    heard = np.broadcast_to(linear_codes(prime, TINY.levels), (2, 11))
    codes = np.concatenate([heard, linear_codes(found, TINY.levels)], axis=1)
    said = np.asarray(generator._sampler.model({"past": codes[:, :32, None]}))
    np.testing.assert_array_equal(codes[:, 11:], said[:, 10:31].argmax(axis=-1))


def test_the_references_codes_are_generated(vectors):
    """The package's own generator, with the most likely code each time."""
    vector = vectors("samplernn_3tier")
    model = build(RECORDED)
    of_reference(model, vector)
    found = sound(
        Generator(model, RECORDED, name="sample_rnn").blocks(66, drawing=Drawing(temperature=0))
    )
    np.testing.assert_array_equal(
        linear_codes(found[0], RECORDED.levels), vector["generated_argmax"]
    )


def test_the_verb_draws_by_a_preset_what_the_generator_does(generator, tmp_path, capsys):
    card = {
        "name": "tiers", "task": "generation", "sample_rate": TINY.sample_rate, "trained": "here",
        "model": {"name": "sample_rnn", "variant": "tiny"},
    }  # fmt: skip
    preset = presets.save_to_preset(generator._sampler.model, tmp_path / "preset", card)
    words = ("-p", preset, "--seconds", "0.01", "--seed", "2", "-o", tmp_path / "a.wav")
    status, told = command(*words, "--voices", "2", "--bit-depth", "float32", capsys=capsys)
    assert status == 0, told
    for number, voice in enumerate(sound(generator.blocks(80, seed=2)), start=1):
        found, rate = soundfile.read(tmp_path / f"a_{number}.wav", dtype="float32")
        assert rate == TINY.sample_rate
        np.testing.assert_array_equal(found, voice)
    status, told = command(*words, "--condition", "melody.csv", capsys=capsys)
    assert (status, told.count("\n")) == (1, 1)
    assert "the model takes no condition; leave melody.csv out" in told
