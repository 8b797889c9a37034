"""DCUNet: a U-Net of complex convolutions on the complex spectrum, whose mask turns phases too.

Choi, Kim, Huh, Kim, Ha and Lee, 2019, Phase-aware speech enhancement with deep complex U-Net,
https://arxiv.org/abs/1903.03107; sizes, window and scale are those of asteroid's DCUNet,
https://github.com/asteroid-team/asteroid

The spectrum goes down through strided complex convolutions and up again through transposed ones,
each level handing its detail across; what comes out is a complex ratio mask of bounded magnitude.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import keras
import numpy as np
from keras import layers, ops

from kzoo.dsp.blocks import BlockGrid
from kzoo.dsp.framing import pad_last
from kzoo.dsp.stft import STFT, InverseSTFT
from kzoo.layers.complex import (
    ComplexBatchNormalization,
    ComplexBound,
    ComplexConv2D,
    ComplexConv2DTranspose,
    join,
    split,
    times,
)
from kzoo.layers.masks import Estimates
from kzoo.models.base.sizes import Sizes, check_positive, check_sources

WINDOW = "sqrt_hann"


@dataclass(frozen=True, kw_only=True)
class DCUNet(Sizes):
    """The paper's DCUnet-10 by default.

    n_fft, hop_length: window and hop of the STFT, in samples.
    encoders: of each level on the way down its complex filters, the bins and the frames of its
        kernel, both odd, and its stride in bins and in frames. Strides divide n_fft // 2.
    decoder_filters: complex filters of the levels on the way up but the last, the deepest first;
        None for as many as the levels on the way down take in.
    norm: "naive" for real and imaginary parts each by itself (asteroid), or "whitening" for both
        together (the paper).
    mask: bound of the masks, see `layers.complex.bounded`: "polar" is asteroid's BDT, "sigmoid"
        its BDSS, "unbounded" its UBD.
    """

    sample_rate: int = 16000
    channels: int = 1
    n_fft: int = 1024
    hop_length: int = 256
    encoders: tuple[tuple[int, int, int, int, int], ...] = (
        (32, 7, 5, 2, 2),
        (64, 7, 5, 2, 2),
        (64, 5, 3, 2, 2),
        (64, 5, 3, 2, 2),
        (64, 5, 3, 2, 1),
    )
    decoder_filters: tuple[int, ...] | None = None
    norm: Literal["naive", "whitening"] = "naive"
    mask: Literal["polar", "tanh", "sigmoid", "unbounded"] = "polar"

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "n_fft", "hop_length")
        levels = len(self.encoders)
        if not levels or any(len(level) != 5 or min(level) < 1 for level in self.encoders):
            raise ValueError(
                "encoders must be levels of five numbers above 0: filters, bins and frames of a "
                f"kernel, strides in bins and frames; got {self.encoders}"
            )
        if any(bins % 2 == 0 or frames % 2 == 0 for _, bins, frames, *_ in self.encoders):
            raise ValueError(f"kernels must have odd bins and frames; got {self.encoders}")
        strides = math.prod(level[3] for level in self.encoders)
        if self.n_fft % (2 * strides) or 2 * self.hop_length > self.n_fft:
            raise ValueError(
                "half of n_fft must be a multiple of the product of all strides in bins, "
                f"{strides}, and no less than hop_length; got n_fft={self.n_fft}, "
                f"hop_length={self.hop_length}"
            )
        filters = self.decoder_filters
        if filters is not None and (len(filters) != levels - 1 or min(filters, default=1) < 1):
            raise ValueError(
                f"decoder_filters must be {levels - 1} numbers above 0, one less than encoders; "
                f"got {filters}"
            )

    @property
    def frame_step(self) -> int:
        """The product of all strides in frames: one more than its multiples goes up and down."""
        return math.prod(level[4] for level in self.encoders)

    def grid(self) -> BlockGrid:
        """Blocks that fade, and begin where the strides of the whole file have a frame."""
        samples, step = self.whole(None), self.frame_step * self.hop_length
        return BlockGrid(samples, hop=-(-3 * samples // (4 * step)) * step, step=step)

    def whole(self, samples: int | None) -> int:
        step = self.frame_step * self.hop_length
        return max(1, round(super().whole(samples) / step)) * step


_16 = ((7, 5, 2, 2), (7, 5, 2, 1), (7, 5, 2, 2), *((5, 3, 2, 1), (5, 3, 2, 2)) * 2, (5, 3, 2, 1))
_20 = ((7, 1, 1, 1), (1, 7, 1, 1), (7, 5, 2, 2), (7, 5, 2, 1), *((5, 3, 2, 2), (5, 3, 2, 1)) * 3)
_SMALL = ((7, 5, 2, 2), (5, 3, 2, 2), (5, 3, 2, 2), (5, 3, 2, 1), (5, 3, 2, 1))


def _levels(filters: Sequence[int], kernels: Sequence) -> tuple:
    return tuple((n, *kernel) for n, kernel in zip(filters, kernels, strict=True))


VARIANTS = {
    "dcunet10": DCUNet(),
    "dcunet16": DCUNet(encoders=_levels((32, 32, *(64,) * 6), _16)),
    "dcunet20": DCUNet(encoders=_levels((32, 32, *(64,) * 7, 90), _20)),
    "large": DCUNet(encoders=_levels((45, 45, *(90,) * 7, 128), _20), decoder_filters=(90,) * 9),
    "small": DCUNet(n_fft=512, encoders=_levels((8, 16, 24, 32, 32), _SMALL)),
    "tiny": DCUNet(
        n_fft=64, hop_length=16, sample_rate=8000, block_seconds=0.25,
        encoders=((3, 5, 3, 2, 2), (4, 3, 3, 2, 1), (5, 3, 3, 2, 2)),
    ),
}  # fmt: skip
SOURCES = ("speech",)


def core(sources: Sequence[str] = SOURCES, size: DCUNet = VARIANTS["dcunet10"]) -> keras.Model:
    """The network: a spectrum `[batch, frames, bins, 2 * channels]` to complex ratio masks.

    `[batch, frames, bins, 2 * channels * sources]`, in the pairs of `layers.complex`. Frames of
    silence are added behind until the strides fit, and taken away again.
    Raises ValueError for sources of one name.
    """
    check_sources(sources)
    bins = size.n_fft // 2 + 1
    spectrum = keras.Input((None, bins, 2 * size.channels), name="spectrum")
    x = PadFrames(size.frame_step, dtype="float32", name="whole_steps")(spectrum)
    skips, inputs = [], []
    for number, (filters, bins, frames, *strides) in enumerate(size.encoders, 1):
        inputs.append(x.shape[-1] // 2)
        conv = ComplexConv2D(
            filters, (frames, bins), strides=strides[::-1], padding="same", use_bias=False,
            name=f"down{number}_conv",
        )  # fmt: skip
        skips.append(x := _normalised(conv(x), size, f"down{number}"))
    skips.pop()
    ups = size.decoder_filters or tuple(reversed(inputs[1:]))
    levels = zip((*ups, size.channels * len(sources)), reversed(size.encoders), strict=True)
    for number, (filters, (_, bins, frames, *strides)) in enumerate(levels, 1):
        last = number == len(size.encoders)
        # One sample for each stride but the first, as PyTorch pads: the inverse of "same".
        conv = ComplexConv2DTranspose(
            filters, (frames, bins), strides=strides[::-1], padding="same", output_padding=0,
            use_bias=last, name=f"up{number}_conv",
        )  # fmt: skip
        x = conv(x)
        if not last:
            x = _normalised(x, size, f"up{number}")
            x = layers.Concatenate(name=f"up{number}_concat")([x, skips.pop()])
    x = FirstFrames(dtype="float32", name="first_frames")(x, spectrum)
    return keras.Model(
        spectrum, ComplexBound(size.mask, dtype="float32", name="masks")(x), name="dcunet_core"
    )


def build(
    sources: Sequence[str] = SOURCES,
    size: DCUNet = VARIANTS["dcunet10"],
    *,
    samples: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    samples: None for any length. Frames are centred on the first sample and on every hop, and
    overlaps are divided by their windows, so that the edges are restored, which asteroid's fade.
    """
    # float32 whatever the policy: spectra in half precision have 60 dB of range.
    transform = {"n_fft": size.n_fft, "hop_length": size.hop_length, "window": WINDOW,
                 "padding": "center", "dtype": "float32"}  # fmt: skip
    waveform = keras.Input((samples, size.channels), name="waveform")
    real, imag = STFT(**transform, name="stft")(waveform)  # [batch, frames, bins, channels] twice
    spectrum = UnitarySpectrum(size.hop_length, dtype="float32", name="spectrum")(real, imag)
    masks = core(sources, size)(spectrum)
    masked = ComplexMasked(dtype="float32", name="masked")(masks, real, imag)
    stems = InverseSTFT(**transform, name="inverse_stft")(*masked, waveform)
    return keras.Model(waveform, Estimates(sources, dtype="float32", name="stems")(stems),
                       name="dcunet")  # fmt: skip


