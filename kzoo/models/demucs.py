"""Demucs: a U-Net on the waveform with gated convolutions and a BiLSTM at its bottom.

Defossez et al., 2019, Music source separation in the waveform domain,
https://arxiv.org/abs/1911.13254, https://github.com/facebookresearch/demucs, branches v1 and v2

Strided convolutions double the channels as they quarter the rate; on the way up every level adds
the skip of the same length, looks `context` frames around, and is stretched again. Nothing is
padded inside: the estimate is shorter than its input, and centred on it. v2 is the same network
at twice the sample rate, on a normalised mixture.

What 64 channels need: a training step of Adam on one segment of 2 s took 9.5 s and 12.6 GB (v1, 648
million parameters), 5.5 s and 6.6 GB (v2, 266 million) on two CPU cores, 2026-11-25.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers, ops

from kzoo.dsp import resampling
from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.masks import Estimates
from kzoo.layers.rescaled import RescaledUniform, rescaled_bias
from kzoo.models import _demucs_lengths as lengths
from kzoo.models._spectrogram import sizes

SOURCES = ("drums", "bass", "other", "vocals")
_V1 = {
    "filters": 100, "depth": 6, "growth": 2.0, "kernel_size": 8, "stride": 4, "context": 3,
    "glu": True, "rewrite": True, "lstm_layers": 2, "upsample": False, "resample": False,
    "normalize": False, "rescale": 0.1, "channels": 2, "sample_rate": 44100, "block_seconds": 10.0,
}  # fmt: skip
_V2 = {**_V1, "filters": 64, "resample": True, "normalize": True}
VARIANTS = {
    "v1": _V1,  # 649 million weights
    "v1_light": {**_V1, "filters": 64},  # 266 million
    "v2": _V2,
    "small": {
        **_V1, "filters": 12, "depth": 5, "lstm_layers": 1, "normalize": True, "block_seconds": 6.0
    },
    "tiny": {
        **_V2, "filters": 4, "depth": 3, "lstm_layers": 1, "sample_rate": 8000, "block_seconds": 0.5
    },
}  # fmt: skip


def core(
    sources: Sequence[str] = SOURCES,
    *,
    variant: str = "v1",
    samples: int | None = None,
    filters: int | None = None,
    depth: int | None = None,
    growth: float | None = None,
    kernel_size: int | None = None,
    stride: int | None = None,
    context: int | None = None,
    glu: bool | None = None,
    rewrite: bool | None = None,
    lstm_layers: int | None = None,
    upsample: bool | None = None,
    resample: bool | None = None,
    normalize: bool | None = None,
    rescale: float | None = None,
    channels: int | None = None,
) -> keras.Model:
    """The reference's network: waveform `[batch, samples, channels]` to `[batch, sources, fewer
    samples, channels]`, centred on the input.

    samples: None, or a length as `valid_length` gives it.
    filters: of the first of `depth` levels, `growth` times as many at each further one.
    rewrite: a convolution of 1 frame on the way down, of `context` frames on the way up; with
        glu=False it is followed by a ReLU.
    lstm_layers: bidirectional, 0 for none. upsample: linear interpolation and plain convolutions
        instead of transposed ones, and the mixture beside the last features.
    resample: the network works at twice the sample rate. normalize: by mean and standard deviation
        of the mono mixture. rescale: the reference of the initial weights, 0 for PyTorch's own.
    Options left at None come from the variant. Raises ValueError for sizes that make no network.
    """
    size = _sizes(variant, filters=filters, depth=depth, growth=growth, kernel_size=kernel_size,
                  stride=stride, context=context, glu=glu, rewrite=rewrite,
                  lstm_layers=lstm_layers, upsample=upsample, resample=resample,
                  normalize=normalize, rescale=rescale, channels=channels)  # fmt: skip
    _check_sources(sources)
    if samples is not None and not lengths.is_valid(samples, size):
        raise ValueError(
            f"samples must leave no frame over, as the {lengths.valid_length(samples, size)} of "
            f"valid_length({samples}) do; got {samples}"
        )
    mixture = keras.Input((samples, size["channels"]), name="mixture")
    x, mean, std = mixture, 0.0, 1.0
    if size["normalize"]:
        mean, std = MonoStatistics(dtype="float32", name="statistics")(x)
        x = (x - mean) / (1e-5 + std)
    if size["resample"]:
        x = resampling.Resample(1, 2, dtype="float32", name="resample_in")(x)

    widths = _widths(size)
    skips = [x]
    for level, width in enumerate(widths):
        name = f"encoder{level + 1}"
        step = 1 if size["upsample"] else size["stride"]
        x = layers.ReLU(name=f"{name}_relu")(_conv(x, width, size, f"{name}_conv", strides=step))
        if size["rewrite"]:
            x = _rewrite(x, width, size, name, kernel_size=1)
        skips.append(x)
        if size["upsample"]:
            x = x[:, :: size["stride"]]
    if size["lstm_layers"]:
        x = _blstm(x, widths[-1], size["lstm_layers"])
    for level in reversed(range(size["depth"])):
        name = f"decoder{size['depth'] - level}"
        if size["upsample"]:
            x = LinearUpsampling(size["stride"], name=f"{name}_upsampling")(x)
        x = x + lengths.CenterTrim(name=f"{name}_skip")(skips.pop(), x)
        if size["rewrite"]:
            x = _rewrite(x, widths[level], size, name, kernel_size=size["context"])
        if level:
            width = widths[level - 1]
        else:
            width = widths[0] if size["upsample"] else len(sources) * size["channels"]
        x = (_conv if size["upsample"] else _transposed)(x, width, size, f"{name}_conv")
        if level:
            x = layers.ReLU(name=f"{name}_relu")(x)
    if size["upsample"]:
        x = ops.concatenate([x, lengths.CenterTrim(name="final_skip")(skips.pop(), x)], axis=-1)
        x = _conv(x, len(sources) * size["channels"], size, "final_conv", kernel_size=1)

    x = ops.cast(x, "float32")  # whatever the policy: waveforms in half precision have 60 dB
    if size["resample"]:
        x = resampling.Resample(2, 1, dtype="float32", name="resample_out")(x)
    if size["normalize"]:
        x = x * std + mean  # not 1e-5 + std: so was the reference trained
    split = (-1, len(sources), size["channels"])
    x = layers.Reshape(split, dtype="float32", name="split_sources")(x)
    x = layers.Permute((2, 1, 3), dtype="float32", name="sources_first")(x)
    return keras.Model(
        mixture, Estimates(sources, dtype="float32", name="estimates")(x), name="demucs_core"
    )


def build(
    sources: Sequence[str] = SOURCES,
    *,
    variant: str = "v1",
    samples: int | None = None,
    padding: str = "full",
    block_seconds: float | None = None,
    filters: int | None = None,
    depth: int | None = None,
    growth: float | None = None,
    kernel_size: int | None = None,
    stride: int | None = None,
    context: int | None = None,
    glu: bool | None = None,
    rewrite: bool | None = None,
    lstm_layers: int | None = None,
    upsample: bool | None = None,
    resample: bool | None = None,
    normalize: bool | None = None,
    rescale: float | None = None,
    channels: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    The mixture is centred in zeros up to `valid_length`, as the reference does. Without LSTM and
    normalisation an estimate hears `context_samples` to each side: padding="full" then has that
    much silence around the mixture, and "valid" adds nothing, for blocks that overlap by so much;
    their first and last `context_samples` are not to be used.

    block_seconds: of the blocks that `block_grid` lays; the network does not depend on it.
    Raises ValueError for padding="valid" where an estimate hears the whole signal, and as `core`.
    """
    size = _sizes(variant, depth=depth, kernel_size=kernel_size, stride=stride, context=context,
                  lstm_layers=lstm_layers, upsample=upsample, resample=resample,
                  normalize=normalize, channels=channels, block_seconds=block_seconds)  # fmt: skip
    if padding not in ("full", "valid"):
        raise ValueError(f"padding must be one of full, valid; got {padding!r}")
    if padding == "valid" and _needs_all(size):
        raise ValueError(
            "padding must be 'full' with an LSTM or normalisation, which hear the whole signal; "
            "got 'valid' (lstm_layers=0, normalize=False would make it possible)"
        )
    before = None if _needs_all(size) else 0 if padding == "valid" else lengths.margin(size)
    pad = lengths.PadToValid(
        before, **{name: size[name] for name in lengths.OPTIONS}, dtype="float32", name="pad"
    )
    network = core(
        sources, variant=variant, samples=None if samples is None else pad.length(samples),
        filters=filters, depth=depth, growth=growth, kernel_size=kernel_size, stride=stride,
        context=context, glu=glu, rewrite=rewrite, lstm_layers=lstm_layers, upsample=upsample,
        resample=resample, normalize=normalize, rescale=rescale, channels=channels,
    )  # fmt: skip
    waveform = keras.Input((samples, size["channels"]), name="waveform")
    padded = pad(waveform)
    stems = lengths.TrimToInput(before, dtype="float32", name="trim")(
        network(padded), padded, waveform
    )
    stems = Estimates(sources, dtype="float32", name="stems")(stems)
    return keras.Model(waveform, stems, name="demucs")


def valid_length(
    length: int,
    *,
    variant: str = "v1",
    depth: int | None = None,
    kernel_size: int | None = None,
    stride: int | None = None,
    context: int | None = None,
    upsample: bool | None = None,
    resample: bool | None = None,
) -> int:
    """Samples that `core` needs for an estimate of `length` samples, with no frame left over."""
    size = _sizes(variant, depth=depth, kernel_size=kernel_size, stride=stride, context=context,
                  upsample=upsample, resample=resample)  # fmt: skip
    return lengths.valid_length(length, size)


def context_samples(
    *,
    variant: str = "v1",
    depth: int | None = None,
    kernel_size: int | None = None,
    stride: int | None = None,
    context: int | None = None,
    lstm_layers: int | None = None,
    upsample: bool | None = None,
    resample: bool | None = None,
    normalize: bool | None = None,
) -> int | None:
    """Samples that an estimate hears to each side; None, all of them, with LSTM or normalisation.

    An upper bound, and a close one.
    """
    size = _sizes(variant, depth=depth, kernel_size=kernel_size, stride=stride, context=context,
                  lstm_layers=lstm_layers, upsample=upsample, resample=resample,
                  normalize=normalize)  # fmt: skip
    return None if _needs_all(size) else lengths.reach(size)


def block_grid(
    *,
    variant: str = "v1",
    block_seconds: float | None = None,
    depth: int | None = None,
    kernel_size: int | None = None,
    stride: int | None = None,
    context: int | None = None,
    lstm_layers: int | None = None,
    upsample: bool | None = None,
    resample: bool | None = None,
    normalize: bool | None = None,
) -> BlockGrid:
    """Blocks of about `block_seconds`, which share a quarter with the next.

    Where the context is finite, blocks carry it, at least as much again is new in each, and
    joined they equal the whole.
    """
    size = _sizes(variant, depth=depth, kernel_size=kernel_size, stride=stride, context=context,
                  lstm_layers=lstm_layers, upsample=upsample, resample=resample,
                  normalize=normalize, block_seconds=block_seconds)  # fmt: skip
    wanted = round(size["block_seconds"] * size["sample_rate"])
    if _needs_all(size):
        samples = max(wanted, lengths.valid_length(1, size))
        return BlockGrid(samples=samples, hop=samples - samples // 4)
    margin, step = lengths.margin(size), size["stride"] ** size["depth"]
    hop = max(2 * margin, (wanted - 2 * margin) // step * step)
    return BlockGrid.with_context(hop, margin, margin)


def block_options(
    *,
    variant: str = "v1",
    block_seconds: float | None = None,
    depth: int | None = None,
    kernel_size: int | None = None,
    stride: int | None = None,
    context: int | None = None,
    lstm_layers: int | None = None,
    upsample: bool | None = None,
    resample: bool | None = None,
    normalize: bool | None = None,
) -> dict:
    """What `build` needs beside the options here, to make the model of one block."""
    options = {"variant": variant, "depth": depth, "kernel_size": kernel_size, "stride": stride,
               "context": context, "lstm_layers": lstm_layers, "upsample": upsample,
               "resample": resample, "normalize": normalize}  # fmt: skip
    grid = block_grid(block_seconds=block_seconds, **options)
    whole = context_samples(**options) is None
    return {"samples": grid.samples, "padding": "full" if whole else "valid"}


def static_block(
    samples: int | None = None, *, variant: str = "v1", block_seconds: float | None = None
) -> dict:
    """Options of `build` for a file of static shape, `samples` or `block_seconds` long."""
    size = _sizes(variant, block_seconds=block_seconds)
    return {"samples": samples or round(size["block_seconds"] * size["sample_rate"])}


def smaller_blocks(
    *,
    variant: str = "v1",
    block_seconds: float | None = None,
    depth: int | None = None,
    kernel_size: int | None = None,
    stride: int | None = None,
    context: int | None = None,
    lstm_layers: int | None = None,
    upsample: bool | None = None,
    resample: bool | None = None,
    normalize: bool | None = None,
) -> dict | None:
    """Options for blocks of half the length, or None where they would be no shorter."""
    options = {"variant": variant, "depth": depth, "kernel_size": kernel_size, "stride": stride,
               "context": context, "lstm_layers": lstm_layers, "upsample": upsample,
               "resample": resample, "normalize": normalize}  # fmt: skip
    now = block_grid(block_seconds=block_seconds, **options)
    half = _sizes(variant, block_seconds=block_seconds)["block_seconds"] / 2
    less = block_grid(block_seconds=half, **options)
    return {"block_seconds": half} if less.samples < now.samples else None


def _sizes(variant: str, **options) -> dict:
    size = sizes(VARIANTS, variant, **options)
    for name in ("filters", "depth", "stride", "context", "channels", "block_seconds"):
        if size[name] <= 0:
            raise ValueError(f"{name} must be positive; got {size[name]}")
    if size["kernel_size"] < size["stride"]:
        raise ValueError(
            "kernel_size must be at least the stride, or samples are skipped; got "
            f"kernel_size={size['kernel_size']}, stride={size['stride']}"
        )
    return size


def _check_sources(sources: Sequence[str]) -> None:
    if isinstance(sources, str) or not sources or len(set(sources)) != len(sources):
        raise ValueError(f"sources must be a sequence of different names; got {sources!r}")


def _widths(size) -> list[int]:
    widths = [size["filters"]]
    while len(widths) < size["depth"]:
        widths.append(int(size["growth"] * widths[-1]))
    return widths


def _needs_all(size) -> bool:
    return bool(size["lstm_layers"] or size["normalize"])


def _conv(x, filters, size, name, *, kernel_size=None, strides=1):
    kernel_size = kernel_size or size["kernel_size"]
    fan_in = x.shape[-1] * kernel_size
    return layers.Conv1D(
        filters, kernel_size, strides=strides, name=name,
        kernel_initializer=RescaledUniform(fan_in, size["rescale"]),
        bias_initializer=rescaled_bias(fan_in, size["rescale"]),
    )(x)  # fmt: skip


def _transposed(x, filters, size, name):
    fan_in = filters * size["kernel_size"]  # PyTorch counts a transposed kernel's outputs
    return layers.Conv1DTranspose(
        filters, size["kernel_size"], strides=size["stride"], name=name,
        kernel_initializer=RescaledUniform(fan_in, size["rescale"]),
        bias_initializer=rescaled_bias(fan_in, size["rescale"]),
    )(x)  # fmt: skip


def _rewrite(x, width, size, name, *, kernel_size):
    wide = 2 * width if size["glu"] else width
    x = _conv(x, wide, size, f"{name}_rewrite", kernel_size=kernel_size)
    if size["glu"]:
        return x[..., :width] * ops.sigmoid(x[..., width:])
    return layers.ReLU(name=f"{name}_rewrite_relu")(x)


def _blstm(x, width, count):
    for number in range(count):
        lstm = layers.LSTM(
            width, return_sequences=True, kernel_initializer=_uniform(width),
            recurrent_initializer=_uniform(width), unit_forget_bias=False,
            bias_initializer=_uniform(width / 2),  # one bias for PyTorch's two
            name="lstm",
        )  # fmt: skip
        x = layers.Bidirectional(lstm, name=f"lstm{number + 1}")(x)
    return layers.Dense(
        width, kernel_initializer=_uniform(2 * width), bias_initializer=_uniform(2 * width),
        name="lstm_linear",
    )(x)  # fmt: skip


def _uniform(fan_in):
    return keras.initializers.RandomUniform(-(fan_in**-0.5), fan_in**-0.5)


@keras.saving.register_keras_serializable("kzoo")
class LinearUpsampling(keras.layers.Layer):
    """`[batch, frames, channels]` to `[batch, (frames - 1) * factor, channels]`, linear."""

    def __init__(self, factor: int, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def call(self, x):
        channels = x.shape[-1]
        steps = [(1 - i / self.factor) * x[:, :-1] + i / self.factor * x[:, 1:]
                 for i in range(self.factor)]  # fmt: skip
        frames = ops.shape(x)[1] - 1
        return ops.reshape(ops.stack(steps, axis=2), (-1, frames * self.factor, channels))

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


@keras.saving.register_keras_serializable("kzoo")
class MonoStatistics(keras.layers.Layer):
    """Mean and standard deviation (unbiased) of the mean of the channels, each `[batch, 1, 1]`."""

    def call(self, waveform):
        mono = ops.mean(waveform, axis=2, keepdims=True)  # [batch, samples, 1]
        mean = ops.mean(mono, axis=1, keepdims=True)
        power = ops.sum(ops.square(mono - mean), axis=1, keepdims=True)
        variance = power / ops.cast(ops.shape(mono)[1] - 1, mono.dtype)
        return mean, ops.sqrt(ops.maximum(variance, 1e-20))  # silence has a gradient, of zero
