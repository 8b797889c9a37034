"""SEGAN: speech enhancement on the waveform by a strided autoencoder, trained against an adversary.

Pascual, Bonafonte and Serra, 2017, https://arxiv.org/abs/1703.09452; SEGAN+: Pascual, Serra and
Bonafonte, 2019, Towards generalized speech enhancement with generative adversarial networks,
https://arxiv.org/abs/1904.03418

A window of a second goes down through strided convolutions to a code, meets random numbers z there,
and comes up again, every level handing its detail across. A second network, which the user never
meets, is shown pairs of clean or enhanced speech and the noisy one, and learns to tell them apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, Self

import keras
from keras import layers, ops

from kzoo.dsp.blocks import BlockGrid
from kzoo.dsp.emphasis import DeEmphasis, PreEmphasis
from kzoo.layers.deep_filtering import AttenuationLimit
from kzoo.layers.latent import Latent
from kzoo.layers.masks import Estimates
from kzoo.layers.overlapping import JoinWindows, OverlappingWindows
from kzoo.layers.virtual_batch_norm import ReferenceBatch, VirtualBatchNorm
from kzoo.models.base import domains
from kzoo.models.base.sizes import Signal, check_padding, check_positive, check_sources


@dataclass(frozen=True, kw_only=True)
class Convolutions:
    """The strided convolutions of either network.

    filters: of the levels, each `stride` times coarser than the last.
    initial_std: of the truncated normal distribution that kernels are drawn from; with None they
        are drawn from Glorot's uniform one.
    """

    filters: tuple[int, ...] = (64, 128, 256, 512, 1024)
    kernel_size: int = 31
    stride: int = 4
    initial_std: float | None = None


@dataclass(frozen=True, kw_only=True)
class SEGAN(Convolutions, Signal):
    """The sizes of SEGAN+ by default.

    window: samples of one window, even and a multiple of stride ** len(filters), which makes so
        many frames of the code.
    z_channels: of the random numbers beside the code. z: "fixed", the same standard normal numbers
        in every window; "zero"; or "input", a second input `[batch, frames, z_channels]`, the same
        for all windows of an example. In training, the first two draw new ones for each window.
    skip_factors: SEGAN+'s learned factor for each channel that is handed across, 1 at first.
    biases: whether the convolutions have them.
    edges: what a convolution on the way down sees around a window: "zeros", as SEGAN's program, or
        "mirror", the window again, as SEGAN+'s has it, whose frames also begin a sample earlier.
    pre_emphasis: the share of each sample that is subtracted from the next one.
    attenuation_limit_db: noise is not attenuated by more than this; None for no limit. It is no
        part of what is trained, so it may be set in a trained preset.
    """

    sample_rate: int = 16000
    channels: int = 1
    window: int = 16384
    z_channels: int = 1024
    z: Literal["fixed", "zero", "input"] = "fixed"
    skip_factors: bool = True
    biases: bool = True
    edges: Literal["zeros", "mirror"] = "zeros"
    pre_emphasis: float = 0.95
    attenuation_limit_db: float | None = None

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "window", "kernel_size", "stride", "z_channels")
        step = self.stride ** len(self.filters)
        if self.window % step or self.window % 2:
            raise ValueError(
                f"window must be even and a multiple of {step}, stride {self.stride} to the power "
                f"of {len(self.filters)} levels; got {self.window}"
            )
        shortest = self.frames * self.stride
        if self.edges == "mirror" and shortest <= self.kernel_size // 2:
            raise ValueError(
                f"a level of {shortest} frames has too few to mirror for kernel_size="
                f"{self.kernel_size}: take a longer window, fewer levels or edges='zeros'"
            )
        if (self.attenuation_limit_db or 0) < 0:
            raise ValueError(
                f"attenuation_limit_db must not be below 0; got {self.attenuation_limit_db}"
            )

    @property
    def frames(self) -> int:
        """Frames of the code of one window."""
        return self.window // self.stride ** len(self.filters)

    def context_samples(self) -> int:
        """Two windows see a sample; the first may end with it, and the last begin."""
        return self.window - 1

    def grid(self) -> BlockGrid:
        """One window a block, overlapping by half: the windows of the whole file."""
        hop = self.window // 2
        return BlockGrid(samples=self.window, hop=hop, start=-hop)

    def block(self) -> dict[str, Any]:
        return {"samples": self.window, "padding": "valid"}

    def segment(self, samples: int) -> tuple[Self, dict[str, Any]]:
        """One window, of the next length that the levels divide."""
        step = math.lcm(2, self.stride ** len(self.filters))
        size = replace(self, window=max(1, -(-samples // step)) * step)
        return size, size.block()

    def static(self, samples: int | None = None) -> tuple[Self, int]:
        """Two windows, or whole halves of windows."""
        hop = self.window // 2
        return self, 4 * hop if samples is None else -(-samples // hop) * hop

    def smaller(self) -> None:
        """None: the network is trained for windows of this length."""

    def training(self, system: keras.Model, *, inference_mode: bool = False) -> domains.Training:
        """Train between pre-emphasis and its inverse."""
        return domains.pre_emphasised(system, core="segan_core", inference_mode=inference_mode)


@dataclass(frozen=True, kw_only=True)
class Discriminator(Convolutions):
    """SEGAN+'s second network by default.

    norm: "virtual", by a reference of `reference_examples`, which `set_reference` gives it,
        "batch" or "none".
    phase_shift: in training each level's input is turned by up to so many samples.
    head: "pointwise", one channel and a dense layer (SEGAN), or "dense", three layers (SEGAN+).
    unit_level: whether each pair is divided by the root mean square of its noisy signal. Without
        it, which is the published way, quiet speech is hardly judged.
    """

    norm: Literal["virtual", "batch", "none"] = "batch"
    reference_examples: int = 16
    phase_shift: int = 5
    head: Literal["pointwise", "dense"] = "dense"
    unit_level: bool = False


_PAPER_LEVELS: dict[str, Any] = {
    "filters": (16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 1024),
    "stride": 2,
    "initial_std": 0.02,
}
_SMALL_FILTERS = (16, 32, 64, 96, 128)
_TINY_LEVELS: dict[str, Any] = {"filters": (3, 4, 5), "kernel_size": 11}
VARIANTS = {
    "plus": SEGAN(),
    "paper": SEGAN(**_PAPER_LEVELS, skip_factors=False),
    "paper_alpha": SEGAN(**_PAPER_LEVELS),
    "small": SEGAN(filters=_SMALL_FILTERS, z_channels=32),
    "tiny": SEGAN(**_TINY_LEVELS, z_channels=2, window=1024, sample_rate=8000),
}
_SEGAN: dict[str, Any] = {"norm": "virtual", "phase_shift": 0, "head": "pointwise"}
# Of the generators of the same names.
DISCRIMINATORS = {
    "plus": Discriminator(),
    "paper": Discriminator(**_PAPER_LEVELS, **_SEGAN),
    "paper_alpha": Discriminator(**_PAPER_LEVELS, **_SEGAN),
    "small": Discriminator(filters=_SMALL_FILTERS, **_SEGAN),
    "tiny": Discriminator(**_TINY_LEVELS, norm="virtual", head="pointwise"),
}
SOURCES = ("speech",)
_PADDING = {"zeros": "same", "mirror": "valid"}  # of the convolutions on the way down


def core(sources: Sequence[str] = SOURCES, size: SEGAN = VARIANTS["plus"]) -> keras.Model:
    """(pre-emphasised window `[batch, window, channels]`, z `[batch, frames, z_channels]`) to
    pre-emphasised estimates `[batch, sources, window, channels]`, -1 to 1.

    Raises ValueError for sources of one name.
    """
    check_sources(sources)
    mixture = keras.Input((size.window, size.channels), name="mixture")
    z = keras.Input((size.frames, size.z_channels), name="z")
    x, skips = mixture, []
    for level, n in enumerate(size.filters, 1):
        if size.edges == "mirror":
            around = (size.kernel_size // 2 - 1, size.kernel_size // 2)
            x = ops.pad(x, [(0, 0), around, (0, 0)], mode="reflect")
        x = _down(n, size, f"enc{level}_conv", size.biases, padding=_PADDING[size.edges])(x)
        skips.append(x)  # before its activation
        x = _prelu(f"enc{level}_prelu")(x)
    skips.pop()
    x = layers.Concatenate(name="code")([z, x])
    for level, n in enumerate(reversed(size.filters[:-1]), 1):
        x = _up(n, size, f"dec{level}_conv", size.biases)(x)
        x = _prelu(f"dec{level}_prelu")(x)
        skip = skips.pop()
        if size.skip_factors:
            skip = SkipFactors(name=f"dec{level}_skip")(skip)
        x = layers.Concatenate(name=f"dec{level}_concat")([x, skip])
    width = len(sources) * size.channels
    x = _up(width, size, f"dec{len(size.filters)}_conv", size.biases)(x)
    x = layers.Activation("tanh", dtype="float32", name="tanh")(x)
    x = layers.Reshape((-1, len(sources), size.channels), dtype="float32", name="apart")(x)
    x = layers.Permute((2, 1, 3), dtype="float32", name="in_front")(x)
    estimates = Estimates(sources, dtype="float32", name="estimates")(x)
    return keras.Model([mixture, z], estimates, name="segan_core")


def build(
    sources: Sequence[str] = SOURCES,
    size: SEGAN = VARIANTS["plus"],
    *,
    samples: int | None = None,
    padding: Literal["full", "valid"] = "full",
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    Windows overlap by half; each is pre-emphasised, enhanced and de-emphasised by itself, and they
    fade into each other. (The paper's program sets windows side by side.)

    samples: None for any length. padding: "valid" takes one window, a block of `SEGAN.grid`.
    """
    check_padding(padding)
    if padding == "valid" and samples != size.window:
        raise ValueError(
            f'padding="valid" is for one window of {size.window} samples; got {samples}'
        )
    waveform = keras.Input((samples, size.channels), name="waveform")
    # float32 around the network whatever the policy: half precision has 66 dB for a waveform.
    windows = waveform
    if padding == "full":
        windows = OverlappingWindows(size.window, dtype="float32", name="windows")(waveform)
    emphasised = PreEmphasis(size.pre_emphasis, dtype="float32", name="pre_emphasis")(windows)
    shape = (size.frames, size.z_channels)
    inputs = [waveform]
    if size.z == "input":
        inputs.append(keras.Input(shape, name="z"))
        latent = inputs[1]
        if padding == "full":
            latent = ForEachWindow(name="z_of_windows")(latent, waveform, windows)
    else:
        latent = Latent(shape, size.z, name="latent")(emphasised)
    x = core(sources, size)([emphasised, latent])
    if size.attenuation_limit_db is not None:
        limited = AttenuationLimit(size.attenuation_limit_db, dtype="float32", name="limited")
        x = limited(x, ops.expand_dims(emphasised, 1))
    x = DeEmphasis(size.pre_emphasis, dtype="float32", name="de_emphasis")(x)
    if padding == "full":
        x = JoinWindows(dtype="float32", name="join")(x, waveform)
    stems = Estimates(sources, dtype="float32", name="stems")(x)
    return keras.Model(inputs if len(inputs) > 1 else waveform, stems, name="segan")


