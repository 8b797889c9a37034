"""DeepFilterNet3: speech enhancement at 48 kHz, by gains of bands and by filters along frames.

Schroeter, Escalante-B., Rosenkranz and Maier, 2022, DeepFilterNet2: Towards real-time speech
enhancement on embedded devices for full-band audio, https://arxiv.org/abs/2205.05474, and 2023,
DeepFilterNet: Perceptually motivated real-time speech enhancement,
https://arxiv.org/abs/2305.08227; the authors' code is https://github.com/Rikorose/DeepFilterNet

Frames of 20 ms, one every 10 ms. Gains of 32 bands, as wide as the ear's, shape the envelope; below
4.8 kHz, where speech is periodic, every bin is instead a sum of five frames of the noisy spectrum
with complex weights, of which two frames are later. One encoder serves both decoders.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import keras
import numpy as np
from keras import layers, ops

from kzoo.dsp.framing import pad_last
from kzoo.layers.deep_filtering import (
    AttenuationLimit,
    BandGains,
    BandLevels,
    Beside,
    DeepFilter,
    DoubleBins,
    FramesAhead,
    GroupedDense,
    GroupedFrameConv,
    HalveBins,
    PostFilter,
    RunningMeanNorm,
    RunningUnitNorm,
    WindowedFrames,
    WindowedSpectrum,
    erb_widths,
)
from kzoo.layers.recurrent import GRU
from kzoo.models.base.causal import CausalSizes, Past, silent_state, stream_model, whole_model
from kzoo.models.base.sizes import check_positive

LOCAL_SNR_DB = (-15.0, 35.0)  # the range of the estimate
NO_LIMIT_DB = 100.0  # from here on the authors' streaming library limits nothing


@dataclass(frozen=True, kw_only=True)
class DeepFilterNet(CausalSizes):
    """The published network by default.

    bands: of the gains; least_band_bins: how many bins one has at the least. filter_bins: the
    lowest, which are filtered along frames. filter_order: frames that a filter sums, of which
    lookahead lie after its own; the network hears as many ahead. norm_seconds: the time constant of
    the features' running means.
    conv_channels: of every convolution. units: of the GRUs of the encoder and of the gains;
    gain_layers: GRUs of the latter. filter_units, filter_layers: of the GRUs of the filters;
    pathway_frames: of their direct convolution. encoder_groups, groups, filter_groups: parts into
    which dense layers fall: that of the spectrum's features, that before the filters' GRUs, and
    the others.
    post_filter: the strength of a filter that attenuates noise more, with 0 for none; the authors
    use 0.02. attenuation_limit_db: noise is not attenuated by more than this; None for no limit.
    """

    sample_rate: int = 48000
    n_fft: int = 960
    hop_length: int = 480
    bands: int = 32
    least_band_bins: int = 2
    filter_bins: int = 96
    filter_order: int = 5
    lookahead: int = 2
    norm_seconds: float = 1.0
    conv_channels: int = 64
    units: int = 256
    gain_layers: int = 2
    filter_units: int = 256
    filter_layers: int = 2
    pathway_frames: int = 5
    encoder_groups: int = 32
    groups: int = 16
    filter_groups: int = 8
    post_filter: float = 0.0
    attenuation_limit_db: float | None = None

    # The stream hears the first frames, which the network of a whole signal does not.
    stream_differs: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        check_positive(
            self, "bands", "least_band_bins", "filter_bins", "filter_order", "norm_seconds",
            "conv_channels", "units", "gain_layers", "filter_units", "filter_layers",
            "pathway_frames", "encoder_groups", "groups", "filter_groups",
        )  # fmt: skip
        if self.n_fft != 2 * self.hop_length:
            raise ValueError(
                "n_fft must be twice hop_length, as the windows add up to 1 so; got "
                f"n_fft={self.n_fft}, hop_length={self.hop_length}"
            )
        if not 0 <= self.lookahead < self.filter_order:
            raise ValueError(
                "lookahead must be at least 0 and below filter_order; got "
                f"lookahead={self.lookahead}, filter_order={self.filter_order}"
            )
        if self.filter_bins % 2 or self.filter_bins > self.n_fft // 2:
            raise ValueError(
                f"filter_bins must be even and at most n_fft // 2 = {self.n_fft // 2}; got "
                f"{self.filter_bins}"
            )
        if self.bands % 4 or self.conv_channels % 2:
            raise ValueError(
                "bands must be a multiple of 4, and conv_channels of 2; got "
                f"bands={self.bands}, conv_channels={self.conv_channels}"
            )
        if self.post_filter < 0 or (self.attenuation_limit_db or 0) < 0:
            raise ValueError(
                "post_filter and attenuation_limit_db must not be below 0; got "
                f"{self.post_filter}, {self.attenuation_limit_db}"
            )
        self._check_groups()
        self.band_widths()

    def _check_groups(self):
        for groups, features in (
            ("encoder_groups", (self.conv_channels * self.filter_bins // 2, self.embedding)),
            ("groups", (self.embedding, self.units, self.filter_units,
                        2 * self.filter_order * self.filter_bins)),
            ("filter_groups", (self.embedding, self.filter_units)),
        ):  # fmt: skip
            if any(count % getattr(self, groups) for count in features):
                raise ValueError(
                    f"{groups} must divide the features of its layers, "
                    f"{', '.join(map(str, features))}; got {getattr(self, groups)}"
                )

    @property
    def embedding(self) -> int:
        """Features of a frame between the encoder and the decoders."""
        return self.conv_channels * self.bands // 4

    @property
    def decay(self) -> float:
        """What is left of a running mean after one frame, rounded as the authors round it."""
        exact, digits = math.exp(-self.hop_length / self.sample_rate / self.norm_seconds), 3
        while round(exact, digits) >= 1:
            digits += 1
        return round(exact, digits)

    @property
    def delay_samples(self) -> int:
        return super().delay_samples + self.lookahead * self.hop_length

    def band_widths(self) -> tuple[int, ...]:
        """How many bins each band has."""
        return erb_widths(self.sample_rate, self.n_fft, self.bands, self.least_band_bins)


VARIANTS = {
    "deepfilternet3": DeepFilterNet(),
    "tiny": DeepFilterNet(
        sample_rate=8000, n_fft=160, hop_length=80, bands=8, filter_bins=16, filter_order=3,
        lookahead=1, conv_channels=8, units=12, gain_layers=1, filter_units=12, filter_layers=1,
        pathway_frames=2, encoder_groups=4, groups=4, filter_groups=2, block_seconds=0.5,
    ),
}  # fmt: skip
SOURCES = ("speech",)


def build(
    sources: Sequence[str] = SOURCES,
    size: DeepFilterNet = VARIANTS["deepfilternet3"],
    *,
    samples: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, 1]` to `[batch, sources, samples, 1]`.

    samples: None for any length. Silence is before the signal and after it. It is the authors'
    program for files: the network hears `lookahead` frames ahead, and so never the first ones.
    The published model has one source, speech; others have both decoders for themselves.
    """
    return whole_model(_separate, sources, size, samples=samples, name="deepfilternet")


