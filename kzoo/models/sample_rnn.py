"""SampleRNN: the distribution of the next sample, by recurrent networks of several paces.

Mehri et al., 2017, SampleRNN: an unconditional end-to-end neural audio generation model,
https://arxiv.org/abs/1612.07837. The equations are those of
https://github.com/deepsound-project/samplernn-pytorch.

The highest tier runs once in a frame of many samples and tells the next one, of shorter frames,
what it has heard since the beginning; the lowest hears the last few codes and gives the next one.
It trains on stretches that follow each other, in each of which its states go on from the last.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import keras
from keras import ops

from kzoo.dsp.blocks import BlockGrid
from kzoo.layers.autoregressive import NextSample
from kzoo.layers.carried import Carried
from kzoo.layers.tiers import FrameTier, SampleTier
from kzoo.models.base.sampled import SampledBlock
from kzoo.models.base.sizes import Sizes, check_positive


@dataclass(frozen=True, kw_only=True)
class SampleRNN(Sizes):
    """The paper's best network of three tiers by default: 20,815,360 weights.

    frames: samples of a frame of each recurrent tier, the lowest first: two for the paper's three
        tiers, one for two tiers. Each is a multiple of the one before it.
    width: of all that is hidden. rnn: "gru" or "lstm"; rnn_layers: so many in each tier.
    levels: codes; quantisation: "linear", or by the "mu_law". embedding: width of a code's vector.
    weight_norm: of all but the recurrent layers and the codes' vectors. learned_state: what the
        recurrent layers begin with, or zeros.
    block_seconds: the length of a training example where fit.segment_seconds says none.
    """

    task: ClassVar[str] = "generation"
    output: ClassVar[str] = "softmax"
    speakers: ClassVar[tuple[str, ...]] = ()
    conditions: ClassVar[str] = "none"
    frame_samples: ClassVar[int] = 1  # of what conditions say, of which there are none
    samples_ahead: ClassVar[int] = 0

    sample_rate: int = 16000
    channels: Literal[1] = 1
    frames: tuple[int, ...] = (2, 8)
    width: int = 1024
    rnn: Literal["gru", "lstm"] = "gru"
    rnn_layers: int = 1
    levels: int = 256
    quantisation: Literal["linear", "mu_law"] = "linear"
    embedding: int = 256
    weight_norm: bool = True
    learned_state: bool = True
    block_seconds: float = 0.032

    def __post_init__(self):
        super().__post_init__()
        check_positive(self, "width", "rnn_layers", "embedding")
        if self.levels < 2:
            raise ValueError(f"levels must be 2 or more; got {self.levels}")
        below = (1, *self.frames)
        if not self.frames or any(
            n < 2 * m or n % m for m, n in zip(below, self.frames, strict=False)
        ):
            raise ValueError(
                "frames must be samples of each tier's frame, the lowest first, each a multiple of "
                f"the one before it; got {list(self.frames)}"
            )

    @property
    def parameters(self) -> int:
        """Numbers that say what the next sample may be."""
        return self.levels

    @property
    def ratios(self) -> tuple[int, ...]:
        """Frames of the tier below, or samples, in a frame of each tier."""
        return tuple(n // m for m, n in zip((1, *self.frames), self.frames, strict=False))

    def grid(self) -> BlockGrid:
        """One block after another."""
        samples = self.whole(None)
        return BlockGrid(samples=samples, hop=samples)

    def whole(self, samples: int | None) -> int:
        """`samples`, or a block, in whole frames of the highest tier."""
        longest = self.frames[-1]
        return max(1, round(super().whole(samples) / longest)) * longest

    def smaller(self) -> None:
        """Nothing: a block can be of any length."""
        return None

    def carrying(self, system: keras.Model, lanes: int) -> keras.Model:
        """`system` as it trains on stretches that follow each other, `lanes` of them at a time.

        Inputs are of a batch of `lanes`: "past" as of the system, "begins" `[lanes, 1]`, 1 where a
        recording begins and what was before it is forgotten.
        """
        samples = system.inputs[0].shape[1]
        past = keras.Input(batch_shape=(lanes, samples, 1), dtype="int32", name="past")
        begins = keras.Input(batch_shape=(lanes, 1), name="begins")
        own = {"past": past, "begins": begins}
        states = {
            name: keras.Input(batch_shape=(lanes, *shape), name=name)
            for name, shape in _state_shapes(system, self).items()
        }
        before = ops.where(begins[..., None] > 0, float(self.levels // 2), states["before"])
        said, after = _network(past, before, states, begins, self, system.get_layer)
        network = keras.Model({**own, **states}, {"next_sample": said, **after}, name="sample_rnn")
        carried = Carried(network, "next_sample", name="carried")
        return keras.Model(own, carried(own), name="sample_rnn_carried")


VARIANTS = {
    "three_tier": SampleRNN(),
    "two_tier": SampleRNN(frames=(16,), rnn_layers=3),
    "tiny": SampleRNN(
        sample_rate=8000, frames=(2, 4), width=6, levels=16, embedding=5, block_seconds=0.05
    ),
}


def build(size: SampleRNN = VARIANTS["three_tier"], *, samples: int | None = None) -> keras.Model:
    """Codes that were heard, "past" `[batch, samples, 1]`, int32, to logits of each next one.

    Behind sample k stand the logits `[batch, samples, levels]` of sample k + 1, float32. Before the
    first sample there is silence. samples: None for any number of whole frames of the highest tier.
    Raises ValueError for another number.
    """
    if samples is not None and samples != size.whole(samples):
        raise ValueError(
            f"samples must be whole frames of {size.frames[-1]}; got {samples}, the nearest is "
            f"{size.whole(samples)}"
        )
    past = keras.Input((samples, 1), dtype="int32", name="past")
    made = {}
    for number, (frame, ratio) in enumerate(zip(size.frames, size.ratios, strict=True), start=1):
        made[f"tier{number}"] = FrameTier(
            frame, ratio, size.width, size.levels, rnn=size.rnn, rnn_layers=size.rnn_layers,
            learned_state=size.learned_state, weight_norm=size.weight_norm, name=f"tier{number}",
        )  # fmt: skip
    made["samples"] = SampleTier(
        size.frames[0], size.width, size.levels, size.embedding, weight_norm=size.weight_norm,
        name="samples",
    )  # fmt: skip
    made["next_sample"] = NextSample("softmax", size.levels, name="next_sample")
    silence = ops.full_like(past[:, :1], size.levels // 2)
    before = ops.repeat(ops.cast(silence, "float32"), size.frames[-1] - 1, axis=1)
    out, _ = _network(past, before, None, None, size, made.__getitem__)
    return keras.Model({"past": past}, out, name="sample_rnn")


def _network(past, before, states, begins, size: SampleRNN, part):
    """(logits, state after) of a stretch; `before`: the codes that were heard before it.

    states: as of `_state_shapes`, None before a recording's first sample. begins: see `FrameTier`.
    part: name to layer.
    """
    longest = size.frames[-1]
    heard = ops.concatenate([before, ops.cast(past, "float32")], axis=1)
    after = {"before": heard[:, 1 - longest :]}
    upper = None
    for number in range(len(size.frames), 0, -1):
        frame, tier = size.frames[number - 1], part(f"tier{number}")
        own = None if states is None else [states[name] for name in tier.state_names]
        # A frame ends with the first of the samples that its vectors are of.
        upper, own = tier(heard[:, longest - frame : 1 - frame], upper, own, begins)
        after |= zip(tier.state_names, own, strict=True)
    logits = part("samples")(heard[:, longest - size.frames[0] :], upper)
    return part("next_sample")(logits), after


def _state_shapes(model: keras.Model, size: SampleRNN) -> dict[str, tuple[int, ...]]:
    """Of what is known of the past, without the batch."""
    shapes = {"before": (size.frames[-1] - 1, 1)}
    for number in range(1, len(size.frames) + 1):
        shapes |= {name: (size.width,) for name in model.get_layer(f"tier{number}").state_names}
    return shapes


class Sampler:
    """One sample after another by the layers of a model that `build` made, for `kzoo.generation`.

    A frame tier runs in the first sample of its frame, and what it says is kept for the others.
    """

    def __init__(self, model: keras.Model, size: SampleRNN):
        self.model, self.size = model, size
        self._tiers = [model.get_layer(f"tier{k + 1}") for k in range(len(size.frames))]

    def state(self, batch: int) -> dict[str, Any]:
        """As before the first sample: {name: tensor of `batch` voices}."""
        heard = ops.full((batch, self.size.frames[-1], 1), float(self.size.levels // 2))
        state = {"heard": heard}
        for tier in self._tiers:
            state |= zip(tier.state_names, tier.initial_states(batch), strict=True)
            state[tier.name] = ops.zeros((batch, tier.ratio, tier.width), tier.compute_dtype)
        return state

    def conditions(self, **known) -> None:
        """None: nothing conditions this network."""
        return None

    def step(self, past, state: Mapping[str, Any], at, conditions=None):
        """(code `[batch, 1, 1]`, state) to (the next one's logits `[batch, 1, levels]`, state).

        at: how many samples were before it, an int32 scalar.
        """
        state = dict(state)
        heard = ops.concatenate([state["heard"][:, 1:], ops.cast(past, "float32")], axis=1)
        state["heard"], upper = heard, None
        for tier in reversed(self._tiers):
            names = [tier.name, *tier.state_names]
            kept = tuple(state[name] for name in names)

            def run(tier=tier, upper=upper, kept=kept):
                said, own = tier(heard[:, -tier.frame :], upper, list(kept[1:]))
                return (said, *own)

            found = ops.cond(at % tier.frame == 0, run, lambda kept=kept: kept)
            state |= zip(names, found, strict=True)
            place = at % tier.frame // (tier.frame // tier.ratio)
            upper = ops.take(found[0], ops.reshape(place, (1,)), axis=1)
        logits = self.model.get_layer("samples")(heard[:, -self.size.frames[0] :], upper)
        return self.model.get_layer("next_sample")(logits), state

    def block(self, state: Mapping[str, Any], samples: int, conditions=None) -> SampledBlock:
        """The next `samples` samples, whole frames of the highest tier, as a file computes them."""

        def step(past, inside: Mapping[str, Any], number):
            return *self.step(past, inside, number), None

        return SampledBlock(state, step, lambda inside, kept: inside)