def discriminator(
    size: Discriminator = DISCRIMINATORS["plus"],
    *,
    window: int,
    channels: int = 2,
    frozen: bool = False,
) -> keras.Model:
    """Signal beside the noisy one, `[batch, window, channels]`, to `[batch, 1]`: high if clean.

    frozen: without the reference batch; virtual norms use the statistics that they have kept.
    """
    pair = keras.Input((window, channels), name="pair")
    x, reference = pair, None
    virtual = size.norm == "virtual"
    if virtual and not frozen:
        reference = ReferenceBatch(size.reference_examples, dtype="float32", name="reference")(pair)
    if size.unit_level:
        levelled = UnitLevel(dtype="float32", name="unit_level")
        x, reference = levelled(x), None if reference is None else levelled(reference)
    for level, n in enumerate(size.filters, 1):
        name = f"disc{level}"
        if size.phase_shift:
            x = PhaseShift(size.phase_shift, name=f"{name}_shift")(x)
        convolve = _down(n, size, f"{name}_conv")
        x = convolve(x)
        # Of the reference only the statistics count.
        reference = None if reference is None else convolve(reference)
        if virtual:
            normed = VirtualBatchNorm(size.reference_examples, name=f"{name}_norm")(x, reference)
            x, reference = (normed, None) if reference is None else normed
        elif size.norm == "batch":
            x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
        if size.head == "dense":
            activate = _prelu(f"{name}_prelu")
        else:
            activate = layers.LeakyReLU(negative_slope=0.3, name=f"{name}_leaky_relu")
        x = activate(x)
        reference = None if reference is None else activate(reference)
    if size.head == "dense":
        x = layers.Flatten(name="flatten")(x)
        for number, width in enumerate((256, 128), 1):
            x = layers.Dense(width, name=f"dense{number}")(x)
            x = layers.PReLU(keras.initializers.Constant(0.25), name=f"dense{number}_prelu")(x)
    else:
        kernel = _initializer(size)
        x = layers.Conv1D(1, 1, use_bias=False, kernel_initializer=kernel, name="logits_conv")(x)
        x = layers.Flatten(name="flatten")(x)
    logits = layers.Dense(1, dtype="float32", name="logits")(x)
    return keras.Model(pair, logits, name="segan_discriminator")


