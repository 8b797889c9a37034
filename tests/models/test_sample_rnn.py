"""SampleRNN: its reference's distributions, a sampler that says what the whole network says."""

import dataclasses

import numpy as np
import pytest
from keras import ops
from made_sample_rnn import RECORDED, of_reference

from kzoo import models
from kzoo.models.sample_rnn import VARIANTS, Sampler, build

TINY = VARIANTS["tiny"]
CASES = {
    "three tiers": TINY,
    "two tiers of LSTMs": dataclasses.replace(TINY, frames=(4,), rnn="lstm", rnn_layers=2),
    "four tiers, plain": dataclasses.replace(
        TINY, frames=(2, 4, 12), weight_norm=False, learned_state=False
    ),
}


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))


def test_the_size_is_the_papers():
    assert build(VARIANTS["three_tier"]).count_params() == 20_815_360


def test_distributions_are_those_of_the_reference(vectors):
    vector = vectors("samplernn_3tier")
    model = build(RECORDED, samples=36)
    of_reference(model, vector)
    # The reference hears 6 codes of silence first, of which five are before our first sample.
    past = vector["input_1"][:, 5:, None]
    found = log_softmax(np.asarray(model({"past": past})))
    np.testing.assert_allclose(found, vector["log_probs_1"], atol=2e-5)
    carrying = RECORDED.carrying(model, lanes=2)
    for number in (1, 2):
        begins = np.full((2, 1), float(number == 1), np.float32)
        past = vector[f"input_{number}"][:, 5:, None]
        found = log_softmax(np.asarray(carrying({"past": past, "begins": begins}, training=True)))
        np.testing.assert_allclose(found, vector[f"log_probs_{number}"], atol=2e-5)


