"""Discrete Fourier transforms of real signals of any length, as two small matrix products.

A length N = P * Q splits into P transforms and Q of the other kind with factors between them
(Cooley and Tukey, 1965, https://doi.org/10.1090/S0025-5718-1965-0178586-1): 960 = 30 * 32 takes
some 125,000 products, where one matrix of all would take 461,000. TFLite's own FFT knows powers
of two alone and has no inverse; products of matrices it runs fast, and as Keras does.

A sample is n = Q p + q and a bin k = k1 + P k2, so with W = exp(-2 pi i / N)

    X[k1 + P k2] = sum_q W^(P q k2) W^(q k1) sum_p W^(Q p k1) x[Q p + q]
"""

from __future__ import annotations

import contextlib
import contextvars
import functools
import math
from collections.abc import Iterator

import numpy as np
from keras import ops

_to_products = contextvars.ContextVar("to_products", default=False)


@contextlib.contextmanager
def as_products() -> Iterator[None]:
    """Within it `rfft` and `stft.irfft` are traced as `rdft` and `irdft`, for other runtimes."""
    token = _to_products.set(True)
    try:
        yield
    finally:
        _to_products.reset(token)


def are_products() -> bool:
    """Whether transforms are traced within `as_products`."""
    return _to_products.get()


def rfft(signal):
    """Transform `[..., N]` to (real, imag), each `[..., N // 2 + 1]`, by the backend's own."""
    return rdft(signal) if are_products() else ops.rfft(signal)


def rdft(signal):
    """Transform `[..., N]` to (real, imag), each `[..., N // 2 + 1]`, as numpy.fft.rfft does."""
    length = signal.shape[-1]
    (p, q), bins = factors(length), length // 2 + 1
    first, second, real, imag = (
        ops.convert_to_tensor(x, signal.dtype) for x in _constants(length)[:4]
    )
    lead = ops.shape(signal)[:-1]
    x = ops.swapaxes(ops.reshape(signal, (-1, p, q)), 1, 2)
    x = ops.reshape(ops.matmul(ops.reshape(x, (-1, p)), first), (-1, q, 2 * p))
    cosines, sines = x[..., :p], x[..., p:]
    x = ops.concatenate(
        [cosines * real - sines * imag, cosines * imag + sines * real], axis=1
    )  # [-1, 2 * q, p]
    x = ops.matmul(ops.reshape(ops.swapaxes(x, 1, 2), (-1, 2 * q)), second)
    kept = second.shape[-1] // 2
    x = ops.swapaxes(ops.reshape(x, (-1, p, 2 * kept)), 1, 2)
    x = ops.reshape(x, (*lead, 2 * kept * p))
    return x[..., :bins], x[..., kept * p : kept * p + bins]


def irdft(real, imag, length: int):
    """Invert `rdft`: (real, imag) `[..., length // 2 + 1]` to `[..., length]`.

    As in numpy.fft.irfft, the imaginary parts of bin 0 and of the Nyquist bin count for nothing.
    """
    (p, q), bins = factors(length), length // 2 + 1
    constants = (ops.convert_to_tensor(x, real.dtype) for x in _constants(length))
    first, second, twiddle_real, twiddle_imag, weights, imag_weights = constants
    lead, kept = ops.shape(real)[:-1], second.shape[-1] // 2
    filled = [(0, 0)] * (len(real.shape) - 1) + [(0, kept * p - bins)]
    x = [ops.pad(part, filled) for part in (real * weights, imag * imag_weights)]
    x = ops.concatenate(x, axis=-1)
    x = ops.swapaxes(ops.reshape(x, (-1, 2 * kept, p)), 1, 2)
    x = ops.matmul(ops.reshape(x, (-1, 2 * kept)), ops.transpose(second))
    x = ops.swapaxes(ops.reshape(x, (-1, p, 2 * q)), 1, 2)  # [-1, 2 * q, p]
    re, im = x[:, :q], x[:, q:]
    x = ops.concatenate(
        [re * twiddle_real + im * twiddle_imag, im * twiddle_real - re * twiddle_imag], axis=-1
    )  # [-1, q, 2 * p]
    x = ops.matmul(ops.reshape(x, (-1, 2 * p)), ops.transpose(first))
    return ops.reshape(ops.swapaxes(ops.reshape(x, (-1, q, p)), 1, 2), (*lead, length))


def factors(length: int) -> tuple[int, int]:
    """(P, Q) with P * Q = length, as near to each other as can be; (1, length) for a prime."""
    if length < 1:
        raise ValueError(f"a transform must have a length of 1 or more; got {length}")
    p = next(p for p in range(math.isqrt(length), 0, -1) if length % p == 0)
    return p, length // p


@functools.lru_cache(maxsize=32)
def _constants(length: int) -> tuple[np.ndarray, ...]:
    """The matrices of `rdft`, the factors between them, and what `irdft` weighs bins with.

    first `[p, 2 * p]` takes samples to (real, imag) of k1; second `[2 * q, 2 * kept]` takes
    (real, imag) of q to those of the k2 that are needed; then the factors' parts `[q, p]`.
    """
    p, q = factors(length)
    kept = (length // 2) // p + 1

    def waves(rows: int, columns: int, period: int) -> np.ndarray:
        product = np.outer(np.arange(rows), np.arange(columns)) % period
        return np.exp(-2j * np.pi * product / period)

    first, second, between = waves(p, p, p), waves(q, kept, q), waves(q, p, length)
    parts = np.block([[second.real, second.imag], [-second.imag, second.real]])
    weights = np.full(length // 2 + 1, 2 / length)  # for the bins above, their mirror images
    weights[0] = 1 / length
    if length % 2 == 0:
        weights[-1] = 1 / length
    alone = weights == 1 / length
    return (
        np.concatenate([first.real, first.imag], axis=1), parts, between.real, between.imag,
        weights, np.where(alone, 0, weights),
    )  # fmt: skip
