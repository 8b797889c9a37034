"""Wave-U-Net: separation on the waveform itself, by a U-Net of one-dimensional convolutions.

Stoller, Ewert and Dixon, 2018, https://arxiv.org/abs/1806.03185

Features are computed at ever coarser rates, each level keeping every second sample of the last,
and interpolated back up, each level handing its detail across; no spectrogram is involved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import keras
from keras import layers, ops

from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.masks import Estimates
from kzoo.layers.waveform import ClipAfterTraining, CutToMixture, SilenceAround
from kzoo.models._spectrogram import sizes

_M1 = {
    "levels": 12, "filters": 24, "kernel_size": 15, "merge_kernel_size": 5,
    "output_kernel_size": 1, "context": False, "upsampling": "linear", "output": "direct",
    "activation": "tanh", "channels": 1, "sample_rate": 22050, "block_seconds": 6.0,
}  # fmt: skip
_M2 = {**_M1, "output": "difference"}
_M3 = {**_M2, "context": True}
_M4 = {**_M3, "channels": 2}
_M5 = {**_M4, "upsampling": "learned"}
VARIANTS = {
    "m1": _M1,
    "m2": _M2,
    "m3": _M3,
    "m4": _M4,
    "m5": _M5,
    "m5_highsr": {**_M5, "sample_rate": 44100},
    "m6": _M4,  # for bass, drums, other and vocals
    "m7": {**_M3, "filters": 34, "sample_rate": 8192},
    "small": {**_M5, "levels": 10, "filters": 8, "sample_rate": 44100},
    "tiny": {
        **_M5, "levels": 4, "filters": 3, "kernel_size": 5, "merge_kernel_size": 3,
        "context": False, "sample_rate": 8000, "block_seconds": 0.25,
    },
}  # fmt: skip
SOURCES = ("accompaniment", "vocals")
_CHOICES = {
    "upsampling": ("linear", "learned"),
    "output": ("direct", "difference"),
    "activation": ("tanh", "linear"),
}


def core(
    sources: Sequence[str] = SOURCES,
    *,
    variant: str = "m4",
    samples: int | None = None,
    levels: int | None = None,
    filters: int | None = None,
    kernel_size: int | None = None,
    merge_kernel_size: int | None = None,
    output_kernel_size: int | None = None,
    context: bool | None = None,
    upsampling: str | None = None,
    output: str | None = None,
    activation: str | None = None,
    channels: int | None = None,
) -> keras.Model:
    """Waveform `[batch, in, channels]` to estimates `[batch, sources, out, channels]`.

    samples: in, one of those that `lengths` gives; None takes any of them.
    levels: how often the rate is halved; filters: of the first level, level i has i times as many.
    kernel_size, merge_kernel_size, output_kernel_size: of the convolutions on the way down, on the
        way up and at the end; all odd.
    context: True convolves what is there ("valid"), so out < in, from the middle of the input;
        False fills with zeros ("same"), so out = in, whose ends are not to be trusted.
    upsampling: "linear", or "learned" weights for the two neighbours, one a feature map.
    output: "direct", or "difference": the last source is the mixture less all the others.
    activation: "tanh" or "linear". Linear outputs and differences are clipped to full scale, but
        not in training. Options left at None come from the variant.
    Raises ValueError for unknown names, even kernels, and samples that do not fit.
    """
    size = sizes(
        VARIANTS, variant, levels=levels, filters=filters, kernel_size=kernel_size,
        merge_kernel_size=merge_kernel_size, output_kernel_size=output_kernel_size,
        context=context, upsampling=upsampling, output=output, activation=activation,
        channels=channels,
    )  # fmt: skip
    _check(sources, size)
    if samples is not None:
        _check_samples(size, samples)
    mixture = keras.Input((samples, size["channels"]), name="waveform")
    valid, crops = size["context"], _crops(size)
    padding = "valid" if valid else "same"

    def convolve(x, filters, kernel_size, name):
        x = layers.Conv1D(filters, kernel_size, padding=padding, name=f"{name}_conv")(x)
        return layers.LeakyReLU(negative_slope=0.2, name=f"{name}_leaky_relu")(x)

    def middle(x, crop, name, **options):
        return layers.Cropping1D(crop, name=f"{name}_crop", **options)(x) if crop else x

    x, skips = mixture, []
    for level in range(1, size["levels"] + 1):
        x = convolve(x, level * size["filters"], size["kernel_size"], f"down{level}")
        skips.append(x)
        x = x[:, ::2]
    x = convolve(x, (size["levels"] + 1) * size["filters"], size["kernel_size"], "bottleneck")
    for level in range(size["levels"], 0, -1):
        name = f"up{level}"
        x = Upsampling(valid, size["upsampling"], name=f"{name}_upsampling")(x)
        skip = middle(skips.pop(), crops[level], name)
        x = layers.Concatenate(name=f"{name}_concat")([skip, x])
        x = convolve(x, level * size["filters"], size["merge_kernel_size"], name)
    skip = middle(mixture, crops[0], "output")
    x = layers.Concatenate(name="output_concat")([skip, x])

    estimates = []
    difference = size["output"] == "difference"
    for source in sources[:-1] if difference else sources:
        y = layers.Conv1D(size["channels"], size["output_kernel_size"], padding=padding,
                          name=f"{source}_conv")(x)  # fmt: skip
        # In mixed precision the network ends in half precision; outputs and sums are float32.
        if size["activation"] == "tanh":
            y = layers.Activation("tanh", dtype="float32", name=f"{source}_tanh")(y)
        else:
            y = ClipAfterTraining(dtype="float32", name=f"{source}_clip")(y)
        estimates.append(y)
    if difference:
        crop = crops[0] + (size["output_kernel_size"] - 1) // 2 if valid else 0
        rest = middle(mixture, crop, "mixture", dtype="float32") - sum(estimates)
        estimates.append(ClipAfterTraining(dtype="float32", name=f"{sources[-1]}_clip")(rest))
    estimates = ops.stack(estimates, axis=1)  # [batch, sources, out, channels]
    estimates = Estimates(sources, dtype="float32", name="estimates")(estimates)
    return keras.Model(mixture, estimates, name="wave_u_net_core")


def build(
    sources: Sequence[str] = SOURCES,
    *,
    variant: str = "m4",
    samples: int | None = None,
    padding: str = "full",
    block_seconds: float | None = None,
    levels: int | None = None,
    filters: int | None = None,
    kernel_size: int | None = None,
    merge_kernel_size: int | None = None,
    output_kernel_size: int | None = None,
    context: bool | None = None,
    upsampling: str | None = None,
    output: str | None = None,
    activation: str | None = None,
    channels: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    samples: None for any length. padding: "full" separates the signal with silence around it, as
        far as any estimate looks; "valid" is for blocks of `block_grid`, which bring their
        context: nothing is added, and the ends of the estimates are of no use.
    block_seconds: of `block_grid`; the model does not depend on it.
    Other options are those of `core`. Raises ValueError as `core`.
    """
    options = {
        "levels": levels, "filters": filters, "kernel_size": kernel_size,
        "merge_kernel_size": merge_kernel_size, "output_kernel_size": output_kernel_size,
        "context": context, "upsampling": upsampling, "output": output, "activation": activation,
        "channels": channels,
    }  # fmt: skip
    size = sizes(VARIANTS, variant, **options)
    _check(sources, size)
    if padding not in ("full", "valid"):
        raise ValueError(f"padding must be one of full, valid; got {padding!r}")
    waveform, fits = keras.Input((samples, size["channels"]), name="waveform"), _fits(size)
    if padding == "full":
        pad = SilenceAround(fits.before, fits.inner, fits.outer, fits.step, dtype="float32",
                            name="silence_around")  # fmt: skip
        padded = pad(waveform)
        separate = core(sources, variant=variant, samples=padded.shape[1], **options)
        start = 0 if size["context"] else fits.before
        stems = CutToMixture(start, dtype="float32", name="cut")(separate(padded), waveform)
    else:
        stems = core(sources, variant=variant, samples=samples, **options)(waveform)
        if size["context"]:
            stems = ops.pad(stems, ((0, 0), (0, 0), (fits.before, fits.before), (0, 0)))
    stems = Estimates(sources, dtype="float32", name="stems")(stems)
    return keras.Model(waveform, stems, name="wave_u_net")


