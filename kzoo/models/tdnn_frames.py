"""TDNN over recordings: which phone is spoken in each frame, by Waibel's network at every moment.

Waibel, Hanazawa, Hinton, Shikano and Lang, 1989, https://doi.org/10.1109/29.21701, as `tdnn`, whose
weights for windows are as many: an output sums a phone's unit over the last 9 moments. It hears the
past alone and streams; `lookahead_frames` says how long it waits. `kzoo.listening.phones` finds the
most likely phones.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
from keras import layers

from kzoo.dsp.phones import PHONES
from kzoo.layers.labels import Labels
from kzoo.layers.state_chain import StateChain
from kzoo.models.base.causal import Past, silent_state, step_model
from kzoo.models.base.listener import EMBEDDING
from kzoo.models.base.streamed_frames import StreamedFrameSizes, stream_levels, whole_levels
from kzoo.models.base.time_delay import TimeDelaySizes, delayed, mel_bands, summed


@dataclass(frozen=True, kw_only=True)
class TDNNFrames(TimeDelaySizes, StreamedFrameSizes):
    """The paper's sizes for b, d and g by default: 521 weights that learn.

    lookahead_frames: by default a frame is the middle one of the 15 that are seen, as a phone is in
        the paper's windows.
    Choices: as there are no windows, whose mean the paper takes, a band has mean 0 and deviation 1
    over the training; the chain of names is that of a hidden Markov model, as in `dnn_hmm`.
    """

    lookahead_frames: int = 7

    @property
    def longest_samples(self) -> int:
        return self.n_fft

    def adapt_to_labels(self, system: keras.Model, labels: Iterable[np.ndarray]) -> None:
        """Measure how often names come, and after which, in 256 examples."""
        system.get_layer("chain").adapt(labels)


VARIANTS = {
    "paper": TDNNFrames(),
    # As the variant of this name of `tdnn`: a choice.
    "phones": TDNNFrames(
        names=PHONES, exclusive=True, sample_rate=16000, n_fft=512, hop_length=160, bands=32,
        units=64,
    ),
    "tiny": TDNNFrames(
        names=("low", "high"), sample_rate=8000, n_fft=256, hop_length=128, integrated=4,
        lookahead_frames=4, block_seconds=0.5,
    ),
}  # fmt: skip


def core(size: TDNNFrames = VARIANTS["paper"]) -> keras.Model:
    """Standardised bands `[batch, n, bands]` to probabilities `[batch, n', names]`.

    n' = n - size.frames + 1: one for every size.frames in a row.
    """
    bands = keras.Input((None, size.bands), name="bands")
    return keras.Model(bands, _network(bands, size), name="tdnn_frames_core")


def build(
    size: TDNNFrames = VARIANTS["paper"],
    *,
    samples: int | None = None,
    padding: Literal["full", "valid"] = "full",
) -> keras.Model:
    """Waveform `[batch, samples, 1]` to probabilities `[batch, frames, names]`.

    samples: None for any length. padding: see `FrameListenerSizes`.
    """
    waveform = keras.Input((samples, 1), name="waveform")
    bands = whole_levels(waveform, lambda x: mel_bands(x, size), size, padding)
    return keras.Model(waveform, _network(bands, size), name="tdnn_frames")


def build_step(size: TDNNFrames = VARIANTS["paper"], *, frames: int = 1) -> keras.Model:
    """The same for `frames` hops of a stream, late by `size.delay_samples`.

    {"waveform" `[batch, frames * hop_length, 1]`, "state_<name>"} to {"probabilities"
    `[batch, frames, names]`, "state_<name>"}.
    """
    past = Past(stream=frames)
    waveform = keras.Input((frames * size.hop_length, 1), name="waveform")
    bands = stream_levels(waveform, lambda x: mel_bands(x, size), size, past)
    outputs = {"probabilities": _network(bands, size)}
    return step_model({"waveform": waveform}, outputs, past, name="tdnn_frames_step")


initial_state = silent_state  # of a step model: {name: array `[1, ...]`}


def _network(x, size: TDNNFrames):
    x = layers.AveragePooling1D(size.integrated, strides=1, name=EMBEDDING)(delayed(x, size))
    x = StateChain(name="chain")(summed(x, size))
    return Labels(size.names, size.exclusive, name="labels")(x)
