"""What GTCRN and UL-UNAS share: windowed frames, ERB bands, causal convolutions, dual paths.

All tensors inside are `[batch, frames, bands, channels]`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from keras import layers

from kzoo.layers.erb import FromErb, ToErb, erb_filters
from kzoo.layers.grouped_conv import GroupedConv2D
from kzoo.layers.grouped_gru import GroupedGRU, InterFrameGRU, IntraFrameGRU
from kzoo.layers.spectra import FrameSpectrum, FrameWindow, SpectrumFrame
from kzoo.layers.subbands import BandPower, TimesFrames, ZerosBetween
from kzoo.models.base.causal import CausalSizes, Past
from kzoo.models.base.sizes import check_positive


@dataclass(frozen=True, kw_only=True)
class ErbEnhancerSizes(CausalSizes):
    """low_bins: bins that stay as they are. erb_bands: of triangles, that share the bins above.

    groups: of GRUs and convolutions. dual_paths: how many, each over the bands and the frames.
    """

    sample_rate: int = 16000
    n_fft: int = 512
    hop_length: int = 256
    low_bins: int = 65
    erb_bands: int = 64
    groups: int = 2
    dual_paths: int = 2

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "low_bins", "erb_bands", "groups", "dual_paths")
        if 2 * self.hop_length > self.n_fft:
            raise ValueError(
                "hop_length must be at most half of n_fft, as windows must overlap; got "
                f"n_fft={self.n_fft}, hop_length={self.hop_length}"
            )
        erb_filters(self.n_fft, self.sample_rate, self.low_bins, self.erb_bands)

    @property
    def erb(self) -> dict[str, int]:
        """The arguments of `layers.erb`."""
        return {
            "n_fft": self.n_fft,
            "sample_rate": self.sample_rate,
            "low_bins": self.low_bins,
            "bands": self.erb_bands,
        }

    def check_widths(self, strides: Sequence[int]) -> None:
        """Raise ValueError where bands divided by `strides` do not come back to as many."""
        bands = self.low_bins + self.erb_bands
        for stride in strides:
            if stride not in (1, 2) or (bands - 1) % stride:
                raise ValueError(
                    "low_bins + erb_bands must be one more than a multiple of all strides, each 1 "
                    f"or 2; got {self.low_bins} + {self.erb_bands} and {tuple(strides)}"
                )
            bands = (bands - 1) // stride + 1


def spectrum(waveform, size: ErbEnhancerSizes, past: Past, window: str, *, exact: bool = False):
    """(real, imag) `[batch, frames, bins]`; beyond its ends is the signal's mirror image.

    exact: as of `FrameSpectrum`.
    """
    frames = past.frames(waveform, size.n_fft, size.hop_length, "frames", edge="reflect")
    frames = FrameWindow(window, size.n_fft, dtype="float32", name="analysis_window")(frames)
    real, imag, _ = FrameSpectrum(exact, dtype="float32", name="spectrum")(frames)
    return real, imag


def resynthesis(spectra, waveform, size: ErbEnhancerSizes, past: Past, window: str, prefix: str):
    """(real, imag) to a signal as long as `waveform`, which they were changed from."""
    frames = SpectrumFrame(size.n_fft, dtype="float32", name=f"{prefix}masked_frames")(*spectra)
    frames = FrameWindow(
        window, size.n_fft, size.hop_length, dtype="float32", name=f"{prefix}synthesis_window"
    )(frames)
    return past.overlap_add(frames, waveform, size.hop_length, f"{prefix}overlap_add")


def to_bands(x, size: ErbEnhancerSizes):
    """`[batch, frames, bins, channels]` to `[batch, frames, bands, channels]`."""
    return ToErb(**size.erb, dtype="float32", name="bands")(x)


def from_bands(x, size: ErbEnhancerSizes):
    """`[batch, frames, bands, channels]` to `[batch, frames, bins, channels]`."""
    return FromErb(**size.erb, dtype="float32", name="bins")(x)


def convolution(
    x,
    past: Past,
    filters: int,
    kernel: tuple[int, int],
    name: str,
    *,
    groups: int = 1,
    stride: int = 1,
    transposed: bool = False,
    dilation: int = 1,
):
    """A convolution over frames so far and the bands around, with its batch norm.

    kernel: frames and bands. stride, dilation: in bands, in frames. transposed: stride is
    how many bands come out for each, and the kernel is the flipped one of the transposed
    convolution.
    """
    x = past.before(x, (kernel[0] - 1) * dilation, f"{name}_past")
    if transposed and stride > 1:
        x = ZerosBetween(name=f"{name}_between")(x)
        stride = 1
    if half := kernel[1] // 2:
        x = layers.ZeroPadding2D(((0, 0), (half, half)), name=f"{name}_edges")(x)
    conv = GroupedConv2D(
        filters,
        kernel,
        strides=(1, stride),
        dilation_rate=(dilation, 1),
        groups=groups,
        name=f"{name}_conv",
    )
    return batch_norm(name)(conv(x))


def depthwise(x, past: Past, kernel: tuple[int, int], name: str, *, stride=1, **options):
    """`convolution` of each channel by itself."""
    channels = x.shape[-1]
    return convolution(x, past, channels, kernel, name, groups=channels, stride=stride, **options)


def batch_norm(name: str) -> layers.Layer:
    """Batch norm with PyTorch's epsilon and momentum."""
    return layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")


def frame_attention(x, past: Past, name: str):
    """Return `x`, each channel of a frame weighted by what a GRU makes of its powers so far."""
    channels = x.shape[-1]
    power = BandPower(name=f"{name}_power")(x)
    gru = GroupedGRU(2 * channels, name=f"{name}_gru", **past.recurrence)
    y = past.recurrent(gru, power, f"{name}_gru")
    weights = layers.Dense(channels, activation="sigmoid", name=f"{name}_weights")(y)
    return TimesFrames(name=f"{name}_weighted")(x, weights)


def dual_path(x, size: ErbEnhancerSizes, past: Past, name: str):
    """Return `x` after a grouped GRU over its bands, then one over its frames.

    In a stream the one over bands, which has no state, is unrolled: TFLite's converter refuses its
    loop in a block of one frame.
    """
    x = IntraFrameGRU(size.groups, unroll=bool(past.stream), name=f"{name}_intra")(x)
    unroll = past.recurrence["unroll"]
    inter = InterFrameGRU(size.groups, unroll=unroll, name=f"{name}_inter")
    if not past.stream:
        return inter(x)
    y, after = inter(x, past.state(f"{name}_inter", tuple(x.shape[2:])))
    past.keep(f"{name}_inter", after)
    return y
