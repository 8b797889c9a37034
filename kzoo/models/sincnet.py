"""SincNet: who speaks, from the samples, through band-passes whose edges are learned.

Ravanelli and Bengio, Speaker recognition from raw waveform with SincNet, 2018,
https://arxiv.org/abs/1808.00158: the first of three convolutions over 200 ms learns two edges a
filter instead of its taps; dense layers follow. A recording belongs to the speaker of the highest
mean over windows that begin every 10 ms.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers, ops

from kzoo.layers.band_passes import SincBandPasses
from kzoo.layers.labels import Labels
from kzoo.layers.norms import StepNorm
from kzoo.layers.waveform import RandomGain
from kzoo.models.base.listener import EMBEDDING, BandPassSizes

# By number, as the authors' files count them: which speaker has which is a matter of the corpus.
TIMIT_SPEAKERS = tuple(f"speaker{number:03}" for number in range(462))


@dataclass(frozen=True, kw_only=True)
class SincNet(BandPassSizes):
    """The authors' network for TIMIT by default: 22,772,598 weights, 160 of them of the filters.

    Their 22,787,134 count 14,536 more of norms that their code makes and does not use.

    norm: behind each pooling. "layer" has a mean, a deviation and a gain for each step, and takes
        the magnitude of what the band-passes give; "batch" is batch norm without the magnitude;
        "batch_slip" is that as the authors' code has it, where the number of steps (1,056, 350 and
        115 in its smallest example) is given in the place of epsilon.
    gain: in training each window is multiplied by a number between 1 - gain and 1 + gain. As the
        window has a norm of its own before the filters, it changes windows near silence alone.
    """

    names: tuple[str, ...] = TIMIT_SPEAKERS
    hop_seconds: float | None = 0.01
    norm: Literal["layer", "batch", "batch_slip"] = "layer"
    gain: float = 0.2

    def __post_init__(self):
        super().__post_init__()
        if not 0 <= self.gain < 1:
            raise ValueError(f"gain must be at least 0 and below 1; got {self.gain}")


VARIANTS = {
    "timit": SincNet(),
    "tiny": SincNet(
        names=("low", "high"), exclusive=False, sample_rate=8000, block_seconds=0.05,
        filters=(6, 5), kernels=(65, 5), hidden=(8,), hop_seconds=None,
    ),
}  # fmt: skip


def build(size: SincNet = VARIANTS["timit"], *, samples: int | None = None) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, names]`.

    samples: of a window, as by default; ValueError for another number.
    """
    if samples not in (None, window := size.whole(None)):
        raise ValueError(f"samples must be {window}, a window; got {samples}")
    waveform = keras.Input((window, 1), name="waveform")
    x = RandomGain(size.gain, name="gain")(waveform)
    x = StepNorm(name="input_norm")(x)
    for level, (filters, kernel) in enumerate(zip(size.filters, size.kernels, strict=True)):
        if level == 0:
            x = SincBandPasses(filters, kernel, size.sample_rate, name="band_passes")(x)
            if size.norm == "layer":
                x = ops.abs(x)
        else:
            uniform = keras.initializers.VarianceScaling(1 / 3, "fan_in", "uniform")
            x = layers.Conv1D(
                filters, kernel, kernel_initializer=uniform, bias_initializer="zeros",
                name=f"conv{level}",
            )(x)  # fmt: skip
        x = layers.MaxPooling1D(size.pool, name=f"pool{level}")(x)
        x = _norm(size, steps=x.shape[1], name=f"norm{level}")(x)
        x = layers.LeakyReLU(0.2, name=f"activation{level}")(x)
    x = layers.Flatten(name="flat")(x)
    x = StepNorm(name="flat_norm")(x)
    for level, units in enumerate(size.hidden, start=1):
        x = _dense(units, f"dense{level}")(x)
        x = layers.BatchNormalization(momentum=0.95, epsilon=1e-5, name=f"dense_norm{level}")(x)
        last = level == len(size.hidden)
        x = layers.LeakyReLU(0.2, name=EMBEDDING if last else f"dense_activation{level}")(x)
    x = _dense(len(size.names), "logits")(x)
    return keras.Model(
        waveform, Labels(size.names, size.exclusive, name="labels")(x), name="sincnet"
    )


def _norm(size: SincNet, *, steps: int, name: str) -> layers.Layer:
    if size.norm == "layer":
        return StepNorm(name=name)
    epsilon = steps if size.norm == "batch_slip" else 1e-5
    return layers.BatchNormalization(momentum=0.9, epsilon=epsilon, name=name)


def _dense(units: int, name: str) -> layers.Layer:
    # The authors': uniform up to the root of 0.01 / (inputs + units).
    uniform = keras.initializers.VarianceScaling(0.01 / 6, "fan_avg", "uniform")
    return layers.Dense(units, kernel_initializer=uniform, name=name)