def lengths(
    samples: int,
    *,
    variant: str = "m4",
    levels: int | None = None,
    kernel_size: int | None = None,
    merge_kernel_size: int | None = None,
    output_kernel_size: int | None = None,
    context: bool | None = None,
) -> tuple[int, int]:
    """(input, output) samples of the shortest `core` that gives `samples` or more.

    With the paper's sizes (147443, 16389) for 16384 samples; without context both are the next
    multiple of 2 ** levels.
    """
    size = sizes(VARIANTS, variant, levels=levels, kernel_size=kernel_size,
                 merge_kernel_size=merge_kernel_size, output_kernel_size=output_kernel_size,
                 context=context)  # fmt: skip
    _check_sizes(size)
    return _lengths(size, samples)


def context_samples(
    *,
    variant: str = "m4",
    levels: int | None = None,
    kernel_size: int | None = None,
    merge_kernel_size: int | None = None,
    output_kernel_size: int | None = None,
) -> int:
    """How many samples an estimate looks back and ahead, at its least favourable position.

    Positions differ, as their neighbours on the coarser levels are nearer or farther: the first
    estimate of a `core` with context looks (in - out) / 2 back, which is the least.
    """
    size = sizes(VARIANTS, variant, levels=levels, kernel_size=kernel_size,
                 merge_kernel_size=merge_kernel_size,
                 output_kernel_size=output_kernel_size)  # fmt: skip
    _check_sizes(size)
    return _reach(size)