def _normalised(x, size: DCUNet, name: str):
    if size.norm == "whitening":
        x = ComplexBatchNormalization(name=f"{name}_norm")(x)
    else:
        x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
    return layers.LeakyReLU(negative_slope=0.01, name=f"{name}_leaky_relu")(x)


@keras.saving.register_keras_serializable("kzoo")
class UnitarySpectrum(layers.Layer):
    """(real, imag) `[batch, frames, bins, channels]` to `[batch, frames, bins, 2 * channels]`.

    Scaled as in asteroid: with windows whose squares sum to n_fft / (2 * hop_length) the transform
    keeps energies. Bins that stand for one frequency, the first and the last, are less by sqrt(2).
    """

    def __init__(self, hop_length: int, **kwargs):
        super().__init__(**kwargs)
        self.hop_length = hop_length

    def call(self, real, imag):
        return join(real, imag) * ops.convert_to_tensor(self.factors(real.shape[2]), real.dtype)

    def factors(self, bins: int) -> np.ndarray:
        """`[bins, 1]`."""
        factors = np.full((bins, 1), np.sqrt(self.hop_length) / (bins - 1))
        factors[[0, -1]] /= np.sqrt(2)
        return factors

    def compute_output_shape(self, real_shape, imag_shape):
        return (*real_shape[:-1], 2 * real_shape[-1])

    def get_config(self):
        return {**super().get_config(), "hop_length": self.hop_length}


