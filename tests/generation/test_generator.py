"""Generation: cached sampling draws what the whole network says, from a seed, and goes on."""

import dataclasses
import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from made_wavenet import of_ibab

from kzoo.dsp.quantisation import mu_law_amplitudes, mu_law_codes
from kzoo.generation.generator import (
    AS_IT_IS,
    BLOCK,
    Drawing,
    Generator,
    Position,
    _drawn,
    _heard,
    drawn_amplitudes,
)
from kzoo.models.wavenet import VARIANTS, Sampler, WaveNet, build

TINY = VARIANTS["tiny"]
SIZES = {
    "codes": TINY,
    "conditions": dataclasses.replace(
        TINY, kernel_size=3, first_kernel=1, speakers=("a", "b"), conditions="controls",
        hop_length=8, scaled=True,
    ),
    "learned": dataclasses.replace(
        TINY, conditions="mel", bands=3, hop_length=6, upsampling="learned", scales=(2, 3),
        upsampling_pad=1,
    ),
    "notes": dataclasses.replace(TINY, conditions="piano_roll", hop_length=8),
    "logistics": dataclasses.replace(TINY, output="logistics", mixtures=2),
    "gaussians": dataclasses.replace(TINY, output="gaussians", mixtures=2),
}  # fmt: skip


@functools.cache
def model_of(name):
    """A network that says something: as it is born all codes are about as likely."""
    keras.utils.set_random_seed(3)
    model = build(SIZES[name])
    rng = np.random.default_rng(4)
    for weight in model.weights:
        if not weight.path.startswith("output2") or SIZES[name].output == "softmax":
            weight.assign(rng.normal(0, 0.6, weight.shape))
    return model


