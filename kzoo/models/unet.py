"""U-Net on magnitude spectrograms: Spleeter's, and Jansson's of 2017.

Hennequin et al., 2020, Spleeter, https://doi.org/10.21105/joss.02154
Jansson et al., 2017, Singing voice separation with deep U-Net convolutional networks, ISMIR

The mixture's magnitudes go down through strided 5x5 convolutions and up again through transposed
ones, each level handing its detail across; what comes out is a mask on the mixture.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

import keras
from keras import layers, ops

from kzoo.dsp import wiener
from kzoo.dsp.stft import STFT, InverseSTFT, magnitude
from kzoo.layers.bands import FromBands, ToBands
from kzoo.layers.masks import Estimates, ExtendMasks, JoinSegments, RatioMasks, Segments
from kzoo.models.base import domains
from kzoo.models.base.sizes import check_padding, check_sources
from kzoo.models.base.spectrogram import SpectrogramSizes, waveform_model


@dataclass(frozen=True, kw_only=True)
class UNet(SpectrogramSizes):
    """Spleeter's network by default.

    network: "spleeter" or "jansson". filters: channels of the levels on the way down.
    activation: "leaky_relu" (0.2 on the way down, ReLU on the way up: Spleeter's 2 stems) or
        "elu" both ways (its 4 and 5 stems). Weights of one load into the other and give garbage.
    masks: "sigmoid", each source on its own, or "softmax" across the sources (5 stems); "none":
        the network gives the magnitudes themselves, for comparison, and no paper's.
    skips: whether each level hands its detail across; without, for comparison, what goes up has
        passed the bottom.
    dropout_levels: decoder levels that drop out, counted from the deepest.
    log_input: the network sees log(1 + magnitude), as in f90's replication of Jansson's; a small
        one learns several times faster so. The masks are for the magnitudes all the same.
    output_norm: whether Jansson's network has a batch norm before the last sigmoid; f90's has
        none.
    trunk: "each" source has a network of its own (the papers), or one network is "shared", its
        last layers as wide as all masks: 1 / len(sources) of the compute, for small devices.
    residual: the last source has no network; its magnitudes are what those of the others leave of
        the mixture's, 0 at least.
    The fields that are not named here are those of `SpectrogramSizes`.
    """

    sample_rate: int = 44100
    channels: int = 2
    network: Literal["spleeter", "jansson"] = "spleeter"
    filters: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    frames: int = 512
    bins: int = 1024
    n_fft: int = 4096
    hop_length: int = 1024
    activation: Literal["leaky_relu", "elu"] = "leaky_relu"
    masks: Literal["sigmoid", "softmax", "none"] = "sigmoid"
    skips: bool = True
    dropout: float = 0.5
    dropout_levels: tuple[int, ...] = (0, 1, 2)
    log_input: bool = False
    output_norm: bool = True
    trunk: Literal["each", "shared"] = "each"
    residual: bool = False

    def training(self, system: keras.Model, *, inference_mode: bool = False) -> domains.Training:
        """Train on magnitudes."""
        return domains.magnitudes(system, core="unet_core", inference_mode=inference_mode)


_MOBILE = UNet(filters=(16, 32, 40, 56, 56, 56), frames=256, linear_bins=128)
VARIANTS = {
    "spleeter": UNet(),
    "jansson": UNet(
        network="jansson",
        frames=128,
        bins=512,
        n_fft=1024,
        hop_length=768,
        masking="direct",
        channels=1,
        sample_rate=8192,
    ),
    "mobile": _MOBILE,
    "speech": replace(
        _MOBILE,
        frames=128,
        bins=256,
        n_fft=512,
        hop_length=128,
        linear_bins=None,
        channels=1,
        sample_rate=16000,
    ),
    "tiny": UNet(filters=(2, 3, 4), frames=64, bins=64, n_fft=256, hop_length=64, sample_rate=8000),
}
SOURCES = ("vocals", "accompaniment")


def core(sources: Sequence[str] = SOURCES, size: UNet = VARIANTS["spleeter"]) -> keras.Model:
    """The network: magnitudes `[batch, frames, bins, channels]`, to those of the sources.

    `[batch, sources, frames, bins, channels]`. Raises ValueError for sources of one name, and for a
    residual of no other source, or of one whose softmax alone is 1 always.
    """
    check_sources(sources)
    masked = list(sources[:-1] if size.residual else sources)
    if size.residual and len(masked) < (2 if size.masks == "softmax" else 1):
        raise ValueError(
            f"residual is what other sources leave, at least one of them and, where masks are a "
            f"softmax, two; got sources {', '.join(sources)} with masks={size.masks!r}"
        )
    mixture = keras.Input((size.frames, size.bins, size.channels), name="magnitude")
    seen = mixture
    if size.linear_bins is not None:
        seen = ToBands(size.linear_bins, name="to_bands")(seen)
    seen = ops.log1p(seen) if size.log_input else seen
    draw = _spleeter if size.network == "spleeter" else _jansson
    if size.trunk == "shared":
        parts = ops.split(draw(seen, "shared", len(masked), size), len(masked), axis=-1)
    else:
        parts = [draw(seen, source, 1, size) for source in masked]
    # In mixed precision the networks end in half precision, and masks and sums are float32.
    logits = ops.cast(ops.stack(parts, axis=1), "float32")  # [batch, sources, frames, bins, ...]
    activations = {
        "sigmoid": ops.sigmoid,
        "softmax": partial(ops.softmax, axis=1),
        "none": ops.relu,
    }
    found = activations[size.masks](logits)
    if size.linear_bins is not None:
        found = FromBands(size.bins, size.linear_bins, dtype="float32", name="from_bands")(found)
    if size.masks != "none":
        found = found * ops.expand_dims(mixture, 1)
    elif size.log_input:
        found = ops.exp(found) - 1.0  # out of the domain that the network sees
    if size.residual:
        rest = ops.relu(mixture - ops.sum(found, axis=1))
        found = ops.concatenate([found, ops.expand_dims(rest, 1)], axis=1)
    estimates = Estimates(sources, dtype="float32", name="estimates")(found)
    return keras.Model(mixture, estimates, name="unet_core")


def build(
    sources: Sequence[str] = SOURCES,
    size: UNet = VARIANTS["spleeter"],
    *,
    samples: int | None = None,
    padding: Literal["full", "valid"] = "full",
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    The spectrogram is cut into segments of `frames` frames, the last one filled with zeros, and
    each goes through `core`.

    samples: None for any length. padding: "full" reaches every sample with all its frames;
        "valid" is for blocks of `UNet.grid`, joined by their fades.
    """
    check_padding(padding)
    return waveform_model(
        core(sources, size), sources, size, name="unet", samples=samples, padding=padding
    )


def build_wiener(
    system: keras.Model,
    size: UNet,
    *,
    samples: int | None = None,
    padding: Literal["full", "valid"] = "full",
) -> tuple[keras.Model, keras.Model]:
    """The multichannel Wiener filter around the core of a trained system: (survey, filter).

    survey: waveform `[batch, samples, channels]` to (products, power, peak) of `dsp.wiener`, of
        which the first two add up over blocks and the last is a maximum, `[batch, 1, 1, 1]`.
    filter: those of the whole signal and the waveform to `[batch, sources, samples, channels]`.
    First estimates share the mixture by magnitude, not by power. As in Deezer's program, a
    spectrum that peaks above 10 is scaled down to there before anything is regularised.
    """
    separate = system.get_layer("unet_core")
    sources = separate.get_layer("estimates").sources
    transform = {"n_fft": size.n_fft, "hop_length": size.hop_length, "padding": padding}
    n_bins = size.n_fft // 2 + 1
    waveform = keras.Input((samples, size.channels), name="waveform")
    real, imag = STFT(**transform, name="stft")(waveform)
    band = magnitude(real[:, :, : size.bins], imag[:, :, : size.bins])
    estimates = separate(Segments(size.frames, name="segments")(band))
    estimates = JoinSegments(name="join_segments")(estimates, band)
    shares = RatioMasks(exponent=1.0, eps=wiener.EPSILON, name="shares")(estimates)
    shares = ExtendMasks(n_bins, size.mask_extension, name="extend_masks")(shares)
    first = shares * ops.expand_dims(real, 1), shares * ops.expand_dims(imag, 1)

    peak = ops.max(magnitude(real, imag), axis=(1, 2, 3), keepdims=True)
    survey = keras.Model(waveform, [*wiener.spatial_sums(*first), peak], name="unet_survey")

    products = keras.Input((len(sources), n_bins, 4 if size.channels == 2 else 1), name="products")
    power = keras.Input((len(sources), n_bins), name="power")
    highest = keras.Input((1, 1, 1), name="peak")
    scale = ops.maximum(highest / 10.0, 1.0)
    spatial = wiener.covariances(
        products / ops.square(scale), power / ops.square(ops.squeeze(scale, -1))
    )
    scaled = real / scale, imag / scale
    wide = ops.expand_dims(scale, 1)
    better = wiener.wiener_filter(first[0] / wide, first[1] / wide, *scaled, spatial)
    stems = InverseSTFT(**transform, name="inverse_stft")(
        better[0] * wide, better[1] * wide, waveform
    )
    stems = Estimates(sources, name="stems")(stems)
    return survey, keras.Model([waveform, products, power, highest], stems, name="unet_wiener")


def _spleeter(x, source: str, masks: int, size: UNet):
    channels = masks * x.shape[-1]
    skips = []
    for level, n in enumerate(size.filters):
        name = f"{source}_down{level + 1}"
        x = _down(n, name)(x)
        skips.append(x)  # the plain convolution: batch norm and activation are for the way down
        if level < len(size.filters) - 1:  # the deepest level has neither
            x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(x)
            x = _activation(size.activation, "down", name)(x)
    skips.pop()
    top = 1 if masks == 1 else channels
    for level, n in enumerate([*reversed(size.filters[:-1]), top]):
        name = f"{source}_up{level + 1}"
        x = _up(n, name)(x)
        x = _activation(size.activation, "up", name)(x)
        x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(x)
        if level in size.dropout_levels:
            x = layers.Dropout(size.dropout, name=f"{name}_dropout")(x)
        if skips and size.skips:
            x = layers.Concatenate(name=f"{name}_concat")([skips.pop(), x])
    return layers.Conv2D(
        channels, 4, dilation_rate=2, padding="same", kernel_initializer="he_uniform",
        name=f"{source}_mask_conv",
    )(x)  # fmt: skip


def _jansson(x, source: str, masks: int, size: UNet):
    channels = masks * x.shape[-1]
    skips = []
    for level, n in enumerate(size.filters):
        name = f"{source}_down{level + 1}"
        x = _down(n, name)(x)
        x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(x)
        x = _activation(size.activation, "down", name)(x)
        skips.append(x)
    skips.pop()
    for level, n in enumerate(reversed(size.filters[:-1])):
        name = f"{source}_up{level + 1}"
        x = _up(n, name)(x)
        x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(x)
        if level in size.dropout_levels:
            x = layers.Dropout(size.dropout, name=f"{name}_dropout")(x)
        x = _activation(size.activation, "up", name)(x)
        if size.skips:
            x = layers.Concatenate(name=f"{name}_concat")([x, skips.pop()])
    x = _up(channels, f"{source}_mask_conv")(x)
    if size.output_norm:
        x = layers.BatchNormalization(epsilon=1e-3, name=f"{source}_mask_norm")(x)
    return x


def _down(filters: int, name: str):
    return layers.Conv2D(filters, 5, strides=2, padding="same", kernel_initializer="he_uniform",
                         name=f"{name}_conv")  # fmt: skip


def _up(filters: int, name: str):
    return layers.Conv2DTranspose(filters, 5, strides=2, padding="same",
                                  kernel_initializer="he_uniform", name=f"{name}_conv")  # fmt: skip


def _activation(activation: str, direction: str, name: str):
    if activation == "elu":
        return layers.ELU(name=f"{name}_elu")
    if direction == "down":
        return layers.LeakyReLU(negative_slope=0.2, name=f"{name}_leaky_relu")
    return layers.ReLU(name=f"{name}_relu")
