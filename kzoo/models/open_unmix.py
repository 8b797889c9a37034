"""Open-Unmix: an LSTM's mask on the mixture's magnitudes, a network of its own for each source.

Stöter, Uhlich, Liutkus and Mitsufuji, 2019, Open-Unmix: a reference implementation for music source
separation, https://doi.org/10.21105/joss.01667; the authors' code is
https://github.com/sigsep/open-unmix-pytorch. The network is that of Uhlich et al., 2017, Improving
music source separation based on deep neural networks through data augmentation and network
blending, https://doi.org/10.1109/ICASSP.2017.7952158

Each frame is cut to a band, scaled bin by bin, and narrowed to some hundred numbers; three LSTMs
hear those frame after frame, and what goes in skips past them. An LSTM of two directions hears the
whole recording; one of a single direction hears the past, and streams.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

import keras
import numpy as np
from keras import layers, ops

from kzoo.dsp.stft import STFT, InverseSTFT, magnitude
from kzoo.layers.filterbank import FitToWaveform, PadToFrames
from kzoo.layers.masks import Estimates, RatioMasks
from kzoo.layers.norms import norm_layer
from kzoo.layers.recurrent import LSTM
from kzoo.layers.spectra import BandMagnitude, MaskedSpectrum
from kzoo.layers.wiener import WienerFilter
from kzoo.models.base import domains
from kzoo.models.base.causal import FrameStreamSizes, Past, silent_state, step_model
from kzoo.models.base.sizes import check_positive, check_sources

MEASURED_EXAMPLES = 256  # of the training, for the scale of the input
_LEAST = 1e-10  # magnitudes are divided by no less


@dataclass(frozen=True, kw_only=True)
class OpenUnmix(FrameStreamSizes):
    """The sizes of umx and umxhq by default.

    n_fft, hop_length: window and hop of the STFT, in samples.
    bins: the network sees so many, from 0 Hz on, and estimates all; 1487 end at 16 kHz.
    hidden: features of a frame; an LSTM of two directions has half as many units in each.
    n_layers: so many LSTMs follow each other. dropout: between them.
    bidirectional: the network hears the whole recording; without it, the past alone.
    residual: the last of the sources has no network: it is what the others leave of the mixture.
    softmask: the sources share the mixture by their magnitudes; without it, each has its own
        magnitude and the mixture's phase.
    wiener_iterations: of the multichannel Wiener filter that follows; the authors' programs take 1.
    wiener_frames: the frames over which it measures where a source is, window after window; with
        None all that the model is given at once.
    """

    sample_rate: int = 44100
    channels: int = 2
    n_fft: int = 4096
    hop_length: int = 1024
    bins: int = 1487
    hidden: int = 512
    n_layers: int = 3
    dropout: float = 0.4
    bidirectional: bool = True
    residual: bool = False
    softmask: bool = False
    wiener_iterations: int = 0
    wiener_frames: int | None = 300
    block_seconds: float = 20.0

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "bins", "hidden", "n_layers")
        if not 0 < self.hop_length <= self.n_fft // 2:
            raise ValueError(
                "hop_length must be from 1 to n_fft // 2, or the windows do not overlap; got "
                f"hop_length={self.hop_length}, n_fft={self.n_fft}"
            )
        if self.bins > self.all_bins:
            raise ValueError(
                f"bins must be at most n_fft // 2 + 1 = {self.all_bins}; got {self.bins}"
            )
        if self.bidirectional and self.hidden % 2:
            raise ValueError(f"hidden must be even: each direction has half; got {self.hidden}")
        frames = self.wiener_frames
        if self.wiener_iterations < 0 or (frames is not None and frames < 1):
            raise ValueError(
                "wiener_iterations must be at least 0, and wiener_frames 1 or None; got "
                f"{self.wiener_iterations}, {frames}"
            )
        if self.wiener_iterations and (self.streams or self.channels > 2):
            raise ValueError(
                "wiener_iterations must be 0 for a network that streams, which has no window to "
                f"measure, and above 2 channels; got {self.wiener_iterations}"
            )

    @property
    def all_bins(self) -> int:
        """Bins of the STFT."""
        return self.n_fft // 2 + 1

    @property
    def streams(self) -> bool:
        """Whether it hears the past alone."""
        return not self.bidirectional

    def targets(self, sources: Sequence[str]) -> tuple[str, ...]:
        """The sources that have a network; ValueError where none is left."""
        check_sources(sources)
        targets = tuple(sources)[: len(sources) - self.residual]
        if not targets:
            raise ValueError(f"residual needs two sources or more; got {', '.join(sources)}")
        return targets

    def training(self, system: keras.Model, *, inference_mode: bool = False) -> domains.Training:
        """Train on magnitudes, of the sources that have a network."""
        graph, domain = domains.magnitudes(
            system, core="open_unmix_core", inference_mode=inference_mode
        )
        if not self.residual:
            return graph, domain
        count = graph.output_shape[1]

        def targets(sources):  # behind the residual there may be the mixture
            return domain(ops.concatenate([sources[:, :count], sources[:, count + 1 :]], axis=1))

        return graph, targets

    def adapt(self, system: keras.Model, mixtures: Iterable[np.ndarray]) -> None:
        """Scale the input by what the first 256 mixtures measure, as the authors' training does.

        A bin's mean over all frames and channels becomes 0; its standard deviation, of no less than
        1e-4 of the greatest, becomes 1.
        """
        transform = STFT(self.n_fft, self.hop_length, padding="valid", dtype="float32")
        count, total, squares = 0, 0.0, 0.0
        for mixture in itertools.islice(mixtures, MEASURED_EXAMPLES):
            real, imag = transform(ops.convert_to_tensor(mixture[None], "float32"))
            found = ops.convert_to_numpy(ops.mean(magnitude(real, imag), axis=-1))[0]
            found = found[:, : self.bins].astype(np.float64)  # [frames, bins]
            count, total = count + len(found), total + found.sum(axis=0)
            squares = squares + np.square(found).sum(axis=0)
        mean = total / count
        deviation = np.sqrt(np.maximum(squares / count - mean**2, 0.0))
        least = 1e-4 * deviation.max()
        if not least:
            raise ValueError(f"the first {MEASURED_EXAMPLES} examples of the training are silent")
        network = system.get_layer("open_unmix_core")
        for source in network.get_layer("estimates").sources:
            layer = network.get_layer(f"{source}_input")
            layer.mean.assign(-mean)
            layer.scale.assign(1.0 / np.maximum(deviation, least))


_SMALL = OpenUnmix(hidden=128)
VARIANTS = {
    "umxhq": OpenUnmix(),
    "umxl": OpenUnmix(hidden=1024),
    "umxse": OpenUnmix(
        sample_rate=16000, channels=1, n_fft=1024, hop_length=512, bins=513, hidden=256
    ),
    "unidirectional": OpenUnmix(bidirectional=False),
    "small": _SMALL,
    "small_unidirectional": replace(_SMALL, bidirectional=False),
    "tiny": OpenUnmix(
        sample_rate=8000, n_fft=64, hop_length=16, bins=20, hidden=8, n_layers=1, block_seconds=0.5
    ),
}
SOURCES = ("vocals", "drums", "bass", "other")


def core(sources: Sequence[str] = SOURCES, size: OpenUnmix = VARIANTS["umxhq"]) -> keras.Model:
    """The networks: magnitudes `[batch, frames, all bins, channels]`, to those of the sources.

    `[batch, sources with a network, frames, all bins, channels]`. PyTorch's LSTMs have two biases,
    of which only the sum counts and which Keras's have one of: a network of umxhq has 8,893,348
    parameters there and 8,887,204 here. Raises ValueError for sources of one name.
    """
    targets = size.targets(sources)
    mixture = keras.Input((None, size.all_bins, size.channels), name="magnitude")
    estimates = _magnitudes(mixture, targets, size, Past())
    estimates = Estimates(targets, dtype="float32", name="estimates")(estimates)
    return keras.Model(mixture, estimates, name="open_unmix_core")


def build(
    sources: Sequence[str] = SOURCES,
    size: OpenUnmix = VARIANTS["umxhq"],
    *,
    samples: int | None = None,
) -> keras.Model:
    """Waveform `[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    samples: None for any length. As with the authors', frames are centred on multiples of the hop,
    and the signal is mirrored at its ends; where the network streams, silence is around it.
    """
    return _system(core(sources, size), sources, size, samples)


def build_wiener(
    system: keras.Model, size: OpenUnmix, *, samples: int | None = None
) -> tuple[None, keras.Model]:
    """(None, the same system with a multichannel Wiener filter of one iteration or more).

    The filter measures window after window, so that there is nothing to survey before it.
    """
    size = replace(size, wiener_iterations=max(1, size.wiener_iterations))
    sources = system.get_layer("stems").sources
    return None, _system(system.get_layer("open_unmix_core"), sources, size, samples)


def build_step(
    sources: Sequence[str] = SOURCES,
    size: OpenUnmix = VARIANTS["unidirectional"],
    *,
    frames: int = 1,
) -> keras.Model:
    """The same for `frames` hops of a stream and a state, as `models.base.causal` has it.

    {"waveform" `[batch, frames * hop_length, channels]`, "state_<name>"} to {source: the same
    shape, "state_<name>"}, late by `size.delay_samples`. Raises ValueError for a network of two
    directions.
    """
    targets = size.targets(sources)
    if not size.streams:
        raise ValueError(
            "open_unmix hears what is to come with these sizes, and has no stream; one has "
            "bidirectional=False"
        )
    past, late = Past(stream=frames), size.delay_samples
    waveform = keras.Input((frames * size.hop_length, size.channels), name="waveform")
    signal = past.before(waveform, late, "samples")
    stems = _stems(lambda band: _magnitudes(band, targets, size, past), signal, size)
    stems = past.add_tail(stems, late, "tail")
    estimates = {source: stems[:, number] for number, source in enumerate(sources)}
    return step_model({"waveform": waveform}, estimates, past, name="open_unmix_step")


initial_state = silent_state  # of a step model: {name: array `[1, ...]`}


def _system(network: keras.Model, sources, size: OpenUnmix, samples: int | None) -> keras.Model:
    waveform = keras.Input((samples, size.channels), name="waveform")
    if size.streams:
        late = size.delay_samples
        padded = PadToFrames(size.n_fft, size.hop_length, late, late, dtype="float32", name="pad")(
            waveform
        )
        stems = _stems(network, padded, size)
        stems = FitToWaveform(late, dtype="float32", name="fit")(stems, waveform)
    else:
        stems = _stems(network, waveform, size)
    stems = Estimates(sources, dtype="float32", name="stems")(stems)
    return keras.Model(waveform, stems, name="open_unmix")


def _stems(network, waveform, size: OpenUnmix):
    """`waveform` `[batch, samples, channels]` to `[batch, sources, samples, channels]`."""
    # float32 whatever the policy: spectra in half precision have 60 dB of range.
    transform = {"n_fft": size.n_fft, "hop_length": size.hop_length, "dtype": "float32"}
    transform["padding"] = "valid" if size.streams else "center"
    real, imag = STFT(**transform, pad_mode="reflect", name="stft")(waveform)
    band = BandMagnitude(size.all_bins, dtype="float32", name="band")(real, imag)
    estimates = network(band)  # [batch, targets, frames, all bins, channels]
    if size.softmask:
        mask = RatioMasks(exponent=1.0, eps=_LEAST, dtype="float32", name="softmask")(estimates)
    else:
        mask = estimates / ops.maximum(ops.expand_dims(band, 1), _LEAST)
    masked = MaskedSpectrum(dtype="float32", name="masked")(mask, real, imag)
    if size.residual:
        masked = [
            ops.concatenate([part, ops.expand_dims(whole, 1) - ops.sum(part, 1, keepdims=True)], 1)
            for part, whole in zip(masked, (real, imag), strict=True)
        ]
    if size.wiener_iterations:
        masked = WienerFilter(
            size.wiener_iterations, size.wiener_frames, dtype="float32", name="wiener"
        )(*masked, real, imag)
    gain = "repeated" if size.streams else "covered"
    return InverseSTFT(**transform, gain=gain, name="inverse_stft")(*masked, waveform)


def _magnitudes(mixture, targets: Sequence[str], size: OpenUnmix, past: Past):
    """`[batch, frames, all bins, channels]` to those of the targets, on axis 1."""
    x = ops.transpose(mixture, (0, 1, 3, 2))  # [batch, frames, channels, all bins], as theirs
    masks = [_mask(x, target, size, past) for target in targets]
    masks = ops.transpose(ops.stack(masks, axis=1), (0, 1, 2, 4, 3))
    # In mixed precision the networks end in half precision, and magnitudes are float32.
    return ops.cast(masks, "float32") * ops.expand_dims(mixture, 1)


def _mask(magnitudes, source: str, size: OpenUnmix, past: Past):
    """The mask of a source, at least 0: `[batch, frames, channels, all bins]` to the same shape."""

    def dense(units, number, x):
        x = layers.Dense(units, use_bias=False, name=f"{source}_dense{number}")(x)
        return norm_layer("batch", name=f"{source}_norm{number}")(x)

    x = BinScale(before=True, dtype="float32", name=f"{source}_input")(magnitudes[..., : size.bins])
    x = layers.Reshape((-1, size.channels * size.bins), name=f"{source}_flat")(x)
    narrow = ops.tanh(dense(size.hidden, 1, x))  # [batch, frames, hidden]
    x = narrow
    for number in range(1, size.n_layers + 1):
        x = _lstm(x, size, past, f"{source}_lstm{number}")
        if number < size.n_layers:
            x = layers.Dropout(size.dropout, name=f"{source}_dropout{number}")(x)
    x = layers.Concatenate(name=f"{source}_skip")([narrow, x])
    x = ops.relu(dense(size.hidden, 2, x))
    x = dense(size.channels * size.all_bins, 3, x)
    x = layers.Reshape((-1, size.channels, size.all_bins), name=f"{source}_bins")(x)
    return ops.relu(BinScale(before=False, name=f"{source}_output")(x))


def _lstm(x, size: OpenUnmix, past: Past, name: str):
    if not size.bidirectional:
        return past.recurrent(LSTM(size.hidden, name=name, **past.recurrence), x, name)
    one = LSTM(size.hidden // 2, return_sequences=True, name="lstm")
    return layers.Bidirectional(one, name=name)(x)


@keras.saving.register_keras_serializable("kzoo")
class BinScale(layers.Layer):
    """`[..., bins]` to (x + mean) * scale before the network, or x * scale + mean after it.

    Both have a value a bin and learn, as in the authors' network: before it, `mean` is the negative
    of what was measured, and `scale` one over the deviation; both leave x alone at first. After it,
    both are 1 at first, which is a mask that lets the mixture pass.
    """

    def __init__(self, *, before: bool, **kwargs):
        super().__init__(**kwargs)
        self.before = before

    def build(self, input_shape):
        bins = (input_shape[-1],)
        start = "zeros" if self.before else "ones"
        self.mean = self.add_weight(shape=bins, initializer=start, name="mean")
        self.scale = self.add_weight(shape=bins, initializer="ones", name="scale")

    def call(self, x):
        return (x + self.mean) * self.scale if self.before else x * self.scale + self.mean

    def get_config(self):
        return {**super().get_config(), "before": self.before}