def numpy_logits(model, size, codes):
    """The reference's equations, sample after sample, of one sequence: `[samples, levels]`."""

    def product(layer, x):
        weights = [np.asarray(w, np.float64) for w in layer.weights]
        if size.weight_norm:
            v, g, *bias = weights
            axis = 1 if "upsampling" in layer.path else 0
            y = x @ (v * g / np.sqrt(np.sum(v**2, axis=axis, keepdims=True)))
        else:
            y, bias = x @ weights[0], weights[1:]
        return y + bias[0] if bias else y

    def sigmoid(x):
        return 1 / (1 + np.exp(-x))

    def gru(rnn, x, h):
        kernel, recurrent, bias = (np.asarray(w, np.float64) for w in rnn.weights)
        xz, xr, xn = np.split(x @ kernel + bias[0], 3)
        hz, hr, hn = np.split(h @ recurrent + bias[1], 3)
        z = sigmoid(xz + hz)
        return [(1 - z) * np.tanh(xn + sigmoid(xr + hr) * hn) + z * h]

    def lstm(rnn, x, h, c):
        kernel, recurrent, bias = (np.asarray(w, np.float64) for w in rnn.weights)
        i, f, g, o = np.split(x @ kernel + h @ recurrent + bias, 4)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        return [sigmoid(o) * np.tanh(c), c]

    tiers = [model.get_layer(f"tier{k + 1}") for k in range(len(size.frames))]
    samples = model.get_layer("samples")
    states = {tier.name: [np.asarray(x, np.float64) for x in tier.initial] for tier in tiers}
    said, out = {}, []
    heard = np.r_[np.full(size.frames[-1] - 1, size.levels // 2), codes]
    for at in range(len(codes)):
        past = heard[: at + size.frames[-1]]
        upper = 0.0
        for tier in reversed(tiers):
            if at % tier.frame == 0:
                x = 2 * (past[-tier.frame :] / (size.levels / 2) - 1)
                x, own = product(tier.expand, x) + upper, []
                each = len(states[tier.name]) // size.rnn_layers
                for k, rnn in enumerate(tier.rnns):
                    before = states[tier.name][k * each : (k + 1) * each]
                    own += (gru if size.rnn == "gru" else lstm)(rnn, x, *before)
                    x = own[-each]
                states[tier.name] = own
                said[tier.name] = product(tier.upsampling, x).reshape(tier.ratio, -1)
            upper = said[tier.name][at % tier.frame // (tier.frame // tier.ratio)]
        vectors = np.asarray(samples.vectors.embeddings, np.float64)
        x = vectors[past[-size.frames[0] :]].reshape(-1)
        x = np.maximum(product(samples.heard, x) + upper, 0)
        out.append(product(samples.logits, np.maximum(product(samples.hidden, x), 0)))
    return np.array(out)


@pytest.mark.parametrize("size", CASES.values(), ids=CASES)
def test_whole_network_and_sampler_follow_the_equations(size):
    samples, batch, rng = 24, 2, np.random.default_rng(0)
    model = build(size, samples=samples)
    for weight in model.trainable_weights:
        weight.assign(weight + 0.3 * rng.standard_normal(weight.shape))
    codes = rng.integers(0, size.levels, (batch, samples, 1))
    expected = np.stack([numpy_logits(model, size, one[:, 0]) for one in codes])
    whole = np.asarray(model({"past": codes}))
    np.testing.assert_allclose(whole, expected, atol=2e-5)
    sampler = Sampler(model, size)
    state = sampler.state(batch)
    for at in range(samples):
        past = ops.convert_to_tensor(codes[:, at : at + 1])
        found, state = sampler.step(past, state, at)
        np.testing.assert_allclose(found[:, 0], expected[:, at], atol=2e-5)


def test_carried_state_makes_stretches_one_sequence():
    rng = np.random.default_rng(0)
    model = build(TINY, samples=24)
    codes = rng.integers(0, TINY.levels, (2, 24, 1))
    whole = np.asarray(model({"past": codes}))
    short = build(TINY, samples=8)
    short.set_weights(model.get_weights())
    carrying = TINY.carrying(short, lanes=2)

    def stretch(number, begins=0.0, training=False):
        past = codes[:, 8 * number : 8 * number + 8]
        given = {"past": past, "begins": np.full((2, 1), begins, np.float32)}
        return np.asarray(carrying(given, training=training))

    for number in range(3):
        np.testing.assert_allclose(
            stretch(number, begins=float(not number)),
            whole[:, 8 * number : 8 * number + 8],
            atol=1e-6,
        )
        # What is validated meanwhile has a state of its own.
        stretch(0, begins=1.0, training=True)
    # A lane in which a recording begins forgets; the other goes on.
    given = {"past": codes[:, :8], "begins": np.array([[1.0], [0.0]], np.float32)}
    found = np.asarray(carrying(given))
    np.testing.assert_allclose(found[0], whole[0, :8], atol=1e-6)
    assert np.abs(found[1] - whole[1, :8]).max() > 1e-3


def test_nothing_that_is_to_come_changes_what_is_said():
    model, rng = build(TINY, samples=40), np.random.default_rng(0)
    codes = rng.integers(0, TINY.levels, (1, 40, 1))
    for changed in range(20, 25):  # wherever in a frame
        other = codes.copy()
        other[:, changed:] = rng.integers(0, TINY.levels, (1, 40 - changed, 1))
        one, two = (np.asarray(model({"past": x})) for x in (codes, other))
        np.testing.assert_array_equal(one[:, :changed], two[:, :changed])
        assert np.abs(one[:, changed:] - two[:, changed:]).max() > 0


def test_normed_weights_learn_their_length_apart():
    size = dataclasses.replace(TINY, frames=(4,))
    model = build(size)
    layer = model.get_layer("samples").hidden
    before = np.asarray(layer(np.eye(6)))
    v, g, bias = layer.get_weights()
    np.testing.assert_allclose(before, v, rtol=1e-5, atol=1e-6)  # g is |v| at first
    layer.set_weights([3 * v, 2 * g, bias])
    np.testing.assert_allclose(layer(np.eye(6)), 2 * before, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"levels": 1}, "levels must be 2 or more; got 1"),
        ({"frames": [3, 8]}, "each a multiple of the one before it; got .3, 8"),
        ({"frames": []}, "each a multiple"),
        ({"frames": [1, 2]}, "each a multiple"),
        ({"rnn": "rnn"}, "rnn must be one of gru, lstm; got 'rnn'"),
    ],
)
def test_sizes_that_do_not_fit_are_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        models.sizes("sample_rnn", variant="tiny", **wrong)


def test_a_number_of_samples_that_is_no_whole_frame_is_refused():
    with pytest.raises(ValueError, match="whole frames of 4; got 10, the nearest is 8"):
        build(TINY, samples=10)