def build_step(
    sources: Sequence[str] = SOURCES,
    size: DeepFilterNet = VARIANTS["deepfilternet3"],
    *,
    frames: int = 1,
) -> keras.Model:
    """The same for `frames` hops of a stream, see `models.base.causal.stream_model`.

    It is the authors' streaming library: as no frame is left unheard, the estimates are close to
    those of `build` and not equal, and the post-filter leaves the last bin as it is.
    """
    return stream_model(_separate, sources, size, frames=frames, name="deepfilternet")


def initial_state(step: keras.Model) -> dict[str, np.ndarray]:
    """The state of silence, {name: array `[1, ...]`}, with which a stream of `step` begins."""
    bands, bins = (step.input[f"state_{of}_mean"].shape[1] for of in ("level", "magnitude"))
    return silent_state(
        step,
        level_mean=RunningMeanNorm.start(bands),
        magnitude_mean=RunningUnitNorm.start(bins),
    )


def local_snr(model: keras.Model):
    """The output for the local SNR, `[batch, frames, 1]` in dB, of a model for whole or stream.

    `keras.Model(model.inputs, [model.output, local_snr(model)])` is a graph of it and of the
    estimates. These do not depend on it, so its weights do not learn with them: a training of its
    own sets `trainable` of the layer "local_snr".
    """
    return model.get_layer("local_snr_db").output


