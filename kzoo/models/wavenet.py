"""WaveNet: the distribution of the next sample from thousands before it, by dilated convolutions.

van den Oord et al., 2016, WaveNet: a generative model for raw audio,
https://arxiv.org/abs/1609.03499. Its widths were not published: the variants are those of
https://github.com/ibab/tensorflow-wavenet and https://github.com/r9y9/wavenet_vocoder.

A sample is one of `levels` codes after mu-law companding, or an amplitude of which a mixture of
distributions is given. Gated convolutions reach back by powers of two; all of them speak to the
output by skips. A speaker is known to all samples alike, features of frames are known at the
samples that they are of.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import keras
from keras import layers, ops

from kzoo.dsp import units
from kzoo.dsp.blocks import BlockGrid
from kzoo.dsp.mel import mel_levels
from kzoo.layers.autoregressive import (
    CodeTaps,
    GatedBlock,
    LearnedUpsampling,
    NextSample,
    RepeatFrames,
    Taps,
    TransposedUpsampling,
)
from kzoo.models.base.sampled import SampledBlock
from kzoo.models.base.sizes import Sizes, check_positive


@dataclass(frozen=True, kw_only=True)
class WaveNet(Sizes):
    """The sizes of ibab's by default: 1,515,968 weights, 5,117 samples heard.

    output: what is given of the next sample: "softmax" of its code, which is heard too; or of
        amplitudes, which are heard as they are, a mixture of "logistics" (discretised) or
        "gaussians", of `mixtures` components.
    levels: codes, or amplitudes that logistics tell apart.
    stacks, depth: so many times dilations of 1, 2, ..., 2 ** (depth - 1).
    kernel_size: of them. first_kernel: of the convolution before them.
    residual, gate, skip: channels of what is passed on, of a gate, and of what the output hears.
    scaled: sums are scaled as r9y9's are; biases: of blocks; first_bias: of the first convolution.
    dropout: of what a block hears, in training.
    speakers: names of what a corpus has a folder of each; speaker_width: of the vector that stands
        for one.
    conditions: what frames say of the sound: nothing ("none"), pitch and loudness ("controls"),
        `bands` levels ("mel"), or which of MIDI's 128 pitches are played ("piano_roll");
        hop_length: samples of a frame.
    mel: what these levels are: the "decibels" of `dsp.mel.mel_levels` with n_fft, low_hz and
        high_hz, or Nyquist below that; or "other" ones, which kzoo plays and cannot make.
    upsampling: frames are "repeated", or smoothed by what is "learned" after each of `scales`,
        over `upsampling_pad` frames to both sides and `feature_taps` features; or "transposed":
        each for itself is what a transposed convolution of `scales` and `feature_taps` makes of it.
    block_seconds: the length of a training example.
    """

    task: ClassVar[str] = "generation"
    quantisation: ClassVar[str] = "mu_law"

    sample_rate: int = 16000
    channels: Literal[1] = 1
    output: Literal["softmax", "logistics", "gaussians"] = "softmax"
    levels: int = 256
    mixtures: int = 10
    stacks: int = 5
    depth: int = 10
    kernel_size: int = 2
    first_kernel: int = 2
    residual: int = 32
    gate: int = 32
    skip: int = 512
    scaled: bool = False
    biases: bool = True
    first_bias: bool = False
    dropout: float = 0.0
    speakers: tuple[str, ...] = ()
    speaker_width: int = 32
    conditions: Literal["none", "controls", "mel", "piano_roll"] = "none"
    bands: int = 80
    hop_length: int = 256
    mel: Literal["decibels", "other"] = "decibels"
    n_fft: int = 1024
    low_hz: float = 125.0
    high_hz: float = 7600.0
    upsampling: Literal["repeated", "learned", "transposed"] = "repeated"
    scales: tuple[int, ...] = (4, 4, 4, 4)
    upsampling_pad: int = 2
    feature_taps: int = 1
    block_seconds: float = 1.0

    def __post_init__(self):
        super().__post_init__()
        names = ("stacks", "depth", "first_kernel", "residual", "gate", "skip", "mixtures")
        check_positive(self, *names, "hop_length", "bands", "speaker_width", "n_fft")
        if self.levels < 2 or self.kernel_size < 2:
            raise ValueError(
                f"levels and kernel_size must be 2 or more; got {self.levels}, {self.kernel_size}"
            )
        if len(set(self.speakers)) != len(self.speakers):
            raise ValueError(f"speakers must be different; got {list(self.speakers)}")
        scaled = self.conditions != "none" and self.upsampling != "repeated"
        if scaled and math.prod(self.scales) != self.hop_length:
            raise ValueError(
                f"scales must multiply to hop_length; got {list(self.scales)}, {self.hop_length}"
            )
        if self.upsampling == "transposed" and self.feature_taps % 2 == 0:
            raise ValueError(
                f"feature_taps of transposed convolutions must be odd; got {self.feature_taps}"
            )

    @property
    def dilations(self) -> tuple[int, ...]:
        """Of the blocks, in their order."""
        return tuple(2**power for _ in range(self.stacks) for power in range(self.depth))

    @property
    def receptive_field(self) -> int:
        """Samples that the distribution of the next one depends on."""
        return (self.kernel_size - 1) * sum(self.dilations) + self.first_kernel

    @property
    def frame_samples(self) -> int:
        """Samples of what is known together: a frame of conditions, or one sample."""
        return 1 if self.conditions == "none" else self.hop_length

    @property
    def frames_around(self) -> int:
        """Frames to either side that what is said of a frame's samples depends on."""
        learned = self.conditions != "none" and self.upsampling == "learned"
        return self.upsampling_pad + 2 if learned else 0

    @property
    def samples_ahead(self) -> int:
        """Samples after a frame's own that its conditions are made of."""
        return max(0, self.n_fft - self.hop_length) if self.conditions == "mel" else 0

    def levels_of(self, waveform) -> Any:
        """The levels `[frames, bands]` of a recording `[samples]` at the model's rate.

        Raises ValueError where they are "other" ones.
        """
        if self.mel != "decibels":
            raise ValueError(
                "the levels that this model was trained on are not those that kzoo makes of a "
                "recording: make them by the program that it comes from, as a .npy"
            )
        return mel_levels(
            waveform, sample_rate=self.sample_rate, n_fft=self.n_fft, hop_length=self.hop_length,
            bands=self.bands, low_hz=self.low_hz,
            high_hz=min(self.high_hz, self.sample_rate / 2),
        )  # fmt: skip

    @property
    def parameters(self) -> int:
        """Numbers that say what the next sample may be."""
        return self.levels if self.output == "softmax" else 3 * self.mixtures

    def context_samples(self) -> int:
        return self.receptive_field

    def grid(self) -> BlockGrid:
        """One block after another, with the past that it depends on."""
        samples = self.whole(None)
        return BlockGrid(samples=samples, hop=samples)

    def whole(self, samples: int | None) -> int:
        """`samples`, or a block, in whole frames where frames condition it."""
        return max(1, round(super().whole(samples) / self.frame_samples)) * self.frame_samples

    def smaller(self) -> None:
        """Nothing: a block can be of any length."""
        return None


