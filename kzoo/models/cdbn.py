"""CDBN: a convolutional deep belief network on whitened spectra, and a linear classifier on it.

Lee, Largman, Pham and Ng, 2009, Unsupervised feature learning for audio classification using
convolutional deep belief networks: spectra of 20 ms, of which 80 principal components are whitened,
two layers of 300 bases that are 6 frames long, each of which pools 3 moments to the chance that one
of them is on. The layers learn without labels (`pretraining` in a configuration), as Boltzmann
machines; with `start: {freeze: ["conv*"]}` they then stay, and the classifier alone learns.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
from keras import layers, ops

from kzoo.dsp.phones import PHONES
from kzoo.dsp.stft import stft
from kzoo.dsp.units import power_to_db
from kzoo.layers.boltzmann import PooledProbabilities, Stage
from kzoo.layers.labels import Labels
from kzoo.layers.whitening import PCAWhitening
from kzoo.models.base.listener import EMBEDDING, ListenerSizes
from kzoo.models.base.sizes import check_positive

_RANGE_DB = 100.0


@dataclass(frozen=True, kw_only=True)
class CDBN(ListenerSizes):
    """The paper's two layers by default, with a classifier of the 39 phones.

    n_fft, hop_length: 20 and 10 ms, whose lowest 160 bins are heard; that their levels are in dB
        is a choice.
    components: of the whitened spectra. bases: of each layer. taps: frames that a base is long.
    pool: moments that become one.
    features: of which layers the classifier takes what they say; in the paper's experiments each
        by itself, or both.
    summary: what it takes of them over time: "mean", of recordings, or "all" moments in their
        order, of phones. Both are choices: the paper has several.
    """

    names: tuple[str, ...] = PHONES
    exclusive: bool = True
    sample_rate: int = 16000
    block_seconds: float = 0.3
    n_fft: int = 320
    hop_length: int = 160
    components: int = 80
    bases: tuple[int, int] = (300, 300)
    taps: int = 6
    pool: int = 3
    features: Literal["first", "second", "both"] = "both"
    summary: Literal["mean", "all"] = "all"

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "n_fft", "hop_length", "components", "taps", "pool")
        if min(self.bases) < 1:
            raise ValueError(f"bases must be at least 1 a layer; got {self.bases}")
        if self.components > self.n_fft // 2:
            raise ValueError(
                f"components must be at most the {self.n_fft // 2} bins; got {self.components}"
            )

    def whole(self, samples: int | None) -> int:
        """`samples`, or a window; no fewer than leave a moment of the second layer."""
        frames = self.pool * (self.pool + self.taps - 1) + self.taps - 1
        least = self.n_fft + (frames - 1) * self.hop_length
        return max(super().whole(samples), least)

    def adapt(self, system: keras.Model, mixtures: Iterable[np.ndarray]) -> None:
        """Measure the principal components of 256 mixtures."""
        system.get_layer("whitened").adapt_in(system, mixtures)

    def stages(self, system: keras.Model) -> list[Stage]:
        """The first layer sees what is whitened, the second the chances of the first's bases."""
        return [
            Stage(system.get_layer("conv1"), "gaussian", pool=self.pool),
            Stage(system.get_layer("conv2"), "binary", pool=self.pool),
        ]


VARIANTS = {
    "paper": CDBN(),
    "tiny": CDBN(
        names=("low", "high"), exclusive=False, sample_rate=8000, block_seconds=0.5, n_fft=128,
        hop_length=64, components=16, bases=(8, 8), taps=4, pool=2, summary="mean",
    ),
}  # fmt: skip


def build(size: CDBN = VARIANTS["paper"], *, samples: int | None = None) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, names]`.

    samples: None for a window. Raises ValueError for fewer than leave a moment of each layer.
    """
    samples = size.whole(None) if samples is None else samples
    if samples < size.whole(1):
        raise ValueError(f"samples must be at least {size.whole(1)}; got {samples}")
    waveform = keras.Input((samples, 1), name="waveform")
    x = SpectrumLevels(size.n_fft, size.hop_length, name="spectrum")(waveform)
    x = PCAWhitening(size.components, name="whitened")(x)
    features = []
    for level, (bases, kept) in enumerate(
        zip(size.bases, ("first", "second"), strict=True), start=1
    ):
        x = layers.Conv1D(bases, size.taps, name=f"conv{level}")(x)
        x = PooledProbabilities(size.pool, name=f"pool{level}")(x)
        if size.features in (kept, "both"):
            summary = layers.GlobalAveragePooling1D if size.summary == "mean" else layers.Flatten
            features.append(summary(name=f"features{level}")(x))
    x = layers.Concatenate(name="features")(features) if len(features) > 1 else features[0]
    x = layers.Activation("linear", name=EMBEDDING)(x)
    x = layers.Dense(len(size.names), name="logits")(x)
    return keras.Model(waveform, Labels(size.names, size.exclusive, name="labels")(x), name="cdbn")


@keras.saving.register_keras_serializable("kzoo")
class SpectrumLevels(layers.Layer):
    """Waveform `[batch, samples, 1]` to levels in dB `[batch, frames, n_fft // 2]`, whole frames.

    The bin of Nyquist's frequency is left out. float32 whatever the policy, as powers overflow.
    """

    def __init__(self, n_fft: int, hop_length: int, dtype="float32", **kwargs):
        super().__init__(dtype=dtype, **kwargs)
        self.n_fft, self.hop_length = n_fft, hop_length

    def call(self, waveform):
        real, imag = stft(ops.squeeze(waveform, -1), self.n_fft, self.hop_length, padding="valid")
        power = ops.square(real) + ops.square(imag)
        return power_to_db(power[..., : self.n_fft // 2], _RANGE_DB)

    def get_config(self):
        return {**super().get_config(), "n_fft": self.n_fft, "hop_length": self.hop_length}