def _separate(waveform, sources: Sequence[str], size: DeepFilterNet, past: Past) -> dict:
    """{source: waveform}, as long as `waveform`."""
    padded = waveform if past.stream else HopAfter(size.hop_length, name="hop_after")(waveform)
    frames = past.frames(padded, size.n_fft, size.hop_length, "frames")
    spectrum = WindowedSpectrum(dtype="float32", name="spectrum")(frames)
    low = [x[..., : size.filter_bins] for x in spectrum]
    levels = BandLevels(size.band_widths(), dtype="float32", name="levels")(*spectrum)
    levels = _normed(RunningMeanNorm, "level_mean", [levels], size, past)
    levels = layers.Reshape((-1, size.bands, 1), name="level_channel")(levels)
    bins = _normed(RunningUnitNorm, "magnitude_mean", low, size, past)
    encoded = _encode(levels, bins, size, past)
    noisy, surroundings = spectrum, low
    if past.stream:  # what the network says now is of a frame `lookahead` ago
        noisy, surroundings = _heard_before(spectrum, size, past)
    estimates = {}
    for source in sources:
        own = "" if len(sources) == 1 else f"{source}_"
        gains = _gains(encoded, size, past, own)
        coefficients = _coefficients(encoded, size, past, own)
        filtered = DeepFilter(
            size.filter_order - 1 - size.lookahead,
            size.lookahead,
            surrounded=bool(past.stream),
            dtype="float32",
            name=f"{own}deep_filter",
        )(*surroundings, coefficients)
        high = BandGains(
            size.band_widths(), size.filter_bins, dtype="float32", name=f"{own}bin_gains"
        )(gains)
        clean = [
            ops.concatenate([below, high * x[..., size.filter_bins :]], axis=-1)
            for below, x in zip(filtered, noisy, strict=True)
        ]
        frames = WindowedFrames(size.n_fft, dtype="float32", name=f"{own}windowed_frames")(
            *_finished(clean, noisy, size, past, own)
        )
        estimates[source] = past.overlap_add(frames, waveform, size.hop_length, f"{own}overlap_add")
    return estimates


def _heard_before(spectrum: list, size: DeepFilterNet, past: Past) -> tuple[list, list]:
    """(real, imag) `lookahead` frames ago, and of the lowest bins with all that a filter sums."""
    bins, before = size.n_fft // 2 + 1, size.filter_order - 1
    both = past.before(ops.concatenate(spectrum, axis=-1), before, "spectrum_past")
    parts = both[..., :bins], both[..., bins:]
    late = slice(before - size.lookahead, before - size.lookahead + past.stream)
    return [x[:, late] for x in parts], [x[..., : size.filter_bins] for x in parts]


def _normed(norm, name: str, x: list, size: DeepFilterNet, past: Past):
    """Features by their running mean, as the network hears them: ahead, where it is no stream."""
    layer = norm(size.decay, dtype="float32", name=name)
    if not past.stream:
        return FramesAhead(size.lookahead, dtype="float32", name=f"{name}_ahead")(layer(*x))
    normed, after = layer(*x, before=past.state(name, (x[0].shape[-1],)))
    past.keep(name, after)
    return normed


