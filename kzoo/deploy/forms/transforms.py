"""STFT, masks and inverse STFT as real matrix products, which keep the spectrum in their own order.

TFLite's RFFT2D runs outside XNNPACK and computes in float64, and an inverse by it takes two flips
of all bins: together 93 of 424 ms of a block of Spleeter. A frame of N = P Q samples has sample
n = Q p + q and, of the bins below P K, bin P j + k and bin P (j + 1) - k with k = 0 ... P / 2. The
signal is real, so the sum over p of k also is, conjugated, that of -k (Cooley and Tukey, 1965, for
the rest). Spectra are `[k, channels, sources, frames, 2 j]`, the bins P j + k before the others;
only magnitudes and masks are in the order of bins.

The matrices are products of small ones that the graph makes at each call: in the file they would
take 4 MB for N = 4096.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from kzoo.dsp import dft, windows
from kzoo.dsp.stft import STFT, InverseSTFT, floored_gain
from kzoo.layers.masks import ExtendMasks
from kzoo.layers.spectra import BandMagnitude, MaskedSpectrum


class ProductsSTFT(STFT):
    """`STFT` of one example, of the bins below `bins`: (real, imag) `[k, channels, 1, frames, 2 j]`
    as one of four axes, `[k * channels, 1, frames, 2 j]`.
    """

    def __init__(self, *args, bins: int, **kwargs):
        super().__init__(*args, **kwargs)
        self.bins = bins

    def call(self, waveform):
        n = _Sizes(self, waveform, self.bins)
        one = _one(waveform)
        x = tf.reshape(waveform, (n.samples // n.q, n.q, n.channels))
        x = tf.pad(x, ((n.before // n.q, n.after // n.q), (0, 0), (0, 0)))
        x = tf.reshape(tf.transpose(x, (1, 2, 0)), (n.q, n.channels, n.hops, n.rows))
        x = tf.concat([x[:, :, i : i + n.frames] for i in range(n.parts)], axis=-1)
        x = tf.reshape(x, (n.q, n.channels * n.frames, n.p))

        turns = np.outer(np.arange(n.p), np.arange(n.k)) / n.p
        first = np.concatenate([_cos(turns), -_sin(turns)], axis=1)  # [p, (part, k)]
        shape = windows.window(self.window, self.n_fft).reshape(n.p, n.q).T[:, :, None]
        x = tf.matmul(x, _constant(shape) * one * _constant(first))
        x = tf.transpose(tf.reshape(x, (n.q, n.channels * n.frames, 2, n.k)), (3, 1, 2, 0))
        x = tf.reshape(x, (n.k, n.channels * n.frames, 2 * n.q))

        # [k, q, j]: the turns of both kinds of bins, times q.
        twist = np.outer(np.arange(n.k), np.arange(n.q))[:, :, None] / self.n_fft
        cos, sin = [], []
        for sign, steps in ((1, np.arange(n.j)), (-1, np.arange(1, n.j + 1))):
            cos_sum, sin_sum = _of_sums(
                np.outer(np.arange(n.q), steps)[None] / n.q, sign * twist, one
            )
            cos.append((cos_sum, sign * sin_sum))
            sin.append((-sin_sum, sign * cos_sum))
        found = []
        for sides in (cos, sin):  # [k, (part, q), (side, j)]
            matrix = [tf.concat([side[part] for side in sides], axis=2) for part in (0, 1)]
            product = tf.matmul(x, tf.concat(matrix, axis=1))
            found.append(tf.reshape(product, (n.k * n.channels, 1, n.frames, 2 * n.j)))
        return tuple(found)

    def compute_output_shape(self, input_shape):
        n = _Sizes(self, input_shape, self.bins)
        return ((n.k * n.channels, 1, n.frames, 2 * n.j),) * 2


class ProductsMagnitude(BandMagnitude):
    """(real, imag) of `ProductsSTFT` to magnitudes `[1, frames, bins, channels]`."""

    def __init__(self, *args, half: int, **kwargs):
        super().__init__(*args, **kwargs)
        self.half = half

    def call(self, real, imag):
        channels, frames, j = _unpacked(real, self.half)
        x = tf.reshape(self.magnitude(real, imag), (self.half + 1, channels * frames, 2 * j))
        others = tf.reverse(x[1 : self.half, :, j:], axis=[0])
        x = tf.concat([x[:, :, :j], others], axis=0)  # [bin % P, ..., bin // P]
        x = tf.reshape(x, (2 * self.half, channels, frames, j))
        return tf.reshape(tf.transpose(x, (2, 3, 0, 1)), (1, frames, self.bins, channels))

    def compute_output_shape(self, real_shape, imag_shape):
        return (1, real_shape[2], self.bins, real_shape[0] // (self.half + 1))


class ProductsMasked(MaskedSpectrum):
    """(masks `[1, sources, frames, bins, channels]`, real, imag) to both of all sources,
    `[k * channels, sources, frames, 2 j]`.
    """

    def __init__(self, *, half: int, **kwargs):
        super().__init__(**kwargs)
        self.half = half

    def call(self, masks, real, imag):
        channels, frames, j = _unpacked(real, self.half)
        sources = masks.shape[1]
        x = tf.reshape(masks, (sources * frames, j, 2 * self.half, channels))
        x = tf.transpose(x, (2, 3, 0, 1))  # [bin % P, channels, ..., bin // P]
        # Of k = 0 and k = P / 2 the second kind of bins is the first: they are there once.
        others = tf.pad(tf.reverse(x[self.half + 1 :], axis=[0]), ((1, 1), *((0, 0),) * 3))
        x = tf.concat([x[: self.half + 1], others], axis=-1)
        x = tf.reshape(x, (real.shape[0], sources, frames, 2 * j))
        return x * real, x * imag

    def compute_output_shape(self, masks_shape, real_shape, imag_shape):
        return ((real_shape[0], masks_shape[1], *real_shape[2:]),) * 2


class ProductsInverseSTFT(InverseSTFT):
    """(real, imag) of `ProductsMasked` and the waveform to `[1, sources, samples, channels]`."""

    def __init__(self, *args, bins: int, **kwargs):
        super().__init__(*args, **kwargs)
        self.bins = bins

    def call(self, real, imag, waveform):
        n, sources, one = _Sizes(self, waveform, self.bins), real.shape[1], _one(waveform)
        lines = n.channels * sources * n.frames
        x = tf.reshape(tf.concat([real, imag], axis=-1), (n.k, lines, 4 * n.j))

        sides = [np.outer(np.arange(n.j) + i, np.arange(n.q)) / n.q for i in (0, 1)]
        cos, sin = ([wave(turns) for turns in sides] for wave in (_cos, _sin))
        matrix = np.block(  # [(part, side, j), (what cosines and what sines of k take, q)]
            [[cos[0], -sin[0]], [cos[1], sin[1]], [-sin[0], -cos[0]], [-sin[1], cos[1]]]
        )
        weights = np.ones((n.k, 4 * n.j, 1))
        weights[0, 0] = 0.5  # bin 0 has no mirror image
        x = tf.matmul(x, _constant(weights) * one * _constant(matrix))
        x = tf.transpose(tf.reshape(x, (n.k, lines, 2, n.q)), (3, 1, 2, 0))
        x = tf.reshape(x, (n.q, lines, 2 * n.k))

        k = np.arange(n.k)[None, :, None]
        waves = _of_sums(
            k * np.arange(n.p) / n.p, k * np.arange(n.q)[:, None, None] / self.n_fft, one
        )
        shape = windows.window(self.window, self.n_fft)
        shape = shape * 2 / (self.n_fft * _gain(self)) * np.ones(self.n_fft)
        shape = shape.reshape(n.p, n.q).T[:, None, :]
        x = tf.matmul(x, tf.concat(waves, axis=1) * _constant(shape))  # [q, lines, p]

        x = tf.reshape(x, (n.q, n.channels * sources, n.frames, n.p))
        signal = self._joined(x, n)
        signal = tf.reshape(signal, (n.q, n.channels, sources, n.samples // n.q))
        signal = tf.transpose(signal, (2, 3, 0, 1))
        return tf.reshape(signal, (1, sources, n.samples, n.channels))

    def _joined(self, x, n: _Sizes):
        """Frames `[q, lines, frames, p]` added up: `[q, lines, hops of the waveform, rows]`."""
        signal = 0
        for i in range(n.parts):  # the part i of each frame lies i hops behind its first
            part = x[:, :, :, i * n.rows : (i + 1) * n.rows]
            if n.before:  # all hops that are wanted have all their parts
                signal += part[:, :, n.parts - i : n.frames - i]
            else:
                signal += tf.pad(part, ((0, 0), (0, 0), (i, n.parts - 1 - i), (0, 0)))
        if n.before:
            return signal
        square = windows.window(self.window, self.n_fft) ** 2
        gain = floored_gain(windows.overlap_gain(square, self.hop_length, 2 * n.parts))
        first, last = (  # [q, 1, parts, rows]
            _constant((_gain(self) / ends).reshape(1, n.parts, n.rows, n.q).transpose(3, 0, 1, 2))
            for ends in (gain[: self.n_fft], gain[-self.n_fft :])
        )
        return tf.concat(
            [
                signal[:, :, : n.parts] * first,
                signal[:, :, n.parts : -n.parts],
                signal[:, :, -n.parts :] * last,
            ],
            axis=2,
        )

    def compute_output_shape(self, real_shape, imag_shape, waveform_shape):
        return (1, real_shape[1], *waveform_shape[1:])


def transform_forms(model: keras.Model) -> dict[int, tuple[type, dict]]:
    """{id of a layer: (its kind, what changes in its config)}; {} where one of them cannot be.

    All of a model's transforms change or none does, as their spectra are in an order of their own.
    """
    kinds = (STFT, BandMagnitude, ExtendMasks, MaskedSpectrum, InverseSTFT)
    found = [[layer for layer in model.layers if type(layer) is kind] for kind in kinds]
    if [len(each) for each in found] != [1] * len(kinds):
        return {}
    stft, band, extend, masked, inverse = (layer for (layer,) in found)
    if not _fit(stft, band, extend, inverse):
        return {}
    half = dft.factors(stft.n_fft)[0] // 2
    return {
        id(stft): (ProductsSTFT, {"bins": band.bins}),
        id(band): (ProductsMagnitude, {"half": half}),
        id(extend): (ExtendMasks, {"bins": band.bins}),
        id(masked): (ProductsMasked, {"half": half}),
        id(inverse): (ProductsInverseSTFT, {"bins": band.bins}),
    }


def _fit(stft: STFT, band: BandMagnitude, extend: ExtendMasks, inverse: InverseSTFT) -> bool:
    p, q = dft.factors(stft.n_fft)
    samples = stft.input.shape[1]
    alike = all(
        getattr(stft, name) == getattr(inverse, name)
        for name in ("n_fft", "hop_length", "window", "padding")
    )
    return (
        alike
        and stft.padding in ("full", "valid")
        and extend.mode == "zeros"
        and samples is not None
        and samples % stft.hop_length == 0
        and stft.n_fft % stft.hop_length == 0
        and (stft.padding == "full" or samples >= 3 * stft.n_fft)
        and stft.hop_length % q == 0
        and p % 2 == 0
        and band.bins % p == 0
        and band.bins <= stft.n_fft // 2
        and _gain(stft) is not None
    )


class _Sizes:
    """The numbers of the transform of `layer`, below `bins`, of a waveform `[1, samples, c]`."""

    def __init__(self, layer, waveform, bins: int):
        _, self.samples, self.channels = getattr(waveform, "shape", waveform)
        self.p, self.q = dft.factors(layer.n_fft)
        self.k, self.j = self.p // 2 + 1, bins // self.p
        self.rows, self.parts = layer.hop_length // self.q, layer.n_fft // layer.hop_length
        self.before = layer.n_fft if layer.padding == "full" else 0
        self.hops = self.samples // layer.hop_length
        if self.before:
            self.hops += 2 * self.parts - 1
        self.frames = self.hops - self.parts + 1
        self.after = self.hops * layer.hop_length - self.before - self.samples


def _unpacked(real, half: int) -> tuple[int, int, int]:
    """(channels, frames, j) of a spectrum of `ProductsSTFT`."""
    return real.shape[0] // (half + 1), real.shape[2], real.shape[3] // 2


def _gain(layer) -> float | None:
    """What the squared windows add up to at every sample; None where they differ."""
    square = windows.window(layer.window, layer.n_fft) ** 2
    gain = square.reshape(-1, layer.hop_length).sum(axis=0)
    return float(gain[0]) if np.ptp(gain) < 1e-9 * gain[0] else None


def _of_sums(a: np.ndarray, b: np.ndarray, one) -> tuple:
    """Cosine and sine of 2 pi (a + b), whose tables the graph multiplies."""
    cos_a, sin_a = _constant(_cos(a)) * one, _constant(_sin(a)) * one
    cos_b, sin_b = _constant(_cos(b)), _constant(_sin(b))
    return cos_a * cos_b - sin_a * sin_b, sin_a * cos_b + cos_a * sin_b


def _one(waveform):
    """1, whatever the waveform; the converter would fold a product of constants alone."""
    first = waveform[0, 0, 0] >= 0
    return tf.cast(first, tf.float32) + tf.cast(tf.logical_not(first), tf.float32)


def _constant(values: np.ndarray):
    return tf.constant(values, tf.float32)


def _cos(turns):
    return np.cos(2 * np.pi * turns)


def _sin(turns):
    return np.sin(2 * np.pi * turns)
