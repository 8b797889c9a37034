"""Hybrid Demucs: one U-Net on the spectrogram, one on the waveform, and a transformer between them.

Rouard, Massa and Defossez, 2023, Hybrid transformers for music source separation,
https://arxiv.org/abs/2211.08553, and before it, without the transformer, Defossez, 2021, Hybrid
spectrogram and waveform source separation, https://arxiv.org/abs/2111.03600; the code of both is
https://github.com/adefossez/demucs

Strided convolutions narrow the bins of the spectrogram as they do the samples of the waveform. At
the bottom the transformer's tokens, frames times bins and frames of the waveform, hear their own
kind and each other in turn. Both estimates, spectra and waveforms, are added up.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import ClassVar, Literal

import keras
from keras import layers, ops

from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.attention import (
    SignalTokens,
    SpectrumTokens,
    TokensOfBins,
    TransformerLayer,
)
from kzoo.layers.dconv import EPSILON, gated
from kzoo.layers.folded_conv import FoldedConv1D, FoldedConv1DTranspose
from kzoo.layers.hybrid import (
    BinEmbedding,
    FramesAsIn,
    FromSpectrum,
    JoinedBands,
    Magnitudes,
    PadToStride,
    PerFrame,
    ToSpectrum,
    WithPhases,
)
from kzoo.layers.masks import Estimates
from kzoo.layers.rescaled import RescaledUniform, dense, rescaled_bias
from kzoo.layers.waveform import WholeStatistics
from kzoo.models.base.demucs_levels import branched, check_branches, level_widths, normed
from kzoo.models.base.sizes import Sizes, check_positive, check_sources


@dataclass(frozen=True, kw_only=True)
class HTDemucs(Sizes):
    """The sizes of the published `htdemucs` by default; the authors' names stand behind the fields.

    n_fft: window of the STFT, four times its hop. filters: channels of the first level; each
        further level has `growth` times as many, on a `stride`th of the bins and samples.
    time_stride: of levels where one bin is left, which the waveform's branch has joined.
    context, encoder_context: frames and bins that a level sees to each side on the way up, down.
    norm_starts: the first level with norms, of `norm_groups` groups of channels.
    spectrum: what the network of the spectrogram takes and gives: its real and imaginary parts, or
        magnitudes, which get the mixture's phases. late: see `layers.hybrid.FromSpectrum`.
    bands: shares of the bins where the `banded_levels` outermost levels change their weights.
    bin_embedding: how loud the embedding of bins is; 0 for none. embedding_scale: of its weights.
    residual: the ways on which levels have `layers.dconv.DConv`, of `residual_depth` branches with
        `residual_compress` times fewer channels, and `residual_scale` at first.
    recurrent_starts: the first level whose branches have LSTMs and attention; None for none.
    bottom: channels of the transformer; 0 for those of the last level.
    transformer_layers: 0 for none, as in Hybrid Demucs, where only the skips go up. heads,
        hidden_scale, dropout, cross_first: of the transformer, whose layers hear their own kind
        first unless `cross_first`.
    rescale: scale of the first weights of convolutions; 0 keeps PyTorch's own.
    """

    sample_rate: int = 44100
    channels: int = 2  # audio_channels
    n_fft: int = 4096  # nfft
    filters: int = 48  # channels
    growth: float = 2.0
    depth: int = 4
    stride: int = 4  # and kernels of twice as much
    time_stride: int = 2
    context: int = 1
    encoder_context: int = 0  # context_enc
    norm_starts: int = 4
    norm_groups: int = 4
    spectrum: Literal["complex", "magnitude"] = "complex"  # cac
    late: bool = False  # hybrid_old
    bands: tuple[float, ...] = ()  # multi_freqs
    banded_levels: int = 2  # multi_freqs_depth
    bin_embedding: float = 0.2  # freq_emb
    embedding_scale: float = 10.0  # emb_scale
    residual: Literal["none", "encoder", "decoder", "both"] = "both"  # dconv_mode, 0 to 3
    residual_depth: int = 2  # dconv_depth
    residual_compress: float = 8.0  # dconv_comp
    residual_scale: float = 1e-3  # dconv_init
    recurrent_starts: int | None = None  # dconv_lstm, dconv_attn
    bottom: int = 512  # bottom_channels
    transformer_layers: int = 5  # t_layers
    heads: int = 8  # t_heads
    hidden_scale: float = 4.0  # t_hidden_scale
    dropout: float = 0.02  # t_dropout
    cross_first: bool = False  # t_cross_first
    rescale: float = 0.1
    block_seconds: float = 7.8  # segment

    standardised: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "filters", "growth", "depth", "residual_compress", "norm_groups")
        if self.n_fft % 8 or self.n_fft < 8:
            raise ValueError(f"n_fft must be a multiple of 8; got {self.n_fft}")
        for name in ("stride", "time_stride"):
            if getattr(self, name) < 2 or getattr(self, name) % 2:
                raise ValueError(f"{name} must be even, 2 or more; got {getattr(self, name)}")
        check_branches(self)
        self._check_bands()
        bins = self.bins
        for level, (before, after) in enumerate(pairwise(bins)):
            if after > 1 and before % self.stride:
                raise ValueError(
                    f"stride must divide the bins of every level; got stride={self.stride} and "
                    f"{before} bins in level {level + 1}, of n_fft={self.n_fft}"
                )
        if not self.transformer_layers:
            if bins[-1] > 1:
                raise ValueError(
                    "without a transformer the branches must join, where one bin is left; got "
                    f"{bins[-1]}, of n_fft={self.n_fft}, stride={self.stride}, depth={self.depth}"
                )
            if self.stride ** bins.index(1) != self.hop_length:
                raise ValueError(
                    "frames of the spectrogram and of the waveform must be as many where the "
                    f"branches join: n_fft must be {4 * self.stride ** bins.index(1)} with "
                    f"stride={self.stride}; got {self.n_fft}"
                )
            return
        if bins[-1] == 1:
            raise ValueError(
                "the transformer needs several bins at the bottom; got one, of "
                f"n_fft={self.n_fft}, stride={self.stride}, depth={self.depth}: make depth less"
            )
        width = self.transformer_width
        if width % self.heads or width % 4:
            raise ValueError(
                f"heads={self.heads} and 4 must divide the transformer's channels; got {width}"
            )

    def _check_bands(self) -> None:
        edges = [0.0, *self.bands, 1.0]
        if any(high <= low for low, high in pairwise(edges)):
            raise ValueError(f"bands must rise between 0 and 1; got {list(self.bands)}")
        levels = self.banded_levels
        if self.bands and (levels > min(self.norm_starts, self.depth) or self.encoder_context):
            raise ValueError(
                "bands are of levels without norms and encoder_context, of which there must be "
                f"banded_levels={levels}; got norm_starts={self.norm_starts}, depth={self.depth}, "
                f"encoder_context={self.encoder_context}"
            )
        for level in range(levels if self.bands else 0):
            if self.bins[level + 1] == 1:
                raise ValueError(
                    f"bands need several bins in each of banded_levels={levels} levels and after "
                    f"it; got {self.bins[level]} and 1"
                )
            self.band_edges(level)

    @property
    def hop_length(self) -> int:
        """Samples from a frame of the STFT to the next."""
        return self.n_fft // 4

    @property
    def widths(self) -> list[int]:
        """Channels of each level, the first one first."""
        return level_widths(self)

    @property
    def bins(self) -> list[int]:
        """Bins before each level, and after the last."""
        bins = [self.n_fft // 2]
        while len(bins) <= self.depth:
            bins.append(1 if bins[-1] <= 2 * self.stride else bins[-1] // self.stride)
        return bins

    @property
    def transformer_width(self) -> int:
        """Channels of the transformer."""
        return self.bottom or self.widths[-1]

    def over_bins(self, level: int) -> tuple[int, int]:
        """(kernel, zeros on both sides) of the convolution over the bins of a level."""
        kernel_size = 2 * self.stride
        bins = self.bins[level]
        return (bins, 0) if bins <= kernel_size else (kernel_size, self.stride // 2)

    def banded(self, level: int) -> bool:
        """Whether a level has weights of its own for each of the bands."""
        return bool(self.bands) and level < self.banded_levels

    def band_edges(self, level: int) -> list[int]:
        """The bins after a level where its bands begin, and how many bins there are.

        As the reference cuts what lies before the level. Raises ValueError for an empty band.
        """
        before, after = self.bins[level : level + 2]
        edges, kernel_size = [0], 2 * self.stride
        for share in self.bands:
            # The first band begins half a stride before the first bin.
            taken = round(before * share) + self.stride // 2 - edges[-1] * self.stride
            edges.append(edges[-1] + round((taken - kernel_size) / self.stride + 1))
        edges.append(after)
        if any(high <= low for low, high in pairwise(edges)):
            raise ValueError(
                f"bands must each have bins of the {before} in level {level + 1}; got "
                f"{list(self.bands)}"
            )
        return edges

    def grid(self) -> BlockGrid:
        """Blocks that share a quarter with the next, as the authors' program cuts them."""
        samples = self.whole(None)
        return BlockGrid(samples, samples - samples // 4, linear=True, centred=True)


_V3 = HTDemucs(
    depth=6,
    residual="encoder",
    residual_compress=4.0,
    residual_scale=1e-4,
    recurrent_starts=4,
    bottom=0,
    transformer_layers=0,
    block_seconds=44.0,
)
VARIANTS = {
    "htdemucs": HTDemucs(),
    "htdemucs_6s": HTDemucs(bottom=0),  # for six sources
    "hdemucs": _V3,  # of 2021, without the transformer
    "tiny": HTDemucs(
        sample_rate=8000, n_fft=256, filters=4, depth=2, norm_starts=1, norm_groups=2, bottom=8,
        transformer_layers=2, heads=2, hidden_scale=2.0, residual_compress=2.0, block_seconds=0.25,
    ),
}  # fmt: skip
SOURCES = ("drums", "bass", "other", "vocals")
SIX_SOURCES = (*SOURCES, "guitar", "piano")


def build(
    sources: Sequence[str] = SOURCES,
    size: HTDemucs = VARIANTS["htdemucs"],
    *,
    samples: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    The reference's network on what it is given. The authors' hears no other length than it was
    trained on: its `forward` fills a shorter one up with silence at the end, its `apply_model` with
    the sound around it. Raises ValueError for sources of one name.

    PyTorch's LSTMs, of Hybrid Demucs, have two biases, of which only the sum counts and which
    Keras's have one of: 83,637,832 parameters there are 83,619,400 here.
    """
    check_sources(sources)
    waveform = keras.Input((samples, size.channels), name="waveform")
    # float32 whatever the policy: spectra in half precision have 60 dB of range.
    spectrum = mixture = ToSpectrum(size.n_fft, late=size.late, dtype="float32", name="spectrum")(
        waveform
    )
    if size.spectrum == "magnitude":
        spectrum = Magnitudes(dtype="float32", name="magnitudes")(spectrum)
    statistics = [
        WholeStatistics(dtype="float32", name=f"{name}_statistics")(x)
        for name, x in (("spectrum", spectrum), ("waveform", waveform))
    ]
    x, y = (
        (x - mean) / (1e-5 + std)
        for x, (mean, std) in zip((spectrum, waveform), statistics, strict=True)
    )
    x, y = _network(x, y, len(sources) * size.channels, size)
    # Not 1e-5 + std: so was the reference trained.
    x, y = (
        ops.cast(x, "float32") * std + mean
        for x, (mean, std) in zip((x, y), statistics, strict=True)
    )
    if size.spectrum == "magnitude":
        x = WithPhases(dtype="float32", name="phases")(x, mixture)
    stems = FromSpectrum(
        len(sources), size.n_fft, late=size.late, dtype="float32", name="from_spectrum"
    )(x, waveform)
    y = ops.stack(ops.split(y, len(sources), axis=-1), axis=1)
    stems = Estimates(sources, dtype="float32", name="stems")(stems + y)
    return keras.Model(waveform, stems, name="htdemucs")


def _network(x, y, outputs: int, size: HTDemucs):
    """The branches, each normalised, to estimates of each.

    x: `[batch, frames, bins, 2 * channels]`; y: `[batch, samples, channels]`.
    """
    skips, wave_skips, lengths, wave_lengths = [], [], [], []
    for level, width in enumerate(size.widths):
        name, (bins, left) = f"encoder{level + 1}", size.bins[level : level + 2]
        inject = None
        lengths.append(x)
        if bins > 1:
            wave_lengths.append(y)
            y = _strided(y, width, size.stride, size, f"wave_{name}_conv")
            if left > 1:
                y = _encoded(y, level, size, f"wave_{name}")
                wave_skips.append(y)
            else:
                inject = ops.expand_dims(y, 2)
            if not size.banded(level):
                x = _strided_bins(x, width, level, size, f"{name}_conv")
        else:
            if len(x.shape) == 4:
                x = ops.squeeze(x, 2)
            x = _strided(x, width, size.time_stride, size, f"{name}_conv")
        x = x if inject is None else x + inject
        x = (_encoded_bands if size.banded(level) else _encoded)(x, level, size, name)
        if not level and size.bin_embedding:
            x = BinEmbedding(
                size.bin_embedding * size.embedding_scale, size.embedding_scale, name="embedding"
            )(x)
        skips.append(x)
    if size.transformer_layers:
        x, y = _transformer(x, y, size)
    for level in reversed(range(size.depth)):
        name, (bins, left) = f"decoder{level + 1}", size.bins[level : level + 2]
        first = level == size.depth - 1 and not size.transformer_layers
        skip = skips.pop()
        x = skip if first else x + skip  # without a transformer only the skips go up
        width = size.widths[level - 1] if level else None
        spectra = outputs * (2 if size.spectrum == "complex" else 1)
        length = lengths.pop()
        if size.banded(level):
            x = _decoded_bands(x, width or spectra, level, size, name)
        else:
            x = before = _decoded(x, level, size, name)
        if bins > 1:
            if not size.banded(level):
                x = _stretched_bins(x, width or spectra, level, size, name)
            wave_length, wave_name = wave_lengths.pop(), f"wave_{name}"
            if left > 1:
                y = _decoded(y + wave_skips.pop(), level, size, wave_name)
            else:
                y = ops.squeeze(before, 2)
            y = _stretched(y, wave_length, width or outputs, size.stride, level, size, wave_name)
            y = ops.gelu(y, approximate=False) if level else y
        else:
            x = _stretched(x, length, width, size.time_stride, level, size, name)
        x = ops.gelu(x, approximate=False) if level else x
        if level and bins == 1 and size.bins[level - 1] > 1:
            x = ops.expand_dims(x, 2)
    return x, y


def _transformer(x, y, size: HTDemucs):
    """`[batch, frames, bins, channels]` and `[batch, frames of the waveform, channels]`."""
    width, bins = x.shape[-1], x.shape[2]
    if size.bottom:
        x = _projected(x, size.bottom, "bottom_in")
        y = _projected(y, size.bottom, "wave_bottom_in")
    x = layers.LayerNormalization(epsilon=EPSILON, name="norm_in")(x)
    y = layers.LayerNormalization(epsilon=EPSILON, name="wave_norm_in")(y)
    x = SpectrumTokens(name="tokens")(x)
    y = SignalTokens(name="wave_tokens")(y)
    for number in range(size.transformer_layers):
        options = (size.heads, int(size.hidden_scale * size.transformer_width), size.dropout)
        one, other = (
            TransformerLayer(*options, name=f"{name}transformer{number + 1}")
            for name in ("", "wave_")
        )
        crosses = number % 2 != size.cross_first
        x, y = (one(x, y), other(y, x)) if crosses else (one(x), other(y))
    x = TokensOfBins(bins, name="bins")(x)
    if size.bottom:
        x = _projected(x, width, "bottom_out")
        y = _projected(y, width, "wave_bottom_out")
    return x, y


def _projected(x, width, name):
    return dense(width, x.shape[-1], rescale=0.0, name=name)(x)


def _encoded(x, level, size: HTDemucs, name):
    x = ops.gelu(normed(x, level, size, f"{name}_norm"), approximate=False)
    x = branched(x, level, size, f"{name}_dconv") if size.residual in ("encoder", "both") else x
    return _rewritten(x, size.encoder_context, level, size, name)


def _decoded(x, level, size: HTDemucs, name):
    x = _rewritten(x, size.context, level, size, name)
    return branched(x, level, size, f"{name}_dconv") if size.residual in ("decoder", "both") else x


def _encoded_bands(x, level, size: HTDemucs, name):
    """A level from its convolution on, each band of bins by weights of its own."""
    kernel_size, around = size.over_bins(level)
    x = layers.ZeroPadding2D((0, around), name=f"{name}_pad")(x)
    bands = []
    for number, (start, end) in enumerate(pairwise(size.band_edges(level))):
        at = f"{name}_band{number + 1}"
        heard = x[:, :, size.stride * start : size.stride * (end - 1) + kernel_size]
        conv = FoldedConv1D(
            size.widths[level], kernel_size, strides=size.stride,
            **_rescaled(kernel_size * x.shape[-1], size, "conv"),
        )  # fmt: skip
        bands.append(_encoded(PerFrame(conv, name=f"{at}_conv")(heard), level, size, at))
    return ops.concatenate(bands, axis=2)


def _decoded_bands(x, width, level, size: HTDemucs, name):
    """A level to the convolution at its end; no band sees the bins of the next."""
    bins = x.shape[2]
    edges = [round(bins * share) for share in (0, *size.bands, 1)]
    bands = []
    for number, (start, end) in enumerate(pairwise(edges)):
        at, y = f"{name}_band{number + 1}", x[:, :, start:end]
        y = _rewritten(y, (size.context, 0), level, size, at)
        if size.residual in ("decoder", "both"):
            y = branched(y, level, size, f"{at}_dconv")
        bands.append(y)
    return JoinedBands(width, size.stride, rescale=size.rescale, name=f"{name}_conv")(bands)


def _rewritten(x, context, level, size: HTDemucs, name):
    """Twice the channels, of which one half gates the other.

    context: frames to each side, and bins, or both apart.
    """
    width, name, axes = 2 * x.shape[-1], f"{name}_rewrite", len(x.shape) - 2
    around = context if isinstance(context, tuple) else (context,) * axes
    kernel_size = tuple(1 + 2 * places for places in around)
    if not any(around):
        x = dense(width, x.shape[-1], size.rescale, name)(x)
    else:
        conv = layers.Conv2D if axes == 2 else layers.Conv1D
        fan_in = x.shape[-1] * math.prod(kernel_size)
        x = conv(width, kernel_size, padding="same", **_rescaled(fan_in, size, name))(x)
    return gated(normed(x, level, size, f"{name}_norm"))


def _strided(x, width, stride, size: HTDemucs, name):
    x = PadToStride(stride, stride // 2, name=f"{name}_pad")(x)
    options = _rescaled(2 * stride * x.shape[-1], size, name)
    return FoldedConv1D(width, 2 * stride, strides=stride, **options)(x)


def _stretched(x, like, width, stride, level, size: HTDemucs, name):
    """To as many frames as `like` has; what is cut off counts in the norm."""
    fan_in = 2 * stride * width  # PyTorch counts a transposed kernel's outputs
    options = _rescaled(fan_in, size, f"{name}_conv")
    x = FoldedConv1DTranspose(width, 2 * stride, strides=stride, **options)(x)
    x = normed(x, level, size, f"{name}_norm")
    return FramesAsIn(stride // 2, name=f"{name}_cut")(x, like)


def _strided_bins(x, width, level, size: HTDemucs, name):
    kernel_size, around = size.over_bins(level)
    if around:
        x = layers.ZeroPadding2D((0, around), name=f"{name}_pad")(x)
    options = _rescaled(kernel_size * x.shape[-1], size, "conv")
    conv = FoldedConv1D(width, kernel_size, strides=size.stride, **options)
    return PerFrame(conv, name=name)(x)


def _stretched_bins(x, width, level, size: HTDemucs, name):
    kernel_size, around = size.over_bins(level)
    options = _rescaled(kernel_size * width, size, "conv")
    conv = FoldedConv1DTranspose(width, kernel_size, strides=size.stride, **options)
    x = normed(PerFrame(conv, name=f"{name}_conv")(x), level, size, f"{name}_norm")
    return x[:, :, around : x.shape[2] - around] if around else x


def _rescaled(fan_in, size: HTDemucs, name):
    return {
        "kernel_initializer": RescaledUniform(fan_in, size.rescale),
        "bias_initializer": rescaled_bias(fan_in, size.rescale),
        "name": name,
    }