def _encode(levels, bins, size: DeepFilterNet, past: Past) -> dict:
    """Levels `[batch, frames, bands, 1]` and bins `[batch, frames, filter_bins, 2]`, encoded.

    {"e0" to "e3": `[batch, frames, bands or a half or a quarter, conv_channels]`, "c0":
    `[batch, frames, filter_bins, conv_channels]`, "embedding": `[batch, frames, embedding]`}
    """
    x = layers.ZeroPadding2D(((0, 0), (1, 1)), name="pad_bands")(
        past.before(levels, 2, "levels_past")
    )
    e0 = layers.Conv2D(size.conv_channels, 3, activation="relu", name="erb_conv0")(x)
    e1 = _pointwise(HalveBins(name="erb_conv1_taps")(e0), size, "erb_conv1")
    e2 = _pointwise(HalveBins(name="erb_conv2_taps")(e1), size, "erb_conv2")
    e3 = _pointwise(_taps(e2, "erb_conv3_taps"), size, "erb_conv3")
    x = layers.ZeroPadding2D(((0, 0), (1, 1)), name="pad_bins")(past.before(bins, 2, "bins_past"))
    x = layers.DepthwiseConv2D(
        3, depth_multiplier=size.conv_channels // 2, use_bias=False, name="df_conv0_taps"
    )(x)
    c0 = _pointwise(x, size, "df_conv0")
    c1 = _pointwise(HalveBins(name="df_conv1_taps")(c0), size, "df_conv1")
    x = layers.Reshape((-1, size.conv_channels * size.filter_bins // 2), name="df_flat")(c1)
    x = GroupedDense(size.embedding, size.encoder_groups, "relu", name="df_fc_emb")(x)
    x = x + layers.Reshape((-1, size.embedding), name="erb_flat")(e3)
    x = GroupedDense(size.units, size.groups, "relu", name="enc_linear_in")(x)
    x = _grus(x, size.units, 1, past, "enc_gru")
    x = GroupedDense(size.embedding, size.groups, "relu", name="enc_linear_out")(x)
    snr = layers.Dense(1, activation="sigmoid", trainable=False, name="local_snr")(x)
    low, high = LOCAL_SNR_DB
    snr = layers.Rescaling(high - low, offset=low, name="local_snr_db")(snr)
    x = Beside(name="embedding")(x, snr)
    return {"e0": e0, "e1": e1, "e2": e2, "e3": e3, "c0": c0, "embedding": x}


def _gains(encoded: dict, size: DeepFilterNet, past: Past, own: str):
    """The encoder's outputs to gains of bands, `[batch, frames, bands]`, in 0 to 1."""
    x = GroupedDense(size.units, size.groups, "relu", name=f"{own}gain_linear_in")(
        encoded["embedding"]
    )
    x = _grus(x, size.units, size.gain_layers, past, f"{own}gain_gru")
    x = GroupedDense(size.embedding, size.groups, "relu", name=f"{own}gain_linear_out")(x)
    x = layers.Reshape((-1, size.bands // 4, size.conv_channels), name=f"{own}gain_bands")(x)
    for number in (3, 2, 1, 0):
        x = x + layers.DepthwiseConv2D(1, activation="relu", name=f"{own}conv{number}p")(
            encoded[f"e{number}"]
        )
        if number:
            name = f"{own}convt{number}"
            taps = f"{name}_taps"
            x = _taps(x, taps) if number == 3 else DoubleBins(name=taps)(x)
            x = _pointwise(x, size, name)
    x = layers.Conv2D(
        1, (1, 3), padding="same", activation="sigmoid", name=f"{own}conv0_out"
    )(x)  # fmt: skip
    return layers.Reshape((-1, size.bands), name=f"{own}gains")(x)


def _coefficients(encoded: dict, size: DeepFilterNet, past: Past, own: str):
    """The encoder's outputs to what `DeepFilter` takes."""
    parts = 2 * size.filter_order
    embedding = encoded["embedding"]
    x = GroupedDense(
        size.filter_units, size.filter_groups, "relu", name=f"{own}filter_linear_in"
    )(embedding)  # fmt: skip
    x = _grus(x, size.filter_units, size.filter_layers, past, f"{own}filter_gru")
    x = x + GroupedDense(size.filter_units, size.groups, name=f"{own}df_skip")(embedding)
    x = GroupedDense(size.filter_bins * parts, size.groups, "tanh", name=f"{own}df_out")(x)
    x = layers.Reshape((-1, size.filter_bins, parts), name=f"{own}filter_parts")(x)
    direct = encoded["c0"]
    convolution = GroupedFrameConv(
        parts, size.pathway_frames, math.gcd(size.conv_channels, parts),
        name=f"{own}df_convp_taps",
    )  # fmt: skip
    if past.stream:
        name = f"{own}df_convp"
        later = (size.pathway_frames - 1) * size.filter_bins * parts
        direct, after = convolution(direct, before=past.state(name, (later,)))
        past.keep(name, after)
    else:
        direct = convolution(direct)
    direct = layers.Conv2D(parts, 1, activation="relu", name=f"{own}df_convp")(direct)
    return layers.Add(name=f"{own}coefficients")([x, direct])


def _finished(clean: list, noisy: list, size: DeepFilterNet, past: Past, own: str) -> list:
    """(real, imag) after the post-filter and the limit of the attenuation, where there are any."""
    if size.post_filter:
        clean = PostFilter(
            size.post_filter, last=not past.stream, dtype="float32", name=f"{own}post_filter"
        )(*clean, *noisy)
    limit = size.attenuation_limit_db
    if limit is not None and not (past.stream and limit >= NO_LIMIT_DB):
        clean = [
            AttenuationLimit(limit, dtype="float32", name=f"{own}limited_{part}")(y, x)
            for part, y, x in zip(("real", "imag"), clean, noisy, strict=True)
        ]
    return clean


def _grus(x, units: int, count: int, past: Past, name: str):
    for number in range(1, count + 1):
        gru = GRU(units, name=f"{name}{number}", **past.recurrence)
        x = past.recurrent(gru, x, f"{name}{number}")
    return x


def _taps(x, name: str):
    return layers.DepthwiseConv2D((1, 3), padding="same", use_bias=False, name=name)(x)


def _pointwise(x, size: DeepFilterNet, name: str):
    return layers.Conv2D(size.conv_channels, 1, activation="relu", name=name)(x)


@keras.saving.register_keras_serializable("kzoo")
class HopAfter(layers.Layer):
    """`[batch, samples, 1]` followed by silence, up to the next whole hop or, after one, a hop."""

    def __init__(self, hop_length: int, **kwargs):
        super().__init__(**kwargs)
        self.hop_length = hop_length

    def call(self, waveform):
        over = ops.shape(waveform)[1] % self.hop_length
        return ops.expand_dims(pad_last(waveform[..., 0], 0, self.hop_length - over), -1)

    def compute_output_shape(self, input_shape):
        batch, samples, channels = input_shape
        hops = None if samples is None else samples // self.hop_length + 1
        return (batch, hops and hops * self.hop_length, channels)

    def get_config(self):
        return {**super().get_config(), "hop_length": self.hop_length}
