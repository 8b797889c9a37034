"""Wave-U-Net: separation on the waveform itself, by a U-Net of one-dimensional convolutions.

Stoller, Ewert and Dixon, 2018, https://arxiv.org/abs/1806.03185

Features are computed at ever coarser rates, each level keeping every second sample of the last,
and interpolated back up, each level handing its detail across; no spectrogram is involved.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, NamedTuple, Self

import keras
from keras import layers, ops

from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.masks import Estimates
from kzoo.layers.waveform import ClipAfterTraining, CutToMixture, SilenceAround
from kzoo.models.base import domains
from kzoo.models.base.sizes import Sizes, check_padding, check_positive, check_sources


@dataclass(frozen=True, kw_only=True)
class WaveUNet(Sizes):
    """The paper's M4 by default.

    levels: how often the rate is halved. filters: channels of the first level; level i has i times
        as many.
    kernel_size, merge_kernel_size, output_kernel_size: lengths of the convolutions on the way down,
        on the way up and at the end; all are odd.
    context: True convolves what is there ("valid"), so the core's estimates are shorter than its
        input, from its middle; False fills with zeros ("same"), so they are as long, and their
        ends are not to be trusted.
    upsampling: "linear", or "learned" weights for the two neighbours, one a feature map.
    skips: whether each level hands its detail across, and the mixture its own to the end; without,
        for comparison, what goes up has passed the bottom.
    output: "direct", or "difference": the last source is the mixture less all the others.
    activation: "tanh" or "linear". Linear outputs and differences are clipped to full scale, but
        not in training.
    The fields that are not named here are those of `Sizes`.
    """

    sample_rate: int = 22050
    channels: int = 2
    levels: int = 12
    filters: int = 24
    kernel_size: int = 15
    merge_kernel_size: int = 5
    output_kernel_size: int = 1
    context: bool = True
    upsampling: Literal["linear", "learned"] = "linear"
    skips: bool = True
    output: Literal["direct", "difference"] = "difference"
    activation: Literal["tanh", "linear"] = "tanh"
    block_seconds: float = 6.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "levels", "filters")
        for name in ("kernel_size", "merge_kernel_size", "output_kernel_size"):
            value = getattr(self, name)
            if value < 1 or value % 2 == 0:
                raise ValueError(
                    f"{name} must be odd, so that estimates stay in place; got {value}"
                )

    @property
    def step(self) -> int:
        """Samples for one of the coarsest level."""
        return 2**self.levels

    def lengths(self, samples: int) -> tuple[int, int]:
        """(input, output) samples of the shortest `core` that gives `samples` or more.

        With the paper's sizes (147443, 16389) for 16384 samples; without context both are the next
        multiple of `step`.
        """
        if not self.context:
            return (-(-samples // self.step) * self.step,) * 2
        coarsest = samples + self.output_kernel_size - 1
        for _ in range(self.levels):
            coarsest = -(-(coarsest + self.merge_kernel_size) // 2)
        coarsest = max(coarsest, 2)
        taken, given = coarsest + self.kernel_size - 1, coarsest
        for _ in range(self.levels):
            taken = 2 * taken - 1 + self.kernel_size - 1
            given = 2 * given - 1 - (self.merge_kernel_size - 1)
        return taken, given - (self.output_kernel_size - 1)

    def context_samples(self) -> int:
        """How many samples an estimate looks back and ahead, at its least favourable position.

        Positions differ, as their neighbours on the coarser levels are nearer or farther: the first
        estimate of a `core` with context looks (in - out) / 2 back, which is the least.
        """
        down, up = self.kernel_size // 2, self.merge_kernel_size // 2
        # Interpolation from a coarser level looks one sample of it further, from between two.
        around = down * (2 * self.step - 1) + (up + 1) * (self.step - 1)
        return around + self.output_kernel_size // 2

    def grid(self) -> BlockGrid:
        """The grid on which blocks of `build(..., padding="valid")` equal the whole file.

        Blocks of about `block_seconds`, half of it context or less: short ones come out longer.
        """
        fit, step = self.fit(), self.step
        wanted = round(self.block_seconds * self.sample_rate)
        # The coarsest level samples every `step` from the start of its input: all blocks alike.
        hop = max(-(-fit.outer // step), round((wanted - fit.outer) / step)) * step
        return BlockGrid.with_context(hop, fit.before, fit.outer - fit.before)

    def block(self) -> dict[str, Any]:
        return {"samples": self.grid().samples, "padding": "valid"}

    def segment(self, samples: int) -> tuple[Self, dict[str, Any]]:
        """The next length that `core` takes, with its context in it."""
        return self, {**self.block(), "samples": self.next_input(samples)}

    def static(self, samples: int | None = None) -> tuple[Self, int]:
        """As long as the new samples of a block of `grid` by default; the next length that fits."""
        wanted = self.grid().hop if samples is None else samples
        return self, _next(wanted, self.fit().inner, self.step)

    def training(self, system: keras.Model, *, inference_mode: bool = False) -> domains.Training:
        """The core, on waveforms."""
        return domains.core_waveforms(system, core="wave_u_net_core", inference_mode=inference_mode)

    def next_input(self, samples: int) -> int:
        """The length of at least `samples` that `core` takes as its input."""
        return _next(samples, self.lengths(1)[0], self.step)

    def fit(self) -> Fit:
        """How a signal of any length lies in the input of `core`."""
        if self.context:
            outer, inner = self.lengths(1)
            return Fit(inner, outer, (outer - inner) // 2)
        reach = self.context_samples()
        before = -(-reach // self.step) * self.step
        outer = before + -(-(1 + reach) // self.step) * self.step
        return Fit(outer - before - reach, outer, before)


class Fit(NamedTuple):
    """A signal of inner + k * step samples, and it with its context: outer + k * step samples.

    before: samples of context that come first.
    """

    inner: int
    outer: int
    before: int


_M4 = WaveUNet()
_M1 = replace(_M4, context=False, output="direct", channels=1)
_M3 = replace(_M4, channels=1)
_M5 = replace(_M4, upsampling="learned")
VARIANTS = {
    "m4": _M4,
    "m1": _M1,
    "m2": replace(_M1, output="difference"),
    "m3": _M3,
    "m5": _M5,
    "m5_highsr": replace(_M5, sample_rate=44100),
    "m6": _M4,  # for bass, drums, other and vocals
    "m7": replace(_M3, filters=34, sample_rate=8192),
    "small": replace(_M5, levels=10, filters=8, sample_rate=44100),
    "tiny": replace(
        _M5,
        levels=4,
        filters=3,
        kernel_size=5,
        merge_kernel_size=3,
        context=False,
        sample_rate=8000,
        block_seconds=0.25,
    ),
}
SOURCES = ("accompaniment", "vocals")


def core(
    sources: Sequence[str] = SOURCES,
    size: WaveUNet = VARIANTS["m4"],
    *,
    samples: int | None = None,
) -> keras.Model:
    """Waveform `[batch, in, channels]` to estimates `[batch, sources, out, channels]`.

    samples: in, one of those that `WaveUNet.lengths` gives; None takes any of them.
    Raises ValueError for sources of one name, for a single one with output="difference", and for
    samples that do not fit.
    """
    _check(sources, size)
    if samples is not None and samples != size.next_input(samples):
        raise ValueError(
            f"samples must be {size.next_input(1)} plus a multiple of {size.step} for this "
            f"network; got {samples}: the next is {size.next_input(samples)}"
        )
    mixture = keras.Input((samples, size.channels), name="waveform")
    crops = _crops(size)
    x, skips = mixture, []
    for level in range(1, size.levels + 1):
        x = _convolve(x, level * size.filters, size.kernel_size, size, f"down{level}")
        skips.append(x)
        x = _every_second(x)
    x = _convolve(x, (size.levels + 1) * size.filters, size.kernel_size, size, "bottleneck")
    for level in range(size.levels, 0, -1):
        name = f"up{level}"
        x = Upsampling(size.context, size.upsampling, name=f"{name}_upsampling")(x)
        if size.skips:
            skip = _middle(skips.pop(), crops[level], name)
            x = layers.Concatenate(name=f"{name}_concat")([skip, x])
        x = _convolve(x, level * size.filters, size.merge_kernel_size, size, name)
    if size.skips:
        skip = _middle(mixture, crops[0], "output")
        x = layers.Concatenate(name="output_concat")([skip, x])

    estimated = sources[:-1] if size.output == "difference" else sources
    estimates = [_estimate(x, source, size) for source in estimated]
    if size.output == "difference":
        crop = crops[0] + (size.output_kernel_size - 1) // 2 if size.context else 0
        rest = _middle(mixture, crop, "mixture", dtype="float32") - sum(estimates)
        estimates.append(ClipAfterTraining(dtype="float32", name=f"{sources[-1]}_clip")(rest))
    estimates = ops.stack(estimates, axis=1)  # [batch, sources, out, channels]
    estimates = Estimates(sources, dtype="float32", name="estimates")(estimates)
    return keras.Model(mixture, estimates, name="wave_u_net_core")


def build(
    sources: Sequence[str] = SOURCES,
    size: WaveUNet = VARIANTS["m4"],
    *,
    samples: int | None = None,
    padding: Literal["full", "valid"] = "full",
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    samples: None for any length. padding: "full" separates the signal with silence around it, as
        far as any estimate looks; "valid" is for blocks of `WaveUNet.grid`, which bring their
        context: nothing is added, and the ends of the estimates are of no use.
    Raises ValueError as `core`.
    """
    _check(sources, size)
    check_padding(padding)
    waveform, fit = keras.Input((samples, size.channels), name="waveform"), size.fit()
    if padding == "full":
        padded = SilenceAround(
            fit.before, fit.inner, fit.outer, size.step, dtype="float32", name="silence_around"
        )(waveform)
        separate = core(sources, size, samples=padded.shape[1])
        start = 0 if size.context else fit.before
        stems = CutToMixture(start, dtype="float32", name="cut")(separate(padded), waveform)
    else:
        stems = core(sources, size, samples=samples)(waveform)
        if size.context:
            stems = ops.pad(stems, ((0, 0), (0, 0), (fit.before, fit.before), (0, 0)))
    stems = Estimates(sources, dtype="float32", name="stems")(stems)
    return keras.Model(waveform, stems, name="wave_u_net")


