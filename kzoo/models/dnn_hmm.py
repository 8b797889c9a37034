"""DNN-HMM: which state of which phone each frame of speech is in, and the phones that follow.

Hinton, Deng, Yu, Dahl, Mohamed et al., 2012, Deep neural networks for acoustic modeling in speech
recognition, https://doi.org/10.1109/MSP.2012.2205597; Mohamed, Dahl and Hinton, 2012,
https://doi.org/10.1109/TASL.2011.2109382. A window of frames goes through layers of sigmoids, each
begun as a Boltzmann machine that has learned, without labels, what the one below it shows
(`pretraining` in a configuration); then all learn the states of phones. `kzoo.listening.phones`
finds the most likely phones: a probability, divided by how often the state comes, is the likelihood
of a hidden Markov model.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
from keras import layers

from kzoo.dsp.mel import LogMel
from kzoo.dsp.phones import PHONES, state_names
from kzoo.layers.boltzmann import Stage
from kzoo.layers.labels import Labels
from kzoo.layers.standardised import Standardised
from kzoo.layers.state_chain import StateChain
from kzoo.models.base.listener import EMBEDDING, FrameListenerSizes
from kzoo.models.base.sizes import check_padding, check_positive

_RANGE_DB = 100.0  # below a power of 1, where `log_mel` ends


@dataclass(frozen=True, kw_only=True)
class DNNHMM(FrameListenerSizes):
    """Five layers of 2,048 units, the papers' least, that see 11 frames, by default.

    names: states of phones, "aa.1" to "z.3"; the papers have TIMIT's 61 phones of three states,
        183, or states that contexts share. Here they are the 39 phones, as phones are counted: a
        choice. Phones of one state may be named as they are.
    n_fft, win_length: a Hamming window of 25 ms in the papers, a Hann window here.
    bands: mel bands in dB, each of mean 0 and deviation 1 over the training; the papers have 40
        too, with an energy and two derivatives.
    context: frames that the network sees, an odd number: the middle one is the one it tells of.
    units: of the layers.
    """

    names: tuple[str, ...] = state_names(PHONES, 3)
    exclusive: bool = True
    sample_rate: int = 16000
    hop_length: int = 160
    n_fft: int = 512
    win_length: int = 400
    bands: int = 40
    context: int = 11
    units: tuple[int, ...] = (2048, 2048, 2048, 2048, 2048)

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "n_fft", "win_length", "bands")
        if self.context < 1 or self.context % 2 == 0:
            raise ValueError(f"context must be an odd number of frames; got {self.context}")
        if not self.units or min(self.units) < 1:
            raise ValueError(f"units must be one number a layer, at least 1; got {self.units}")

    @property
    def before_samples(self) -> int:
        return self.n_fft // 2 + self.context // 2 * self.hop_length

    @property
    def after_samples(self) -> int:
        return self.before_samples

    def adapt(self, system: keras.Model, mixtures: Iterable[np.ndarray]) -> None:
        """Give each band a mean of 0 and a deviation of 1, 1 dB at least, over 64 mixtures."""
        system.get_layer("standardised").adapt_in(
            system, mixtures, silence=-_RANGE_DB, least_deviation=1.0
        )

    def adapt_to_labels(self, system: keras.Model, labels: Iterable[np.ndarray]) -> None:
        """Measure how often states come, and after which, in 256 examples."""
        system.get_layer("chain").adapt(labels)

    def stages(self, system: keras.Model) -> list[Stage]:
        """A machine a layer; what the first one sees is Gaussian, and a window of all bands."""
        return [
            Stage(system.get_layer(f"hidden{level}"), "gaussian" if level == 1 else "binary",
                  dense=True)
            for level in range(1, len(self.units) + 1)
        ]  # fmt: skip


VARIANTS = {
    "paper": DNNHMM(),
    "deep": DNNHMM(units=(2048,) * 8),
    "small": DNNHMM(units=(512,) * 3),
    "tiny": DNNHMM(
        names=("low", "high"), exclusive=False, sample_rate=8000, hop_length=128, n_fft=256,
        win_length=200, bands=16, context=5, units=(32,), block_seconds=0.5,
    ),
}  # fmt: skip


def build(
    size: DNNHMM = VARIANTS["paper"],
    *,
    samples: int | None = None,
    padding: Literal["full", "valid"] = "full",
) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, frames, names]`.

    samples: None for any length. padding: see `FrameListenerSizes`.
    """
    check_padding(padding)
    waveform = keras.Input((samples, 1), name="waveform")
    x = waveform
    if padding == "full":
        x = layers.ZeroPadding1D((size.before_samples, size.after_samples), name="silence")(x)
    x = LogMel(
        size.sample_rate, size.n_fft, size.hop_length, size.bands, win_length=size.win_length,
        padding="valid", name="mel",
    )(x)  # fmt: skip
    x = layers.Reshape((-1, size.bands), name="bands")(x)
    x = Standardised(name="standardised")(x)
    for level, units in enumerate(size.units, start=1):
        # The papers' dense layer over a window of frames, for every frame.
        taps = size.context if level == 1 else 1
        x = layers.Conv1D(units, taps, activation="sigmoid", name=f"hidden{level}")(x)
    x = layers.Activation("linear", name=EMBEDDING)(x)
    x = layers.Dense(len(size.names), name="logits")(x)
    x = StateChain(name="chain")(x)
    return keras.Model(
        waveform, Labels(size.names, size.exclusive, name="labels")(x), name="dnn_hmm"
    )
