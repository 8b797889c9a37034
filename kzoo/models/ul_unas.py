"""UL-UNAS: speech enhancement in real time by a searched U of convolutions, 147 k parameters.

Rong et al., 2025, UL-UNAS: Ultra-Lightweight U-Nets for Real-Time Speech Enhancement via Network
Architecture Search, https://arxiv.org/abs/2503.00340; the authors' code is
https://github.com/Xiaobin-Rong/ul-unas

The logarithms of a spectrum's magnitudes on ERB bands go through a U of blocks that differ in kind,
each with an attention to frames so far and one to the bands of a frame; in its middle are the
grouped GRUs over bands and over frames of GTCRN. The mask that results is spread over the bins
again. Nothing looks ahead of a frame of 32 ms: a stream is late by 16 ms, and 32 ms pass from a
sound to its estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
import numpy as np
from keras import layers, ops

from kzoo.layers.subbands import AffinePReLU, BandAttention, ChannelShuffle
from kzoo.models.base.causal import Past, silent_state, stream_model, whole_model
from kzoo.models.base.erb_enhancer import (
    ErbEnhancerSizes,
    convolution,
    depthwise,
    dual_path,
    frame_attention,
    from_bands,
    resynthesis,
    spectrum,
    to_bands,
)

KINDS = ("convolution", "separable", "bottleneck")
LOWEST_FLOOR_DB = -370.0  # squared, less is nothing in float32, and has no logarithm


@dataclass(frozen=True, kw_only=True)
class ULUNAS(ErbEnhancerSizes):
    """The blocks of the encoder, a value for each; those of the decoder mirror them.

    kinds: "convolution", the paper's XConv; "separable", its XDWS, 1 x 1 and depthwise; or
    "bottleneck", its XMB, 1 x 1, depthwise and 1 x 1 with a residual. filters: of each block.
    frame_kernels, band_kernels: over frames so far and bands around. strides: in bands, 1 or 2.
    All convolutions of 1 x 1 are in `groups`. floor_db: the network hears fainter bins as of this
    magnitude, by default the authors' 1e-12. Their weights do not know bands without any sound, as
    of a telephone, and take such speech away; a floor of n + 23 dB is as white noise of n dBFS.
    """

    kinds: tuple[str, ...] = ("convolution", "bottleneck", "separable", "bottleneck", "separable")
    filters: tuple[int, ...] = (12, 24, 24, 32, 16)
    frame_kernels: tuple[int, ...] = (3, 2, 2, 1, 1)
    band_kernels: tuple[int, ...] = (3, 3, 3, 5, 5)
    strides: tuple[int, ...] = (2, 2, 1, 1, 1)
    floor_db: float = -240.0

    def __post_init__(self):
        super().__post_init__()
        lists = ("kinds", "filters", "frame_kernels", "band_kernels", "strides")
        lengths = {name: len(getattr(self, name)) for name in lists}
        if len(set(lengths.values())) > 1 or not self.kinds:
            told = ", ".join(f"{count} {name}" for name, count in lengths.items())
            raise ValueError(f"blocks need a value each of all their sizes; got {told}")
        if unknown := [kind for kind in self.kinds if kind not in KINDS]:
            raise ValueError(f"kinds must be of {', '.join(KINDS)}; got {unknown[0]!r}")
        self.check_widths(self.strides)
        if min(self.frame_kernels) < 1 or any(n < 1 or n % 2 == 0 for n in self.band_kernels):
            raise ValueError(
                "frame_kernels must be above 0 and band_kernels odd; got "
                f"{self.frame_kernels} and {self.band_kernels}"
            )
        if any(n < 1 or n % self.groups for n in self.filters):
            raise ValueError(
                f"filters must be multiples of groups={self.groups}; got {self.filters}"
            )
        if self.filters[-1] % (2 * self.groups):
            raise ValueError(
                f"the last of filters must be a multiple of 2 * groups={2 * self.groups}, as both "
                f"ways of GRUs share them; got {self.filters[-1]}"
            )
        if not self.floor_db >= LOWEST_FLOOR_DB:
            raise ValueError(
                f"floor_db must be at least {LOWEST_FLOOR_DB:g}, as the square of less is 0 in "
                f"float32; got {self.floor_db}"
            )
        if self.kinds[0] != "convolution":
            raise ValueError(
                "the first of kinds must be convolution: it hears one channel, and its mirror "
                f"image says one mask for each source; got {self.kinds[0]!r}"
            )


VARIANTS = {
    "paper": ULUNAS(),
    "tiny": ULUNAS(
        kinds=("convolution", "bottleneck"), filters=(4, 4), frame_kernels=(2, 2),
        band_kernels=(3, 3), strides=(2, 1), n_fft=128, hop_length=64, low_bins=5, erb_bands=4,
        dual_paths=1, sample_rate=8000, block_seconds=0.5,
    ),
}  # fmt: skip
SOURCES = ("speech",)


def build(
    sources: Sequence[str] = SOURCES,
    size: ULUNAS = VARIANTS["paper"],
    *,
    samples: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, 1]` to `[batch, sources, samples, 1]`.

    samples: None for any length. The authors' model has one source, speech; others are further
    masks from the last block.
    """
    return whole_model(_separate, sources, size, samples=samples, name="ul_unas")


