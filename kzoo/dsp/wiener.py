"""Multichannel Wiener filter: stems by their power and their place in the stereo field.

Each source is a Gaussian with a power v(frame, bin) and a spatial covariance R(bin) over the
channels; the filter v_j R_j (sum_k v_k R_k)^-1 is applied to the mixture (Duong, Vincent and
Gribonval, 2010; the one-iteration estimate is that of Nugraha, Liutkus and Vincent, 2016, as in
Deezer's Spleeter and Open-Unmix). Covariances are kept as real numbers: for one channel [r00], for
two [r00, r11, re r01, im r01]. More channels than two are not covered.

Spectra are real pairs `[batch, sources, frames, bins, channels]`.
"""

from __future__ import annotations

from keras import ops

from kzoo.dsp.stft import magnitude

# float32's epsilon: added to what is divided by; its square root is added to the diagonal.
EPSILON = 1.1920929e-07


def spatial_sums(real, imag):
    """Sums over frames from which covariances are made, of first estimates of the sources.

    Returns (products `[batch, sources, bins, 1 or 4]`, power `[batch, sources, bins]`), which
    add up over the blocks of a signal.
    """
    squares = real * real + imag * imag
    power = ops.sum(ops.mean(squares, axis=-1), axis=2)
    if real.shape[-1] == 1:
        return ops.sum(squares, axis=2), power
    re0, re1, im0, im1 = real[..., 0], real[..., 1], imag[..., 0], imag[..., 1]
    cross = ops.stack([re0 * re1 + im0 * im1, im0 * re1 - re0 * im1], axis=-1)
    return ops.sum(ops.concatenate([squares, cross], axis=-1), axis=2), power


def covariances(products, power, *, epsilon: float = EPSILON):
    """Spatial covariances `[batch, sources, bins, 1 or 4]` from the sums of the whole signal."""
    return products / ops.expand_dims(power + epsilon, -1)


def wiener_filter(real, imag, mixture_real, mixture_imag, covariance, *, epsilon: float = EPSILON):
    """Better estimates of the sources from first ones, the mixture and the covariances.

    real, imag: first estimates `[batch, sources, frames, bins, channels]`, for their power alone;
    mixture: `[batch, frames, bins, channels]`. Returns (real, imag) of the first ones' shape.
    """
    power = ops.mean(real * real + imag * imag, axis=-1)  # [batch, sources, frames, bins]
    spread = ops.expand_dims(covariance, 2)  # [batch, sources, 1, bins, 1 or 4]
    weighted = ops.expand_dims(power, -1) * spread
    total = ops.sum(weighted, axis=1)  # [batch, frames, bins, 1 or 4]
    floor = epsilon**0.5
    if real.shape[-1] == 1:
        gain = weighted / ops.expand_dims(total + floor + epsilon, 1)
        return gain * ops.expand_dims(mixture_real, 1), gain * ops.expand_dims(mixture_imag, 1)
    a, d = total[..., 0] + floor, total[..., 1] + floor
    p, q = total[..., 2], total[..., 3]  # the mixture's covariance is [[a, p + iq], [p - iq, d]]
    determinant = a * d - p * p - q * q
    x0, x1 = mixture_real[..., 0], mixture_real[..., 1]
    y0, y1 = mixture_imag[..., 0], mixture_imag[..., 1]
    # u = inverse covariance times mixture, by its closed form for two channels
    u0 = ops.expand_dims((d * x0 - p * x1 + q * y1) / determinant, 1)
    v0 = ops.expand_dims((d * y0 - p * y1 - q * x1) / determinant, 1)
    u1 = ops.expand_dims((a * x1 - p * x0 - q * y0) / determinant, 1)
    v1 = ops.expand_dims((a * y1 - p * y0 + q * x0) / determinant, 1)
    r00, r11, re, im = (weighted[..., i] for i in range(4))
    out_real = ops.stack([r00 * u0 + re * u1 - im * v1, re * u0 + im * v0 + r11 * u1], axis=-1)
    out_imag = ops.stack([r00 * v0 + re * v1 + im * u1, re * v0 - im * u0 + r11 * v1], axis=-1)
    return out_real, out_imag


def refine(real, imag, mixture_real, mixture_imag, *, iterations: int, epsilon: float = EPSILON):
    """Better estimates by so many iterations of covariances and filter: (real, imag).

    Shapes are those of `wiener_filter`. A mixture that peaks above 10 is scaled down to there
    meanwhile, as in Deezer's program and Open-Unmix, so that `epsilon` means the same.
    """
    peak = ops.max(magnitude(mixture_real, mixture_imag), axis=(1, 2, 3), keepdims=True)
    scale = ops.maximum(peak / 10.0, 1.0)
    wide = ops.expand_dims(scale, 1)
    mixture = mixture_real / scale, mixture_imag / scale
    found = real / wide, imag / wide
    for _ in range(iterations):
        covariance = covariances(*spatial_sums(*found), epsilon=epsilon)
        found = wiener_filter(*found, *mixture, covariance, epsilon=epsilon)
    return found[0] * wide, found[1] * wide
