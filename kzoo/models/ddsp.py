"""DDSP: a network that plays an oscillator bank and filtered noise.

Engel, Hantrakul, Gu and Roberts, 2020, https://arxiv.org/abs/2001.04643. Pitch and loudness (and,
in the autoencoder, what a small encoder hears besides) go through a recurrent decoder to the
controls of a synthesiser, and its sound is compared with the recording: so an instrument is
learned from minutes of it. The seam is kept: network -> controls -> signal.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from kzoo.dsp import filters, synthesis
from kzoo.dsp import units as scales
from kzoo.dsp.mel import MFCC
from kzoo.dsp.oscillators import audible_distribution
from kzoo.layers.synthesis import (
    ContinueHarmonicsPlusNoise,
    ContinueReverb,
    HarmonicsPlusNoise,
    Reverb,
    TimeNorm,
    UpsampleTo,
)  # fmt: skip

VARIANTS = {
    "autoencoder": {
        "rnn_units": 512, "units": 512, "layers_per_stack": 3, "harmonics": 100, "noise_bands": 65,
        "z_dims": 16, "z_units": 512, "reverb_seconds": 0.0,
    },
    "solo": {
        "rnn_units": 512, "units": 512, "layers_per_stack": 3, "harmonics": 60, "noise_bands": 65,
        "z_dims": 0, "z_units": 0, "reverb_seconds": 3.0,
    },
    "vst": {
        "rnn_units": 512, "units": 256, "layers_per_stack": 1, "harmonics": 60, "noise_bands": 65,
        "z_dims": 0, "z_units": 0, "reverb_seconds": 0.0,
    },
    "phone": {
        "rnn_units": 192, "units": 128, "layers_per_stack": 1, "harmonics": 60, "noise_bands": 65,
        "z_dims": 0, "z_units": 0, "reverb_seconds": 0.0,
    },
    "tiny": {
        "rnn_units": 8, "units": 8, "layers_per_stack": 1, "harmonics": 12, "noise_bands": 9,
        "z_dims": 0, "z_units": 0, "reverb_seconds": 0.0, "sample_rate": 8000, "hop_length": 32,
    },
}  # fmt: skip
for _sizes in VARIANTS.values():
    _sizes.update({"sample_rate": 16000, "hop_length": 64, "channels": 1, **_sizes})

DEFAULT_SECONDS = 4.0  # of a training example, and of a static block
MFCC_COEFFICIENTS = 30
Z_FACTOR = 8  # frames of controls in one of the encoding
ROOM = "reverb/response"  # the path of the weight that is the room


def build(
    *,
    variant: str = "solo",
    samples: int | None = None,
    rnn_units: int | None = None,
    units: int | None = None,
    layers_per_stack: int | None = None,
    harmonics: int | None = None,
    noise_bands: int | None = None,
    z_dims: int | None = None,
    z_units: int | None = None,
    reverb_seconds: float | None = None,
) -> keras.Model:
    """{"f0_hz", "loudness_db"}, each `[batch, frames, 1]`, to audio `[batch, samples, 1]`.

    samples = frames * hop_length; None for any number of frames. An autoencoder (z_dims > 0) also
    takes "waveform" `[batch, samples, 1]`, the sound that is to be played again.
    f0_hz: pitch, 0 where there is none. loudness_db: as `dsp.loudness`, -80 to about 0.
    rnn_units: of the GRU; units, layers_per_stack: of the dense layers before and after it.
    noise_bands: magnitudes of the noise's filter. reverb_seconds: of the learned room, 0 for none.
    Options left at None come from the variant. Raises ValueError for sizes that make no model.
    """
    size = _sizes_of(variant, rnn_units=rnn_units, units=units, harmonics=harmonics,
                     layers_per_stack=layers_per_stack, noise_bands=noise_bands, z_dims=z_dims,
                     z_units=z_units, reverb_seconds=reverb_seconds)  # fmt: skip
    frames = _frames(samples, size)
    inputs = {name: keras.Input((frames, 1), name=name) for name in ("f0_hz", "loudness_db")}
    arguments = _scaled(**inputs)
    if size["z_dims"]:
        inputs["waveform"] = keras.Input((samples, 1), name="waveform")
        z = encoder(size)(inputs["waveform"])
        arguments.append(UpsampleTo(Z_FACTOR, dtype="float32", name="z_frames")(z, arguments[0]))
    made = decoder(
        rnn_units=size["rnn_units"], units=size["units"], harmonics=size["harmonics"],
        layers_per_stack=size["layers_per_stack"], noise_bands=size["noise_bands"],
        inputs=[("f0", 1), ("loudness", 1), *([("z", size["z_dims"])] if size["z_dims"] else [])],
    )  # fmt: skip
    found = controls(made(arguments), inputs["f0_hz"], size["sample_rate"])
    audio = synthesise(inputs["f0_hz"], found, size)
    return keras.Model(inputs, audio, name="ddsp")


def decoder(
    *, rnn_units: int, units: int, layers_per_stack: int, harmonics: int, noise_bands: int,
    inputs: list[tuple[str, int]], frames: int | None = None, stateful: bool = False,
) -> keras.Model:  # fmt: skip
    """Scaled inputs, each `[batch, frames, width]`, to raw controls: RnnFcDecoder.

    The controls are {"amplitude" 1, "harmonic_distribution" harmonics, "noise_magnitudes"
    noise_bands}, `[batch, frames, ...]`, unscaled. inputs: (name, width) of each.
    stateful: the GRU's state `[batch, rnn_units]` is one more input and a fourth output "rnn".
    """
    tensors = [keras.Input((frames, width), name=name) for name, width in inputs]
    stacked = [
        _stack(x, units, layers_per_stack, f"{name}_stack")
        for x, (name, _) in zip(tensors, inputs, strict=True)
    ]
    unroll = frames is not None and frames <= 4  # plain products: the fastest for a few frames
    rnn = layers.GRU(rnn_units, return_sequences=True, return_state=stateful, unroll=unroll,
                     name="rnn")  # fmt: skip
    joined = layers.Concatenate(name="join_inputs")(stacked)
    state = [keras.Input((rnn_units,), name="rnn_state")] if stateful else []
    played = rnn(joined, initial_state=state) if stateful else rnn(joined)
    played, after = played if stateful else (played, None)
    x = layers.Concatenate(name="join_rnn")([*stacked, played])
    x = _stack(x, units, layers_per_stack, "out_stack")
    # float32: what is out of tune or range here is heard.
    x = layers.Dense(1 + harmonics + noise_bands, dtype="float32", name="controls")(x)
    outputs = {
        "amplitude": x[..., :1],
        "harmonic_distribution": x[..., 1 : 1 + harmonics],
        "noise_magnitudes": x[..., 1 + harmonics :],
    }
    if stateful:
        outputs["rnn"] = ops.cast(after, "float32")
    return keras.Model([*tensors, *state], outputs, name="ddsp_decoder")


def encoder(size: Mapping[str, Any]) -> keras.Model:
    """Waveform `[batch, samples, 1]` to z `[batch, frames, z_dims]`: MfccTimeDistributedRnnEncoder.

    One frame of z for `Z_FACTOR` of the controls.
    """
    hop_length, rate = Z_FACTOR * size["hop_length"], size["sample_rate"]
    waveform = keras.Input((None, 1), name="waveform")
    x = MFCC(rate, 2 * hop_length, hop_length, MFCC_COEFFICIENTS, min(8000.0, rate / 2),
             dtype="float32", name="mfcc")(waveform)  # fmt: skip
    x = TimeNorm(dtype="float32", name="z_norm")(x)
    x = layers.GRU(size["z_units"], return_sequences=True, name="z_rnn")(x)
    z = layers.Dense(size["z_dims"], name="z_dense")(x)
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


def synthesise(f0_hz, found: Mapping[str, Any], size: Mapping[str, Any]):
    """Pitch `[batch, frames, 1]` and `controls` to audio `[batch, samples, 1]`.

    size: sample_rate, hop_length and reverb_seconds, such as an entry of VARIANTS.
    """
    make = HarmonicsPlusNoise(
        size["hop_length"], size["sample_rate"], dtype="float32", name="synthesiser"
    )
    amplitudes = found["amplitude"] * found["harmonic_distribution"]
    audio = make(f0_hz, amplitudes, found["noise_magnitudes"])
    if size["reverb_seconds"]:
        audio = Reverb(_room_taps(size), dtype="float32", name="reverb")(audio)
    return audio


def build_step(
    *,
    variant: str = "phone",
    frames: int = 1,
    rnn_units: int | None = None,
    units: int | None = None,
    layers_per_stack: int | None = None,
    harmonics: int | None = None,
    noise_bands: int | None = None,
    z_dims: int | None = None,
    reverb_seconds: float | None = None,
) -> keras.Model:
    """A block of `frames` frames and a state, to its sound and the state after it.

    Inputs: those of `build`, and a "state_<name>" for each entry of `initial_state`; outputs:
    "audio" `[batch, frames * hop_length, 1]` and the same states. Weights are those of `build` by
    their paths. The sound of block after block is that of `build` for all frames, one hop late.
    Raises ValueError for a model with an encoder, which hears the whole recording.
    """
    size = _sizes_of(variant, rnn_units=rnn_units, units=units, harmonics=harmonics,
                     layers_per_stack=layers_per_stack, noise_bands=noise_bands, z_dims=z_dims,
                     reverb_seconds=reverb_seconds)  # fmt: skip
    if size["z_dims"]:
        raise ValueError(
            f"a stream has no encoder, which hears the whole recording; got z_dims={size['z_dims']}"
        )
    inputs = {name: keras.Input((frames, 1), name=name) for name in ("f0_hz", "loudness_db")}
    states = {
        name: keras.Input(value.shape[1:], dtype=value.dtype.name, name=f"state_{name}")
        for name, value in _initial_state(size, frames).items()
    }
    made = decoder(
        rnn_units=size["rnn_units"], units=size["units"], harmonics=size["harmonics"],
        layers_per_stack=size["layers_per_stack"], noise_bands=size["noise_bands"],
        inputs=[("f0", 1), ("loudness", 1)], frames=frames, stateful=True,
    )  # fmt: skip
    outputs = made([*_scaled(**inputs), states["rnn"]])
    found = controls(outputs, inputs["f0_hz"], size["sample_rate"])
    amplitudes = found["amplitude"] * found["harmonic_distribution"]
    room = sorted(name for name in states if name.startswith("room_"))
    signal = sorted(name for name in states if name != "rnn" and name not in room)
    audio, *after = ContinueHarmonicsPlusNoise(
        size["hop_length"], size["sample_rate"], dtype="float32", name="synthesiser"
    )(inputs["f0_hz"], amplitudes, found["noise_magnitudes"], *(states[name] for name in signal))
    results = {f"state_{name}": x for name, x in zip(signal, after, strict=True)}
    results["state_rnn"] = outputs["rnn"]
    if room:
        audio, *after = ContinueReverb(_room_taps(size), dtype="float32", name="reverb")(
            audio, *(states[name] for name in room)
        )
        results |= {f"state_{name}": x for name, x in zip(room, after, strict=True)}
    return keras.Model(
        {**inputs, **{f"state_{name}": x for name, x in states.items()}},
        {"audio": audio, **results}, name="ddsp_step",
    )  # fmt: skip


def initial_state(
    *,
    variant: str = "phone",
    frames: int = 1,
    rnn_units: int | None = None,
    harmonics: int | None = None,
    noise_bands: int | None = None,
    reverb_seconds: float | None = None,
    batch: int = 1,
) -> dict[str, np.ndarray]:
    """The state of silence, {name: array}: where a stream begins, and what a reset brings back.

    Options as of `build_step`.
    """
    size = _sizes_of(variant, rnn_units=rnn_units, harmonics=harmonics, noise_bands=noise_bands,
                     reverb_seconds=reverb_seconds)  # fmt: skip
    return _initial_state(size, frames, batch)


def block_options(*, variant: str = "solo") -> dict:
    """What `build` needs beside the options, to make the model of one training example."""
    return static_block(variant=variant)


def static_block(samples: int | None = None, *, variant: str = "solo") -> dict:
    """Options for a model of about `samples` samples: whole frames of the controls, and of z."""
    size = _sizes_of(variant)
    samples = DEFAULT_SECONDS * size["sample_rate"] if samples is None else samples
    step = size["hop_length"] * (Z_FACTOR if size["z_dims"] else 1)
    return {"samples": max(1, round(samples / step)) * step}


def _sizes_of(variant: str, **options: Any) -> dict[str, Any]:
    if variant not in VARIANTS:
        raise ValueError(f"variant must be one of {', '.join(VARIANTS)}; got {variant!r}")
    size = {**VARIANTS[variant], **{k: v for k, v in options.items() if v is not None}}
    for name in ("rnn_units", "units", "layers_per_stack", "harmonics"):
        if size[name] < 1:
            raise ValueError(f"{name} must be at least 1; got {size[name]}")
    if size["noise_bands"] < 2:
        raise ValueError(f"noise_bands must be at least 2; got {size['noise_bands']}")
    if size["z_dims"] and not size["z_units"]:
        size["z_units"] = size["rnn_units"]
    return size


def _frames(samples: int | None, size: Mapping[str, Any]) -> int | None:
    if samples is None:
        return None
    frames, rest = divmod(samples, size["hop_length"])
    if rest or not frames:
        raise ValueError(
            f"samples must be a multiple of the hop of {size['hop_length']}; got {samples}"
        )
    return frames


def _room_taps(size: Mapping[str, Any]) -> int:
    return round(size["reverb_seconds"] * size["sample_rate"])


def _initial_state(
    size: Mapping[str, Any], frames: int, batch: int = 1
) -> dict[str, np.ndarray]:  # fmt: skip
    room = filters.silent_room(_room_taps(size), frames * size["hop_length"], batch)
    signal = synthesis.initial_state(
        harmonics=size["harmonics"], noise_bands=size["noise_bands"],
        hop_length=size["hop_length"], batch=batch,
    )  # fmt: skip
    return {
        **signal, **(room if size["reverb_seconds"] else {}),
        "rnn": np.zeros((batch, size["rnn_units"]), np.float32),
    }  # fmt: skip


def _scaled(*, f0_hz, loudness_db) -> list:
    """Both between 0 and about 1."""
    return [scales.hz_to_midi(f0_hz) / 127.0, loudness_db / scales.RANGE_DB + 1.0]


def _stack(x, width: int, depth: int, name: str):
    for level in range(1, depth + 1):
        x = layers.Dense(width, name=f"{name}_dense{level}")(x)
        x = layers.LayerNormalization(epsilon=1e-3, name=f"{name}_norm{level}")(x)
        x = layers.LeakyReLU(0.2, name=f"{name}_activation{level}")(x)
    return x