_R9Y9 = {
    "stacks": 3, "kernel_size": 3, "first_kernel": 1, "residual": 128, "gate": 128, "skip": 128,
    "scaled": True, "first_bias": True, "dropout": 0.05, "sample_rate": 22050,
    "upsampling": "learned",
}  # fmt: skip
VARIANTS = {
    "ibab": WaveNet(),
    # mulaw256 of r9y9's presets, and its mixture of logistics, which are 24 layers in 4 stacks.
    "vocoder": WaveNet(conditions="mel", **_R9Y9),
    "vocoder_logistics": WaveNet(
        conditions="mel", output="logistics", levels=65536, **{**_R9Y9, "stacks": 4, "depth": 6}
    ),
    "tiny": WaveNet(
        sample_rate=8000, levels=16, stacks=2, depth=3, residual=6, gate=5, skip=7,
        block_seconds=0.05,
    ),
}  # fmt: skip


def build(size: WaveNet = VARIANTS["ibab"], *, samples: int | None = None) -> keras.Model:
    """What was heard `[batch, samples, 1]` to the parameters of each next sample, float32.

    "past": codes as int32 where the output is a softmax, else amplitudes. Behind sample k it gives
    `[batch, samples, parameters]` of sample k + 1: see `layers.autoregressive.NextSample`. Before
    the first sample every convolution hears zeros.
    Where the sizes have them: "speaker" `[batch, 1]`, the number of a name; "f0_hz" and
    "loudness_db" `[batch, frames, 1]`, or "mel" `[batch, frames, bands]`, or "piano_roll"
    `[batch, frames, 128]` of 0 and 1, at the samples' own time.
    samples: None for any number. Raises ValueError for no whole number of frames.
    """
    if samples is not None and samples != size.whole(samples):
        raise ValueError(
            f"samples must be whole frames of {size.hop_length}; got {samples}, the nearest is "
            f"{size.whole(samples)}"
        )
    kind = "int32" if size.output == "softmax" else "float32"
    inputs = {"past": keras.Input((samples, 1), dtype=kind, name="past")}
    conditions = []
    if size.speakers:
        inputs["speaker"] = keras.Input((1,), dtype="int32", name="speaker")
        vector = layers.Embedding(len(size.speakers), size.speaker_width, name="speakers")
        conditions.append(("speaker", vector(inputs["speaker"])))  # [batch, 1, width]
    if size.conditions != "none":
        frames = None if samples is None else samples // size.hop_length
        known = {name: keras.Input((frames, n), name=name) for name, n in _widths(size).items()}
        inputs.update(known)
        conditions.append(("frames", _upsampling(size)(scaled(known))))

    def condition(block: int):
        """What the conditions add to the gates of a block."""
        parts = [
            layers.Dense(2 * size.gate, use_bias=False, name=f"block{block}_{name}")(x)
            for name, x in conditions
        ]
        return sum(parts[1:], parts[0]) if parts else None

    def heard(x, count: int, distance: int, name: str):
        return Taps(count, distance, name=f"{name}_taps")(x) if count > 1 else x

    out = network(inputs["past"], size, heard, condition, lambda make, **named: make(**named))
    return keras.Model(inputs, out, name="wavenet")


