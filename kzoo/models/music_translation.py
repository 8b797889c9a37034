"""Universal music translation: one encoder for all music, and a WaveNet for each domain of it.

Mor, Wolf, Polyak and Taigman, 2019, A universal music translation network,
https://arxiv.org/abs/1805.07848; https://github.com/facebookresearch/music-translation.

The encoder makes a latent vector of every 50 ms of sound, whatever plays it. The decoder of a
domain, such as the piano, gives from it what the domain would play there. A classifier, which only
training meets, learns to tell the domain from the latent vectors, and the encoder to give it away
to nobody.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import keras
from keras import layers, ops

from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.autoregressive import NextSample, RepeatFrames, Taps
from kzoo.layers.banks import BankDense, BankGatedBlock, ScaledCodes
from kzoo.models.base.sizes import Sizes, check_positive


@dataclass(frozen=True, kw_only=True)
class MusicTranslation(Sizes):
    """The sizes of the published training by default, with the domains of its corpus.

    domains: names of what the decoders play, folders of a corpus.
    levels: codes of a sample, by mu-law and rounded down.
    encoder_stacks, encoder_depth: so many times dilations of 1, 2, ..., 2 ** (encoder_depth - 1);
        encoder_channels: of these convolutions. latent: width of the vector of each `pool` samples.
    stacks, depth, kernel_size: of a decoder, as those of `WaveNet`; residual, skip: its channels.
    block_seconds: the length of a training example.
    """

    task: ClassVar[str] = "translation"
    output: ClassVar[str] = "softmax"

    sample_rate: int = 16000
    channels: Literal[1] = 1
    domains: tuple[str, ...] = (
        "solo_cello", "piano_beethoven", "wind_quintet", "piano_bach", "violin", "string_quartet",
    )  # fmt: skip
    levels: int = 256
    encoder_stacks: int = 3
    encoder_depth: int = 10
    encoder_channels: int = 128
    latent: int = 64
    pool: int = 800
    stacks: int = 4
    depth: int = 14
    kernel_size: int = 2
    residual: int = 128
    skip: int = 128
    block_seconds: float = 0.75

    def __post_init__(self):
        super().__post_init__()
        names = ("encoder_stacks", "encoder_depth", "encoder_channels", "latent", "pool")
        check_positive(self, *names, "stacks", "depth", "residual", "skip")
        if self.levels < 2 or self.kernel_size < 2:
            raise ValueError(
                f"levels and kernel_size must be 2 or more; got {self.levels}, {self.kernel_size}"
            )
        if len(set(self.domains)) != len(self.domains) or len(self.domains) < 2:
            raise ValueError(
                f"domains must be two or more different names; got {list(self.domains)}"
            )

    @property
    def dilations(self) -> tuple[int, ...]:
        """Of a decoder's blocks, in their order."""
        return tuple(2**power for _ in range(self.stacks) for power in range(self.depth))

    @property
    def encoder_dilations(self) -> tuple[int, ...]:
        """Of the encoder's convolutions, in their order."""
        depth = range(self.encoder_depth)
        return tuple(2**power for _ in range(self.encoder_stacks) for power in depth)

    @property
    def receptive_field(self) -> int:
        """Samples that a decoder hears of its own past."""
        return (self.kernel_size - 1) * (sum(self.dilations) + 1) + 1

    @property
    def encoder_reach(self) -> int:
        """Samples to either side that a latent vector depends on, beside its own."""
        return 1 + sum(self.encoder_dilations)

    @property
    def frame_samples(self) -> int:
        """Samples of a latent vector."""
        return self.pool

    def context_samples(self) -> int:
        return max(self.receptive_field, self.encoder_reach)

    def grid(self) -> BlockGrid:
        """One block after another."""
        samples = self.whole(None)
        return BlockGrid(samples=samples, hop=samples)

    def whole(self, samples: int | None) -> int:
        """`samples`, or a block, in whole latent vectors."""
        return max(1, round(super().whole(samples) / self.pool)) * self.pool

    def smaller(self) -> None:
        """Nothing: a block can be of any length."""
        return None

    def training(self, system: keras.Model, *, inference_mode: bool = False):
        if inference_mode:
            raise ValueError(
                "fit.inference_mode is for batch norms and dropout; there are none here"
            )
        return super().training(system)


