"""Losses of the next sample: those of r9y9's mixtures, and cross entropy by SciPy."""

import numpy as np
import pytest
import scipy.special

from kzoo import losses
from kzoo.losses import code_cross_entropy, gaussian_mixture, logistic_mixture


def estimates(vector, name):
    return vector[name].transpose(0, 2, 1)  # [batch, samples, 3 * components]


@pytest.mark.parametrize(
    ("levels", "least", "tolerance"), [(256, -7.0, 1e-4), (65536, -14.0, 1e-2)]
)
def test_logistics_are_those_of_r9y9(vectors, levels, least, tolerance):
    vector = vectors("wavenet_mixture_losses")
    target, estimate = vector["target"], estimates(vector, "y_hat")
    for sample in range(target.shape[1]):  # one by one: a mean hides which branch is wrong
        at = slice(sample, sample + 1)
        found = logistic_mixture(
            target[:, at], estimate[:, at], levels=levels, least_log_scale=least
        )
        expected = vector[f"logistic_{levels}"][:, sample, 0]
        np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_gaussians_are_those_of_r9y9(vectors):
    vector = vectors("wavenet_mixture_losses")
    found = gaussian_mixture(vector["target"], estimates(vector, "y_hat_gauss3"))
    np.testing.assert_allclose(found, vector["gaussian_3"].mean(axis=(1, 2)), atol=1e-4)
    # Of one component, which the reference gives no logit.
    one = estimates(vector, "y_hat_gauss")
    one = np.concatenate([np.zeros_like(one[..., :1]), one], axis=-1)
    found = gaussian_mixture(vector["target"], one)
    np.testing.assert_allclose(found, vector["gaussian_1"].mean(axis=(1, 2)), atol=1e-4)


def test_logistics_in_steps_sum_to_one(rng):
    levels = 16
    steps = np.linspace(-1, 1, levels)[:, None, None].astype(np.float32)
    estimate = np.repeat(rng.normal(-1, 0.5, (1, 1, 6)).astype(np.float32), levels, axis=0)
    likely = np.exp(-np.asarray(logistic_mixture(steps, estimate, levels=levels)))
    assert likely.sum() == pytest.approx(1, abs=1e-4)


def test_cross_entropy_of_codes_is_that_of_scipy(rng):
    codes = rng.integers(0, 5, (2, 7, 1))
    logits = rng.normal(0, 3, (2, 7, 5)).astype(np.float32)
    shares = scipy.special.log_softmax(np.float64(logits), axis=-1)
    expected = -np.take_along_axis(shares, codes, axis=-1)[..., 0].mean(axis=-1)
    np.testing.assert_allclose(code_cross_entropy(codes, logits), expected, rtol=1e-5)


@pytest.mark.parametrize("name", ["code_cross_entropy", "logistic_mixture", "gaussian_mixture"])
def test_another_shape_is_refused_and_extremes_stay_finite(name):
    loss = losses.get(name)
    with pytest.raises(ValueError, match=r"expected samples \[batch, samples, 1\]"):
        loss(np.zeros((1, 4, 2)), np.zeros((1, 4, 6)))
    for extreme in (-300.0, 300.0):
        estimate = np.full((1, 4, 6), extreme, np.float32)
        assert np.isfinite(loss(np.zeros((1, 4, 1)), estimate)).all()