def block_grid(
    *,
    variant: str = "m4",
    block_seconds: float | None = None,
    levels: int | None = None,
    kernel_size: int | None = None,
    merge_kernel_size: int | None = None,
    output_kernel_size: int | None = None,
    context: bool | None = None,
) -> BlockGrid:
    """The grid on which blocks of `build(..., padding="valid")` equal the whole file.

    Blocks of about `block_seconds`, half of it context or less: short ones come out longer.
    """
    size = sizes(VARIANTS, variant, block_seconds=block_seconds, levels=levels,
                 kernel_size=kernel_size, merge_kernel_size=merge_kernel_size,
                 output_kernel_size=output_kernel_size, context=context)  # fmt: skip
    _check_sizes(size)
    fits = _fits(size)
    wanted = round(size["block_seconds"] * size["sample_rate"])
    # The coarsest level samples every `step` from the start of its input: all blocks alike.
    hop = max(-(-fits.outer // fits.step), round((wanted - fits.outer) / fits.step)) * fits.step
    return BlockGrid.with_context(hop, fits.before, fits.outer - fits.before)


def block_options(
    *,
    variant: str = "m4",
    block_seconds: float | None = None,
    levels: int | None = None,
    kernel_size: int | None = None,
    merge_kernel_size: int | None = None,
    output_kernel_size: int | None = None,
    context: bool | None = None,
) -> dict:
    """What `build` needs beside the options here, to make the model of one block."""
    grid = block_grid(
        variant=variant, block_seconds=block_seconds, levels=levels, kernel_size=kernel_size,
        merge_kernel_size=merge_kernel_size, output_kernel_size=output_kernel_size,
        context=context,
    )  # fmt: skip
    return {"samples": grid.samples, "padding": "valid"}


def static_block(
    samples: int | None = None,
    *,
    variant: str = "m4",
    block_seconds: float | None = None,
    levels: int | None = None,
    kernel_size: int | None = None,
    merge_kernel_size: int | None = None,
    output_kernel_size: int | None = None,
    context: bool | None = None,
) -> dict:
    """Options of `build` for a file of static shape: `samples` or a little more, none wasted.

    By default as long as a block of `block_grid` without its context.
    """
    options = {"levels": levels, "kernel_size": kernel_size, "context": context,
               "merge_kernel_size": merge_kernel_size,
               "output_kernel_size": output_kernel_size}  # fmt: skip
    grid = block_grid(variant=variant, block_seconds=block_seconds, **options)
    fits = _fits(sizes(VARIANTS, variant, **options))
    wanted = grid.hop if samples is None else samples
    return {"samples": fits.inner + max(0, -(-(wanted - fits.inner) // fits.step)) * fits.step}


def smaller_blocks(
    *,
    variant: str = "m4",
    block_seconds: float | None = None,
    levels: int | None = None,
    kernel_size: int | None = None,
    merge_kernel_size: int | None = None,
    output_kernel_size: int | None = None,
    context: bool | None = None,
) -> dict | None:
    """Options for blocks of about half the length, or None where they would be all context."""
    options = {"levels": levels, "kernel_size": kernel_size, "context": context,
               "merge_kernel_size": merge_kernel_size,
               "output_kernel_size": output_kernel_size}  # fmt: skip
    half = sizes(VARIANTS, variant, block_seconds=block_seconds)["block_seconds"] / 2
    now = block_grid(variant=variant, block_seconds=block_seconds, **options)
    less = block_grid(variant=variant, block_seconds=half, **options)
    return {"block_seconds": half} if less.samples < now.samples else None


@keras.saving.register_keras_serializable("kzoo")
class Upsampling(layers.Layer):
    """A sample between any two: `[batch, n, channels]` to twice n, less 1 if `valid`.

    mode: "linear" puts their mean there; "learned" w * left + (1 - w) * right, w a sigmoid of one
    weight a channel. Without `valid` the last sample is its own right neighbour if linear; if
    learned, zero is.
    """

    def __init__(self, valid: bool, mode: str = "linear", **kwargs):
        super().__init__(**kwargs)
        self.valid, self.mode = valid, mode

    def build(self, input_shape):
        if self.mode == "learned":
            self.interpolation = self.add_weight(
                shape=(input_shape[-1],), initializer="glorot_uniform", name="interpolation"
            )

    def call(self, x):
        left, right, last = x, x[:, 1:], x[:, -1:]
        if self.valid:
            left = x[:, :-1]
        else:
            after = ops.zeros_like(last) if self.mode == "learned" else last
            right = ops.concatenate([right, after], axis=1)
        weight = ops.sigmoid(self.interpolation) if self.mode == "learned" else 0.5
        between = weight * left + (1 - weight) * right
        pairs = ops.stack([left, between], axis=2)  # [batch, n or n - 1, 2, channels]
        pairs = ops.reshape(pairs, (-1, 2 * ops.shape(left)[1], x.shape[-1]))
        return ops.concatenate([pairs, last], axis=1) if self.valid else pairs

    def get_config(self):
        return {**super().get_config(), "valid": self.valid, "mode": self.mode}


@dataclass(frozen=True)
class _Fits:
    """A signal of inner + k * step samples, and it with its context: outer + k * step samples.

    before: samples of context that come first. The coarsest level samples every `step`.
    """

    inner: int
    outer: int
    before: int
    step: int


def _fits(size: Mapping) -> _Fits:
    step = 2 ** size["levels"]
    if size["context"]:
        outer, inner = _lengths(size, 1)
        return _Fits(inner, outer, (outer - inner) // 2, step)
    reach = _reach(size)
    before = -(-reach // step) * step
    outer = before + -(-(1 + reach) // step) * step
    return _Fits(outer - before - reach, outer, before, step)


def _lengths(size: Mapping, samples: int) -> tuple[int, int]:
    step = 2 ** size["levels"]
    if not size["context"]:
        return (-(-samples // step) * step,) * 2
    coarsest = samples + size["output_kernel_size"] - 1
    for _ in range(size["levels"]):
        coarsest = -(-(coarsest + size["merge_kernel_size"]) // 2)
    coarsest = max(coarsest, 2)
    found, given = coarsest + size["kernel_size"] - 1, coarsest
    for _ in range(size["levels"]):
        found = 2 * found - 1 + size["kernel_size"] - 1
        given = 2 * given - 1 - (size["merge_kernel_size"] - 1)
    return found, given - (size["output_kernel_size"] - 1)


def _reach(size: Mapping) -> int:
    finest, down, up = 2 ** size["levels"], size["kernel_size"] // 2, size["merge_kernel_size"] // 2
    # Interpolation from a coarser level looks one sample of it further, from between two of them.
    return down * (2 * finest - 1) + (up + 1) * (finest - 1) + size["output_kernel_size"] // 2


def _crops(size: Mapping) -> list[int]:
    """What to take off both ends of the input (0) and of the features of each level."""
    if not size["context"]:
        return [0] * (size["levels"] + 1)
    down, up = size["kernel_size"] // 2, size["merge_kernel_size"] // 2
    crops = [2 * down]
    for _ in range(size["levels"] - 1):
        crops.append(2 * (crops[-1] + up + down))
    return [crops[-1] + up + down, *reversed(crops)]


def _check(sources: Sequence[str], size: Mapping) -> None:
    if isinstance(sources, str) or not sources or len(set(sources)) != len(sources):
        raise ValueError(f"sources must be a sequence of different names; got {sources!r}")
    for what, known in _CHOICES.items():
        if size[what] not in known:
            raise ValueError(f"{what} must be one of {', '.join(known)}; got {size[what]!r}")
    if size["output"] == "difference" and len(sources) < 2:
        raise ValueError(
            f"output='difference' needs a second source to be the rest; got {list(sources)}: "
            "name another, or choose output='direct'"
        )
    _check_sizes(size)


def _check_sizes(size: Mapping) -> None:
    for what in ("kernel_size", "merge_kernel_size", "output_kernel_size"):
        if size[what] < 1 or size[what] % 2 == 0:
            raise ValueError(
                f"{what} must be odd, so that estimates stay in place; got {size[what]}"
            )
    if size["levels"] < 1:
        raise ValueError(f"levels must be at least 1; got {size['levels']}")


def _check_samples(size: Mapping, samples: int) -> None:
    # What goes in grows with what comes out, a step at a time.
    step, (smallest, _) = 2 ** size["levels"], _lengths(size, 1)
    if samples < smallest or (samples - smallest) % step:
        longer = smallest + max(0, -(-(samples - smallest) // step)) * step
        raise ValueError(
            f"samples must be {smallest} plus a multiple of {step} for this network; got "
            f"{samples}: the next is {longer} (kzoo.models.wave_u_net.lengths)"
        )