@dataclass(frozen=True, kw_only=True)
class Discriminator:
    """The domain classifier: `depth` times a layer of `width` on each latent vector, and ELU.

    dropout: of the latent vectors, in training.
    """

    width: int = 100
    depth: int = 3
    dropout: float = 0.0


VARIANTS = {
    "musicnet": MusicTranslation(),
    # Of the paper: more latent numbers, and decoders that hear a sixteenth.
    "paper": MusicTranslation(latent=128, depth=10),
    "tiny": MusicTranslation(
        sample_rate=8000, domains=("a", "b", "c"), levels=16, encoder_stacks=2, encoder_depth=3,
        encoder_channels=6, latent=4, pool=40, stacks=2, depth=3, residual=6, skip=7,
        block_seconds=0.05,
    ),
}  # fmt: skip
DISCRIMINATORS = {
    "musicnet": Discriminator(),
    "paper": Discriminator(),
    "tiny": Discriminator(width=8),
}


def build(
    size: MusicTranslation = VARIANTS["musicnet"], *, samples: int | None = None
) -> keras.Model:
    """Sound, and what a domain has played so far, to logits of the domain's next samples, float32.

    "heard": codes `[batch, samples, 1]`, int32, of what is played, at the samples that are told of.
    "past": as long, of the samples one before them; below 0 it is nothing, and the convolutions
    hear zeros before the first. "domain" `[batch, 1]`: the number of its name. Out come
    `[batch, samples, levels]`.
    samples: whole latent vectors; None for any number of these. Raises ValueError for others.
    """
    if samples is not None and samples != size.whole(samples):
        raise ValueError(
            f"samples must be whole latent vectors of {size.pool}; got {samples}, the nearest is "
            f"{size.whole(samples)}"
        )
    heard = keras.Input((samples, 1), dtype="int32", name="heard")
    past = keras.Input((samples, 1), dtype="int32", name="past")
    domain = keras.Input((1,), dtype="int32", name="domain")
    frames = layers.Identity(name="latents")(encoder(size, samples)(heard))

    def delayed(x, distance: int, name: str):
        return Taps(size.kernel_size, distance, name=f"{name}_taps")(x)

    def part(make, *, name, **arguments):
        layer = make(name=name, domains=len(size.domains), **arguments)
        return lambda *inputs: layer(*inputs, domain=domain)

    def condition(name: str, units: int):
        known = part(BankDense, name=f"{name}_latent", units=units)(frames)
        return RepeatFrames(size.pool, name=f"{name}_repeated")(known)

    out = decoder(past, size, delayed, condition, part)
    return keras.Model({"heard": heard, "past": past, "domain": domain}, out, name="translation")


def encoder(size: MusicTranslation, samples: int | None = None) -> keras.Model:
    """Codes `[batch, samples, 1]` to latent vectors `[batch, samples / pool, latent]`.

    Beyond the ends the convolutions hear zeros.
    """
    heard = keras.Input((samples, 1), dtype="int32", name="heard")
    x = ScaledCodes(size.levels, name="scaled")(heard)
    x = layers.Conv1D(size.encoder_channels, 3, padding="same", name="encoder_first")(x)
    for number, dilation in enumerate(size.encoder_dilations, start=1):
        y = layers.Conv1D(
            size.encoder_channels, 3, padding="same", dilation_rate=dilation,
            name=f"encoder{number}_dilated",
        )(x)  # fmt: skip
        y = layers.Dense(size.encoder_channels, name=f"encoder{number}_dense")(ops.relu(y))
        x = layers.Add(name=f"encoder{number}")([x, y])
    x = layers.Dense(size.latent, name="encoder_latent")(x)
    x = layers.AveragePooling1D(size.pool, name="pool")(x)
    return keras.Model(heard, x, name="encoder")


