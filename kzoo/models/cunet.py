"""Conditioned U-Net: one network for all sources, told by a vector which one to extract.

Meseguer-Brocal and Peeters, 2019, Conditioned-U-Net, https://arxiv.org/abs/1907.01277

A control network turns the condition into scales and shifts (FiLM) of every level on the way down
of a U-Net on magnitudes; its mask gives the source, or the mix of sources, that was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import keras
from keras import layers, ops

from kzoo.layers.bands import FromBands, ToBands
from kzoo.layers.film import ConditionOfSegments, FiLM, FixedConditions
from kzoo.layers.masks import Estimates
from kzoo.models.base import domains
from kzoo.models.base.sizes import check_padding, check_sources
from kzoo.models.base.spectrogram import SpectrogramSizes, waveform_model


@dataclass(frozen=True, kw_only=True)
class CUNet(SpectrogramSizes):
    """The paper's network by default.

    film: "simple" has one scale and one shift a level, "complex" one of each a feature map.
    control: "dense", or "cnn", convolutions over the condition.
    control_widths: of the control network's three layers; with None as in the authors'
        configurations.
    filters: channels of the levels on the way down.
    log_input: the network sees log(1 + magnitude), as in `unet.UNet`; not the paper's, as
        linear_bins.
    conditions: what the network was taught, in the order of its condition; with None the sources.
    condition: with "fixed" each source has its one-hot condition; with "input" the model takes
        [waveform, condition `[batch, conditions]`] and gives one estimate, of what the condition
        asks for, with the network's mask as it is.
    The fields that are not named here are those of `SpectrogramSizes`; in the paper masking is
    "direct".
    """

    sample_rate: int = 8192
    channels: int = 1
    film: Literal["simple", "complex"] = "simple"
    control: Literal["dense", "cnn"] = "dense"
    control_widths: tuple[int, ...] | None = None
    filters: tuple[int, ...] = (16, 32, 64, 128, 256, 512)
    frames: int = 128
    bins: int = 512
    n_fft: int = 1024
    hop_length: int = 256
    masking: Literal["ratio", "direct"] = "direct"
    dropout: float = 0.5
    log_input: bool = False
    conditions: tuple[str, ...] | None = None
    condition: Literal["fixed", "input"] = "fixed"

    def training(self, system: keras.Model, *, inference_mode: bool = False) -> domains.Training:
        """Train on magnitudes."""
        return domains.magnitudes(system, core="cunet_core", inference_mode=inference_mode)


VARIANTS = {
    "base": CUNet(),
    "small": CUNet(
        filters=(8, 16, 32, 64, 64, 64),
        bins=1024,
        n_fft=4096,
        hop_length=1024,
        masking="ratio",
        linear_bins=128,
        channels=2,
        sample_rate=44100,
    ),
    "tiny": CUNet(
        filters=(2, 3, 4),
        frames=64,
        bins=64,
        n_fft=256,
        hop_length=64,
        control_widths=(3, 4, 5),
        channels=2,
        sample_rate=8000,
    ),
}
# Widths of the control network's three layers, as in the authors' configurations.
CONTROLS = {
    "dense": {"simple": (16, 64, 256), "complex": (16, 256, 1024)},
    "cnn": {"simple": (16, 32, 64), "complex": (32, 64, 256)},
}
SOURCES = ("bass", "drums", "rest", "vocals")
_DROPOUT_LEVELS = (1, 2, 3)  # of the way up, counted from the deepest


def core(sources: Sequence[str] = SOURCES, size: CUNet = VARIANTS["base"]) -> keras.Model:
    """A mixture's magnitudes and a condition to the magnitudes of what the condition asks for.

    [`[batch, frames, bins, channels]`, `[batch, conditions]`] to `[batch, frames, bins, channels]`.

    The numbers of the condition, from 0 to 1, ask for `size.conditions`, or for the sources.
    Raises ValueError for sources of one name, and for one that is none of the conditions.
    """
    mixture = keras.Input((size.frames, size.bins, size.channels), name="magnitude")
    condition = keras.Input((len(_conditions(sources, size)),), name="condition")
    draw_control = _dense_control if size.control == "dense" else _cnn_control
    x = draw_control(
        condition, size.control_widths or CONTROLS[size.control][size.film], size.dropout
    )
    maps = [1 if size.film == "simple" else n for n in size.filters]
    gammas = _split(layers.Dense(sum(maps), name="gammas")(x), maps)
    betas = _split(layers.Dense(sum(maps), name="betas")(x), maps)

    x, skips = mixture, []
    if size.linear_bins is not None:
        x = ToBands(size.linear_bins, name="to_bands")(x)
    x = ops.log1p(x) if size.log_input else x
    for level, n in enumerate(size.filters):
        name = f"down{level + 1}"
        x = layers.Conv2D(
            n, 5, strides=2, padding="same", kernel_initializer=_normal(), name=f"{name}_conv"
        )(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
        x = FiLM(name=f"{name}_film")(x, gammas[level], betas[level])
        x = layers.LeakyReLU(negative_slope=0.2, name=f"{name}_leaky_relu")(x)
        skips.append(x)
    skips.pop()
    for level, n in enumerate([*reversed(size.filters[:-1]), size.channels]):
        name = f"up{level + 1}"
        if level:
            x = layers.Concatenate(name=f"{name}_concat")([x, skips.pop()])
        x = layers.Conv2DTranspose(
            n, 5, strides=2, padding="same", kernel_initializer=_normal(), name=f"{name}_conv"
        )(x)
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
        if level in _DROPOUT_LEVELS:
            x = layers.Dropout(size.dropout, name=f"{name}_dropout")(x)
        if level < len(size.filters) - 1:
            x = layers.ReLU(name=f"{name}_relu")(x)
    mask = ops.sigmoid(ops.cast(x, "float32"))  # in mixed precision masks are float32 all the same
    if size.linear_bins is not None:
        mask = FromBands(size.bins, size.linear_bins, dtype="float32", name="from_bands")(mask)
    return keras.Model([mixture, condition], mask * mixture, name="cunet_core")


def build(
    sources: Sequence[str] = SOURCES,
    size: CUNet = VARIANTS["base"],
    *,
    samples: int | None = None,
    padding: Literal["full", "valid"] = "full",
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    sources: what is extracted, each by its one-hot condition.
    samples, padding: as in `unet.build`.
    Raises ValueError as `core`.
    """
    check_padding(padding)
    network = core(sources, size)
    conditions = _conditions(sources, size)
    fitting = {"name": "cunet", "samples": samples, "padding": padding}
    if size.condition == "input":
        asked = keras.Input((len(conditions),), name="condition")

        def extract(segments):
            each = ConditionOfSegments(name="condition_of_segments")(asked, segments)
            return ops.expand_dims(network([segments, each]), 1)

        direct = replace(size, masking="direct")  # one estimate has none to share the mixture with
        return waveform_model(extract, ["estimate"], direct, inputs=[asked], **fitting)
    vectors = [[float(name == source) for name in conditions] for source in sources]

    def separate(segments):
        estimates = network(list(FixedConditions(vectors, name="fixed_conditions")(segments)))
        estimates = ops.reshape(estimates, (-1, len(sources), *estimates.shape[1:]))
        return Estimates(sources, dtype="float32", name="estimates")(estimates)

    return waveform_model(separate, sources, size, **fitting)