def given(size, samples, voices=1):
    """Conditions of so many samples."""
    rng, frames = np.random.default_rng(1), -(-samples // size.frame_samples)
    known = {"speaker": np.arange(voices)[:, None] % 2} if size.speakers else {}
    if size.conditions == "controls":
        known["f0_hz"] = rng.uniform(200, 800, (voices, frames, 1)).astype(np.float32)
        known["loudness_db"] = rng.uniform(-40, 0, (voices, frames, 1)).astype(np.float32)
    if size.conditions == "mel":
        known["mel"] = rng.uniform(0, 1, (voices, frames, size.bands)).astype(np.float32)
    if size.conditions == "piano_roll":
        known["piano_roll"] = np.float32(rng.random((voices, frames, 128)) < 0.03)
    return known


def sound(blocks):
    return np.concatenate([block.samples for block in blocks], axis=1)


def noise_of(seed, samples, voices):
    return np.random.default_rng(seed).random((samples, voices, 2)).astype(np.float32)


def check_drawn(name, samples, engine, drawing=AS_IT_IS, voices=2):
    """One pass of the whole network over what was drawn sample by sample from the same noise.

    A code may be another than the one whose share of 0 to 1 holds the noise only where that lies
    within 1e-5 of the border.
    """
    size, model = SIZES[name], model_of(name)
    known = given(size, samples, voices)
    generator = Generator(model, size, batch=voices, engine=engine)
    drawn = sound(generator.blocks(samples, seed=5, conditions=known, drawing=drawing))
    past = np.concatenate([np.zeros((voices, 1)), drawn[:, :-1]], axis=1)[..., None]
    past = mu_law_codes(past, size.levels) if size.output == "softmax" else past.astype(np.float32)
    said, noise = np.asarray(model({"past": past, **known})), noise_of(5, samples, voices)
    if size.output != "softmax":
        flat = said.reshape(-1, said.shape[-1]), noise.transpose(1, 0, 2).reshape(-1, 2)
        expected, _ = drawn_amplitudes(*flat, size, drawing)
        assert np.ptp(drawn) > 0.1
        np.testing.assert_allclose(drawn.ravel(), expected, atol=1e-4)
        return
    codes, logits = mu_law_codes(drawn, size.levels), np.float64(said) / drawing.temperature
    if drawing.top_k is not None:
        least = np.sort(logits, axis=-1)[..., -drawing.top_k, None]
        logits = np.where(logits < least, -np.inf, logits)
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    own = np.take_along_axis(shares, codes[..., None], axis=-1)[..., 0]
    above = np.take_along_axis(np.cumsum(shares, axis=-1), codes[..., None], axis=-1)[..., 0]
    assert len(np.unique(codes)) > 3
    assert np.all(own > 0)
    assert np.all(np.abs(above - own / 2 - noise[..., 0].T) < own / 2 + 1e-5)


def test_the_loop_of_xla_is_the_same_one_wherever_a_block_begins():
    """Else it would be compiled for each block of a sound."""
    sampler = Sampler(model_of("codes"), TINY)
    state = {name: tf.constant(x) for name, x in sampler.state(1).items()}
    heard, noise = tf.zeros((1, BLOCK, 1), tf.int32), np.zeros((BLOCK, 1, 2), np.float32)
    for loop, given in (
        (_drawn(sampler, AS_IT_IS), lambda at: (heard[:, :1], state, at, noise, None)),
        (_heard(sampler), lambda at: (heard, state, at, None)),
    ):
        run = tf.function(loop, jit_compile=True, autograph=False)
        first, later = (
            run.experimental_get_compiler_ir(tf.constant(20), *given(tf.constant(at)))(stage="hlo")
            for at in (0, 7)
        )
        assert first == later


@pytest.mark.parametrize("name", SIZES)
def test_what_is_drawn_by_buffers_is_what_the_whole_network_draws(name):
    check_drawn(name, 240, "numba")


def test_the_most_likely_codes_alone_are_drawn_and_a_low_temperature_sharpens():
    check_drawn("codes", 240, "numba", Drawing(temperature=0.7, top_k=5))


def test_the_loop_of_xla_draws_what_that_of_numba_does(monkeypatch):
    monkeypatch.setattr("kzoo.generation.generator.BLOCK", 40)
    check_drawn("codes", 80, "xla", Drawing(temperature=0.7, top_k=5))
    prime = np.random.default_rng(0).uniform(-0.5, 0.5, 50)
    both = [
        list(Generator(model_of("codes"), TINY, engine=engine).blocks(30, prime=prime, block=30))
        for engine in ("numba", "xla")
    ]
    np.testing.assert_array_equal(sound(both[0]), sound(both[1]))
    np.testing.assert_allclose(both[0][0].entropies, both[1][0].entropies, atol=1e-4)


@pytest.mark.slow
@pytest.mark.parametrize("engine", ["numba", "xla"])
@pytest.mark.parametrize("name", ["codes", "conditions", "logistics"])
def test_ten_thousand_samples_are_those_of_the_whole_network(name, engine):
    check_drawn(name, 10_008, engine)


def test_a_prime_is_heard_as_the_whole_network_hears_it():
    size, model = TINY, model_of("codes")
    prime = np.random.default_rng(0).uniform(-0.9, 0.9, (2, 60)).astype(np.float32)
    greedy = Drawing(temperature=0)
    [block] = Generator(model, size, batch=2).blocks(30, prime=prime, drawing=greedy)
    codes = mu_law_codes(np.concatenate([prime, block.samples], axis=1), size.levels)
    said = np.asarray(model({"past": codes[:, :-1, None]}))[:, 59:]
    np.testing.assert_array_equal(codes[:, 60:], said.argmax(axis=-1))
    logs = said - np.logaddexp.reduce(said, axis=-1, keepdims=True)
    entropies = -(np.exp(logs) * logs).sum(axis=-1) / np.log(2)
    np.testing.assert_allclose(block.entropies, entropies, atol=1e-4)


def test_the_seed_decides_and_the_length_of_blocks_does_not():
    generator = Generator(model_of("codes"), TINY)
    one, same = (sound(generator.blocks(100, seed=1, block=n)) for n in (100, 33))
    other = sound(generator.blocks(100, seed=2))
    np.testing.assert_array_equal(one, same)
    assert np.mean(one != other) > 0.3


def test_a_position_that_was_kept_goes_on_bit_by_bit(tmp_path):
    size = SIZES["conditions"]
    known, generator = given(size, 160), Generator(model_of("conditions"), size)
    whole = sound(generator.blocks(100, seed=1, conditions=known))
    [first] = generator.blocks(37, seed=1, conditions=known)
    first.position.save(tmp_path / "position.npz")
    position = Position.load(tmp_path / "position.npz")
    again = Generator(model_of("conditions"), size)
    rest = sound(again.blocks(63, seed=1, conditions=known, position=position))
    np.testing.assert_array_equal(np.concatenate([first.samples, rest], axis=1), whole)


def test_voices_differ_and_threads_change_nothing():
    one, many = (Generator(model_of("codes"), TINY, batch=3, threads=n) for n in (1, 3))
    found = sound(one.blocks(100))
    np.testing.assert_array_equal(found, sound(many.blocks(100)))
    assert np.mean(found[0] != found[1]) > 0.3


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"drawing": Drawing(temperature=-1)}, "temperature must be 0 or above; got -1"),
        ({"drawing": Drawing(top_k=0)}, "top_k must be 1 to 16 codes; got 0"),
        ({"prime": np.zeros(5)}, "what the network hears, 16 samples .* got 5"),
        ({"conditions": {"mel": np.zeros((1, 9, 1))}}, "conditions are none; got mel"),
        ({"block": 0}, "block must be 1 to 2000; got 0"),
    ],
)
def test_what_cannot_be_drawn_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        Generator(model_of("codes"), TINY).blocks(10, **wrong)


def test_conditions_that_end_too_early_are_refused_by_name():
    generator = Generator(model_of("conditions"), SIZES["conditions"])
    with pytest.raises(ValueError, match=r"f0_hz ends after 0\.01 s, and 0\.02 s are wanted of it"):
        generator.blocks(160, conditions=given(SIZES["conditions"], 80))


def test_an_engine_that_is_none_or_has_no_such_model_is_refused():
    with pytest.raises(ValueError, match="one of auto, numba, xla; got 'fast'"):
        Generator(model_of("codes"), TINY, engine="fast")


def test_ibabs_codes_are_generated(vectors):
    """The reference's own cached sampler, which takes the most likely code each time."""
    vector = vectors("wavenet_ibab_plain")
    size = WaveNet(stacks=2, depth=4, residual=6, gate=5, skip=7)
    model = build(size)
    of_ibab(model, vector)
    codes = vector["encoded"][:40]
    prime = mu_law_amplitudes(codes)
    [block] = Generator(model, size).blocks(64, prime=prime, drawing=Drawing(temperature=0))
    np.testing.assert_array_equal(
        mu_law_codes(block.samples[0]), np.ravel(vector["generated_argmax"])[-64:]
    )