def decoder(past, size: MusicTranslation, delayed: Callable, condition: Callable, part: Callable):
    """The network of a whole sequence and of one sample, `[batch, samples, 1]` to logits.

    delayed: (sequence, distance, name) to `autoregressive.taps` of it. condition: (name, units) to
    what the latent vectors add there. part: (class, name, arguments) to the layer of the domain.
    """
    x = ScaledCodes(size.levels, name="past_scaled")(past)
    x = part(BankDense, name="first", units=size.residual)(delayed(x, 1, "first"))
    skips = [part(BankDense, name="first_skip", units=size.skip)(x)]
    for number, dilation in enumerate(size.dilations, start=1):
        name = f"block{number}"
        x, skip = part(
            BankGatedBlock, name=name, residual=size.residual, gate=size.residual, skip=size.skip,
            last=number == len(size.dilations),
        )(delayed(x, dilation, name), condition(name, 2 * size.residual))  # fmt: skip
        skips.append(skip)
    x = ops.relu(sum(skips[1:], skips[0]))
    x = part(BankDense, name="output1", units=size.skip)(x) + condition("output1", size.skip)
    x = part(BankDense, name="output2", units=size.levels)(ops.relu(x))
    return NextSample("softmax", size.levels, dtype="float32", name="next_sample")(x)


def discriminator(
    size: Discriminator, *, latent: int, domains: int, frames: int | None = None
) -> keras.Model:
    """Latent vectors `[batch, frames, latent]` to logits of their domain `[batch, domains]`."""
    latents = keras.Input((frames, latent), name="latents")
    x = layers.Dropout(size.dropout, name="dropout")(latents) if size.dropout else latents
    for number in range(1, size.depth + 1):
        x = layers.Dense(size.width, activation="elu", name=f"dense{number}")(x)
    x = layers.Dense(domains, name="logits")(x)
    x = layers.GlobalAveragePooling1D(dtype="float32", name="mean")(x)
    return keras.Model(latents, x, name="domain_classifier")


class Sampler:
    """One sample after another by the decoder of one domain, for `kzoo.generation`.

    model: of `build`. domain: the number of its name. Buffers hold what the convolutions hear
    again; the oldest sample is overwritten.
    """

    def __init__(self, model: keras.Model, size: MusicTranslation, domain: int = 0):
        self.model, self.size, self.domain = model, size, domain

    def state(self, batch: int) -> dict[str, Any]:
        """Zeros, as before the first sample: {name: `[batch, samples, channels]`}."""
        again, width = self.size.kernel_size - 1, self.size.residual
        buffers = {
            f"block{number}": (dilation * again, width)
            for number, dilation in enumerate(self.size.dilations, start=1)
        } | {"first": (again, 1)}
        return {name: ops.zeros((batch, *shape), "float32") for name, shape in buffers.items()}

    def conditions(self, *, latents) -> Any:
        """What latent vectors `[batch, frames, latent]` add: `[batch, samples, blocks + 1, width]`.

        Behind the blocks' there is what is added to the hidden output.
        """
        names = [f"block{n}" for n in range(1, len(self.size.dilations) + 1)] + ["output1"]
        parts = [self._part(None, name=f"{name}_latent")(latents) for name in names]
        width = max(part.shape[-1] for part in parts)
        wide = [ops.pad(x, ((0, 0), (0, 0), (0, width - x.shape[-1]))) for x in parts]
        return ops.repeat(ops.stack(wide, axis=2), self.size.pool, axis=1)

    def step(self, past, state: Mapping[str, Any], at, conditions):
        """(code `[batch, 1, 1]`, state) to (logits of the next one `[batch, 1, levels]`, state).

        at: how many samples were before it, an int32 scalar. conditions: of this sample.
        """
        state = dict(state)

        def delayed(x, distance: int, name: str):
            buffer, count = state[name], self.size.kernel_size - 1
            room = distance * count
            batch, channels = buffer.shape[0], buffer.shape[2]
            before = [
                ops.slice(buffer, (0, (at + k * distance) % room, 0), (batch, 1, channels))
                for k in range(count)
            ]
            state[name] = ops.slice_update(buffer, (0, at % room, 0), x)
            return ops.concatenate([*before, x], axis=-1)

        def condition(name: str, units: int):
            number = len(self.size.dilations) if name == "output1" else int(name[5:]) - 1
            return conditions[:, :, number, :units]

        return decoder(past, self.size, delayed, condition, self._part), state

    def _part(self, make, *, name, **arguments):
        layer = self.model.get_layer(name)
        return lambda *inputs: layer(*inputs, domain=self.domain)
