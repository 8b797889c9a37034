"""U-Net on magnitude spectrograms: Spleeter's, and Jansson's of 2017.

Hennequin et al., 2020, Spleeter, https://doi.org/10.21105/joss.02154
Jansson et al., 2017, Singing voice separation with deep U-Net convolutional networks, ISMIR

The mixture's magnitudes go down through strided 5x5 convolutions and up again through transposed
ones, each level handing its detail across; what comes out is a mask on the mixture.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
from keras import layers, ops

from kzoo.dsp import wiener
from kzoo.dsp.blocks import BlockGrid, stft_grid
from kzoo.dsp.stft import STFT, InverseSTFT, magnitude
from kzoo.layers.bands import FromBands, ToBands, band_count
from kzoo.layers.masks import Estimates, ExtendMasks, JoinSegments, RatioMasks, Segments
from kzoo.models import _spectrogram
from kzoo.models._spectrogram import check, sizes, waveform_model

VARIANTS = {
    "spleeter": {
        "network": "spleeter", "filters": (16, 32, 64, 128, 256, 512),
        "frames": 512, "bins": 1024, "channels": 2, "n_fft": 4096, "hop_length": 1024,
        "masking": "ratio", "sample_rate": 44100, "linear_bins": None,
    },
    "jansson": {
        "network": "jansson", "filters": (16, 32, 64, 128, 256, 512),
        "frames": 128, "bins": 512, "channels": 1, "n_fft": 1024, "hop_length": 768,
        "masking": "direct", "sample_rate": 8192, "linear_bins": None,
    },
    "mobile": {
        "network": "spleeter", "filters": (16, 32, 40, 56, 56, 56),
        "frames": 256, "bins": 1024, "channels": 2, "n_fft": 4096, "hop_length": 1024,
        "masking": "ratio", "sample_rate": 44100, "linear_bins": 128,
    },
    "speech": {
        "network": "spleeter", "filters": (16, 32, 40, 56, 56, 56),
        "frames": 128, "bins": 256, "channels": 1, "n_fft": 512, "hop_length": 128,
        "masking": "ratio", "sample_rate": 16000, "linear_bins": None,
    },
    "tiny": {
        "network": "spleeter", "filters": (2, 3, 4, 5, 6, 7),
        "frames": 64, "bins": 64, "channels": 2, "n_fft": 256, "hop_length": 64,
        "masking": "ratio", "sample_rate": 8000, "linear_bins": None,
    },
}  # fmt: skip
NETWORKS = ("spleeter", "jansson")
ACTIVATIONS = ("leaky_relu", "elu")
MASKS = ("sigmoid", "softmax")
TRUNKS = ("each", "shared")


def core(
    sources: Sequence[str] = ("vocals", "accompaniment"),
    *,
    variant: str = "spleeter",
    network: str | None = None,
    filters: Sequence[int] | None = None,
    frames: int | None = None,
    bins: int | None = None,
    channels: int | None = None,
    activation: str = "leaky_relu",
    masks: str = "sigmoid",
    dropout: float = 0.5,
    dropout_levels: Sequence[int] = (0, 1, 2),
    log_input: bool = False,
    output_norm: bool = True,
    trunk: str = "each",
    linear_bins: int | None = None,
) -> keras.Model:
    """Magnitudes `[batch, frames, bins, channels]` to `[batch, sources, frames, bins, channels]`.

    frames, bins: multiples of 2 ** len(filters). Options left at None come from the variant.
    activation: "leaky_relu" (0.2 on the way down, ReLU on the way up: Spleeter's 2 stems) or
        "elu" both ways (its 4 and 5 stems). Weights of one load into the other and give garbage.
    masks: "sigmoid", each source on its own, or "softmax" across the sources (5 stems).
    dropout_levels: decoder levels that drop out, counted from the deepest.
    log_input: the network sees log(1 + magnitude), as in f90's replication of Jansson's; a small
        one learns several times faster so. The masks are for the magnitudes all the same.
    output_norm: of Jansson's network alone: f90's has no batch norm before the last sigmoid.
    trunk: "each" source has a network of its own (the papers), or one network is "shared", its
        last layers as wide as all masks: 1 / len(sources) of the compute, for small devices.
    linear_bins: the network sees so many bins as they are, and above them the bands of
        `layers.bands`, whose masks hold for all their bins; the papers' networks see all bins.
    Raises ValueError for unknown names and for sizes that do not halve.
    """
    size = sizes(VARIANTS, variant, network=network, filters=filters, frames=frames, bins=bins,
                 channels=channels, linear_bins=linear_bins)  # fmt: skip
    linear_bins = size["linear_bins"]
    check(
        sources, size, network=(size["network"], NETWORKS), activation=(activation, ACTIVATIONS),
        masks=(masks, MASKS), trunk=(trunk, TRUNKS),
    )  # fmt: skip
    mixture = keras.Input((size["frames"], size["bins"], size["channels"]), name="magnitude")
    seen = mixture
    if linear_bins is not None:
        check(sources, {**size, "bins": band_count(size["bins"], linear_bins)})
        seen = ToBands(linear_bins, name="to_bands")(seen)
    seen = ops.log1p(seen) if log_input else seen

    def draw(name: str, masks_drawn: int):
        if size["network"] == "spleeter":
            return _spleeter(seen, name, masks_drawn, size["filters"], activation, dropout,
                             dropout_levels)  # fmt: skip
        return _jansson(seen, name, masks_drawn, size["filters"], activation, dropout,
                        dropout_levels, output_norm)  # fmt: skip

    if trunk == "shared":
        parts = ops.split(draw("shared", len(sources)), len(sources), axis=-1)
    else:
        parts = [draw(source, 1) for source in sources]
    # In mixed precision the networks end in half precision, and masks and sums are float32.
    logits = ops.cast(ops.stack(parts, axis=1), "float32")  # [batch, sources, frames, bins, ...]
    mask = ops.softmax(logits, axis=1) if masks == "softmax" else ops.sigmoid(logits)
    if linear_bins is not None:
        mask = FromBands(size["bins"], linear_bins, dtype="float32", name="from_bands")(mask)
    estimates = Estimates(sources, dtype="float32", name="estimates")(
        mask * ops.expand_dims(mixture, 1)
    )
    return keras.Model(mixture, estimates, name="unet_core")


def build(
    sources: Sequence[str] = ("vocals", "accompaniment"),
    *,
    variant: str = "spleeter",
    samples: int | None = None,
    padding: str = "full",
    n_fft: int | None = None,
    hop_length: int | None = None,
    masking: str | None = None,
    mask_extension: str = "zeros",
    network: str | None = None,
    filters: Sequence[int] | None = None,
    frames: int | None = None,
    bins: int | None = None,
    channels: int | None = None,
    activation: str = "leaky_relu",
    masks: str = "sigmoid",
    dropout: float = 0.5,
    dropout_levels: Sequence[int] = (0, 1, 2),
    log_input: bool = False,
    output_norm: bool = True,
    trunk: str = "each",
    linear_bins: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    The spectrogram is cut into segments of `frames` frames, the last one filled with zeros, and
    each goes through `core`, whose options are these too.

    samples: None for any length. padding: "full" reaches every sample with all its frames;
        "valid" is for blocks of `block_grid`, joined by their fades.
    masking: "ratio" makes the sources share the mixture by their power (Spleeter); "direct" takes
        each network's mask as it is (Jansson).
    mask_extension: what happens above the network's band, bins * sample_rate / n_fft hertz:
        "zeros" (Spleeter) or "average", the mean mask of the frame.
    """
    size = sizes(VARIANTS, variant, n_fft=n_fft, hop_length=hop_length, masking=masking,
                 network=network, filters=filters, frames=frames, bins=bins,
                 channels=channels)  # fmt: skip
    separate = core(
        sources, variant=variant, network=network, filters=filters, frames=frames, bins=bins,
        channels=channels, activation=activation, masks=masks, dropout=dropout,
        dropout_levels=dropout_levels, log_input=log_input, output_norm=output_norm,
        trunk=trunk, linear_bins=linear_bins,
    )  # fmt: skip
    return waveform_model(
        separate, sources, size, name="unet", samples=samples, padding=padding,
        mask_extension=mask_extension,
    )  # fmt: skip


def build_wiener(
    separate: keras.Model,
    *,
    variant: str = "spleeter",
    samples: int | None = None,
    padding: str = "full",
    n_fft: int | None = None,
    hop_length: int | None = None,
    mask_extension: str = "zeros",
) -> tuple[keras.Model, keras.Model]:
    """The multichannel Wiener filter around a trained core: (survey, filter), two passes.

    survey: waveform `[batch, samples, channels]` to (products, power, peak) of `dsp.wiener`, of
        which the first two add up over blocks and the last is a maximum, `[batch, 1, 1, 1]`.
    filter: those of the whole signal and the waveform to `[batch, sources, samples, channels]`.
    First estimates share the mixture by magnitude, not by power. As in Deezer's program, a
    spectrum that peaks above 10 is scaled down to there before anything is regularised.
    """
    size = sizes(VARIANTS, variant, n_fft=n_fft, hop_length=hop_length)
    _, frames, bins, channels = separate.input_shape
    sources = separate.get_layer("estimates").sources
    transform = {"n_fft": size["n_fft"], "hop_length": size["hop_length"], "padding": padding}
    n_bins = size["n_fft"] // 2 + 1
    waveform = keras.Input((samples, channels), name="waveform")
    real, imag = STFT(**transform, name="stft")(waveform)
    band = magnitude(real[:, :, :bins], imag[:, :, :bins])
    estimates = separate(Segments(frames, name="segments")(band))
    estimates = JoinSegments(name="join_segments")(estimates, band)
    shares = RatioMasks(exponent=1.0, eps=wiener.EPSILON, name="shares")(estimates)
    shares = ExtendMasks(n_bins, mask_extension, name="extend_masks")(shares)
    first = shares * ops.expand_dims(real, 1), shares * ops.expand_dims(imag, 1)

    peak = ops.max(magnitude(real, imag), axis=(1, 2, 3), keepdims=True)
    survey = keras.Model(waveform, [*wiener.spatial_sums(*first), peak], name="unet_survey")

    products = keras.Input((len(sources), n_bins, 4 if channels == 2 else 1), name="products")
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


def block_grid(
    *,
    variant: str = "spleeter",
    frames: int | None = None,
    n_fft: int | None = None,
    hop_length: int | None = None,
) -> BlockGrid:
    """The grid on which blocks of `build(..., padding="valid")` equal the whole file."""
    size = sizes(VARIANTS, variant, frames=frames, n_fft=n_fft, hop_length=hop_length)
    return stft_grid(size["frames"], size["n_fft"], size["hop_length"])


def block_options(
    *,
    variant: str = "spleeter",
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
    variant: str = "spleeter",
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
    variant: str = "spleeter",
    filters: Sequence[int] | None = None,
    frames: int | None = None,
) -> dict | None:
    """Options for blocks of half the frames, or None where they cannot be halved."""
    return _spectrogram.smaller_blocks(sizes(VARIANTS, variant, filters=filters, frames=frames))


def _spleeter(x, source, masks, filters, activation, dropout, dropout_levels):
    channels = masks * x.shape[-1]
    skips = []
    for level, n in enumerate(filters):
        name = f"{source}_down{level + 1}"
        x = _down(n, name)(x)
        skips.append(x)  # the plain convolution: batch norm and activation are for the way down
        if level < len(filters) - 1:  # the deepest level has neither
            x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(x)
            x = _activation(activation, "down", name)(x)
    skips.pop()
    top = 1 if masks == 1 else channels
    for level, n in enumerate([*reversed(filters[:-1]), top]):
        name = f"{source}_up{level + 1}"
        x = _up(n, name)(x)
        x = _activation(activation, "up", name)(x)
        x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(x)
        if level in dropout_levels:
            x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
        if skips:
            x = layers.Concatenate(name=f"{name}_concat")([skips.pop(), x])
    return layers.Conv2D(
        channels, 4, dilation_rate=2, padding="same", kernel_initializer="he_uniform",
        name=f"{source}_mask_conv",
    )(x)  # fmt: skip


def _jansson(x, source, masks, filters, activation, dropout, dropout_levels, output_norm):
    channels = masks * x.shape[-1]
    skips = []
    for level, n in enumerate(filters):
        name = f"{source}_down{level + 1}"
        x = _down(n, name)(x)
        x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(x)
        x = _activation(activation, "down", name)(x)
        skips.append(x)
    skips.pop()
    for level, n in enumerate(reversed(filters[:-1])):
        name = f"{source}_up{level + 1}"
        x = _up(n, name)(x)
        x = layers.BatchNormalization(epsilon=1e-3, name=f"{name}_norm")(x)
        if level in dropout_levels:
            x = layers.Dropout(dropout, name=f"{name}_dropout")(x)
        x = _activation(activation, "up", name)(x)
        x = layers.Concatenate(name=f"{name}_concat")([x, skips.pop()])
    x = _up(channels, f"{source}_mask_conv")(x)
    if output_norm:
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
