"""CGCNN: what is heard in 200 ms, through complex Gabor filters and complex convolutions.

Noé, Parcollet and Morchid, CGCNN: complex Gabor convolutional neural network on raw speech, 2020,
https://arxiv.org/abs/2002.04569: the band-passes of SincNet become complex exponentials under
Gaussians, local in time and frequency, whose phase the convolutions behind them keep. Of TIMIT's
phones they have 17.1 % wrong in the mean and 16.7 % at best, real filters 17.2 % and 16.9 %.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers, ops

from kzoo.dsp.phones import PHONES
from kzoo.layers.band_passes import GaborBandPasses
from kzoo.layers.complex import (
    ComplexBatchNormalization,
    ComplexConv1D,
    ComplexMaxPooling,
    squared_magnitude,
)
from kzoo.layers.labels import Labels
from kzoo.models.base.listener import EMBEDDING, BandPassSizes


@dataclass(frozen=True, kw_only=True)
class GaborCNN(BandPassSizes):
    """GaborComplex, of TIMIT's phones, by default.

    Kinds, numbers and order of the layers behind the filters are our choice: those of SincNet, with
    half as many complex filters as it has real ones.
    numbers: "complex" keeps real and imaginary parts up to the dense layers, which take magnitudes;
        "real" is GaborReal: the filters' real parts, their magnitudes, and real layers.
    """

    names: tuple[str, ...] = PHONES
    numbers: Literal["complex", "real"] = "complex"
    filters: tuple[int, ...] = (40, 30, 30)
    kernels: tuple[int, ...] = (401, 5, 5)
    hidden: tuple[int, ...] = (1024, 1024)


VARIANTS = {
    "complex": GaborCNN(),
    "real": GaborCNN(numbers="real", filters=(80, 60, 60)),
    "tiny": GaborCNN(
        names=("low", "high"), exclusive=False, sample_rate=8000, block_seconds=0.05,
        filters=(4, 3), kernels=(65, 5), hidden=(8,),
    ),
}  # fmt: skip


def build(size: GaborCNN = VARIANTS["complex"], *, samples: int | None = None) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, names]`.

    samples: of a window, as by default; ValueError for another number.
    """
    if samples not in (None, window := size.whole(None)):
        raise ValueError(f"samples must be {window}, a window; got {samples}")
    waveform = keras.Input((window, 1), name="waveform")
    with_phase = size.numbers == "complex"
    x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name="input_norm")(waveform)
    for level, (filters, kernel) in enumerate(zip(size.filters, size.kernels, strict=True)):
        if level == 0:
            x = GaborBandPasses(filters, kernel, size.sample_rate, name="band_passes")(x)
            x = x if with_phase else ops.abs(x[..., 0::2])
        else:
            convolution = ComplexConv1D if with_phase else layers.Conv1D
            x = convolution(filters, kernel, name=f"conv{level}")(x)
        if with_phase:
            x = ComplexMaxPooling((size.pool,), name=f"pool{level}")(x)
            x = ComplexBatchNormalization(name=f"norm{level}")(x)
        else:
            x = layers.MaxPooling1D(size.pool, name=f"pool{level}")(x)
            x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"norm{level}")(x)
        x = layers.LeakyReLU(0.2, name=f"activation{level}")(x)
    if with_phase:
        # Where a number is 0 the root would have no finite slope.
        x = ops.sqrt(ops.maximum(squared_magnitude(x), 1e-12))
    x = layers.Flatten(name="flat")(x)
    for level, units in enumerate(size.hidden, start=1):
        x = layers.Dense(units, name=f"dense{level}")(x)
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"dense_norm{level}")(x)
        last = level == len(size.hidden)
        x = layers.LeakyReLU(0.2, name=EMBEDDING if last else f"dense_activation{level}")(x)
    x = layers.Dense(len(size.names), name="logits")(x)
    labels = Labels(size.names, size.exclusive, name="labels")
    return keras.Model(waveform, labels(x), name="gabor_cnn")