def _conditions(sources: Sequence[str], size: CUNet) -> Sequence[str]:
    """What the numbers of a condition ask for; ValueError for sources that are not among it."""
    check_sources(sources)
    if size.conditions is None:
        return sources
    check_sources(size.conditions)
    for source in sources:
        if source not in size.conditions:
            raise ValueError(
                f"sources must be among the conditions, {', '.join(size.conditions)}; "
                f"got {source!r}"
            )
    return size.conditions


def _dense_control(condition, widths, dropout):
    x = condition
    for number, width in enumerate(widths):
        x = layers.Dense(width, activation="relu", name=f"control{number + 1}")(x)
        if number:
            x = layers.Dropout(dropout, name=f"control{number + 1}_dropout")(x)
            x = layers.BatchNormalization(name=f"control{number + 1}_norm")(x)
    return x


def _cnn_control(condition, widths, dropout):
    width = condition.shape[-1]
    x = layers.Reshape((width, 1), name="control_input")(condition)
    for number, filters in enumerate(widths):
        last = number == len(widths) - 1  # as wide as the condition: one step is left
        x = layers.Conv1D(
            filters,
            width,
            padding="valid" if last else "same",
            activation="relu",
            name=f"control{number + 1}",
        )(x)
        if number:
            x = layers.Dropout(dropout, name=f"control{number + 1}_dropout")(x)
            x = layers.BatchNormalization(name=f"control{number + 1}_norm")(x)
    return layers.Flatten(name="control_output")(x)


def _split(x, widths):
    """`[batch, sum of widths]` in parts."""
    ends = [sum(widths[: i + 1]) for i in range(len(widths))]
    return [x[:, end - width : end] for end, width in zip(ends, widths, strict=True)]


def _normal():
    return keras.initializers.RandomNormal(stddev=0.02)
