"""Least squares with a block Toeplitz Gram matrix: its Cholesky factor by Schur's algorithm.

Kailath and Sayed, 1995, Displacement structure: theory and applications, SIAM Review 37
Riley, 1955, Solving systems of linear equations with a positive definite, symmetric, but possibly
ill-conditioned matrix, Mathematical Tables and Other Aids to Computation 9

The inner product of two delayed signals depends on the difference of their delays alone. So the
first block row of such a matrix says everything, and each further block row of the factor follows
from the one before by a rotation: `taps²` products of small matrices instead of `taps³`. The mixed
form of the hyperbolic rotation keeps the residual near that of LAPACK's factorisation.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import scipy.fft
import scipy.linalg

SINGULAR = 1e-10  # what is added to a singular matrix, of its unit diagonal
_REFINEMENTS = 3
_POWER_STEPS = 2


class Solution(NamedTuple):
    """Least-squares filters `[..., taps, rows, columns]` and what is known of their matrices.

    condition: number of each matrix, in the 2-norm, estimated; infinite where one was singular.
    regularisation: the share of each row's power that was added to the diagonal.
    """

    filters: np.ndarray
    condition: np.ndarray
    regularisation: float


def solve(lags: np.ndarray, cross: np.ndarray, regularisation: float = 0.0) -> Solution:
    """Solve `T @ filters = cross` for symmetric matrices whose block (k, l) is `lags[l - k]`.

    lags: float64 `[..., taps, rows, rows]`, the blocks from the diagonal to the right; cross:
    `[..., taps, rows, columns]`. Rows are scaled to a diagonal of 1 first, of which
    `regularisation` is a share; a row that is zero gets filters of zero.

    A matrix that is singular to the last bit is solved with SINGULAR on its diagonal, and what that
    changed taken back by Riley's refinement, which tends to the solution of the smallest norm.
    """
    power = np.diagonal(lags[..., 0, :, :], axis1=-2, axis2=-1)
    scale = 1 / np.sqrt(np.where(power > 0, power, 1.0))[..., None, :, None]
    matrix = lags * scale * np.swapaxes(scale, -1, -2)
    _set_diagonal(matrix, 1.0 + regularisation)
    cross = cross * scale
    try:
        factor = cholesky(matrix)
        filters = _substitute(factor, cross)
        condition = _condition(matrix, factor)
    except np.linalg.LinAlgError:
        shifted = matrix.copy()
        _set_diagonal(shifted, 1.0 + regularisation + SINGULAR)
        regularisation = max(regularisation, SINGULAR)
        factor = cholesky(shifted)
        filters = np.zeros_like(cross)
        for _ in range(_REFINEMENTS):
            filters += _substitute(factor, cross - product(matrix, filters))
        condition = np.full(lags.shape[:-3], np.inf)
    return Solution(filters * scale, condition, regularisation)


def cholesky(lags: np.ndarray) -> np.ndarray:
    """Upper factors `[..., taps * rows, taps * rows]` of matrices as `solve` takes them.

    Raises numpy.linalg.LinAlgError where one is not positive definite.
    """
    *batch, taps, rows, _ = lags.shape
    size = taps * rows
    factor = np.zeros((*batch, size, size))
    top = np.swapaxes(lags, -3, -2).reshape(*batch, rows, size)
    first = np.linalg.solve(np.linalg.cholesky(lags[..., 0, :, :]), top)
    factor[..., :rows, :] = first
    # The generator: a block row of the factor, moved by a block, above what it is rotated with.
    generator = np.concatenate([first[..., :-rows], first[..., rows:]], axis=-2)
    identity = np.eye(rows)
    for k in range(1, taps):
        upper, lower = generator[..., :rows, :rows], generator[..., rows:, :rows]
        reflection = _transposed(np.linalg.solve(_transposed(upper), _transposed(lower)))
        back = _transposed(reflection)
        inverse = np.linalg.inv(np.linalg.cholesky(identity - back @ reflection))
        right = _transposed(np.linalg.cholesky(identity - reflection @ back))
        row = np.concatenate([inverse, -inverse @ back], axis=-1) @ generator
        factor[..., k * rows : (k + 1) * rows, k * rows :] = row
        generator[..., :rows, :] = row
        rest = np.concatenate([-right @ reflection @ _transposed(inverse), right], axis=-1)
        generator = np.concatenate([row[..., :-rows], (rest @ generator)[..., rows:]], axis=-2)
    return factor


def product(lags: np.ndarray, vectors: np.ndarray) -> np.ndarray:
    """Multiply matrices as `solve` takes them with `[..., taps, rows, columns]`."""
    taps = lags.shape[-3]
    n_fft = scipy.fft.next_fast_len(2 * taps - 1, real=True)
    # Block (k, l) is lags[l - k]: with k - l = d, what is right of the diagonal has negative d.
    around = np.zeros((*lags.shape[:-3], n_fft, *lags.shape[-2:]))
    around[..., :taps, :, :] = _transposed(lags)
    around[..., n_fft - taps + 1 :, :, :] = lags[..., :0:-1, :, :]
    spectra = scipy.fft.rfft(around, axis=-3) @ scipy.fft.rfft(vectors, n_fft, axis=-3)
    return scipy.fft.irfft(spectra, n_fft, axis=-3)[..., :taps, :, :]


def _substitute(factor: np.ndarray, cross: np.ndarray) -> np.ndarray:
    flat = cross.reshape(-1, factor.shape[-1], cross.shape[-1])
    factors = factor.reshape(-1, *factor.shape[-2:])
    solved = [
        scipy.linalg.cho_solve((upper.T, True), vectors, check_finite=False)
        for upper, vectors in zip(factors, flat, strict=True)
    ]
    return np.reshape(solved, cross.shape)


def _condition(lags: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Condition numbers `[...]`: what power iteration finds of the matrices and their inverses."""
    shape = (*lags.shape[:-1], 1)
    probe = np.random.default_rng(0).standard_normal(shape)
    condition = np.ones(lags.shape[:-3])
    for multiply in (lambda v: product(lags, v), lambda v: _substitute(factor, v)):
        vector = probe
        for _ in range(_POWER_STEPS):
            vector = multiply(vector / _norm(vector))
        condition *= _norm(vector)[..., 0, 0, 0]
    return condition


def _norm(vectors: np.ndarray) -> np.ndarray:
    return np.sqrt((vectors**2).sum(axis=(-3, -2, -1), keepdims=True))


def _set_diagonal(lags: np.ndarray, value: float) -> None:
    rows = np.arange(lags.shape[-1])
    lags[..., 0, rows, rows] = value


def _transposed(matrices: np.ndarray) -> np.ndarray:
    return np.swapaxes(matrices, -1, -2)
