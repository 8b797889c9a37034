"""SCNet: a spectrum compressed most where it holds least, and LSTMs over its bins and its frames.

Tong, Zhu, Chen, Kang, Jiang, Li, Wu and Meng, 2024, SCNet: Sparse Compression Network for Music
Source Separation, https://arxiv.org/abs/2401.13276; the authors' code is
https://github.com/starrytong/SCNet

Each block cuts the spectrum into a low, a middle and a high band, and makes one bin of 1, 4 and 16
of theirs; the low band also has the deepest convolutions. What is left goes through LSTMs over bins
and over frames, every second pair of them after a Fourier transform over the frames, and back to a
spectrum for each source.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import keras
from keras import layers, ops

from kzoo.dsp.stft import STFT, InverseSTFT
from kzoo.layers.masks import Estimates
from kzoo.layers.segments import SegmentLSTM
from kzoo.layers.sparse_compression import (
    CompressedResidual,
    FrameTransform,
    FusionConv,
    NarrowBand,
    PadToEvenFrames,
    SpectrumStatistics,
    WidenBand,
)
from kzoo.models.base.sizes import Sizes, check_positive, check_sources


@dataclass(frozen=True, kw_only=True)
class SCNet(Sizes):
    """The paper's network by default.

    n_fft, hop_length: of the STFT, in samples; its window is rectangular, as the authors'.
    filters: channels after each block.
    band_shares: of the low, the middle and the high band in the bins of each block.
    band_strides: so many bins become one. band_kernels: in bins, the stride where that is above 1.
    band_depths: residual convolutions over frames in each band. conv_kernel: theirs, in frames.
    compress: they have so many times fewer channels inside.
    dual_paths: pairs of LSTMs over bins and over frames; an even number. expand: an LSTM has so
        many times as many units in each direction as channels.
    normalize: what is brought to a mean of 0 and a deviation of 1 for the network, and back:
        "spectrum", as in the authors' network since 2024-09-24; "waveform", the whole recording by
        its mono version, as around the network before and in ZFTurbo's program where a
        configuration asks for it; "both", as the authors separate; or "none". Weights fit all four,
        and separate well with their own. The network itself has the spectrum's alone.
    An estimate depends on all that the network is given, and on how long that is: blocks are as
    long as the segments of the training.
    """

    sample_rate: int = 44100
    channels: int = 2
    n_fft: int = 4096
    hop_length: int = 1024
    filters: tuple[int, ...] = (32, 64, 128)
    band_shares: tuple[float, ...] = (0.175, 0.392, 0.433)
    band_strides: tuple[int, ...] = (1, 4, 16)
    band_kernels: tuple[int, ...] = (3, 4, 16)
    band_depths: tuple[int, ...] = (3, 2, 1)
    conv_kernel: int = 3
    compress: int = 4
    dual_paths: int = 6
    expand: int = 1
    normalize: Literal["spectrum", "waveform", "both", "none"] = "spectrum"
    block_seconds: float = 11.0

    @property
    def standardised(self) -> bool:
        """Whether whole recordings are normalised, before they are cut into blocks."""
        return self.normalize in ("waveform", "both")

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "n_fft", "hop_length", "conv_kernel", "compress", "expand")
        if self.hop_length > self.n_fft // 2:
            raise ValueError(
                "hop_length must be at most n_fft // 2, or the windows do not overlap; got "
                f"hop_length={self.hop_length}, n_fft={self.n_fft}"
            )
        if not self.filters or min(self.filters) < self.compress:
            raise ValueError(
                "filters must be one number a block, none under compress="
                f"{self.compress}; got {self.filters}"
            )
        bands = (self.band_shares, self.band_strides, self.band_kernels, self.band_depths)
        if len({len(band) for band in bands}) != 1:
            raise ValueError(
                "band_shares, band_strides, band_kernels and band_depths must have a number for "
                f"each band; got {', '.join(map(str, bands))}"
            )
        if min(self.band_shares) <= 0 or not math.isclose(sum(self.band_shares), 1, abs_tol=1e-3):
            raise ValueError(f"band_shares must be above 0 and sum to 1; got {self.band_shares}")
        for stride, kernel in zip(self.band_strides, self.band_kernels, strict=True):
            if stride < 1 or kernel < 1 or (kernel % 2 == 0 if stride == 1 else kernel != stride):
                raise ValueError(
                    "band_kernels must be odd where the stride is 1, and the stride elsewhere; got "
                    f"band_kernels={self.band_kernels}, band_strides={self.band_strides}"
                )
        if min(self.band_depths) < 0:
            raise ValueError(f"band_depths must be at least 0; got {self.band_depths}")
        if self.dual_paths < 0 or self.dual_paths % 2:
            raise ValueError(
                "dual_paths must be even: every second one is between a Fourier transform over the "
                f"frames and its inverse; got {self.dual_paths}"
            )
        if not self.conv_kernel % 2:
            raise ValueError(f"conv_kernel must be odd; got {self.conv_kernel}")
        for bins in self.bins_of_blocks:
            if min(end - start for start, end in self.bands(bins)) < 1:
                raise ValueError(
                    "each band of each block must have a bin: take a greater n_fft, fewer filters "
                    f"or smaller band_strides; {bins} bins are too few for {self.band_shares}"
                )

    def bands(self, bins: int) -> list[tuple[int, int]]:
        """Where each band of so many bins begins and ends."""
        inner = itertools.accumulate(self.band_shares[:-1])
        ends = [0, *(math.ceil(bins * share) for share in inner), bins]
        return list(itertools.pairwise(ends))

    @property
    def bins_of_blocks(self) -> list[int]:
        """The bins that each block is given, the first one first."""
        bins = [self.n_fft // 2 + 1]
        for _ in self.filters[1:]:
            bands = zip(self.bands(bins[-1]), self.band_strides, strict=True)
            bins.append(sum(-(-(end - start) // stride) for (start, end), stride in bands))
        return bins


_LARGE = SCNet(filters=(64, 128, 256), band_shares=(0.225, 0.372, 0.403))
VARIANTS = {
    "paper": SCNet(),  # 10.6 million weights
    "large": _LARGE,  # 42 million
    "xl": replace(
        _LARGE, band_shares=(0.23, 0.37, 0.4), band_strides=(1, 4, 4), band_kernels=(3, 4, 4),
        band_depths=(3, 3, 3), dual_paths=8,
    ),  # 53 million: ZFTurbo's "XL IHF"
    "half": SCNet(filters=(16, 32, 64)),  # 2.7 million
    "tiny": SCNet(
        sample_rate=8000, n_fft=64, hop_length=16, filters=(4,), band_strides=(1, 2, 4),
        band_kernels=(3, 2, 4), band_depths=(1, 0, 0), compress=2, dual_paths=2, block_seconds=0.5,
    ),
}  # fmt: skip
SOURCES = ("drums", "bass", "other", "vocals")


def build(
    sources: Sequence[str] = SOURCES,
    size: SCNet = VARIANTS["paper"],
    *,
    samples: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    Silence follows the waveform until the STFT has an even number of frames, as the authors have
    it. PyTorch's LSTMs have two biases, of which only the sum counts and which Keras's have one of:
    theirs has 10,578,768 parameters, and this one 10,560,336.
    """
    check_sources(sources)
    # float32 whatever the policy: spectra in half precision have 60 dB of range.
    transform = {"n_fft": size.n_fft, "hop_length": size.hop_length, "window": "ones",
                 "padding": "center", "dtype": "float32"}  # fmt: skip
    waveform = keras.Input((samples, size.channels), name="waveform")
    padded = PadToEvenFrames(
        size.hop_length, size.n_fft // 2 + 1, dtype="float32", name="pad"
    )(waveform)  # fmt: skip
    real, imag = STFT(**transform, pad_mode="reflect", name="stft")(padded)
    parts = 2 * size.channels
    x = ops.stack([real, imag], axis=-1)  # [batch, frames, bins, channels, 2]
    x = layers.Reshape((-1, size.n_fft // 2 + 1, parts), dtype="float32", name="parts")(x)
    # PyTorch's normalized=True, by a layer: Keras takes a tensor times a number for a sparse one.
    x = layers.Rescaling(size.n_fft**-0.5, dtype="float32", name="orthonormal")(x)
    by_spectrum = size.normalize in ("spectrum", "both")
    if by_spectrum:
        mean, std = SpectrumStatistics(dtype="float32", name="spectrum_statistics")(x)
        x = (x - mean) / (1e-5 + std)
    x = ops.cast(_network(x, len(sources) * parts, size), "float32")
    if by_spectrum:
        x = x * std + mean  # not 1e-5 + std: so was the authors' trained
    x = layers.Rescaling(size.n_fft**0.5, dtype="float32", name="plain")(x)
    shape = (-1, size.n_fft // 2 + 1, len(sources), size.channels, 2)
    x = layers.Reshape(shape, dtype="float32", name="spectra")(x)
    x = ops.transpose(x, (5, 0, 3, 1, 2, 4))  # [2, batch, sources, frames, bins, channels]
    stems = InverseSTFT(**transform, name="inverse_stft")(x[0], x[1], waveform)
    stems = Estimates(sources, dtype="float32", name="stems")(stems)
    return keras.Model(waveform, stems, name="scnet")


def _network(x, outputs: int, size: SCNet):
    """`[batch, frames, bins, parts]` to `[batch, frames, bins, outputs]`."""
    skips = []
    for number, filters in enumerate(size.filters, 1):
        skips.append(x := _narrow(x, filters, size, f"encoder{number}"))
        x = layers.Conv2D(filters, 3, padding="same", name=f"encoder{number}_global")(x)
    for number in range(1, size.dual_paths + 1):
        for name, across in (("bins", False), ("frames", True)):
            x = SegmentLSTM(
                size.expand * x.shape[-1],
                across=across,
                norm_first=True,
                epsilon=1e-5,
                name=f"dual_path{number}_{name}",
            )(x)
        x = FrameTransform(inverse=number % 2 == 0, name=f"transform{number}")(x)
    levels = reversed(list(zip(size.bins_of_blocks, (outputs, *size.filters), strict=False)))
    for number, (bins, filters) in enumerate(levels, 1):
        x = layers.Add(name=f"skip{number}")([x, skips.pop()])
        x = FusionConv(name=f"decoder{number}_fusion")(x)
        x = _widen(x, bins, filters, size, f"decoder{number}")
    return x


def _narrow(x, filters: int, size: SCNet, name: str):
    """The bands of `[batch, frames, bins, channels]`, each narrowed, beside each other again."""
    parts = []
    for number, (start, end) in enumerate(size.bands(x.shape[2]), 1):
        part, stride = x[:, :, start:end], size.band_strides[number - 1]
        band = f"{name}_band{number}"
        if stride == 1:
            part = _along_bins(part, filters, size.band_kernels[number - 1], band)
        else:
            part = NarrowBand(filters, stride, name=band)(part)
        for layer in range(1, size.band_depths[number - 1] + 1):
            part = CompressedResidual(
                filters // size.compress, size.conv_kernel, name=f"{band}_residual{layer}"
            )(part)
        parts.append(layers.Activation("gelu", name=f"{band}_gelu")(part))
    return layers.Concatenate(axis=2, name=f"{name}_bands")(parts)


def _widen(x, bins: int, filters: int, size: SCNet, name: str):
    """The inverse of `_narrow`, without residuals: `bins` bins of `filters`."""
    parts, first = [], 0
    for number, (start, end) in enumerate(size.bands(bins), 1):
        stride, band = size.band_strides[number - 1], f"{name}_band{number}"
        count = -(-(end - start) // stride)
        part = x[:, :, first : first + count]
        if stride == 1:  # a transposed convolution of stride 1 is one with its kernel flipped
            part = _along_bins(part, filters, size.band_kernels[number - 1], band)
        else:
            part = WidenBand(filters, stride, end - start, name=band)(part)
        parts.append(part)
        first += count
    return layers.Concatenate(axis=2, name=f"{name}_bands")(parts)


def _along_bins(x, filters: int, kernel_size: int, name: str):
    return layers.Conv2D(filters, (1, kernel_size), padding="same", name=name)(x)
