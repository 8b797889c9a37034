"""Blocks of samples as files draw them: what a generator draws, and what the whole network says."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from scipy import stats
from test_generator import SIZES, given, model_of, noise_of, sound

from kzoo.dsp.quantisation import codes_of
from kzoo.generation import steps
from kzoo.generation.generator import Drawing, Generator, amplitude, spread
from kzoo.models import sample_rnn, wavenet

# Blocks of 16: dilations of 1 to 8 reach back into the block, and one of 16 before it.
LONG = dataclasses.replace(SIZES["codes"], depth=5, stacks=1, kernel_size=3)
MORE = ["codes", "notes", "logistics", "gaussians"]  # what others show in part
SLOW = pytest.mark.slow


@pytest.fixture(autouse=True)
def short_blocks(monkeypatch):
    monkeypatch.setattr(steps, "_LEAST", 16)


def model_of_size(size, module):
    keras.utils.set_random_seed(3)
    model, rng = module.build(size), np.random.default_rng(4)
    for weight in model.weights:
        weight.assign(rng.normal(0, 0.6, weight.shape))
    return model


def drawn_by(step, state, size, samples, known, temperature=1.0, past=None):
    """(audio, what is said of the next samples) of block after block, each `[samples, width]`."""
    count, noise, found = steps.block_samples(size), noise_of(5, samples, 1), []
    state = {f"state_{name}": x for name, x in state.items()}
    kind = np.int32 if size.output == "softmax" else np.float32
    past = np.full(samples, steps.OWN) if past is None else past
    for start in range(0, samples, count):
        frames = slice(start // size.frame_samples, (start + count) // size.frame_samples)
        block = {key: x if key == "speaker" else x[:, frames] for key, x in known.items()}
        block["past"] = past[None, start : start + count, None].astype(kind)
        block["noise"] = noise[None, start : start + count, 0]
        block["temperature"] = np.float32([[temperature]])
        results = step({key: tf.constant(x) for key, x in {**block, **state}.items()})
        state = {key: results.pop(key) for key in state}
        found.append([np.asarray(results[key])[0] for key in ("audio", "next_sample")])
    return [np.concatenate(parts) for parts in zip(*found, strict=True)]


def check_steps(model, size, name, samples, known):
    known = {k: np.asarray(x, np.int32 if k == "speaker" else np.float32) for k, x in known.items()}
    step = tf.function(steps.build_step(model, size, name=name), autograph=False)
    begun = steps.initial_state(model, size, name=name)
    generator = Generator(model, size, name=name)
    for temperature in (0.8, 0.0):
        expected = sound(
            generator.blocks(samples, seed=5, conditions=known, drawing=Drawing(temperature))
        )[0]
        audio, said = drawn_by(step, begun, size, samples, known, temperature)
        assert temperature == 0 or len(np.unique(expected)) > 3
        np.testing.assert_allclose(audio[:, 0], expected, atol=1e-4)
        past = np.concatenate([[0.0], expected[:-1]]).astype(np.float32)
        if size.output == "softmax":
            past = codes_of(past, size.levels, size.quantisation)
        whole = np.asarray(model({"past": past[None, :, None], **known}))[0]
        np.testing.assert_allclose(said, whole, atol=1e-5 * np.abs(whole).max())
    _, forced = drawn_by(step, begun, size, samples, known, 1.0, past)
    np.testing.assert_allclose(forced, whole, atol=1e-5 * np.abs(whole).max())


@pytest.mark.parametrize("name", ["conditions", *(pytest.param(n, marks=SLOW) for n in MORE)])
def test_blocks_draw_what_the_generator_draws_and_say_what_the_network_says(name):
    check_steps(model_of(name), SIZES[name], "wavenet", 48, given(SIZES[name], 48))


@SLOW  # as the file of test_exported_generator
def test_convolutions_that_reach_beyond_a_block_hear_what_was_before_it():
    check_steps(model_of_size(LONG, wavenet), LONG, "wavenet", 64, {})


@SLOW  # a SavedModel of it says step by step what the whole does: conformance/test_every_generator
def test_blocks_of_a_recurrent_network_go_on_as_it_does(monkeypatch):
    monkeypatch.setattr("kzoo.generation.generator.BLOCK", 48)
    size = sample_rnn.VARIANTS["tiny"]
    check_steps(model_of_size(size, sample_rnn), size, "sample_rnn", 48, {})


@pytest.mark.parametrize(
    ("output", "law"), [("logistics", stats.logistic), ("gaussians", stats.norm)]
)
def test_noise_becomes_numbers_of_the_law_of_a_component(output, law):
    shares = np.float32([0.0, 1e-4, 0.003, 0.2, 0.5, 0.9, 0.9999])
    expected = law.ppf(np.clip(shares, 1e-5, 1 - 1e-5))
    np.testing.assert_allclose(spread(tf.constant(shares), output), expected, rtol=1e-4, atol=1e-6)


def test_a_mixtures_component_is_drawn_by_its_share_and_moved_by_the_temperature():
    parameters = np.log([[0.25, 0.75, 1, 1, 1, 1]]).astype(np.float32)
    parameters[0, 2:4] = -0.5, 0.25  # the means; both scales are 1
    for noise, mean in ((0.2, -0.5), (0.3, 0.25)):
        one, _ = amplitude(parameters, np.float32([[noise]]), np.float32([2.0]), 0.1)
        np.testing.assert_allclose(one, [mean + 0.2], atol=1e-6)
    one, _ = amplitude(parameters, np.float32([[0.3]]), np.float32([2.0]), 1.0)
    np.testing.assert_array_equal(one, [1.0])  # full scale
