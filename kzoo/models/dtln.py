"""DTLN: noise suppression by two pairs of LSTMs, on a spectrum and on a learned basis, in a stream.

Westhausen and Meyer, 2020, Dual-signal transformation LSTM network for real-time noise suppression,
https://arxiv.org/abs/2005.07551; the authors' code is https://github.com/breizhn/DTLN

Frames of 32 ms, without a window, one every 8 ms. The first half masks the magnitudes of a frame's
spectrum, the second masks what 256 learned filters say of the frame that results; its decoder's
frames are added up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers, ops

from kzoo.layers.norms import ChannelNorm
from kzoo.layers.recurrent import LSTM
from kzoo.layers.spectra import FrameSpectrum, SpectrumFrame
from kzoo.models.base.causal import CausalSizes, Past, silent_state, stream_model, whole_model
from kzoo.models.base.sizes import check_positive


@dataclass(frozen=True, kw_only=True)
class DTLN(CausalSizes):
    """units: of an LSTM. n_layers: of LSTMs in each half. features: filters of the learned basis.

    log_norm: the first half hears normalised logarithms of the magnitudes, as in the authors'
    "norm" models, and so depends less on the level. dropout: after every LSTM but the last.
    """

    sample_rate: int = 16000
    n_fft: int = 512
    hop_length: int = 128
    units: int = 128
    n_layers: int = 2
    features: int = 256
    log_norm: bool = False
    dropout: float = 0.25

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "units", "n_layers", "features")


VARIANTS = {
    "paper": DTLN(),
    "norm": DTLN(log_norm=True),
    "tiny": DTLN(
        n_fft=64, hop_length=16, units=6, features=10, sample_rate=8000, block_seconds=0.5
    ),
}
SOURCES = ("speech",)


def build(
    sources: Sequence[str] = SOURCES,
    size: DTLN = VARIANTS["paper"],
    *,
    samples: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, 1]` to `[batch, sources, samples, 1]`.

    samples: None for any length. Silence is before the signal and after it. The authors' model has
    one source, speech; others are further masks of the learned basis, with a decoder each.
    """
    return whole_model(_separate, sources, size, samples=samples, name="dtln")


def build_step(
    sources: Sequence[str] = SOURCES, size: DTLN = VARIANTS["paper"], *, frames: int = 1
) -> keras.Model:
    """The same for `frames` hops of a stream, see `models.base.causal.stream_model`."""
    return stream_model(_separate, sources, size, frames=frames, name="dtln")


initial_state = silent_state  # of a step model: {name: array `[1, ...]`}


def _separate(waveform, sources: Sequence[str], size: DTLN, past: Past) -> dict:
    """{source: waveform}, as long as `waveform`."""
    frames = past.frames(waveform, size.n_fft, size.hop_length, "frames")
    real, imag, level = FrameSpectrum(dtype="float32", name="spectrum")(frames)
    x = level
    if size.log_norm:
        x = LogMagnitude(dtype="float32", name="log_magnitude")(x)
        x = ChannelNorm(1e-7, dtype="float32", name="magnitude_norm")(x)
    x = _lstms(x, size, past, "spectral")
    mask = layers.Dense(size.n_fft // 2 + 1, activation="sigmoid", name="spectral_mask")(x)
    frame = SpectrumFrame(size.n_fft, dtype="float32", name="masked_frame")(
        mask * real, mask * imag
    )
    features = layers.Conv1D(size.features, 1, use_bias=False, name="encoder")(frame)
    x = ChannelNorm(1e-7, name="feature_norm")(features)
    x = _lstms(x, size, past, "learned")
    estimates = {}
    for source in sources:
        own = "" if len(sources) == 1 else f"{source}_"
        mask = layers.Dense(size.features, activation="sigmoid", name=f"{own}learned_mask")(x)
        decoder = layers.Conv1D(size.n_fft, 1, use_bias=False, name=f"{own}decoder")
        estimates[source] = past.overlap_add(
            decoder(mask * features), waveform, size.hop_length, f"{own}overlap_add"
        )
    return estimates


def _lstms(x, size: DTLN, past: Past, name: str):
    for number in range(1, size.n_layers + 1):
        lstm = LSTM(size.units, name=f"{name}_lstm{number}", **past.recurrence)
        x = past.recurrent(lstm, x, f"{name}{number}")
        if number < size.n_layers:
            x = layers.Dropout(size.dropout, name=f"{name}_dropout{number}")(x)
    return x


@keras.saving.register_keras_serializable("kzoo")
class LogMagnitude(layers.Layer):
    """ln(magnitude + 1e-7)."""

    def call(self, magnitudes):
        return ops.log(magnitudes + 1e-7)
