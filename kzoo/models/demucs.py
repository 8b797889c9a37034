"""Demucs: a U-Net on the waveform with gated convolutions and a BiLSTM at its bottom.

Defossez et al., 2019, Music source separation in the waveform domain,
https://arxiv.org/abs/1911.13254, https://github.com/facebookresearch/demucs, branches v1 and v2

Strided convolutions double the channels as they quarter the rate; on the way up every level adds
the skip of the same length, looks `context` frames around, and is stretched again. Nothing is
padded inside: the estimate is shorter than its input, and centred on it. v2 is the same network
at twice the sample rate, on a normalised mixture. v3, of https://github.com/adefossez/demucs, has
residual branches in place of the BiLSTM, and pads.

What 64 channels need: a training step of Adam on one segment of 2 s took 9.5 s and 12.6 GB (v1, 648
million parameters), 5.5 s and 6.6 GB (v2, 266 million) on two CPU cores, 2026-11-25.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any, Literal, Self

import keras
from keras import layers, ops

from kzoo.dsp import resampling
from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.dconv import both_ways, gated, torch_uniform
from kzoo.layers.folded_conv import FoldedConv1D, FoldedConv1DTranspose
from kzoo.layers.masks import Estimates
from kzoo.layers.rescaled import RescaledUniform, rescaled_bias
from kzoo.layers.waveform import MonoStatistics
from kzoo.models.base import domains
from kzoo.models.base.demucs_lengths import CenterTrim, Lengths, PadToValid, TrimToInput
from kzoo.models.base.demucs_levels import branched, check_branches, level_widths, normed
from kzoo.models.base.sizes import Sizes, check_padding, check_positive, check_sources


@dataclass(frozen=True, kw_only=True)
class Demucs(Lengths, Sizes):
    """The paper's network, v1, by default: 649 million weights with four sources.

    filters: channels of the first level; each further level has `growth` times as many.
    glu, rewrite: with `rewrite` every level has a further convolution, of 1 frame on the way down
        and of `context` frames on the way up, which gates itself with `glu` and ends in a ReLU
        without. gelu: instead of the other ReLUs.
    lstm_layers: how many bidirectional LSTMs lie at the bottom; 0 for none.
    normalize: whether the mixture is normalised by mean and deviation of its mono version.
    standardise: whether whole recordings are, before they are cut into blocks, as the authors'
        programs do: weights of v1 know no other level. Training leaves them as they are.
    rescale: scale of the initial weights; 0 keeps PyTorch's own.
    norm_starts: the first level with norms, of `norm_groups` groups of channels; None for none.
    residual: the ways on which levels have `layers.dconv.DConv`, of `residual_depth` branches with
        `residual_compress` times fewer channels, and `residual_scale` at first; from the level
        `recurrent_starts` on with LSTMs and attention.
    The fields that are not named here are those of `Lengths` and `Sizes`.
    Without LSTM, norms, branches and normalisation an estimate depends on `context_samples` to each
    side, else on the whole signal.
    """

    sample_rate: int = 44100
    channels: int = 2
    filters: int = 100
    growth: float = 2.0
    glu: bool = True
    rewrite: bool = True
    gelu: bool = False
    lstm_layers: int = 2
    normalize: bool = False
    standardise: bool = False
    norm_starts: int | None = None
    norm_groups: int = 4
    residual: Literal["none", "encoder", "decoder", "both"] = "none"  # dconv_mode, 0 to 3
    residual_depth: int = 2  # dconv_depth
    residual_compress: float = 4.0  # dconv_comp
    residual_scale: float = 1e-4  # dconv_init
    recurrent_starts: int | None = None  # dconv_lstm, dconv_attn
    rescale: float = 0.1
    block_seconds: float = 10.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "filters", "growth", "depth", "stride", "context")
        if self.kernel_size < self.stride:
            raise ValueError(
                "kernel_size must be at least the stride, or samples are skipped; got "
                f"kernel_size={self.kernel_size}, stride={self.stride}"
            )
        check_branches(self)
        if self.padded and (self.upsample or not self.whole_signal):
            raise ValueError(
                "padded is of networks that hear the whole signal, by LSTM, norms, branches or "
                f"normalisation, without upsample; got upsample={self.upsample}"
            )

    @property
    def widths(self) -> list[int]:
        """Channels of each level, the first one first."""
        return level_widths(self)

    @property
    def standardised(self) -> bool:
        """Whether whole recordings are normalised, before they are cut into blocks."""
        return self.standardise or self.padded

    @property
    def whole_signal(self) -> bool:
        """Whether an estimate depends on the whole signal."""
        norms = self.norm_starts is not None or self.residual != "none"
        return bool(self.lstm_layers or self.normalize or norms)

    def context_samples(self) -> int | None:
        """How far an estimate looks to either side: an upper bound, and a close one."""
        return None if self.whole_signal else self.reach

    def grid(self) -> BlockGrid:
        """Blocks of about `block_seconds`, which share a quarter with the next.

        Those of v3 are cut and joined as the authors' program does. Where the context is finite,
        blocks carry it, at least as much again is new in each, and joined they equal the whole.
        """
        wanted = round(self.block_seconds * self.sample_rate)
        if self.padded:
            return BlockGrid(wanted, 3 * wanted // 4, linear=True, centred=True)
        if self.whole_signal:
            samples = max(wanted, self.valid_length(1))
            return BlockGrid(samples=samples, hop=samples - samples // 4)
        hop = max(2 * self.margin, (wanted - 2 * self.margin) // self.step * self.step)
        return BlockGrid.with_context(hop, self.margin, self.margin)

    def block(self) -> dict[str, Any]:
        padding = "full" if self.whole_signal else "valid"
        return {"samples": self.grid().samples, "padding": padding}

    def segment(self, samples: int) -> tuple[Self, dict[str, Any]]:
        """The next length that leaves no frame over.

        Where an estimate depends on the whole signal it is `samples`, for which the core takes
        `valid_length` of them.
        """
        if not self.whole_signal:
            samples = max(self.rounded(samples, up=True), self.valid_length(1))
        return self, {**self.block(), "samples": samples}

    def training(self, system: keras.Model, *, inference_mode: bool = False) -> domains.Training:
        """Train the core on waveforms."""
        return domains.core_waveforms(system, core="demucs_core", inference_mode=inference_mode)


_V2 = Demucs(filters=64, resample=True, normalize=True)
_V3 = replace(
    _V2, gelu=True, lstm_layers=0, padded=True, norm_starts=4, residual="encoder",
    recurrent_starts=4, block_seconds=44.0,
)  # fmt: skip
VARIANTS = {
    "v1": Demucs(),
    "v1_light": Demucs(filters=64),  # 266 million weights
    "v2": _V2,
    "v3": _V3,  # 134 million weights
    "small": Demucs(filters=12, depth=5, lstm_layers=1, normalize=True, block_seconds=6.0),
    "tiny": replace(_V2, filters=4, depth=3, lstm_layers=1, sample_rate=8000, block_seconds=0.5),
}
SOURCES = ("drums", "bass", "other", "vocals")


def core(
    sources: Sequence[str] = SOURCES,
    size: Demucs = VARIANTS["v1"],
    *,
    samples: int | None = None,
) -> keras.Model:
    """The reference's network, without padding.

    Waveform `[batch, samples, channels]` to `[batch, sources, fewer samples, channels]`, centred
    on the input; of a `padded` size as many samples, of any number.

    samples: None, or a length as `Demucs.valid_length` gives it.
    Raises ValueError for sources of one name, and for samples that leave a frame over.
    """
    check_sources(sources)
    if samples is not None and not size.padded and not size.is_valid(samples):
        raise ValueError(
            f"samples must leave no frame over, as the {size.valid_length(samples)} of "
            f"valid_length({samples}) do; got {samples}"
        )
    mixture = keras.Input((samples, size.channels), name="mixture")
    x, mean, std = mixture, 0.0, 1.0
    if size.normalize:
        mean, std = MonoStatistics(dtype="float32", name="statistics")(x)
        x = (x - mean) / (1e-5 + std)
    if size.padded:
        x = padded = _pad_to_valid(size)(x)
    if size.resample:
        x = resampling.Resample(1, 2, dtype="float32", name="resample_in")(x)
    x = _network(x, len(sources) * size.channels, size)
    x = ops.cast(x, "float32")  # whatever the policy: waveforms in half precision have 60 dB
    if size.resample:
        x = resampling.Resample(2, 1, dtype="float32", name="resample_out")(x)
    if size.normalize:
        x = x * std + mean  # not 1e-5 + std: so was the reference trained
    x = ops.stack(ops.split(x, len(sources), axis=-1), axis=1)  # [batch, sources, samples, ...]
    if size.padded:
        x = TrimToInput(None, dtype="float32", name="core_trim")(x, padded, mixture)
    return keras.Model(
        mixture, Estimates(sources, dtype="float32", name="estimates")(x), name="demucs_core"
    )


def build(
    sources: Sequence[str] = SOURCES,
    size: Demucs = VARIANTS["v1"],
    *,
    samples: int | None = None,
    padding: Literal["full", "valid"] = "full",
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    The mixture is centred in zeros up to `valid_length`, as the reference does; v3 does so once it
    is normalised. Where an estimate does not depend on the whole signal, padding="full" has
    `context_samples` of silence around the mixture, and "valid" adds nothing, for blocks that
    overlap by so much; their first and last `context_samples` are not to be used.

    Raises ValueError for padding="valid" where an estimate depends on the whole signal.
    """
    check_padding(padding)
    if padding == "valid" and size.whole_signal:
        raise ValueError(
            "padding must be 'full' with an LSTM, norms, branches or normalisation, which hear the "
            "whole signal; got 'valid' (lstm_layers=0, normalize=False, norm_starts=None, "
            "residual='none' would make it possible)"
        )
    waveform = keras.Input((samples, size.channels), name="waveform")
    if size.padded:
        stems = core(sources, size, samples=samples)(waveform)
    else:
        before = None if size.whole_signal else 0 if padding == "valid" else size.margin
        pad = _pad_to_valid(size, before)
        network = core(sources, size, samples=None if samples is None else pad.length(samples))
        padded = pad(waveform)
        trim = TrimToInput(before, dtype="float32", name="trim")
        stems = trim(network(padded), padded, waveform)
    stems = Estimates(sources, dtype="float32", name="stems")(stems)
    return keras.Model(waveform, stems, name="demucs")