@keras.saving.register_keras_serializable("kzoo")
class SkipFactors(layers.Layer):
    """`[batch, frames, channels]`, each channel times a learned factor, 1 at first."""

    def build(self, input_shape):
        self.alpha = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="alpha")

    def call(self, x):
        return x * self.alpha


@keras.saving.register_keras_serializable("kzoo")
class UnitLevel(layers.Layer):
    """`[batch, samples, channels]` over the root mean square of each example's last channel.

    Below -80 dB of full scale that is no longer lifted.
    """

    def call(self, x):
        power = ops.mean(ops.square(x[..., -1:]), axis=1, keepdims=True)
        return x / ops.sqrt(power + 1e-8)


@keras.saving.register_keras_serializable("kzoo")
class PhaseShift(layers.Layer):
    """In training, turns `[batch, frames, channels]` by 1 to `most` frames, forth or back."""

    def __init__(self, most: int, **kwargs):
        super().__init__(**kwargs)
        self.most = most
        self.generator = keras.random.SeedGenerator()

    def call(self, x, training=False):
        if not training:
            return x
        drawn = keras.random.randint((), 0, 2 * self.most, dtype="int32", seed=self.generator)
        shift = drawn - self.most
        shift = ops.where(shift >= 0, shift + 1, shift)  # never 0
        frames = x.shape[1]
        return ops.take(x, ops.mod(ops.arange(frames) + shift, frames), axis=1)

    def compute_output_shape(self, input_shape):
        return input_shape

    def get_config(self):
        return {**super().get_config(), "most": self.most}


