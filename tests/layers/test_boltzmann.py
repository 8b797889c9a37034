"""Boltzmann machines against the sums over all of their states that define them."""

import itertools

import keras
import numpy as np
import pytest

from kzoo.layers.boltzmann import (
    BoltzmannMachine,
    PooledProbabilities,
    free_energy,
    hidden_probabilities,
    pooled_probabilities,
)

FRAMES, CHANNELS, UNITS, TAPS = 5, 2, 2, 2  # of which 4 hidden moments


def states(blocks, pool):
    """Every state of a unit's `blocks`, in each of which one is on or none."""
    one = [np.eye(pool)[k] if k < pool else np.zeros(pool) for k in range(pool + 1)]
    return [np.concatenate(each) for each in itertools.product(one, repeat=blocks)]


def all_hidden(pool):
    each = states((FRAMES - TAPS + 1) // pool, pool)
    return [np.stack(both, axis=1) for both in itertools.product(each, repeat=UNITS)]


def drive(visible, kernel, bias):
    return np.stack([
        np.einsum("kc,kcu->u", visible[t : t + TAPS], kernel) + bias
        for t in range(len(visible) - TAPS + 1)
    ])  # fmt: skip


def energy(visible, hidden, kernel, hidden_bias, visible_bias, kind):
    own = (
        np.sum((visible - visible_bias) ** 2) / 2
        if kind == "gaussian"
        else -np.sum(visible_bias * visible)
    )
    return own - np.sum(hidden * drive(visible, kernel, hidden_bias))


@pytest.fixture
def weights(rng):
    return (
        rng.normal(0, 0.7, (TAPS, CHANNELS, UNITS)),
        rng.normal(0, 0.5, UNITS),
        rng.normal(0, 0.5, CHANNELS),
    )


def machine(weights, **options):
    made = BoltzmannMachine(UNITS, TAPS, **options)
    made.build((None, FRAMES, CHANNELS))
    for weight, value in zip((made.kernel, made.hidden_bias, made.visible_bias), weights,
                             strict=True):  # fmt: skip
        weight.assign(value)
    return made


@pytest.mark.parametrize("pool", [1, 2])
@pytest.mark.parametrize("kind", ["gaussian", "binary"])
def test_free_energy_and_chances_are_sums_over_all_states(weights, rng, pool, kind):
    visible = rng.normal(0, 1, (FRAMES, CHANNELS))
    hidden = np.array(all_hidden(pool))
    likely = np.exp([-energy(visible, h, *weights, kind) for h in hidden])
    found = free_energy(np.float32(visible)[None], *map(np.float32, weights), kind=kind, pool=pool)
    np.testing.assert_allclose(found[0], -np.log(likely.sum()), rtol=1e-5)
    chances = np.einsum("s,stu->tu", likely / likely.sum(), hidden)
    heard = np.float32(drive(visible, *weights[:2]))[None]
    np.testing.assert_allclose(hidden_probabilities(heard, pool)[0], chances, atol=1e-6)
    any_on = chances.reshape(-1, pool, UNITS).sum(axis=1)  # at most one of a block is
    np.testing.assert_allclose(pooled_probabilities(heard, pool)[0], any_on, atol=1e-6)
    np.testing.assert_allclose(PooledProbabilities(pool)(heard)[0], any_on, atol=1e-6)


@pytest.mark.parametrize("pool", [1, 2, 3])
def test_units_are_sampled_as_often_as_their_chance_and_one_of_a_block(rng, pool):
    heard = np.float32(np.repeat(rng.normal(0, 1.5, (1, 7, UNITS)), 4000, axis=0))
    sampled = np.asarray(BoltzmannMachine(UNITS, TAPS, kind="binary", pool=pool).sampled(heard))
    assert set(np.unique(sampled)) == {0.0, 1.0}
    blocks = sampled.reshape(4000, -1, pool, UNITS)
    assert blocks.sum(axis=2).max() == 1
    expected = hidden_probabilities(heard[:1], pool)[0]
    np.testing.assert_allclose(sampled.mean(axis=0), expected, atol=0.04)


def test_what_hidden_units_show_is_the_mean_that_the_energy_says(weights, rng):
    hidden = rng.integers(0, 2, (FRAMES - TAPS + 1, UNITS)).astype(np.float32)
    shown = machine(weights, kind="gaussian").seen(hidden[None])[0]
    still = np.zeros((FRAMES, CHANNELS))
    base = energy(still, hidden, *weights[:2], weights[2], "binary")
    slope = np.zeros_like(still)  # of -E in each visible unit, which is linear in it
    for place in np.ndindex(*still.shape):
        up = still.copy()
        up[place] = 1
        slope[place] = base - energy(up, hidden, *weights[:2], weights[2], "binary")
    np.testing.assert_allclose(shown, slope, atol=1e-5)
    binary = machine(weights, kind="binary").seen(hidden[None])[0]
    np.testing.assert_allclose(binary, 1 / (1 + np.exp(-slope)), atol=1e-5)


def errors_of_steps(made, data, optimizer, steps):
    """The mean error of the first tenth of the steps, each on all of the data, and of the last."""
    optimizer.build(made.trainable_variables)  # else the first step is drawn twice
    made.compile(optimizer=optimizer)
    # One array many times over: Keras takes longer to begin an epoch than for a step.
    repeated = np.concatenate([data] * (steps // 10))
    history = made.fit(repeated, batch_size=len(data), epochs=10, shuffle=False, verbose=0).history
    return history["error"][0], history["error"][-1]


def exact_log_likelihood(made, data):
    """Of binary data, by the sum over all 2^(frames * channels) visible states."""
    everything = np.array(list(itertools.product([0, 1], repeat=data[0].size)), np.float32)
    everything = everything.reshape(-1, *data[0].shape)
    log_z = np.logaddexp.reduce(-np.float64(made.free_energy(everything)))
    return np.mean(-np.float64(made.free_energy(data))) - log_z


@pytest.mark.parametrize("pool", [1, 2])
def test_contrastive_divergence_raises_the_exact_likelihood(rng, pool):
    keras.utils.set_random_seed(0)
    patterns = np.float32([[[1, 0], [1, 0], [0, 1], [0, 1], [1, 0]],
                           [[0, 1], [0, 1], [1, 0], [1, 0], [0, 1]]])  # fmt: skip
    data = patterns[rng.integers(0, 2, 64)]
    made = BoltzmannMachine(6, TAPS, kind="binary", pool=pool)
    made.build(data.shape)
    before = exact_log_likelihood(made, data)
    optimizer = keras.optimizers.SGD(1.0, momentum=0.5)
    first, last = errors_of_steps(made, data, optimizer, 60)
    after = exact_log_likelihood(made, data)
    assert before == pytest.approx(-10 * np.log(2), abs=0.1)  # it knows nothing
    assert after > before + 2.5
    assert last < 0.5 * first
    others = rng.integers(0, 2, data.shape).astype(np.float32)
    gap = np.mean(made.free_energy(others)) - np.mean(made.free_energy(data))
    assert gap > 3  # what it has learned is likelier than noise


def test_gaussian_units_are_reconstructed_and_hidden_ones_are_sparse(rng):
    keras.utils.set_random_seed(0)
    filters = rng.normal(0, 1, (2, 3, 4))
    places = [(k, t) for k in range(2) for t in range(3)]
    seen = [np.pad(filters[k], ((t, 2 - t), (0, 0))) for k, t in places]
    data = np.float32(seen)[rng.integers(0, len(seen), 96)]
    on = []
    for sparsity in (None, 0.02):
        made = BoltzmannMachine(6, 3, kind="gaussian", sparsity=sparsity, sparsity_cost=20.0)
        made.build(data.shape)
        optimizer = keras.optimizers.SGD(0.06, momentum=0.9)
        first, last = errors_of_steps(made, data, optimizer, 70)
        heard = keras.ops.conv(data, made.kernel) + made.hidden_bias
        on.append(float(np.mean(hidden_probabilities(heard, 1))))
        if sparsity is None:
            assert last < 0.6 * first
    assert on[1] < 0.06 < on[0]


def test_weight_decay_is_a_penalty_and_an_unknown_kind_is_refused(weights, rng):
    seen, shown = rng.normal(0, 1, (2, 3, FRAMES, CHANNELS)).astype(np.float32)
    losses = [
        machine(weights, kind="gaussian", weight_decay=decay).compute_loss(seen, y_pred=shown)
        for decay in (0.0, 0.1)
    ]
    assert float(losses[1] - losses[0]) == pytest.approx(0.05 * np.sum(weights[0] ** 2), rel=1e-4)
    with pytest.raises(ValueError, match="kind must be one of gaussian, binary; got 'real'"):
        BoltzmannMachine(3, 4, kind="real")