def _check(sources: Sequence[str], size: WaveUNet) -> None:
    check_sources(sources)
    if size.output == "difference" and len(sources) < 2:
        raise ValueError(
            f"output='difference' needs a second source to be the rest; got {list(sources)}: "
            "name another, or choose output='direct'"
        )


def _convolve(x, filters: int, kernel_size: int, size: WaveUNet, name: str):
    x = layers.Conv1D(filters, kernel_size, padding=_padding(size), name=f"{name}_conv")(x)
    return layers.LeakyReLU(negative_slope=0.2, name=f"{name}_leaky_relu")(x)


def _estimate(x, source: str, size: WaveUNet):
    y = layers.Conv1D(
        size.channels, size.output_kernel_size, padding=_padding(size), name=f"{source}_conv"
    )(x)
    # In mixed precision the network ends in half precision; outputs and sums are float32.
    if size.activation == "tanh":
        return layers.Activation("tanh", dtype="float32", name=f"{source}_tanh")(y)
    return ClipAfterTraining(dtype="float32", name=f"{source}_clip")(y)


def _padding(size: WaveUNet) -> str:
    return "valid" if size.context else "same"


def _every_second(x):
    """Every second sample, from the first on: `[batch, n, channels]` to half of n, rounded up."""
    _, samples, channels = x.shape
    if samples is None:
        return x[:, ::2]
    # As halves of pairs: TFLite takes seven times as long for a stride.
    if samples % 2:
        x = ops.pad(x, ((0, 0), (0, 1), (0, 0)))
    return ops.reshape(x, (-1, (samples + 1) // 2, 2 * channels))[..., :channels]


def _middle(x, crop: int, name: str, **options):
    return layers.Cropping1D(crop, name=f"{name}_crop", **options)(x) if crop else x


def _crops(size: WaveUNet) -> list[int]:
    """What to take off both ends of the input (0) and of the features of each level."""
    if not size.context:
        return [0] * (size.levels + 1)
    down, up = size.kernel_size // 2, size.merge_kernel_size // 2
    crops = [2 * down]
    for _ in range(size.levels - 1):
        crops.append(2 * (crops[-1] + up + down))
    return [crops[-1] + up + down, *reversed(crops)]


def _next(samples: int, smallest: int, step: int) -> int:
    """`smallest`, and as many steps more as bring it to `samples` or beyond."""
    return smallest + max(0, -(-(samples - smallest) // step)) * step


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

    def compute_output_shape(self, input_shape):
        batch, samples, channels = input_shape
        return (batch, None if samples is None else 2 * samples - self.valid, channels)

    def get_config(self):
        return {**super().get_config(), "valid": self.valid, "mode": self.mode}