@keras.saving.register_keras_serializable("kzoo")
class ComplexMasked(layers.Layer):
    """(masks `[batch, frames, bins, 2 * channels * sources]`, real, imag) to (real, imag) of each.

    real, imag: `[batch, frames, bins, channels]` each; `[batch, sources, frames, bins, channels]`
    of the sources.
    """

    def call(self, masks, real, imag):
        channels = real.shape[-1]
        sources = masks.shape[-1] // (2 * channels)
        masks = ops.split(masks, sources, axis=-1) if sources > 1 else [masks]
        masked = [times(split(mask), (real, imag)) for mask in masks]
        return tuple(ops.stack(part, axis=1) for part in zip(*masked, strict=True))

    def compute_output_shape(self, masks_shape, real_shape, imag_shape):
        batch, *inner, channels = real_shape
        shape = (batch, masks_shape[-1] // (2 * channels), *inner, channels)
        return shape, shape


@keras.saving.register_keras_serializable("kzoo")
class PadFrames(layers.Layer):
    """`[batch, frames, ...]` with zeros behind, so that frames are 1 more than whole steps."""

    def __init__(self, step: int, **kwargs):
        super().__init__(**kwargs)
        self.step = step

    def call(self, spectrum):
        missing = (1 - ops.shape(spectrum)[1]) % self.step
        if isinstance(missing, int) and missing == 0:
            return spectrum
        return ops.moveaxis(pad_last(ops.moveaxis(spectrum, 1, -1), 0, missing), -1, 1)

    def compute_output_shape(self, spectrum_shape):
        batch, frames, *inner = spectrum_shape
        return (batch, frames and frames + (1 - frames) % self.step, *inner)

    def get_config(self):
        return {**super().get_config(), "step": self.step}


@keras.saving.register_keras_serializable("kzoo")
class FirstFrames(layers.Layer):
    """`[batch, frames, ...]`, cut to as many frames as the second input has."""

    def call(self, x, reference):
        return x[:, : ops.shape(reference)[1]]

    def compute_output_shape(self, x_shape, reference_shape):
        return (x_shape[0], reference_shape[1], *x_shape[2:])
