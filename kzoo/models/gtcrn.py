"""GTCRN: speech enhancement in real time with 24 thousand parameters, 33 million MACs a second.

Rong, Sun, Zhang, Hu, Zhu and Lu, 2024, GTCRN: A Speech Enhancement Model Requiring Ultralow
Computational Resources, https://doi.org/10.1109/ICASSP48485.2024.10448310; the authors' code is
https://github.com/Xiaobin-Rong/gtcrn

Magnitude, real and imaginary part of a spectrum on ERB bands go through a U of convolutions, in
whose middle grouped GRUs run over bands and over frames; the complex mask that results is spread
over the bins again. Blocks of the U convolve half of their channels in time and shuffle them with
the others, which pass. Nothing looks ahead of a frame of 32 ms: a stream is late by 16 ms, and
32 ms pass from a sound to its estimate.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import keras
from keras import layers, ops
from keras.initializers import Constant

from kzoo.layers.subbands import ChannelShuffle, SubbandFeatures
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
from kzoo.models.base.sizes import check_positive


@dataclass(frozen=True, kw_only=True)
class GTCRN(ErbEnhancerSizes):
    """filters: of all convolutions and GRUs. dilations: in frames, of each block in time."""

    filters: int = 16
    dilations: tuple[int, ...] = (1, 2, 5)

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "filters")
        self.check_widths((2, 2))
        if self.filters % (2 * self.groups):
            raise ValueError(
                f"filters must be a multiple of 2 * groups={2 * self.groups}; got {self.filters}"
            )
        if not all(dilation > 0 for dilation in self.dilations):
            raise ValueError(f"dilations must be above 0; got {self.dilations}")


VARIANTS = {
    "paper": GTCRN(),
    "tiny": GTCRN(
        filters=4, dilations=(2,), n_fft=128, hop_length=64, low_bins=5, erb_bands=4,
        dual_paths=1, sample_rate=8000, block_seconds=0.5,
    ),
}  # fmt: skip
SOURCES = ("speech",)


def build(
    sources: Sequence[str] = SOURCES,
    size: GTCRN = VARIANTS["paper"],
    *,
    samples: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, 1]` to `[batch, sources, samples, 1]`.

    samples: None for any length. The authors' model has one source, speech; others are further
    complex masks from the last convolution.
    """
    return whole_model(_separate, sources, size, samples=samples, name="gtcrn")


def build_step(
    sources: Sequence[str] = SOURCES, size: GTCRN = VARIANTS["paper"], *, frames: int = 1
) -> keras.Model:
    """The same for `frames` hops of a stream, see `models.base.causal.stream_model`.

    Only at its end is a whole signal followed by its mirror image, of which a stream has none.
    """
    return stream_model(_separate, sources, size, frames=frames, name="gtcrn")


initial_state = silent_state  # of a step model: {name: array `[1, ...]`}


def _separate(waveform, sources: Sequence[str], size: GTCRN, past: Past) -> dict:
    """{source: waveform}, as long as `waveform`."""
    real, imag = spectrum(waveform, size, past, "sqrt_hann")
    x = SpectrumFeatures(dtype="float32", name="features")(real, imag)
    x = SubbandFeatures(name="neighbours")(to_bands(x, size))
    x = _strided(x, size, past, "encoder1", groups=1)
    skips = [x]
    skips.append(x := _strided(x, size, past, "encoder2", groups=size.groups))
    for number, dilation in enumerate(size.dilations, 3):
        skips.append(x := _in_time(x, size, past, dilation, f"encoder{number}"))
    for number in range(1, size.dual_paths + 1):
        x = dual_path(x, size, past, f"dual_path{number}")
    for number, dilation in enumerate(reversed(size.dilations), 1):
        x = layers.Add(name=f"skip{number}")([x, skips.pop()])
        x = _in_time(x, size, past, dilation, f"decoder{number}")
    number = len(size.dilations) + 1
    x = layers.Add(name=f"skip{number}")([x, skips.pop()])
    x = _strided(x, size, past, f"decoder{number}", groups=size.groups, transposed=True)
    x = layers.Add(name=f"skip{number + 1}")([x, skips.pop()])
    x = convolution(
        x, past, 2 * len(sources), (1, 5), f"decoder{number + 1}", stride=2, transposed=True
    )
    masks = from_bands(layers.Activation("tanh", name="band_masks")(x), size)
    estimates = {}
    for index, source in enumerate(sources):
        prefix = "" if len(sources) == 1 else f"{source}_"
        masked = ComplexMask(index, dtype="float32", name=f"{prefix}masked")(masks, real, imag)
        estimates[source] = resynthesis(masked, waveform, size, past, "sqrt_hann", prefix)
    return estimates


def _strided(x, size: GTCRN, past: Past, name: str, **options):
    """Half as many bands, or twice as many where it is transposed."""
    return _prelu(name)(convolution(x, past, size.filters, (1, 5), name, stride=2, **options))


def _in_time(x, size: GTCRN, past: Past, dilation: int, name: str):
    """The first half of the channels after convolutions in time, in turn with the second."""
    half = size.filters // 2
    x, kept = x[..., :half], x[..., half:]
    # Three neighbouring bands as features, and 1 x 1 convolutions of them, are one of 1 x 3.
    x = _prelu(f"{name}_expand")(convolution(x, past, size.filters, (1, 3), f"{name}_expand"))
    x = depthwise(x, past, (3, 3), f"{name}_depthwise", dilation=dilation)
    x = _prelu(f"{name}_depthwise")(x)
    x = convolution(x, past, half, (1, 1), f"{name}_project")
    x = frame_attention(x, past, f"{name}_attention")
    x = layers.Concatenate(name=f"{name}_halves")([x, kept])
    return ChannelShuffle(name=f"{name}_shuffle")(x)


def _prelu(name: str) -> layers.Layer:
    return layers.PReLU(Constant(0.25), shared_axes=[1, 2, 3], name=f"{name}_prelu")


@keras.saving.register_keras_serializable("kzoo")
class SpectrumFeatures(layers.Layer):
    """(real, imag) `[batch, frames, bins]` to magnitude, real and imag as channels."""

    def call(self, real, imag):
        magnitude = ops.sqrt(ops.square(real) + ops.square(imag) + 1e-12)
        return ops.stack([magnitude, real, imag], axis=-1)


@keras.saving.register_keras_serializable("kzoo")
class ComplexMask(layers.Layer):
    """(masks `[batch, frames, bins, 2 * sources]`, real, imag) to the masked (real, imag).

    index: the source, whose mask has the channels 2 * index, real, and 2 * index + 1, imaginary.
    """

    def __init__(self, index: int, **kwargs):
        super().__init__(**kwargs)
        self.index = index

    def call(self, masks, real, imag):
        mask_real, mask_imag = (
            ops.squeeze(masks[..., at : at + 1], -1) for at in (2 * self.index, 2 * self.index + 1)
        )
        return real * mask_real - imag * mask_imag, imag * mask_real + real * mask_imag

    def get_config(self):
        return {**super().get_config(), "index": self.index}