@keras.saving.register_keras_serializable("kzoo")
class ForEachWindow(layers.Layer):
    """`[batch, ...]` to `[batch * windows, ...]`: an example's own for each of its windows."""

    def call(self, z, waveform, windows):
        each = ops.shape(windows)[0] // ops.shape(waveform)[0]
        shape = (ops.shape(z)[0], each, *z.shape[1:])
        return ops.reshape(ops.broadcast_to(ops.expand_dims(z, 1), shape), (-1, *z.shape[1:]))

    def compute_output_spec(self, z, waveform, windows):
        return keras.KerasTensor((windows.shape[0], *z.shape[1:]), self.compute_dtype)


def _down(
    filters: int, size: Convolutions, name: str, biases: bool = True, *, padding: str = "same"
):
    return _strided(layers.Conv1D, filters, size, name, biases, padding)


def _up(filters: int, size: Convolutions, name: str, biases: bool):
    return _strided(layers.Conv1DTranspose, filters, size, name, biases, "same")


def _strided(
    layer: type[layers.Layer],
    filters: int,
    size: Convolutions,
    name: str,
    biases: bool,
    padding: str,
):
    return layer(
        filters,
        size.kernel_size,
        strides=size.stride,
        padding=padding,
        use_bias=biases,
        kernel_initializer=_initializer(size),
        name=name,
    )


def _prelu(name: str):
    return layers.PReLU("zeros", shared_axes=[1], name=name)  # a slope a channel


def _initializer(size: Convolutions):
    if size.initial_std is None:
        return "glorot_uniform"
    return keras.initializers.TruncatedNormal(0.0, size.initial_std)
