"""Block Toeplitz systems against dense matrices of NumPy."""

import numpy as np
import pytest

from kzoo.metrics import toeplitz


def dense(lags):
    taps = len(lags)
    return np.block(
        [[lags[k - i] if k >= i else lags[i - k].T for k in range(taps)] for i in range(taps)]
    )


@pytest.fixture
def lags(rng):
    """Of two matrices of three coloured noises, 20 delays."""
    signals = rng.standard_normal((2, 3, 400)) * np.array([1.0, 10.0, 1e-3])[:, None]
    signals[..., 1:] += 0.8 * signals[..., :-1]
    padded = np.pad(signals, ((0, 0), (0, 0), (0, 19)))
    delayed = np.stack([np.roll(padded, lag, axis=-1) for lag in range(20)], axis=1)
    return np.einsum("bin,bljn->blij", padded, delayed)


def test_the_factor_is_that_of_the_dense_matrix(lags):
    for matrix, factor in zip(lags, toeplitz.cholesky(lags), strict=True):
        np.testing.assert_allclose(factor.T @ factor, dense(matrix), rtol=1e-9, atol=1e-9)
        assert not np.tril(factor, -1)[3:].any() or np.allclose(np.tril(factor, -1), 0, atol=1e-9)


@pytest.mark.parametrize("regularisation", [0.0, 0.01])
def test_solutions_and_products_are_those_of_the_dense_matrix(lags, rng, regularisation):
    cross = rng.standard_normal((2, 20, 3, 4))
    solution = toeplitz.solve(lags, cross, regularisation)
    for k in range(2):
        matrix = dense(lags[k])
        power = np.diag(matrix)
        scaled = matrix / np.sqrt(np.outer(power, power)) + regularisation * np.eye(60)
        expected = np.linalg.solve(
            matrix + regularisation * np.diag(power), cross[k].reshape(60, 4)
        )
        np.testing.assert_allclose(solution.filters[k].reshape(60, 4), expected, rtol=1e-8)
        assert 0.3 < solution.condition[k] / np.linalg.cond(scaled) <= 1.01
    product = toeplitz.product(lags, cross)
    np.testing.assert_allclose(
        product[0].reshape(60, 4), dense(lags[0]) @ cross[0].reshape(60, 4), rtol=1e-9, atol=1e-9
    )


def test_a_singular_matrix_gets_a_least_squares_solution(lags):
    matrix = lags[:1].repeat(2, axis=2).repeat(2, axis=3)  # each row twice
    solution = toeplitz.solve(matrix, toeplitz.product(matrix, np.ones((1, 20, 6, 1))))
    assert np.isinf(solution.condition).all()
    assert solution.regularisation == toeplitz.SINGULAR
    first, second = solution.filters[..., ::2, :], solution.filters[..., 1::2, :]
    np.testing.assert_allclose(first + second, 2.0, atol=1e-6)
