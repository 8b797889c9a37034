"""SEGAN: speech enhancement on the waveform by a strided autoencoder, trained against an adversary.

Pascual, Bonafonte and Serra, 2017, https://arxiv.org/abs/1703.09452; SEGAN+: Pascual, Serra and
Bonafonte, 2019, Towards generalized speech enhancement with generative adversarial networks,
https://arxiv.org/abs/1904.03418

A window of a second goes down through strided convolutions to a code, meets random numbers z there,
and comes up again, every level handing its detail across. A second network, which the user never
meets, is shown pairs of clean or enhanced speech and the noisy one, and learns to tell them apart.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers, ops

from kzoo.dsp.blocks import BlockGrid
from kzoo.dsp.emphasis import DeEmphasis, PreEmphasis
from kzoo.layers.latent import LATENTS, Latent
from kzoo.layers.masks import Estimates
from kzoo.layers.overlapping import JoinWindows, OverlappingWindows
from kzoo.layers.virtual_batch_norm import ReferenceBatch, VirtualBatchNorm

_PAPER = {
    "filters": (16, 32, 32, 64, 64, 128, 128, 256, 256, 512, 1024), "kernel_size": 31, "stride": 2,
    "z_channels": 1024, "skip_factors": False, "biases": True, "window": 16384, "channels": 1,
    "pre_emphasis": 0.95, "sample_rate": 16000, "initial_std": 0.02,
    "norm": "virtual", "phase_shift": 0, "head": "pointwise",
}  # fmt: skip
_PLUS = {
    **_PAPER, "filters": (64, 128, 256, 512, 1024), "stride": 4, "skip_factors": True,
    "initial_std": None, "norm": "batch", "phase_shift": 5, "head": "dense",
}  # fmt: skip
VARIANTS = {
    "paper": _PAPER,
    "paper_alpha": {**_PAPER, "skip_factors": True},
    "plus": _PLUS,
    "small": {
        **_PLUS, "filters": (16, 32, 64, 96, 128), "z_channels": 32, "norm": "virtual",
        "phase_shift": 0, "head": "pointwise",
    },
    "tiny": {
        **_PLUS, "filters": (3, 4, 5), "kernel_size": 11, "z_channels": 2, "window": 1024,
        "sample_rate": 8000, "norm": "virtual", "head": "pointwise",
    },
}  # fmt: skip
ZS = (*LATENTS, "input")
NORMS = ("virtual", "batch", "none")
HEADS = ("pointwise", "dense")
PADDINGS = ("full", "valid")


def core(
    sources: Sequence[str] = ("speech",),
    *,
    variant: str = "plus",
    filters: Sequence[int] | None = None,
    kernel_size: int | None = None,
    stride: int | None = None,
    z_channels: int | None = None,
    skip_factors: bool | None = None,
    biases: bool | None = None,
    window: int | None = None,
    channels: int | None = None,
) -> keras.Model:
    """(pre-emphasised window `[batch, window, channels]`, z `[batch, frames, z_channels]`) to
    pre-emphasised estimates `[batch, sources, window, channels]`, -1 to 1.

    filters: of the levels, each `stride` times coarser than the last; frames of the code are
        window / stride ** levels. skip_factors: SEGAN+'s learned factor for each channel that is
        handed across, 1 at first. biases: of all convolutions.
    Options left at None come from the variant. SEGAN+'s program mirrors the signal at a window's
    ends where this network, as SEGAN's, has zeros.
    Raises ValueError for unknown names and a window that the levels do not divide.
    """
    size = _sizes(
        variant, sources, filters=filters, kernel_size=kernel_size, stride=stride,
        z_channels=z_channels, skip_factors=skip_factors, biases=biases, window=window,
        channels=channels,
    )  # fmt: skip
    mixture = keras.Input((size["window"], size["channels"]), name="mixture")
    z = keras.Input((_frames(size), size["z_channels"]), name="z")
    x, skips = mixture, []
    for level, n in enumerate(size["filters"], 1):
        x = _down(n, size, f"enc{level}_conv")(x)
        skips.append(x)  # before its activation
        x = _prelu(f"enc{level}_prelu")(x)
    skips.pop()
    x = layers.Concatenate(name="code")([z, x])
    for level, n in enumerate(reversed(size["filters"][:-1]), 1):
        x = _up(n, size, f"dec{level}_conv")(x)
        x = _prelu(f"dec{level}_prelu")(x)
        skip = skips.pop()
        if size["skip_factors"]:
            skip = SkipFactors(name=f"dec{level}_skip")(skip)
        x = layers.Concatenate(name=f"dec{level}_concat")([x, skip])
    width = len(sources) * size["channels"]
    x = _up(width, size, f"dec{len(size['filters'])}_conv")(x)
    x = layers.Activation("tanh", dtype="float32", name="tanh")(x)
    x = layers.Reshape((-1, len(sources), size["channels"]), dtype="float32", name="apart")(x)
    x = layers.Permute((2, 1, 3), dtype="float32", name="in_front")(x)
    estimates = Estimates(sources, dtype="float32", name="estimates")(x)
    return keras.Model([mixture, z], estimates, name="segan_core")


def build(
    sources: Sequence[str] = ("speech",),
    *,
    variant: str = "plus",
    samples: int | None = None,
    padding: str = "full",
    z: str = "fixed",
    pre_emphasis: float | None = None,
    filters: Sequence[int] | None = None,
    kernel_size: int | None = None,
    stride: int | None = None,
    z_channels: int | None = None,
    skip_factors: bool | None = None,
    biases: bool | None = None,
    window: int | None = None,
    channels: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    Windows overlap by half; each is pre-emphasised, enhanced and de-emphasised by itself, and they
    fade into each other. (The paper's program sets windows side by side.)

    samples: None for any length. padding: "valid" takes one window, a block of `block_grid`.
    z: "fixed", the same standard normal numbers in every window; "zero"; or "input", a second
        input `[batch, frames, z_channels]`, the same for all windows of an example. In training,
        the first two draw new ones for each window.
    The other options are those of `core`. Raises ValueError as `core`.
    """
    options = {
        "filters": filters, "kernel_size": kernel_size, "stride": stride, "z_channels": z_channels,
        "skip_factors": skip_factors, "biases": biases, "window": window, "channels": channels,
    }  # fmt: skip
    size = _sizes(variant, sources, pre_emphasis=pre_emphasis, **options)
    _check(z=(z, ZS), padding=(padding, PADDINGS))
    if padding == "valid" and samples != size["window"]:
        raise ValueError(
            f'padding="valid" is for one window of {size["window"]} samples; got {samples}'
        )
    waveform = keras.Input((samples, size["channels"]), name="waveform")
    # float32 around the network whatever the policy: half precision has 66 dB for a waveform.
    windows = waveform
    if padding == "full":
        windows = OverlappingWindows(size["window"], dtype="float32", name="windows")(waveform)
    x = PreEmphasis(size["pre_emphasis"], dtype="float32", name="pre_emphasis")(windows)
    shape = (_frames(size), size["z_channels"])
    inputs = [waveform]
    if z == "input":
        inputs.append(keras.Input(shape, name="z"))
        latent = inputs[1]
        if padding == "full":
            latent = ForEachWindow(name="z_of_windows")(latent, waveform, windows)
    else:
        latent = Latent(shape, z, name="latent")(x)
    x = core(sources, variant=variant, **options)([x, latent])
    x = DeEmphasis(size["pre_emphasis"], dtype="float32", name="de_emphasis")(x)
    if padding == "full":
        x = JoinWindows(dtype="float32", name="join")(x, waveform)
    stems = Estimates(sources, dtype="float32", name="stems")(x)
    return keras.Model(inputs if len(inputs) > 1 else waveform, stems, name="segan")