def build_step(
    sources: Sequence[str] = SOURCES, size: ULUNAS = VARIANTS["paper"], *, frames: int = 1
) -> keras.Model:
    """The same for `frames` hops of a stream, see `models.base.causal.stream_model`.

    Only at its end is a whole signal followed by its mirror image, of which a stream has none.
    """
    return stream_model(_separate, sources, size, frames=frames, name="ul_unas")


initial_state = silent_state  # of a step model: {name: array `[1, ...]`}


def _separate(waveform, sources: Sequence[str], size: ULUNAS, past: Past) -> dict:
    """{source: waveform}, as long as `waveform`."""
    real, imag = spectrum(waveform, size, past, "hann", exact=True)
    x = to_bands(
        LogSpectrum(size.floor_db, dtype="float32", name="log_magnitude")(real, imag), size
    )
    blocks = len(size.kinds)
    skips = []
    for index in range(blocks):
        x = _block(x, index, size.filters[index], size, past, f"encoder{index + 1}")
        skips.append(x)
    for number in range(1, size.dual_paths + 1):
        x = dual_path(x, size, past, f"dual_path{number}")
    for index in reversed(range(blocks)):
        filters = size.filters[index - 1] if index else len(sources)
        number = blocks - index
        x = layers.Add(name=f"skip{number}")([x, skips.pop()])
        x = _block(x, index, filters, size, past, f"decoder{number}", transposed=True)
    masks = from_bands(layers.Activation("sigmoid", name="band_masks")(x), size)
    estimates = {}
    for index, source in enumerate(sources):
        prefix = "" if len(sources) == 1 else f"{source}_"
        masked = RealMask(index, dtype="float32", name=f"{prefix}masked")(masks, real, imag)
        estimates[source] = resynthesis(masked, waveform, size, past, "hann", prefix)
    return estimates


def _block(
    x, index: int, filters: int, size: ULUNAS, past: Past, name: str, *, transposed: bool = False
):
    """Return `x` after the block `index` of the encoder, or its mirror image in the decoder."""
    kernel = (size.frame_kernels[index], size.band_kernels[index])
    options = {"stride": size.strides[index], "transposed": transposed}
    if size.kinds[index] == "convolution":
        # The first hears one channel, and its mirror image gives the masks: they have no groups.
        first, groups = index == 0, size.groups if index else 1
        x = convolution(x, past, filters, kernel, name, groups=groups, **options)
        x = x if first and transposed else AffinePReLU(name=f"{name}_activation")(x)
        x = _attention(x, past, name)
        return x if first else _shuffle(x, size, name)
    before = x
    x = convolution(x, past, filters, (1, 1), f"{name}_expand", groups=size.groups)
    x = AffinePReLU(name=f"{name}_expand_activation")(x)
    x = _shuffle(x, size, f"{name}_expand")
    x = depthwise(x, past, kernel, f"{name}_depthwise", **options)
    x = AffinePReLU(name=f"{name}_depthwise_activation")(x)
    if size.kinds[index] == "separable":
        return _attention(x, past, name)
    x = convolution(x, past, filters, (1, 1), f"{name}_project", groups=size.groups)
    x = _attention(x, past, name)
    if x.shape[2:] == before.shape[2:]:
        x = layers.Add(name=f"{name}_residual")([x, before])
    return _shuffle(x, size, name)


def _attention(x, past: Past, name: str):
    """Return `x`, weighted by the past for each channel, and by its frame for each band."""
    y = frame_attention(x, past, f"{name}_attention")
    return BandAttention(unroll=bool(past.stream), name=f"{name}_bands")(x, y)


def _shuffle(x, size: ULUNAS, name: str):
    return ChannelShuffle(size.groups, name=f"{name}_shuffle")(x) if size.groups > 1 else x


@keras.saving.register_keras_serializable("kzoo")
class LogSpectrum(layers.Layer):
    """(real, imag) `[batch, frames, bins]` to log10 of the magnitude, `[..., bins, 1]`.

    floor_db: of magnitudes, as of `ULUNAS`.
    """

    def __init__(self, floor_db: float = -240.0, **kwargs):
        super().__init__(**kwargs)
        self.floor_db = floor_db

    def call(self, real, imag):
        power = ops.maximum(ops.square(real) + ops.square(imag), 10 ** (self.floor_db / 10))
        return (0.5 / np.log(10)) * ops.log(power)[..., None]

    def get_config(self):
        return {**super().get_config(), "floor_db": self.floor_db}


@keras.saving.register_keras_serializable("kzoo")
class RealMask(layers.Layer):
    """(masks `[batch, frames, bins, sources]`, real, imag) to the masked (real, imag) of one."""

    def __init__(self, index: int, **kwargs):
        super().__init__(**kwargs)
        self.index = index

    def call(self, masks, real, imag):
        mask = ops.squeeze(masks[..., self.index : self.index + 1], -1)
        return real * mask, imag * mask

    def get_config(self):
        return {**super().get_config(), "index": self.index}
