"""Deep recurrent network on magnitude frames, with the masks inside.

Huang, Kim, Hasegawa-Johnson and Smaragdis, 2014, Singing-voice separation from monaural recordings
using deep recurrent neural networks, ISMIR; 2015, Joint optimization of masks and deep recurrent
neural networks for monaural source separation, https://arxiv.org/abs/1502.04149. The authors' code
is https://github.com/posenhuang/deeplearningsourceseparation

A few frames go through dense layers, one of which remembers the frame before. What comes out are
not the sources' magnitudes but numbers whose ratio is the mask, so that the network is trained on
what the mask leaves of the mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import keras
from keras import layers, ops

from kzoo.layers.masks import Estimates
from kzoo.models.base import domains
from kzoo.models.base.frames import FrameSizes
from kzoo.models.base.sizes import check_padding, check_positive, check_sources
from kzoo.models.base.spectrogram import masked_model, shares_of

MASKS = ("softabs", "softlinear", "softquad")


@dataclass(frozen=True, kw_only=True)
class DeepRNN(FrameSizes):
    """The network for singing voices by default: 5,569,026 weights for two sources.

    context_frames: an odd number of frames that the network sees at a time, silence outside of the
        signal. hidden: units of the hidden layers.
    recurrent: the numbers of the hidden layers that recur, from 1; the paper's DRNN-k is (k,), its
        stacked network has all, and a network without any has a finite context.
    activation: of the hidden layers, and with nonlinear_output of the last one too.
    mask: from the last layer's a and mask_eps, a source has |a| / (sum of |a| + mask_eps) of the
        mixture with "softabs", a / (sum of a + mask_eps) with "softlinear" and
        a**2 / (sum of a**2 + mask_eps) with "softquad". The authors' network for their Kullback-
        Leibler loss is "softabs" with mask_eps=1e-8.
    log_input: the network sees log(1 + magnitude). The masks are for the magnitudes all the same.
    The fields that are not named here are those of `FrameSizes`.
    """

    sample_rate: int = 16000
    n_fft: int = 1024
    hop_length: int = 512
    window: Literal["hann", "sqrt_hann"] = "sqrt_hann"
    context_frames: int = 3
    hidden: tuple[int, ...] = (1000, 1000, 1000)
    recurrent: tuple[int, ...] = (2,)
    activation: Literal["relu", "tanh", "logistic"] = "relu"
    nonlinear_output: bool = False
    mask: Literal["softabs", "softlinear", "softquad"] = "softabs"
    mask_eps: float = 1e-10
    log_input: bool = False

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "context_frames")
        if self.context_frames % 2 == 0:
            raise ValueError(f"context_frames must be odd; got {self.context_frames}")
        if not self.hidden or min(self.hidden) < 1:
            raise ValueError(f"hidden must name the units of each layer; got {self.hidden}")
        if not set(self.recurrent) <= set(range(1, len(self.hidden) + 1)):
            raise ValueError(
                f"recurrent must hold numbers of the {len(self.hidden)} hidden layers, from 1; got "
                f"{self.recurrent}"
            )

    @property
    def reach_frames(self) -> int | None:
        return None if self.recurrent else self.context_frames // 2

    def training(self, system: keras.Model, *, inference_mode: bool = False) -> domains.Training:
        """Train on magnitudes."""
        return domains.magnitudes(system, core="deep_rnn_core", inference_mode=inference_mode)


VARIANTS = {
    "paper": DeepRNN(),
    "stacked": DeepRNN(recurrent=(1, 2, 3)),
    "feedforward": DeepRNN(recurrent=()),
    "small": DeepRNN(hidden=(384, 384, 384), log_input=True, block_seconds=8.0),
    "tiny": DeepRNN(hidden=(7, 6, 5), n_fft=64, hop_length=32, sample_rate=8000, block_seconds=0.5),
}
SOURCES = ("vocals", "accompaniment")


def core(sources: Sequence[str] = SOURCES, size: DeepRNN = VARIANTS["paper"]) -> keras.Model:
    """The network: magnitudes `[batch, frames, bins, channels]`, to those of the sources.

    `[batch, sources, frames, bins, channels]`. Raises ValueError for sources of one name.
    """
    check_sources(sources)
    mixture = keras.Input((None, size.bins, size.channels), name="magnitude")
    seen = ops.log1p(mixture) if size.log_input else mixture
    context = ContextFrames(size.context_frames, name="context")(seen)
    estimates = separate(context, mixture, sources, size)
    return keras.Model(mixture, estimates, name="deep_rnn_core")


def build(
    sources: Sequence[str] = SOURCES,
    size: DeepRNN = VARIANTS["paper"],
    *,
    samples: int | None = None,
    padding: Literal["full", "valid"] = "full",
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    samples: None for any length. padding: "full" reaches every sample with all its frames; "valid"
        is for segments that are trained on, with sound on both sides.
    """
    check_padding(padding)
    network = core(sources, size)
    return masked_model(
        lambda mixture: shares_of(mixture, network(mixture)), sources, size, name="deep_rnn",
        samples=samples, padding=padding, window=size.window,
    )  # fmt: skip