def discriminator(
    *,
    variant: str = "plus",
    window: int | None = None,
    channels: int = 2,
    filters: Sequence[int] | None = None,
    kernel_size: int | None = None,
    stride: int | None = None,
    norm: str | None = None,
    reference_examples: int = 16,
    phase_shift: int | None = None,
    head: str | None = None,
    frozen: bool = False,
) -> keras.Model:
    """Signal beside the noisy one, `[batch, window, channels]`, to `[batch, 1]`: high if clean.

    norm: "virtual", by a reference of so many examples, which `set_reference` gives it, "batch" or
        "none". phase_shift: in training each level's input is turned by up to so many samples.
    head: "pointwise", one channel and a dense layer (SEGAN), or "dense", three layers (SEGAN+).
    frozen: without the reference batch; virtual norms use the statistics that they have kept.
    Biases are on. Raises ValueError for unknown names and a window that the levels do not divide.
    """
    size = _sizes(
        variant, window=window, filters=filters, kernel_size=kernel_size, stride=stride, norm=norm,
        phase_shift=phase_shift, head=head, biases=True,
    )  # fmt: skip
    pair = keras.Input((size["window"], channels), name="pair")
    x, reference = pair, None
    virtual = size["norm"] == "virtual"
    if virtual and not frozen:
        reference = ReferenceBatch(reference_examples, dtype="float32", name="reference")(pair)
    for level, n in enumerate(size["filters"], 1):
        name = f"disc{level}"
        if size["phase_shift"]:
            x = PhaseShift(size["phase_shift"], name=f"{name}_shift")(x)
        convolve = _down(n, size, f"{name}_conv")
        x = convolve(x)
        # Of the reference only the statistics count.
        reference = None if reference is None else convolve(reference)
        if virtual:
            normed = VirtualBatchNorm(reference_examples, name=f"{name}_norm")(x, reference)
            x, reference = (normed, None) if reference is None else normed
        elif size["norm"] == "batch":
            x = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_norm")(x)
        if size["head"] == "dense":
            activate = _prelu(f"{name}_prelu")
        else:
            activate = layers.LeakyReLU(negative_slope=0.3, name=f"{name}_leaky_relu")
        x = activate(x)
        reference = None if reference is None else activate(reference)
    if size["head"] == "dense":
        x = layers.Flatten(name="flatten")(x)
        for number, width in enumerate((256, 128), 1):
            x = layers.Dense(width, name=f"dense{number}")(x)
            x = layers.PReLU(keras.initializers.Constant(0.25), name=f"dense{number}_prelu")(x)
    else:
        x = layers.Conv1D(1, 1, use_bias=False, kernel_initializer=_initializer(size),
                          name="logits_conv")(x)  # fmt: skip
        x = layers.Flatten(name="flatten")(x)
    logits = layers.Dense(1, dtype="float32", name="logits")(x)
    return keras.Model(pair, logits, name="segan_discriminator")