def network(past, size: WaveNet, heard: Callable, condition: Callable, part: Callable):
    """The network of a whole sequence and of one sample, `[batch, samples, 1]` to parameters.

    heard: (sequence, count, distance, name) to `autoregressive.taps` of it. condition: a block's
    number to what is added to its gates. part: (class, name, arguments) to the layer.
    """
    sequence = ops.cast(past, "float32") + 1.0 if size.output == "softmax" else past
    x = heard(sequence, size.first_kernel, 1, "first")
    if size.output == "softmax":
        first = {"filters": size.residual, "levels": size.levels, "use_bias": size.first_bias}
        x = part(CodeTaps, name="first", **first)(x)
    else:
        x = part(layers.Dense, name="first", units=size.residual, use_bias=size.first_bias)(x)
    skips = []
    for block, dilation in enumerate(size.dilations, start=1):
        if size.dropout:
            x = part(layers.Dropout, name=f"block{block}_dropout", rate=size.dropout)(x)
        x, skip = part(
            GatedBlock, name=f"block{block}", residual=size.residual, gate=size.gate,
            skip=size.skip, scaled=size.scaled, use_bias=size.biases,
            last=block == len(size.dilations),
        )(heard(x, size.kernel_size, dilation, f"block{block}"), condition(block))  # fmt: skip
        skips.append(skip)
    x = sum(skips[1:], skips[0])
    x = ops.relu(x * math.sqrt(1 / len(skips)) if size.scaled else x)
    x = ops.relu(part(layers.Dense, name="output1", units=size.skip)(x))
    x = part(layers.Dense, name="output2", units=size.parameters)(x)
    end = {"output": size.output, "levels": size.levels, "dtype": "float32"}
    return part(NextSample, name="next_sample", **end)(x)