def _pad_to_valid(size: Demucs, before: int | None = None) -> PadToValid:
    lengths = {field.name: asdict(size)[field.name] for field in fields(Lengths)}
    return PadToValid(before, sizes=lengths, dtype="float32", name="pad")


def _network(x, outputs: int, size: Demucs):
    """`[batch, samples, channels]` to `[batch, fewer samples, outputs]`."""
    skips = [x]
    for level, width in enumerate(size.widths):
        name = f"encoder{level + 1}"
        step = 1 if size.upsample else size.stride
        x = normed(_conv(x, width, size, f"{name}_conv", strides=step), level, size, f"{name}_norm")
        x = _activated(x, size, name)
        if size.residual in ("encoder", "both"):
            x = branched(x, level, size, f"{name}_dconv")
        if size.rewrite:
            x = _rewrite(x, level, size, name, kernel_size=1)
        skips.append(x)
        if size.upsample:
            x = x[:, :: size.stride]
    if size.lstm_layers:
        x = _blstm(x, size.widths[-1], size.lstm_layers)
    for level in reversed(range(size.depth)):
        name = f"decoder{size.depth - level}"
        if size.upsample:
            x = LinearUpsampling(size.stride, name=f"{name}_upsampling")(x)
        x = x + CenterTrim(name=f"{name}_skip")(skips.pop(), x)
        if size.rewrite:
            x = _rewrite(x, level, size, name, kernel_size=size.context)
        if size.residual in ("decoder", "both"):
            x = branched(x, level, size, f"{name}_dconv")
        if level:
            width = size.widths[level - 1]
        else:
            width = size.filters if size.upsample else outputs
        x = (_conv if size.upsample else _transposed)(x, width, size, f"{name}_conv")
        if level:
            x = _activated(normed(x, level, size, f"{name}_norm"), size, name)
    if size.upsample:
        x = ops.concatenate([x, CenterTrim(name="final_skip")(skips.pop(), x)], axis=-1)
        x = _conv(x, outputs, size, "final_conv", kernel_size=1)
    return x


