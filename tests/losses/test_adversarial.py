"""What adversaries lose, by hand, and sums of losses."""

import keras
import numpy as np
import pytest

from kzoo import losses
from kzoo.losses.adversarial import ADVERSARIAL, get_adversarial

REAL = np.array([[0.5, 2.0], [-1.0, 1.0]], np.float32)
FAKE = np.array([[0.0, -2.0], [1.5, 0.5]], np.float32)


def test_least_squares_are_those_of_the_paper_without_halves():
    loss = get_adversarial("least_squares")
    np.testing.assert_allclose(
        loss.discriminator(REAL, FAKE), [(0.25 + 1) / 2 + 4 / 2, 4 / 2 + 2.5 / 2]
    )
    np.testing.assert_allclose(loss.generator(FAKE), [(1 + 9) / 2, (0.25 + 0.25) / 2])
    smoothed = loss.discriminator(REAL, FAKE, label_smoothing=0.5)
    np.testing.assert_allclose(smoothed, [2.25 / 2 + 2, (2.25 + 0.25) / 2 + 1.25])


def test_hinges_stop_at_their_margins():
    loss = get_adversarial("hinge")
    np.testing.assert_allclose(loss.discriminator(REAL, FAKE), [0.25 + 0.5, 1.0 + 2.0])
    np.testing.assert_allclose(loss.generator(FAKE), [1.0, -1.0])
    smoothed = loss.discriminator(REAL, FAKE, label_smoothing=0.5)
    np.testing.assert_allclose(smoothed, [0.0 + 0.5, 0.75 + 2.0])


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_the_boundary_lies_between_what_is_wanted_of_real_and_fake(name):
    loss = get_adversarial(name)
    above, below = np.float32([[loss.boundary + 0.5]]), np.float32([[loss.boundary - 0.5]])
    assert float(loss.discriminator(above, below)[0]) < float(loss.discriminator(below, above)[0])
    assert float(loss.generator(above)[0]) < float(loss.generator(below)[0])


@pytest.mark.parametrize("name", ADVERSARIAL)
def test_half_precision_is_computed_in_float32(name):
    loss = get_adversarial(name)
    logits = keras.ops.cast(np.full((1, 4), 300.0), "float16")
    for value in (loss.discriminator(logits, logits), loss.generator(logits)):
        assert value.dtype == "float32"
        assert np.isfinite(value).all()


def test_an_unknown_one_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'hinge'"):
        get_adversarial("hinges")


def test_a_weighted_sum_is_the_sum_of_its_weighted_terms(rng):
    target, estimate = rng.standard_normal((2, 3, 1, 400, 1)).astype(np.float32)
    spectral = {"name": "multi_resolution_stft", "fft_sizes": [64, 16]}
    loss = losses.get("weighted_sum", terms=[{"name": "l1", "weight": 2.0}, spectral])
    expected = 2 * np.abs(target - estimate).mean((1, 2, 3))
    expected += np.asarray(losses.multi_resolution_stft(target, estimate, fft_sizes=[64, 16]))
    np.testing.assert_allclose(loss(target, estimate), expected, rtol=1e-5)
    terms = loss.resolved()["terms"]
    assert terms[0] == {"name": "l1", "weight": 2.0}
    assert terms[1]["log_floor"] == 0.0
    assert losses.get(**loss.resolved()).resolved() == loss.resolved()


@pytest.mark.parametrize(
    ("terms", "message"),
    [
        ([{"name": "l3"}], "there are: l1, l2"),
        ([{"name": "l1", "wieght": 2}], "wieght"),
        ([{"name": "l1", "weight": "2"}], "must be a number; got '2'"),
        ([], "one term at least"),
    ],
)
def test_mistaken_terms_are_refused_before_the_first_batch(terms, message):
    with pytest.raises(ValueError, match=message):
        losses.get("weighted_sum", terms=terms)