def _widths(size: WaveNet) -> dict[str, int]:
    """Of what frames say."""
    if size.conditions == "controls":
        return {"f0_hz": 1, "loudness_db": 1}
    return {size.conditions: size.bands if size.conditions == "mel" else 128}


def scaled(known: Mapping[str, Any]):
    """What frames say, `[batch, frames, width]` each, as one tensor of about 0 to 1."""
    if "f0_hz" not in known:
        (own,) = known.values()
        return own
    pitch = units.hz_to_midi(known["f0_hz"]) / 127.0
    return ops.concatenate([pitch, known["loudness_db"] / units.RANGE_DB + 1.0], axis=-1)


def _upsampling(size: WaveNet) -> layers.Layer:
    if size.upsampling == "repeated":
        return RepeatFrames(size.hop_length, name="upsampling")
    if size.upsampling == "transposed":
        return TransposedUpsampling(size.scales, size.feature_taps, name="upsampling")
    return LearnedUpsampling(size.scales, size.upsampling_pad, size.feature_taps, name="upsampling")


class Sampler:
    """One sample after another by the layers of a model that `build` made, for `kzoo.generation`.

    Buffers hold what the convolutions hear again; the oldest sample is overwritten.
    """

    def __init__(self, model: keras.Model, size: WaveNet):
        self.model, self.size = model, size

    def state(self, batch: int) -> dict[str, Any]:
        """Zeros, as before the first sample: {name: `[batch, samples, channels]`}."""
        size = self.size
        buffers = {
            f"block{number}": (dilation * (size.kernel_size - 1), size.residual)
            for number, dilation in enumerate(size.dilations, start=1)
        }
        if size.first_kernel > 1:
            buffers["first"] = (size.first_kernel - 1, 1)
        return {name: ops.zeros((batch, *shape), "float32") for name, shape in buffers.items()}

    def conditions(self, **known) -> Any:
        """What a stretch's conditions add to the gates: `[batch, samples or 1, blocks, 2 * gate]`.

        known: the inputs of the model beside "past". None where it has no others.
        """
        size, parts = self.size, []

        def product(name: str, x):
            """Of all blocks at once."""
            layers = [
                self.model.get_layer(f"block{k + 1}_{name}") for k in range(len(size.dilations))
            ]
            return ops.matmul(x, ops.concatenate([layer.kernel for layer in layers], axis=-1))

        if size.speakers:
            vector = self.model.get_layer("speakers")(known.pop("speaker"))
            parts.append(product("speaker", vector))
        if known:
            upsampling, frames = self.model.get_layer("upsampling"), scaled(known)
            if size.upsampling == "repeated":  # a frame's product is that of each of its samples
                parts.append(upsampling(product("frames", frames)))
            else:
                parts.append(product("frames", upsampling(frames)))
        if not parts:
            return None
        each = sum(parts[1:], parts[0])
        return ops.reshape(each, (*ops.shape(each)[:2], len(size.dilations), 2 * size.gate))

    def step(self, past, state: Mapping[str, Any], at, conditions=None):
        """(sample `[batch, 1, 1]`, state) to (the next one's parameters `[batch, 1, n]`, state).

        at: how many samples were before it, an int32 scalar. conditions: of this sample,
        `[batch, 1, blocks, 2 * gate]`.
        """
        state = dict(state)

        def heard(x, count: int, distance: int, name: str):
            if count == 1:
                return x
            buffer, room = state[name], distance * (count - 1)
            batch, width = buffer.shape[0], buffer.shape[2]
            before = [
                ops.slice(buffer, (0, (at + k * distance) % room, 0), (batch, 1, width))
                for k in range(count - 1)
            ]
            state[name] = ops.slice_update(buffer, (0, at % room, 0), x)
            return ops.concatenate([*before, x], axis=-1)

        def condition(block: int):
            return None if conditions is None else conditions[:, :, block - 1]

        def part(make, *, name, **arguments):
            return self.model.get_layer(name)

        return network(past, self.size, heard, condition, part), state

    def block(self, state: Mapping[str, Any], samples: int, conditions=None) -> SampledBlock:
        """The next `samples` samples of one voice, as a file computes them.

        Where a convolution reaches back beyond them, one product is of all that it hears there, and
        the skips of a sample are one product.
        state: as of `state`, but the oldest sample first. conditions: as `conditions` has them.
        """
        size, again = self.size, self.size.kernel_size - 1
        names = [f"block{number}" for number in range(1, len(size.dilations) + 1)]
        far = [n for n, d in zip(names, size.dilations, strict=True) if d >= samples]
        distances = dict(zip(names, size.dilations, strict=True))
        known = []
        for number, name in enumerate(names):
            layer, distance = self.model.get_layer(name).gates, distances[name]
            bias = layer.bias[None, None] if layer.use_bias else ops.zeros((1, 1, 2 * size.gate))
            if name in far:
                before = [
                    state[name][:, k * distance : k * distance + samples] for k in range(again)
                ]
                kernel = layer.kernel[: -size.residual]
                bias = bias + ops.matmul(ops.concatenate(before, axis=-1), kernel)
            if conditions is not None:
                bias = bias + conditions[:, :, number]
            known.append(ops.broadcast_to(bias, (1, samples, 2 * size.gate)))
        known = ops.concatenate(known, axis=-1)
        skips = [self.model.get_layer(name).to_skip for name in names]

        def step(past, inside: Mapping[str, Any], number):
            inside, kept, gated = dict(inside), {}, []
            here = ops.slice(known, (0, number, 0), (1, 1, known.shape[2]))

            def heard(x, count: int, distance: int, name: str):
                if name in far:
                    kept[name] = x
                if count == 1 or name in far:
                    return x
                line = inside[name]
                before = [line[:, k * distance : k * distance + 1] for k in range(count - 1)]
                inside[name] = ops.concatenate([line[:, 1:], x], axis=1)
                return ops.concatenate([*before, x], axis=-1)

            def condition(block: int):
                return here[:, :, (block - 1) * 2 * size.gate : block * 2 * size.gate]

            def product(layer, x):
                if layer.name == "gates":
                    return ops.matmul(x, layer.kernel[-x.shape[-1] :])
                if layer.name != "skip":
                    return layer(x)
                gated.append(x)
                if len(gated) < len(names):
                    return 0.0
                kernel = ops.concatenate([skip.kernel for skip in skips])
                out = ops.matmul(ops.concatenate(gated, axis=-1), kernel)
                return out + sum(skip.bias for skip in skips) if size.biases else out

            def part(make, *, name, **arguments):
                layer = self.model.get_layer(name)
                if make is not GatedBlock:
                    return layer
                return lambda taps, condition: layer.passed(taps, condition, product)

            parameters = network(past, size, heard, condition, part)
            return parameters, inside, ops.concatenate([kept[n] for n in far], -1) if far else None

        def after(inside: Mapping[str, Any], kept):
            state = dict(inside)
            for number, name in enumerate(far):
                own = kept[:, :, number * size.residual : (number + 1) * size.residual]
                state[name] = ops.concatenate([lines[name][:, samples:], own], axis=1)
            return state

        lines = {name: state[name] for name in far}
        inside = {name: x for name, x in state.items() if name not in far}
        return SampledBlock(inside, step, after, len(far) * size.residual)
