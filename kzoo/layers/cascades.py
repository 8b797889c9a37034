"""Features of signal processing as networks: affine maps, non-linearities and poolings in a chain.

Humphrey, Bello and LeCun, 2012, Moving beyond feature design: deep architectures and automatic
feature learning in music informatics, and 2013, https://doi.org/10.1007/s10844-013-0248-5: what is
computed by hand-made features is what deep networks compute, so it can be where their training
begins. `dft`, `mfcc`, `chroma`, `pca` and `nmf` give layers whose output is that of the feature,
and all of whose weights learn:

    waveform = keras.Input((None, 1))
    x = cascades.mfcc(sample_rate=16000, n_fft=512, hop_length=256, coefficients=20)(waveform)
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
from keras import layers, ops

from kzoo.dsp.chroma import chroma_filters
from kzoo.dsp.mel import mel_filters
from kzoo.dsp.units import power_to_db
from kzoo.dsp.windows import window
from kzoo.layers.whitening import mean_and_covariance, whitening_kernel

_NONLINEARITIES = {
    "none": lambda x: x,
    "square": ops.square,
    "abs": ops.abs,
    "relu": ops.relu,
    "db": lambda power: power_to_db(power, 100.0),
}
_POOLINGS = {
    "sum": lambda x: ops.sum(x, axis=-1),
    "l2": lambda x: ops.sqrt(ops.maximum(ops.sum(ops.square(x), axis=-1), 1e-20)),
    "max": lambda x: ops.max(x, axis=-1),
}


@keras.saving.register_keras_serializable("kzoo")
class Stage(layers.Layer):
    """One stage: an affine map, a non-linearity of each number, and a pooling of neighbours.

    `[batch, steps, channels]` to `[batch, frames, units / pool]`.

    units: of the affine map, which sees `width` steps every `stride` of them, without padding.
    nonlinearity: "none", "square", "abs", "relu", or "db", 10 log10 of a power, at least -100.
    pooling: of each `pool` units in a row, "sum", "max", or "l2", the root of their energy.
    Raises ValueError for others, and for units that are no multiple of pool.
    """

    def __init__(
        self, units: int, width: int = 1, stride: int = 1, *, nonlinearity: str = "none",
        pooling: str = "sum", pool: int = 1, dtype="float32", **kwargs,
    ):  # fmt: skip
        super().__init__(dtype=dtype, **kwargs)
        for name, value, known in (
            ("nonlinearity", nonlinearity, _NONLINEARITIES), ("pooling", pooling, _POOLINGS),
        ):  # fmt: skip
            if value not in known:
                raise ValueError(f"{name} must be one of {', '.join(known)}; got {value!r}")
        if units % pool:
            raise ValueError(f"units must be a multiple of pool; got {units} and {pool}")
        self.units, self.width, self.stride = units, width, stride
        self.nonlinearity, self.pooling, self.pool = nonlinearity, pooling, pool

    def build(self, input_shape):
        shape = (self.width, input_shape[-1], self.units)
        self.kernel = self.add_weight(shape, "glorot_uniform", name="kernel")
        self.bias = self.add_weight((self.units,), "zeros", name="bias")

    def call(self, x):
        x = ops.conv(x, self.kernel, strides=self.stride, padding="valid") + self.bias
        x = _NONLINEARITIES[self.nonlinearity](x)
        if self.pool == 1 and self.pooling != "l2":
            return x
        groups = ops.reshape(x, (-1, ops.shape(x)[1], self.units // self.pool, self.pool))
        return _POOLINGS[self.pooling](groups)

    def get_config(self):
        names = ("units", "width", "stride", "nonlinearity", "pooling", "pool")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


@keras.saving.register_keras_serializable("kzoo")
class NonNegativeCode(layers.Layer):
    """Spectra `[..., bands]` to how much of each template they hold, `[..., templates]`, 0 or more.

    The largest step that makes |spectrum - code * templates|^2 smaller everywhere is an affine map
    of spectrum and code, and a ReLU keeps the code in range; `iterations` such stages, of the same
    weights and with the momentum of Beck and Teboulle, 2009, come to the least squares. In training
    they learn what no templates stand for (Gregor and LeCun, 2010).
    """

    def __init__(self, units: int, iterations: int = 100, *, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.units, self.iterations = units, iterations

    def build(self, input_shape):
        shape = (input_shape[-1], self.units)
        self.kernel = self.add_weight(shape, "glorot_uniform", name="kernel")
        self.recurrent = self.add_weight((self.units, self.units), "identity", name="recurrent")

    def call(self, spectra):
        drive = ops.matmul(spectra, self.kernel)
        code = ahead = ops.zeros_like(drive)
        speed = 1.0
        for _ in range(self.iterations):
            before, code = code, ops.relu(drive + ops.matmul(ahead, self.recurrent))
            faster = (1 + np.sqrt(1 + 4 * speed**2)) / 2
            ahead = code + (speed - 1) / faster * (code - before)
            speed = faster
        return code

    def compute_output_shape(self, input_shape):
        return (*input_shape[:-1], self.units)

    def get_config(self):
        return {**super().get_config(), "units": self.units, "iterations": self.iterations}


def dft(*, n_fft: int, hop_length: int, power: int = 1) -> keras.Sequential:
    """Waveform `[batch, samples, 1]` to a spectrogram `[batch, frames, n_fft // 2 + 1]`.

    The magnitude, or with power=2 its square, under a Hann window: sines and cosines, and the
    energy of each pair. Frames are those of librosa.stft: m is centred on sample m * hop_length,
    and silence is around the waveform. Raises ValueError for another power.
    """
    return _chain("dft", _spectrum(n_fft, hop_length, power))


def mfcc(
    *, sample_rate: int, n_fft: int, hop_length: int, coefficients: int, bands: int = 128
) -> keras.Sequential:
    """Waveform `[batch, samples, 1]` to `[batch, frames, coefficients]`, librosa's MFCC.

    Three stages: the power of sines and cosines, levels of mel bands in dB, at least -100, and
    cosines of them. Raises ValueError for more coefficients than bands, and as `mel_filters`.
    """
    if not 0 < coefficients <= bands:
        raise ValueError(f"coefficients must be 1 to bands={bands}; got {coefficients}")
    mels = mel_filters(sample_rate, n_fft, bands, 0.0, sample_rate / 2)
    angles = np.pi / bands * np.outer(np.arange(bands) + 0.5, np.arange(coefficients))
    cosines = np.cos(angles) * np.sqrt(2 / bands)
    cosines[:, 0] /= np.sqrt(2)
    return _chain(
        "mfcc", [*_spectrum(n_fft, hop_length, 2), _stage(mels, nonlinearity="db", name="mels"),
                 _stage(cosines, name="cosines")]
    )  # fmt: skip


def chroma(*, sample_rate: int, n_fft: int, hop_length: int) -> keras.Sequential:
    """Waveform `[batch, samples, 1]` to pitch classes from C upwards, `[batch, frames, 12]`.

    librosa.feature.chroma_stft's, as they are before each frame is divided by its largest. The sum
    over octaves is a pooling without a rule of its own, so it is part of the second affine map.
    """
    classes = _stage(chroma_filters(sample_rate, n_fft), name="classes")
    return _chain("chroma", [*_spectrum(n_fft, hop_length, 2), classes])


def pca(spectra: np.ndarray, components: int, *, whiten: bool = False) -> keras.Sequential:
    """`[batch, frames, bands]` to principal components of `spectra`, `[..., bands]`.

    whiten: to a variance of 1 each. Each component's largest weight is above 0. Raises ValueError
    for more components than bands, and for spectra that never change.
    """
    spectra = np.reshape(spectra, (-1, np.shape(spectra)[-1]))
    mean, covariance = mean_and_covariance([spectra])
    if not 0 < components <= len(mean):
        raise ValueError(f"components must be 1 to {len(mean)}, the bands; got {components}")
    kernel = whitening_kernel(covariance, components)
    if not whiten:
        norms = np.linalg.norm(kernel, axis=0)
        kernel = kernel / np.where(norms > 0, norms, 1)
    return _chain("pca", [_stage(kernel, -mean @ kernel, name="components")], len(mean))


def nmf(templates: np.ndarray | Sequence, *, iterations: int = 100) -> keras.Sequential:
    """Spectra `[batch, frames, bands]` to the activations of `templates` `[templates, bands]`.

    Those of the least squared error, 0 or more; templates are what scikit-learn's NMF calls its
    components. Raises ValueError for templates that are negative, or all 0.
    """
    templates = np.asarray(templates, np.float64)
    if templates.ndim != 2 or not np.all(templates >= 0) or not templates.any():
        raise ValueError(
            f"templates must be [templates, bands] of 0 or more, not all 0; got {templates.shape} "
            f"with {np.sum(templates < 0)} below 0"
        )
    products = templates @ templates.T
    steepest = np.linalg.eigvalsh(products)[-1]
    layer = NonNegativeCode(len(templates), iterations, name="activations")
    layer.build((None, None, templates.shape[1]))
    layer.set_weights([templates.T / steepest, np.eye(len(templates)) - products / steepest])
    return _chain("nmf", [layer], templates.shape[1])


def _spectrum(n_fft: int, hop_length: int, power: int) -> list[layers.Layer]:
    if power not in (1, 2):
        raise ValueError(f"power must be 1 or 2; got {power!r}")
    bins = np.arange(n_fft // 2 + 1)
    # The product is reduced as an integer: no digits are lost in the angle of a late sample.
    angles = 2 * np.pi / n_fft * (np.outer(np.arange(n_fft), bins) % n_fft)
    pairs = np.stack([np.cos(angles), -np.sin(angles)], axis=-1).reshape(n_fft, -1)
    energy = (
        {"pooling": "l2"} if power == 1 else {"nonlinearity": "square", "pooling": "sum"}
    )  # fmt: skip
    waves = _stage(
        window("hann", n_fft)[:, None] * pairs, width=n_fft, stride=hop_length, pool=2,
        name="waves", **energy,
    )  # fmt: skip
    return [layers.ZeroPadding1D(n_fft // 2, dtype="float32", name="silence"), waves]


def _stage(kernel: np.ndarray, bias: np.ndarray | None = None, *, width: int = 1, **options):
    """A stage with this kernel, `[width * channels, units]`."""
    stage = Stage(kernel.shape[-1], width, **options)
    stage.build((None, None, len(kernel) // width))
    bias = np.zeros(kernel.shape[-1]) if bias is None else bias
    stage.set_weights([kernel.reshape(stage.kernel.shape), bias])
    return stage


def _chain(name: str, stages: list[layers.Layer], channels: int = 1) -> keras.Sequential:
    return keras.Sequential([keras.Input((None, channels)), *stages], name=name)
