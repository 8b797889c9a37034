"""DDSP: a network that plays an oscillator bank and filtered noise.

Engel, Hantrakul, Gu and Roberts, 2020, https://arxiv.org/abs/2001.04643. Pitch and loudness (and,
in the autoencoder, what a small encoder hears besides) go through a recurrent decoder to the
controls of a synthesiser, and its sound is compared with the recording: so an instrument is
learned from minutes of it. The seam is kept: network -> controls -> signal.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, Self

import keras
import numpy as np
from keras import layers, ops

from kzoo.dsp import filters, synthesis
from kzoo.dsp import units as scales
from kzoo.dsp.blocks import BlockGrid
from kzoo.dsp.mel import MFCC
from kzoo.dsp.oscillators import audible_distribution
from kzoo.layers.recurrent import GRU
from kzoo.layers.synthesis import (
    ContinueHarmonicsPlusNoise,
    ContinueReverb,
    HarmonicsPlusNoise,
    Reverb,
    TimeNorm,
    UpsampleTo,
)
from kzoo.models.base.sizes import Sizes, check_positive

MFCC_COEFFICIENTS = 30
Z_FACTOR = 8  # frames of controls in one of the encoding
ROOM = "reverb/response"  # the path of the weight that is the room


@dataclass(frozen=True, kw_only=True)
class DDSP(Sizes):
    """The paper's network for one instrument by default.

    hop_length: in samples, from one frame of the controls to the next.
    rnn_units: of the GRU. units, layers_per_stack: of the dense layers before and after it.
    noise_bands: magnitudes of the noise's filter.
    z_dims: of the autoencoder's encoding; 0 for no encoder. z_units: of the encoder's GRU; 0 for as
        many as the decoder's.
    reverb_seconds: of the learned room; 0 for none.
    loudness_range_db: silence is so far below full scale; 120 in the authors' networks of before
        2022, of which loudness was another, as `synthesis.following.LoudnessMeter` says.
    block_seconds: the length of a training example, and of an exported file of static shape.
    """

    task: ClassVar[str] = "synthesis"

    sample_rate: int = 16000
    channels: Literal[1] = 1
    hop_length: int = 64
    rnn_units: int = 512
    units: int = 512
    layers_per_stack: int = 3
    harmonics: int = 60
    noise_bands: int = 65
    z_dims: int = 0
    z_units: int = 0
    reverb_seconds: float = 3.0
    loudness_range_db: float = scales.RANGE_DB

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "hop_length")
        for name in ("rnn_units", "units", "layers_per_stack", "harmonics"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1; got {getattr(self, name)}")
        check_positive(self, "loudness_range_db")
        if self.noise_bands < 2:
            raise ValueError(f"noise_bands must be at least 2; got {self.noise_bands}")

    @property
    def step(self) -> int:
        """Samples of one frame of the controls or, where there is an encoder, of its encoding."""
        return self.hop_length * (Z_FACTOR if self.z_dims else 1)

    @property
    def room_taps(self) -> int:
        """Samples of the room's response."""
        return round(self.reverb_seconds * self.sample_rate)

    def grid(self) -> BlockGrid:
        """One block after another: a stream carries its state on, so nothing fades."""
        samples = self.whole(None)
        return BlockGrid(samples=samples, hop=samples)

    def whole(self, samples: int | None) -> int:
        return max(1, round(super().whole(samples) / self.step)) * self.step

    def segment(self, samples: int) -> tuple[Self, dict[str, Any]]:
        """As many whole frames as `samples` needs."""
        return self, {"samples": max(1, -(-samples // self.step)) * self.step}


VARIANTS = {
    "solo": DDSP(),
    "autoencoder": DDSP(harmonics=100, z_dims=16, z_units=512, reverb_seconds=0.0),
    "vst": DDSP(units=256, layers_per_stack=1, reverb_seconds=0.0),
    "phone": DDSP(rnn_units=192, units=128, layers_per_stack=1, reverb_seconds=0.0),
    "tiny": DDSP(
        rnn_units=8,
        units=8,
        layers_per_stack=1,
        harmonics=12,
        noise_bands=9,
        reverb_seconds=0.0,
        sample_rate=8000,
        hop_length=32,
    ),
}


def build(size: DDSP = VARIANTS["solo"], *, samples: int | None = None) -> keras.Model:
    """{"f0_hz", "loudness_db"}, each `[batch, frames, 1]`, to audio `[batch, samples, 1]`.

    samples = frames * hop_length; None for any number of frames. An autoencoder (z_dims > 0) also
    takes "waveform" `[batch, samples, 1]`, the sound that is to be played again.
    f0_hz: pitch, 0 where there is none. loudness_db: as `dsp.loudness`, -80 to about 0.
    Raises ValueError for samples that are no whole frames.
    """
    frames = _frames(samples, size)
    inputs = {name: keras.Input((frames, 1), name=name) for name in ("f0_hz", "loudness_db")}
    arguments = _scaled(size, **inputs)
    widths = [("f0", 1), ("loudness", 1)]
    if size.z_dims:
        inputs["waveform"] = keras.Input((samples, 1), name="waveform")
        z = encoder(size)(inputs["waveform"])
        arguments.append(UpsampleTo(Z_FACTOR, dtype="float32", name="z_frames")(z, arguments[0]))
        widths.append(("z", size.z_dims))
    found = controls(decoder(size, widths)(arguments), inputs["f0_hz"], size.sample_rate)
    audio = synthesise(inputs["f0_hz"], found, size)
    return keras.Model(inputs, audio, name="ddsp")


def decoder(
    size: DDSP,
    inputs: Sequence[tuple[str, int]],
    *,
    frames: int | None = None,
    stateful: bool = False,
) -> keras.Model:
    """Scaled inputs, each `[batch, frames, width]`, to raw controls: RnnFcDecoder.

    The controls are {"amplitude" 1, "harmonic_distribution" harmonics, "noise_magnitudes"
    noise_bands}, `[batch, frames, ...]`, unscaled. inputs: (name, width) of each.
    stateful: the GRU's state `[batch, rnn_units]` is one more input and a fourth output "rnn".
    """
    tensors = [keras.Input((frames, width), name=name) for name, width in inputs]
    stacked = [
        _stack(x, size, f"{name}_stack") for x, (name, _) in zip(tensors, inputs, strict=True)
    ]
    rnn = GRU(
        size.rnn_units,
        return_sequences=True,
        return_state=stateful,
        unroll=frames is not None and frames <= 4,  # plain products: the fastest for a few frames
        name="rnn",
    )
    joined = layers.Concatenate(name="join_inputs")(stacked)
    state = [keras.Input((size.rnn_units,), name="rnn_state")] if stateful else []
    played = rnn(joined, initial_state=state) if stateful else rnn(joined)
    played, after = played if stateful else (played, None)
    x = layers.Concatenate(name="join_rnn")([*stacked, played])
    x = _stack(x, size, "out_stack")
    harmonics = size.harmonics
    # float32: what is out of tune or range here is heard.
    x = layers.Dense(1 + harmonics + size.noise_bands, dtype="float32", name="controls")(x)
    outputs = {
        "amplitude": x[..., :1],
        "harmonic_distribution": x[..., 1 : 1 + harmonics],
        "noise_magnitudes": x[..., 1 + harmonics :],
    }
    if stateful:
        outputs["rnn"] = ops.cast(after, "float32")
    return keras.Model([*tensors, *state], outputs, name="ddsp_decoder")


def encoder(size: DDSP) -> keras.Model:
    """Waveform `[batch, samples, 1]` to z `[batch, frames, z_dims]`: MfccTimeDistributedRnnEncoder.

    One frame of z for `Z_FACTOR` of the controls.
    """
    hop_length, rate = Z_FACTOR * size.hop_length, size.sample_rate
    waveform = keras.Input((None, 1), name="waveform")
    highest_hz = min(8000.0, rate / 2)
    x = MFCC(
        rate,
        2 * hop_length,
        hop_length,
        MFCC_COEFFICIENTS,
        highest_hz,
        dtype="float32",
        name="mfcc",
    )(waveform)
    x = TimeNorm(dtype="float32", name="z_norm")(x)
    x = GRU(size.z_units or size.rnn_units, return_sequences=True, name="z_rnn")(x)
    z = layers.Dense(size.z_dims, name="z_dense")(x)
    return keras.Model(waveform, z, name="ddsp_encoder")


def controls(outputs: Mapping[str, Any], f0_hz, sample_rate: int) -> dict[str, Any]:
    """What a decoder gives, as positive controls; shares of inaudible harmonics go to the others.

    {"amplitude" `[batch, frames, 1]`, "harmonic_distribution", which sums to 1, and
    "noise_magnitudes"}.
    """
    shares = scales.exp_sigmoid(outputs["harmonic_distribution"])
    return {
        "amplitude": scales.exp_sigmoid(outputs["amplitude"]),
        "harmonic_distribution": audible_distribution(shares, f0_hz, sample_rate),
        # At first the noise is faint.
        "noise_magnitudes": scales.exp_sigmoid(outputs["noise_magnitudes"] - 5.0),
    }


def synthesise(f0_hz, found: Mapping[str, Any], size: DDSP):
    """Pitch `[batch, frames, 1]` and `controls` to audio `[batch, samples, 1]`."""
    make = HarmonicsPlusNoise(
        size.hop_length, size.sample_rate, dtype="float32", name="synthesiser"
    )
    amplitudes = found["amplitude"] * found["harmonic_distribution"]
    audio = make(f0_hz, amplitudes, found["noise_magnitudes"])
    if size.reverb_seconds:
        audio = Reverb(size.room_taps, dtype="float32", name="reverb")(audio)
    return audio


def build_step(size: DDSP = VARIANTS["solo"], *, frames: int = 1) -> keras.Model:
    """A block of `frames` frames and a state, to its sound and the state after it.

    Inputs: those of `build`, and a "state_<name>" for each entry of `initial_state`; outputs:
    "audio" `[batch, frames * hop_length, 1]` and the same states. Weights are those of `build` by
    their paths. The sound of block after block is that of `build` for all frames, one hop late.
    Raises ValueError for a model with an encoder, which hears the whole recording.
    """
    if size.z_dims:
        raise ValueError(
            f"a stream has no encoder, which hears the whole recording; got z_dims={size.z_dims}"
        )
    inputs = {name: keras.Input((frames, 1), name=name) for name in ("f0_hz", "loudness_db")}
    states = {
        name: keras.Input(value.shape[1:], dtype=value.dtype.name, name=f"state_{name}")
        for name, value in initial_state(size, frames=frames).items()
    }
    raw = decoder(size, [("f0", 1), ("loudness", 1)], frames=frames, stateful=True)(
        [*_scaled(size, **inputs), states["rnn"]]
    )
    found = controls(raw, inputs["f0_hz"], size.sample_rate)
    amplitudes = found["amplitude"] * found["harmonic_distribution"]
    room = sorted(name for name in states if name.startswith("room_"))
    signal = sorted(name for name in states if name != "rnn" and name not in room)
    audio, *after = ContinueHarmonicsPlusNoise(
        size.hop_length, size.sample_rate, dtype="float32", name="synthesiser"
    )(inputs["f0_hz"], amplitudes, found["noise_magnitudes"], *(states[name] for name in signal))
    results = {f"state_{name}": x for name, x in zip(signal, after, strict=True)}
    results["state_rnn"] = raw["rnn"]
    if room:
        audio, *after = ContinueReverb(size.room_taps, dtype="float32", name="reverb")(
            audio, *(states[name] for name in room)
        )
        results |= {f"state_{name}": x for name, x in zip(room, after, strict=True)}
    return keras.Model(
        {**inputs, **{f"state_{name}": x for name, x in states.items()}},
        {"audio": audio, **results},
        name="ddsp_step",
    )


def initial_state(
    size: DDSP = VARIANTS["solo"], *, frames: int = 1, batch: int = 1
) -> dict[str, np.ndarray]:
    """The state of silence, {name: array}: where a stream begins, and what a reset brings back.

    frames: of a block of `build_step`.
    """
    room = {}
    if size.reverb_seconds:
        room = filters.silent_room(size.room_taps, frames * size.hop_length, batch)
    signal = synthesis.initial_state(
        harmonics=size.harmonics,
        noise_bands=size.noise_bands,
        hop_length=size.hop_length,
        batch=batch,
    )
    return {**signal, **room, "rnn": np.zeros((batch, size.rnn_units), np.float32)}


def _frames(samples: int | None, size: DDSP) -> int | None:
    if samples is None:
        return None
    frames, rest = divmod(samples, size.hop_length)
    if rest or not frames:
        raise ValueError(
            f"samples must be a multiple of the hop of {size.hop_length}; got {samples}"
        )
    return frames


def _scaled(size: DDSP, *, f0_hz, loudness_db) -> list:
    """Both between 0 and about 1."""
    return [scales.hz_to_midi(f0_hz) / 127.0, loudness_db / size.loudness_range_db + 1.0]


def _stack(x, size: DDSP, name: str):
    for level in range(1, size.layers_per_stack + 1):
        x = layers.Dense(size.units, name=f"{name}_dense{level}")(x)
        x = layers.LayerNormalization(epsilon=1e-3, name=f"{name}_norm{level}")(x)
        x = layers.LeakyReLU(0.2, name=f"{name}_activation{level}")(x)
    return x
