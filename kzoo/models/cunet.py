"""Conditioned U-Net: one network for all sources, told by a vector which one to extract.

Meseguer-Brocal and Peeters, 2019, Conditioned-U-Net, https://arxiv.org/abs/1907.01277

A control network turns the condition into scales and shifts (FiLM) of every level on the way down
of a U-Net on magnitudes; its mask gives the source, or the mix of sources, that was asked for.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers, ops

from kzoo.dsp.blocks import BlockGrid, stft_grid
from kzoo.layers.bands import FromBands, ToBands, band_count
from kzoo.layers.film import ConditionOfSegments, FiLM, FixedConditions
from kzoo.layers.masks import Estimates
from kzoo.models import _spectrogram
from kzoo.models._spectrogram import check, sizes, waveform_model

VARIANTS = {
    "base": {
        "filters": (16, 32, 64, 128, 256, 512), "frames": 128, "bins": 512, "channels": 1,
        "n_fft": 1024, "hop_length": 256, "masking": "direct", "sample_rate": 8192,
        "control_widths": None, "linear_bins": None,
    },
    "small": {
        "filters": (8, 16, 32, 64, 64, 64), "frames": 128, "bins": 1024, "channels": 2,
        "n_fft": 4096, "hop_length": 1024, "masking": "ratio", "sample_rate": 44100,
        "control_widths": None, "linear_bins": 128,
    },
    "tiny": {
        "filters": (2, 3, 4, 5, 6, 7), "frames": 64, "bins": 64, "channels": 2,
        "n_fft": 256, "hop_length": 64, "masking": "direct", "sample_rate": 8000,
        "control_widths": (3, 4, 5), "linear_bins": None,
    },
}  # fmt: skip
FILMS = ("simple", "complex")
# Widths of the control network's three layers, as in the authors' configurations.
CONTROLS = {
    "dense": {"simple": (16, 64, 256), "complex": (16, 256, 1024)},
    "cnn": {"simple": (16, 32, 64), "complex": (32, 64, 256)},
}
SOURCES = ("bass", "drums", "rest", "vocals")
_DROPOUT_LEVELS = (1, 2, 3)  # of the way up, counted from the deepest


def core(
    sources: Sequence[str] = SOURCES,
    *,
    variant: str = "base",
    film: str = "simple",
    control: str = "dense",
    control_widths: Sequence[int] | None = None,
    filters: Sequence[int] | None = None,
    frames: int | None = None,
    bins: int | None = None,
    channels: int | None = None,
    dropout: float = 0.5,
    log_input: bool = False,
    linear_bins: int | None = None,
) -> keras.Model:
    """A mixture's magnitudes and a condition to the magnitudes of what the condition asks for.

    [`[batch, frames, bins, channels]`, `[batch, sources]`] to `[batch, frames, bins, channels]`.

    sources: what the numbers of the condition, from 0 to 1, ask for; only their count matters here.
    film: "simple", one scale and one shift a level, or "complex", one of each a feature map.
    control: "dense", or "cnn", convolutions over the condition; control_widths: of its layers.
    frames, bins: multiples of 2 ** len(filters). Options left at None come from the variant.
    log_input, linear_bins: as in `unet.core`; not the paper's.
    Raises ValueError for unknown names and for sizes that do not halve.
    """
    size = sizes(VARIANTS, variant, filters=filters, frames=frames, bins=bins, channels=channels,
                 control_widths=control_widths, linear_bins=linear_bins)  # fmt: skip
    linear_bins = size["linear_bins"]
    check(sources, size, film=(film, FILMS), control=(control, tuple(CONTROLS)))
    mixture = keras.Input((size["frames"], size["bins"], size["channels"]), name="magnitude")
    condition = keras.Input((len(sources),), name="condition")
    widths = size["control_widths"] or CONTROLS[control][film]
    x = (_dense_control if control == "dense" else _cnn_control)(condition, widths, dropout)
    maps = [1 if film == "simple" else n for n in size["filters"]]
    gammas = _split(layers.Dense(sum(maps), name="gammas")(x), maps)
    betas = _split(layers.Dense(sum(maps), name="betas")(x), maps)

    x, skips = mixture, []
    if linear_bins is not None:
        check(sources, {**size, "bins": band_count(size["bins"], linear_bins)})
        x = ToBands(linear_bins, name="to_bands")(x)
    x = ops.log1p(x) if log_input else x
    for level, n in enumerate(size["filters"]):
        name = f"down{level + 1}"
        x = layers.Conv2D(n, 5, strides=2, padding="same", kernel_initializer=_normal(),
                          name=f"{name}_conv")(x)  # fmt: skip
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
        x = FiLM(name=f"{name}_film")(x, gammas[level], betas[level])
        x = layers.LeakyReLU(negative_slope=0.2, name=f"{name}_leaky_relu")(x)
        skips.append(x)
    skips.pop()
    for level, n in enumerate([*reversed(size["filters"][:-1]), size["channels"]]):
        name = f"up{level + 1}"
        if level:
            x = layers.Concatenate(name=f"{name}_concat")([x, skips.pop()])
        x = layers.Conv2DTranspose(n, 5, strides=2, padding="same", kernel_initializer=_normal(),
                                   name=f"{name}_conv")(x)  # fmt: skip
        x = layers.BatchNormalization(momentum=0.9, name=f"{name}_norm")(x)
        if level in _DROPOUT_LEVELS:
            x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
        if level < len(size["filters"]) - 1:
            x = layers.ReLU(name=f"{name}_relu")(x)
    mask = ops.sigmoid(ops.cast(x, "float32"))  # in mixed precision masks are float32 all the same
    if linear_bins is not None:
        mask = FromBands(size["bins"], linear_bins, dtype="float32", name="from_bands")(mask)
    return keras.Model([mixture, condition], mask * mixture, name="cunet_core")


def build(
    sources: Sequence[str] = SOURCES,
    *,
    variant: str = "base",
    conditions: Sequence[str] | None = None,
    condition: str = "fixed",
    samples: int | None = None,
    padding: str = "full",
    n_fft: int | None = None,
    hop_length: int | None = None,
    masking: str | None = None,
    mask_extension: str = "zeros",
    film: str = "simple",
    control: str = "dense",
    control_widths: Sequence[int] | None = None,
    filters: Sequence[int] | None = None,
    frames: int | None = None,
    bins: int | None = None,
    channels: int | None = None,
    dropout: float = 0.5,
    log_input: bool = False,
    linear_bins: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    sources: what is extracted, each by its one-hot condition.
    conditions: what the network was taught, in the order of its condition; by default `sources`.
    condition: "fixed", or "input": the model then takes [waveform, condition
        `[batch, conditions]`] and gives one estimate, of what the condition asks for.
    samples, padding, mask_extension: as in `unet.build`.
    masking: "direct" takes the network's mask as it is (the paper), "ratio" makes the sources
        share the mixture by their power; with the condition as an input there is only "direct".
    Raises ValueError for a source that is none of the conditions, and as `core`.
    """
    conditions = list(sources if conditions is None else conditions)
    for source in sources:
        if source not in conditions:
            raise ValueError(
                f"sources must be among the conditions, {', '.join(conditions)}; got {source!r}"
            )
    size = sizes(VARIANTS, variant, n_fft=n_fft, hop_length=hop_length, masking=masking,
                 filters=filters, frames=frames, bins=bins, channels=channels)  # fmt: skip
    check(sources, size, condition=(condition, ("fixed", "input")))
    network = core(
        conditions, variant=variant, film=film, control=control,
        control_widths=control_widths, filters=filters, frames=frames, bins=bins,
        channels=channels, dropout=dropout, log_input=log_input, linear_bins=linear_bins,
    )  # fmt: skip
    shared = {"samples": samples, "padding": padding, "mask_extension": mask_extension}
    if condition == "input":
        asked = keras.Input((len(conditions),), name="condition")

        def extract(segments):
            each = ConditionOfSegments(name="condition_of_segments")(asked, segments)
            return ops.expand_dims(network([segments, each]), 1)

        return waveform_model(
            extract, ["estimate"], {**size, "masking": "direct"}, name="cunet", inputs=[asked],
            **shared,
        )  # fmt: skip
    vectors = [[float(name == source) for name in conditions] for source in sources]

    def separate(segments):
        found = network(list(FixedConditions(vectors, name="fixed_conditions")(segments)))
        found = ops.reshape(found, (-1, len(sources), *found.shape[1:]))
        return Estimates(sources, dtype="float32", name="estimates")(found)

    return waveform_model(separate, sources, size, name="cunet", **shared)