def _activated(x, size: Demucs, name):
    return ops.gelu(x, approximate=False) if size.gelu else layers.ReLU(name=f"{name}_relu")(x)


def _conv(x, filters, size, name, *, kernel_size=None, strides=1, padding="valid"):
    kernel_size = kernel_size or size.kernel_size
    fan_in = x.shape[-1] * kernel_size
    return FoldedConv1D(
        filters,
        kernel_size,
        strides=strides,
        padding=padding,
        kernel_initializer=RescaledUniform(fan_in, size.rescale),
        bias_initializer=rescaled_bias(fan_in, size.rescale),
        name=name,
    )(x)


def _transposed(x, filters, size, name):
    fan_in = filters * size.kernel_size  # PyTorch counts a transposed kernel's outputs
    return FoldedConv1DTranspose(
        filters,
        size.kernel_size,
        strides=size.stride,
        kernel_initializer=RescaledUniform(fan_in, size.rescale),
        bias_initializer=rescaled_bias(fan_in, size.rescale),
        name=name,
    )(x)


def _rewrite(x, level, size: Demucs, name, *, kernel_size):
    wide = 2 * size.widths[level] if size.glu else size.widths[level]
    padding = "same" if size.padded else "valid"
    x = _conv(x, wide, size, f"{name}_rewrite", kernel_size=kernel_size, padding=padding)
    x = normed(x, level, size, f"{name}_rewrite_norm")
    if size.glu:
        return gated(x)
    return layers.ReLU(name=f"{name}_rewrite_relu")(x)


def _blstm(x, width, count):
    for number in range(count):
        x = both_ways(width, f"lstm{number + 1}")(x)
    return layers.Dense(
        width,
        kernel_initializer=torch_uniform(2 * width),
        bias_initializer=torch_uniform(2 * width),
        name="lstm_linear",
    )(x)


@keras.saving.register_keras_serializable("kzoo")
class LinearUpsampling(keras.layers.Layer):
    """`[batch, frames, channels]` to `[batch, (frames - 1) * factor, channels]`, linear."""

    def __init__(self, factor: int, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        channels = x.shape[-1]
        shares = [i / self.factor for i in range(self.factor)]
        steps = [(1 - share) * x[:, :-1] + share * x[:, 1:] for share in shares]
        frames = ops.shape(x)[1] - 1
        return ops.reshape(ops.stack(steps, axis=2), (-1, frames * self.factor, channels))

    def compute_output_shape(self, input_shape):
        batch, frames, channels = input_shape
        return (batch, None if frames is None else (frames - 1) * self.factor, channels)

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}