def context_samples(*, variant: str = "plus", window: int | None = None) -> int:
    """Two windows see a sample; the first may end with it, and the last begin."""
    return _sizes(variant, window=window)["window"] - 1


def block_grid(*, variant: str = "plus", window: int | None = None) -> BlockGrid:
    """One window a block, overlapping by half: the windows of the whole file."""
    samples = _sizes(variant, window=window)["window"]
    return BlockGrid(samples=samples, hop=samples // 2, start=-(samples // 2))


def block_options(*, variant: str = "plus", window: int | None = None) -> dict:
    """What `build` needs beside the options here, to make the model of one block."""
    return {"samples": _sizes(variant, window=window)["window"], "padding": "valid"}


def static_block(
    samples: int | None = None, *, variant: str = "plus", window: int | None = None
) -> dict:
    """Options of `build` for a file of static shape: two windows, or whole halves of windows."""
    hop = _sizes(variant, window=window)["window"] // 2
    return {"samples": 4 * hop if samples is None else -(-samples // hop) * hop}


@keras.saving.register_keras_serializable("kzoo")
class SkipFactors(layers.Layer):
    """`[batch, frames, channels]`, each channel times a learned factor, 1 at first."""

    def build(self, input_shape):
        self.alpha = self.add_weight(shape=(input_shape[-1],), initializer="ones", name="alpha")

    def call(self, x):
        return x * self.alpha


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


def _sizes(variant: str, sources: Sequence[str] | None = None, **options) -> dict:
    """The variant's sizes, and over them the options that are not None, checked."""
    _check(variant=(variant, tuple(VARIANTS)))
    if sources is not None and (
        isinstance(sources, str) or not sources or len(set(sources)) != len(sources)
    ):
        raise ValueError(f"sources must be a sequence of different names; got {sources!r}")
    size = {**VARIANTS[variant], **{k: v for k, v in options.items() if v is not None}}
    _check(norm=(size["norm"], NORMS), head=(size["head"], HEADS))
    step = size["stride"] ** len(size["filters"])
    if size["window"] % step or size["window"] % 2:
        raise ValueError(
            f"window must be even and a multiple of {step}, stride {size['stride']} to the power "
            f"of {len(size['filters'])} levels; got {size['window']}"
        )
    return size


def _check(**choices: tuple) -> None:
    for what, (value, known) in choices.items():
        if value not in known:
            raise ValueError(f"{what} must be one of {', '.join(known)}; got {value!r}")


def _frames(size: dict) -> int:
    return size["window"] // size["stride"] ** len(size["filters"])


def _down(filters: int, size: dict, name: str):
    return layers.Conv1D(
        filters, size["kernel_size"], strides=size["stride"], padding="same",
        use_bias=size["biases"], kernel_initializer=_initializer(size), name=name,
    )  # fmt: skip


def _up(filters: int, size: dict, name: str):
    return layers.Conv1DTranspose(
        filters, size["kernel_size"], strides=size["stride"], padding="same",
        use_bias=size["biases"], kernel_initializer=_initializer(size), name=name,
    )  # fmt: skip


def _prelu(name: str):
    return layers.PReLU("zeros", shared_axes=[1], name=name)  # a slope a channel


def _initializer(size: dict):
    if size["initial_std"] is None:
        return "glorot_uniform"
    return keras.initializers.TruncatedNormal(0.0, size["initial_std"])