def separate(context, mixture, sources: Sequence[str], size: DeepRNN):
    """The layers of `core` behind its context, which are the authors' network.

    context: frames with their neighbours, `[batch, frames, context_frames * bins * channels]`.
    mixture: magnitudes `[batch, frames, bins, channels]`, which the masks are for.
    """
    activation = "sigmoid" if size.activation == "logistic" else size.activation
    x = context
    for number, units in enumerate(size.hidden, start=1):
        name = f"hidden{number}"
        if number in size.recurrent:
            x = layers.SimpleRNN(units, activation=activation, return_sequences=True, name=name)(x)
        else:
            x = layers.Dense(units, activation=activation, name=name)(x)
    bins, channels = mixture.shape[2:]
    last = activation if size.nonlinear_output else None
    x = layers.Dense(len(sources) * bins * channels, activation=last, name="output")(x)
    x = layers.Reshape((-1, len(sources), bins, channels), name="by_source")(x)
    x = ops.cast(ops.swapaxes(x, 1, 2), "float32")  # [batch, sources, frames, bins, channels]
    mask = SoftMasks(size.mask, size.mask_eps, dtype="float32", name="masks")(x)
    return Estimates(sources, dtype="float32", name="estimates")(mask * ops.expand_dims(mixture, 1))


@keras.saving.register_keras_serializable("kzoo")
class ContextFrames(layers.Layer):
    """Each frame between its neighbours, the earliest first, and zeros outside of the signal.

    `[batch, frames, bins, channels]` to `[batch, frames, count * bins * channels]`; count is odd.
    """

    def __init__(self, count: int, **kwargs):
        super().__init__(**kwargs)
        self.count = count

    def call(self, spectrum):
        frames, width = ops.shape(spectrum)[1], spectrum.shape[2] * spectrum.shape[3]
        around = self.count // 2
        x = ops.reshape(spectrum, (-1, frames, width))
        x = ops.pad(x, ((0, 0), (around, around), (0, 0)))
        return ops.concatenate([x[:, k : k + frames] for k in range(self.count)], axis=-1)

    def compute_output_shape(self, input_shape):
        batch, frames, bins, channels = input_shape
        return (batch, frames, self.count * bins * channels)

    def get_config(self):
        return {**super().get_config(), "count": self.count}


@keras.saving.register_keras_serializable("kzoo")
class SoftMasks(layers.Layer):
    """Each source's share of the sum over the sources, of the values that `kind` makes of them.

    kind: "softabs", "softlinear" or "softquad", see `DeepRNN`; with "softlinear" shares may be
    negative, and above 1. `[batch, sources, frames, bins, channels]` to the same shape.
    """

    def __init__(self, kind: str = "softabs", eps: float = 1e-10, **kwargs):
        super().__init__(**kwargs)
        if kind not in MASKS:
            raise ValueError(f"kind must be one of {', '.join(MASKS)}; got {kind!r}")
        self.kind, self.eps = kind, eps

    def call(self, values):
        if self.kind == "softabs":
            values = ops.abs(values)
        elif self.kind == "softquad":
            values = ops.square(values)
        return values / (ops.sum(values, axis=1, keepdims=True) + self.eps)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "kind": self.kind, "eps": self.eps}
