"""WaveNet: its references' distributions, a sampler that says what the whole network says."""

import dataclasses

import numpy as np
import pytest
from keras import ops
from made_wavenet import of_ibab

from kzoo import models
from kzoo.convert.wavenet import from_weights
from kzoo.layers.autoregressive import LearnedUpsampling
from kzoo.models.wavenet import VARIANTS, Sampler, WaveNet, build

MINI = WaveNet(stacks=2, depth=4, residual=6, gate=5, skip=7)


@pytest.mark.parametrize(
    ("variant", "weights", "reach"),
    [("ibab", 1_515_968, 5117), ("vocoder", 4_676_388, 6139), ("vocoder_logistics", None, 505)],
)
def test_sizes_are_those_of_the_references(variant, weights, reach):
    assert VARIANTS[variant].receptive_field == reach
    if weights:
        assert build(VARIANTS[variant]).count_params() == weights


@pytest.mark.parametrize("name", ["plain", "global"])
def test_distributions_are_those_of_ibab(vectors, name):
    vector = vectors(f"wavenet_ibab_{name}")
    speakers = {"speakers": ("a", "b", "c"), "speaker_width": 4} if name == "global" else {}
    size = dataclasses.replace(MINI, **speakers)
    model = build(size)
    of_ibab(model, vector)
    codes = vector["encoded"][None, :-1, None]
    given = {"past": codes, **({"speaker": np.array([[1]])} if speakers else {})}
    found = np.asarray(model(given))[0, size.receptive_field - 1 :]
    assert size.receptive_field == vector["receptive_field"]
    np.testing.assert_allclose(found, vector["logits"], atol=2e-4)


def of_r9y9(vector):
    weights = {name[len("param/") :]: x for name, x in vector.items() if "param/" in name}
    return from_weights(weights, sample_rate=16000, depth=3, older=False)


def test_distributions_are_those_of_r9y9(vectors):
    vector = vectors("wavenet_r9y9_plain")
    found = np.asarray(of_r9y9(vector)({"past": vector["codes"][None, :, None]}))[0]
    np.testing.assert_allclose(found, vector["logits"], atol=2e-5)


def test_conditions_are_those_of_r9y9(vectors):
    vector = vectors("wavenet_r9y9_global_local")
    model = of_r9y9(vector)
    upsampling, frames = model.get_layer("upsampling"), vector["local_condition"][None]
    alone = LearnedUpsampling((2, 3), 1, 3, pad_ends=False)
    alone.build(frames.shape)
    alone.set_weights(upsampling.get_weights())
    np.testing.assert_allclose(alone(frames)[0], vector["local_upsampled"], rtol=1e-5, atol=2e-5)
    # The model repeats the frames at the ends, where the reference is given others: without them.
    first, *smoothing = upsampling.get_weights()
    inner = sum(frames[:, k : frames.shape[1] - 2 + k] @ first[k] for k in range(3))
    centre = np.zeros_like(first)
    centre[1] = np.eye(5)
    upsampling.set_weights([centre, *smoothing])
    given = {"past": vector["codes"][None, :, None], "speaker": vector["global_id"]}
    found = np.asarray(model({**given, "mel": inner}))[0]
    np.testing.assert_allclose(found, vector["logits"], atol=1e-4)


CASES = [
    pytest.param(dataclasses.replace(VARIANTS["tiny"], kernel_size=3), marks=pytest.mark.slow),
    dataclasses.replace(
        VARIANTS["tiny"], speakers=("a", "b"), conditions="controls", hop_length=8, scaled=True,
        stacks=1,
    ),
]  # fmt: skip


@pytest.mark.parametrize("size", CASES)
def test_a_sampler_says_of_each_sample_what_the_whole_network_says(size):
    samples, batch, rng = 16, 2, np.random.default_rng(0)
    model = build(size, samples=samples)
    given = {"past": rng.integers(0, size.levels, (batch, samples, 1))}
    if size.speakers:
        given["speaker"] = np.array([[0], [1]])
        frames = rng.uniform(1, 2, (2, batch, samples // size.hop_length, 1)).astype(np.float32)
        given |= {"f0_hz": 300 * frames[0], "loudness_db": -20 * frames[1]}
    whole = np.asarray(model(given))
    sampler = Sampler(model, size)
    state = sampler.state(batch)
    known = sampler.conditions(**{name: x for name, x in given.items() if name != "past"})
    for at in range(samples):
        here = None if known is None else known[:, at : at + 1]
        past = ops.convert_to_tensor(given["past"][:, at : at + 1])
        found, state = sampler.step(past, state, at, here)
        np.testing.assert_allclose(found[:, 0], whole[:, at], atol=2e-6)


def test_nothing_that_is_to_come_changes_what_is_said():
    model, rng = build(MINI), np.random.default_rng(0)
    codes = rng.integers(0, 256, (1, 60, 1))
    other = codes.copy()
    other[:, 40:] = rng.integers(0, 256, (1, 20, 1))
    one, two = (np.asarray(model({"past": x})) for x in (codes, other))
    np.testing.assert_array_equal(one[:, :40], two[:, :40])
    # What is further back than the receptive field changes nothing either.
    other = codes.copy()
    other[:, 0] = (codes[:, 0] + 1) % 256
    three = np.asarray(model({"past": other}))
    assert np.abs(three - one)[0, MINI.receptive_field - 1].max() > 0
    np.testing.assert_array_equal(three[:, MINI.receptive_field :], one[:, MINI.receptive_field :])


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"levels": 1}, "levels and kernel_size must be 2 or more"),
        ({"speakers": ["a", "a"]}, "speakers must be different"),
        ({"conditions": "mel", "upsampling": "learned", "hop_length": 60}, "scales must multiply"),
        ({"upsampling": "transposed", "feature_taps": 2}, "must be odd"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        models.sizes("wavenet", variant="tiny", **wrong)


def test_a_number_of_samples_that_is_no_whole_frame_is_refused():
    with pytest.raises(ValueError, match="whole frames of 64; got 100, the nearest is 128"):
        build(dataclasses.replace(MINI, conditions="controls", hop_length=64), samples=100)