def block_grid(
    *,
    variant: str = "base",
    frames: int | None = None,
    n_fft: int | None = None,
    hop_length: int | None = None,
) -> BlockGrid:
    """The grid on which blocks of `build(..., padding="valid")` equal the whole file."""
    size = sizes(VARIANTS, variant, frames=frames, n_fft=n_fft, hop_length=hop_length)
    return stft_grid(size["frames"], size["n_fft"], size["hop_length"])


def block_options(
    *,
    variant: str = "base",
    frames: int | None = None,
    n_fft: int | None = None,
    hop_length: int | None = None,
) -> dict:
    """What `build` needs beside the options here, to make the model of one block."""
    grid = block_grid(variant=variant, frames=frames, n_fft=n_fft, hop_length=hop_length)
    return {"samples": grid.samples, "padding": "valid"}


def static_block(
    samples: int | None = None,
    *,
    variant: str = "base",
    filters: Sequence[int] | None = None,
    frames: int | None = None,
    n_fft: int | None = None,
    hop_length: int | None = None,
) -> dict:
    """As `_spectrogram.static_block`."""
    size = sizes(VARIANTS, variant, filters=filters, frames=frames, n_fft=n_fft,
                 hop_length=hop_length)  # fmt: skip
    return _spectrogram.static_block(size, samples)


def smaller_blocks(
    *,
    variant: str = "base",
    filters: Sequence[int] | None = None,
    frames: int | None = None,
) -> dict | None:
    """Options for blocks of half the frames, or None where they cannot be halved."""
    return _spectrogram.smaller_blocks(sizes(VARIANTS, variant, filters=filters, frames=frames))


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
        x = layers.Conv1D(filters, width, padding="valid" if last else "same", activation="relu",
                          name=f"control{number + 1}")(x)  # fmt: skip
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
