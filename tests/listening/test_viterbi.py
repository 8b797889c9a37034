"""Viterbi's algorithm against hmmlearn's, in stretches, and where memory ends."""

import numpy as np
import pytest

from kzoo.listening.viterbi import Viterbi


def chain(rng, states, *, stay):
    transitions = rng.dirichlet(np.ones(states), states) * (1 - stay) + stay * np.eye(states)
    return rng.dirichlet(np.ones(states)), transitions


def decoded(viterbi, heard, stretch):
    parts = [viterbi.add(heard[k : k + stretch]) for k in range(0, len(heard), stretch)]
    return np.concatenate([*parts, viterbi.finish()])


@pytest.mark.parametrize("stretch", [1, 7, 300])
def test_the_way_is_that_of_hmmlearn_whatever_the_stretches(rng, stretch):
    hmm = pytest.importorskip("hmmlearn.hmm", reason="pip install hmmlearn")
    prior, transitions = chain(rng, 5, stay=0.6)
    model = hmm.CategoricalHMM(5, init_params="")
    model.startprob_, model.transmat_ = prior, transitions
    model.emissionprob_ = rng.dirichlet(np.ones(8), 5)
    heard = rng.integers(0, 8, (300, 1))
    score, expected = model.decode(heard, algorithm="viterbi")
    likelihoods = np.log(model.emissionprob_[:, heard[:, 0]]).T
    found = decoded(Viterbi(prior, transitions), likelihoods, stretch)
    np.testing.assert_array_equal(found, expected)
    assert np.isfinite(score)


def test_states_are_given_out_as_soon_as_they_are_certain(rng):
    prior, transitions = chain(rng, 4, stay=0.5)
    viterbi = Viterbi(prior, transitions)
    given = 0
    for frame in range(500):
        given += len(viterbi.add(rng.normal(0, 3, (1, 4))))
        assert frame + 1 - given < 60


def test_ways_that_stay_apart_take_bounded_memory_and_the_better_one_goes_on():
    # Two states that never meet: nothing is certain before the end.
    viterbi = Viterbi(np.ones(2) / 2, np.eye(2), latest=10)
    better = np.array([[0.0, -0.1]])
    given = [viterbi.add(better) for _ in range(100)]
    assert [len(states) for states in given[:12]] == [0] * 11 + [1]
    given = np.concatenate(given)
    assert len(given) == 98
    assert set(given) == {0}
    # The other one becomes the better now, but no way leads there from what was given.
    rest = [viterbi.add(np.array([[-9.0, 0.0]])) for _ in range(50)]
    states = np.concatenate([given, *rest, viterbi.finish()])
    assert len(states) == 150
    assert set(states) == {0}


def test_a_transition_that_cannot_be_is_never_taken(rng):
    ring = np.array([[0.5, 0.5, 0], [0, 0.5, 0.5], [0.5, 0, 0.5]])
    states = decoded(Viterbi([1.0, 0, 0], ring, latest=20), rng.normal(0, 2, (400, 3)), 9)
    assert states[0] == 0
    assert set((np.diff(states) % 3).tolist()) == {0, 1}


def test_another_recording_begins_anew_and_nothing_is_nothing(rng):
    prior, transitions = chain(rng, 3, stay=0.3)
    viterbi, heard = Viterbi(prior, transitions), rng.normal(0, 2, (40, 3))
    assert len(viterbi.finish()) == 0
    first = decoded(viterbi, heard, 40)
    np.testing.assert_array_equal(decoded(viterbi, heard, 40), first)


def test_shapes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match=r"2 states need transitions of \(2, 2\); got \(3, 3\)"):
        Viterbi(np.ones(2), np.ones((3, 3)))
    with pytest.raises(ValueError, match="latest must be at least 1 frame; got 0"):
        Viterbi(np.ones(2), np.ones((2, 2)), latest=0)
