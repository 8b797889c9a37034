"""A generator: each sample is drawn from what the network says of it, and heard for the next one.

    generator = Generator(model, size)
    for block in generator.blocks(16000, seed=0):     # block.samples [voices, n], float32
        ...

What is drawn depends on the seed, not on how long the blocks are, and goes on bit by bit from a
position that was kept. The network is run one sample at a time, by buffers of what its convolutions
hear again: memory is the same for any length. The loop over samples is machine code, by numba where
that is installed and the model is a WaveNet, else by XLA.
"""

from __future__ import annotations

import importlib.util
import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np
import tensorflow as tf

from kzoo import extras, files
from kzoo.dsp.quantisation import amplitudes_of, codes_of
from kzoo.models import architecture

BLOCK = 2000  # samples of a call of the compiled loop
Engine = Literal["auto", "numba", "xla"]


class Drawing(NamedTuple):
    """How a sample is drawn.

    temperature: 0 takes the most likely code, or a component's mean; 1 is as the network says.
    top_k: of the most likely codes alone; None for all.
    """

    temperature: float = 1.0
    top_k: int | None = None


AS_IT_IS = Drawing()


class Position(NamedTuple):
    """How far a sound has come: what goes on from here is what would have come next.

    state: of the sampler. last: what was drawn or heard last, `[voices, 1]`. at: samples heard so
    far, `drawn` of them not in the prime.
    """

    state: Mapping[str, np.ndarray]
    last: np.ndarray
    at: int = 0
    drawn: int = 0

    def save(self, path: str | Path) -> None:
        """Write it to a file of NumPy's, whole or not at all."""
        arrays = {f"state_{name}": array for name, array in self.state.items()}
        numbers = json.dumps({"at": self.at, "drawn": self.drawn})
        with files.replacing(path) as temporary, open(temporary, "wb") as file:
            np.savez(file, last=self.last, numbers=numbers, **arrays)

    @classmethod
    def load(cls, path: str | Path) -> Position:
        """Read what `save` wrote."""
        with np.load(path) as arrays:
            state = {n[len("state_") :]: arrays[n] for n in arrays.files if n.startswith("state_")}
            return cls(state, arrays["last"], **json.loads(str(arrays["numbers"])))


class Block(NamedTuple):
    """Samples `[voices, samples]`, full scale 1.0, what was drawn from, and how to go on.

    entropies: in bits, of each code's distribution; for mixtures those of the component's.
    """

    samples: np.ndarray
    entropies: np.ndarray
    position: Position


class Generator:
    """Draws sound from a model of the task generation.

    model, size: what `build` of the architecture `name` made, and its sizes. batch: voices.
    engine: what runs the loop: "numba", which takes voice by voice and has WaveNets alone, "xla",
        or "auto", the first where it can. threads: that numba shares voices among.
    Raises ImportError for numba where it is not installed, ValueError for what it does not have.
    """

    def __init__(
        self,
        model,
        size,
        *,
        name: str = "wavenet",
        batch: int = 1,
        engine: Engine = "auto",
        threads: int = 1,
    ):
        self.size, self.batch = size, batch
        self._sampler = architecture(name).Sampler(model, size)
        if engine == "auto":
            able = name == "wavenet" and importlib.util.find_spec("numba")
            engine = "numba" if able else "xla"
        if engine == "numba":
            extras.package("numba", "the engine numba", "generate")
            if name != "wavenet":
                raise ValueError(f"the engine numba has WaveNets alone; {name} needs xla")
            from kzoo.generation.loops import Loop

            self._loop = Loop(model, size, threads=threads)
        elif engine == "xla":
            self._loop = XlaLoop(self._sampler)
        else:
            raise ValueError(f"engine must be one of auto, numba, xla; got {engine!r}")
        self.engine = engine

    def blocks(
        self,
        samples: int,
        *,
        seed: int = 0,
        drawing: Drawing = AS_IT_IS,
        prime: np.ndarray | None = None,
        conditions: Mapping[str, np.ndarray] | None = None,
        position: Position | None = None,
        block: int | None = None,
    ) -> Iterator[Block]:
        """Yield `samples` samples, block after block of at most BLOCK.

        prime: `[voices, samples]` or `[samples]` that are heard first, and not given again; at
            least the receptive field.
        conditions: the model's inputs beside "past", of all voices or of one; frames begin with the
            prime.
        position: to go on from, of the same seed and conditions, instead of a prime.
        Raises ValueError for a drawing that is none, a prime that is too short, conditions that are
        not the model's or end too early.
        """
        _check(drawing, self.size)
        block = BLOCK if block is None else block
        if not 0 < block <= BLOCK:
            raise ValueError(f"block must be 1 to {BLOCK}; got {block}")
        if position is None:
            position = self._beginning()
        elif prime is not None:
            raise ValueError("a position goes on from what was heard: leave the prime out")
        primed = 0 if prime is None else prime.shape[-1]
        known = self._known(conditions, position.at + primed + samples)
        if prime is not None:
            position = self._primed(prime, known, position)
        return self._drawn(samples, seed, drawing, known, position, block)

    def _drawn(self, samples, seed, drawing, known, position, block):
        end = position.drawn + samples
        while position.drawn < end:
            count = min(block, end - position.drawn)
            bits = np.random.PCG64(seed)
            bits.advance(position.drawn * self.batch * 2)  # of one sample two numbers a voice
            noise = np.random.Generator(bits).random((count, self.batch, 2)).astype(np.float32)
            drawn, entropies, state = self._loop(
                position.last, position.state, position.at, noise,
                self._stretch(known, position.at, count),
                temperature=drawing.temperature, top_k=drawing.top_k,
            )  # fmt: skip
            position = Position(
                state, drawn[:, -1:], position.at + count, position.drawn + count
            )  # fmt: skip
            yield Block(self._amplitudes(drawn), entropies, position)

    def _beginning(self) -> Position:
        """Before the first sample, which is drawn as if silence had been heard."""
        state = {name: np.asarray(x) for name, x in self._sampler.state(self.batch).items()}
        return Position(state, np.full((self.batch, 1), self._heard(np.zeros(1))[0], np.float32))

    def _primed(self, prime, known, position: Position) -> Position:
        """The position before the prime's last sample, which is heard when the next is drawn."""
        samples, least = prime.shape[-1], self.size.context_samples() or 1
        if samples < least:
            raise ValueError(
                f"the prime must be as long as what the network hears, {least} samples "
                f"({least / self.size.sample_rate:.2f} s); got {samples}"
            )
        heard = self._heard(np.broadcast_to(np.atleast_2d(prime), (self.batch, samples)))
        state = position.state
        for start in range(0, samples - 1, BLOCK):
            part = heard[:, start : min(start + BLOCK, samples - 1)]
            given = self._stretch(known, start, part.shape[1])
            nothing = np.zeros((0, self.batch, 2), np.float32)
            _, _, state = self._loop(part, state, start, nothing, given)
        return Position(state, heard[:, -1:], samples - 1, 0)

    def _known(self, conditions, samples: int) -> dict[str, np.ndarray]:
        wanted = {x.name for x in self._sampler.model.inputs} - {"past"}
        known = {name: np.asarray(x) for name, x in (conditions or {}).items()}
        if set(known) != wanted:
            raise ValueError(
                f"the model's conditions are {', '.join(sorted(wanted)) or 'none'}; got "
                f"{', '.join(sorted(known)) or 'none'}"
            )
        for name, x in known.items():
            known[name] = np.broadcast_to(x, (self.batch, *x.shape[1:]))
            if name != "speaker" and x.shape[1] * self.size.frame_samples < samples:
                rate = self.size.sample_rate
                raise ValueError(
                    f"{name} ends after {x.shape[1] * self.size.frame_samples / rate:.2f} s, and "
                    f"{samples / rate:.2f} s are wanted of it: give more, or ask for less"
                )
        return known

    def _stretch(self, known, start: int, samples: int) -> np.ndarray | None:
        """What conditions say of samples from `start` on: `Sampler.conditions` of their frames."""
        if not known:
            return None
        hop, around = self.size.frame_samples, self.size.frames_around
        first = max(0, start // hop - around)
        last = math.ceil((start + samples) / hop) + around
        part = {name: x if name == "speaker" else x[:, first:last] for name, x in known.items()}
        given = np.asarray(self._sampler.conditions(**part))
        start -= first * hop
        return given[:, start : start + samples] if given.shape[1] > 1 else given

    def _heard(self, amplitudes: np.ndarray) -> np.ndarray:
        """As the network hears them, float32: codes, or the amplitudes themselves."""
        if self.size.output == "softmax":
            amplitudes = codes_of(amplitudes, self.size.levels, self.size.quantisation)
        return np.asarray(amplitudes, np.float32)

    def _amplitudes(self, drawn: np.ndarray) -> np.ndarray:
        if self.size.output == "softmax":
            return amplitudes_of(drawn, self.size.levels, self.size.quantisation)
        return drawn


class XlaLoop:
    """The loop of any `Sampler`, compiled once for all blocks; called as `loops.Loop`."""

    def __init__(self, sampler):
        self._sampler, self._runs = sampler, {}
        self._kind = tf.int32 if sampler.size.output == "softmax" else tf.float32

    def __call__(self, heard, state, at, noise, conditions, *, temperature=1.0, top_k=None):
        forced = not len(noise)
        key = (forced, temperature, top_k)
        if key not in self._runs:
            drawing = None if forced else Drawing(temperature, top_k)
            loop = _heard(self._sampler) if forced else _drawn(self._sampler, drawing)
            self._runs[key] = tf.function(loop, jit_compile=True, autograph=False)
        count = heard.shape[1] if forced else len(noise)
        if conditions is not None and conditions.shape[1] > 1:
            conditions = _padded(conditions, 1)
        heard = tf.cast(heard, self._kind)[..., None]
        state = {name: tf.constant(x) for name, x in state.items()}
        # As tensors, or each number would be a loop of its own.
        counted, at = tf.constant(count), tf.constant(at)
        if forced:
            heard = _padded(heard.numpy(), 1)
            state = self._runs[key](counted, heard, state, at, conditions)
            drawn = entropies = np.zeros((len(heard), count), np.float32)
        else:
            found = self._runs[key](counted, heard, state, at, _padded(noise, 0), conditions)
            drawn, entropies = (x.numpy()[:count].T for x in found[:2])
            state = found[2]
        state = {name: x.numpy() for name, x in state.items()}
        return drawn.astype(np.float32), entropies, state


def _padded(array: np.ndarray, axis: int) -> np.ndarray:
    """As long as BLOCK, so that the loop is compiled once."""
    room = [(0, BLOCK - array.shape[axis] if k == axis else 0) for k in range(array.ndim)]
    return np.pad(array, room)


def _drawn(sampler, drawing: Drawing):
    draw = drawn_codes if sampler.size.output == "softmax" else drawn_amplitudes

    def loop(count, last, state, at, noise, conditions):
        batch = noise.shape[1]
        each = conditions is not None and conditions.shape[1] > 1

        def sample(number, last, state, drawn, entropies):
            here = conditions[:, number, None] if each else conditions
            said, state = sampler.step(last, state, at + number, here)
            one, entropy = draw(said[:, 0], noise[number], sampler.size, drawing)
            return (
                number + 1, one[:, None, None], state, drawn.write(number, one),
                entropies.write(number, entropy),
            )  # fmt: skip

        drawn = tf.TensorArray(last.dtype, BLOCK, element_shape=(batch,))
        entropies = tf.TensorArray(tf.float32, BLOCK, element_shape=(batch,))
        _, _, state, drawn, entropies = tf.while_loop(
            lambda number, *_: number < count, sample, (0, last, state, drawn, entropies),
            maximum_iterations=BLOCK,
        )  # fmt: skip
        return drawn.stack(), entropies.stack(), state

    return loop


def _heard(sampler):
    def loop(count, heard, state, at, conditions):
        each = conditions is not None and conditions.shape[1] > 1

        def sample(number, state):
            here = conditions[:, number, None] if each else conditions
            past = heard[:, number, None]
            return number + 1, sampler.step(past, state, at + number, here)[1]

        return tf.while_loop(
            lambda number, _: number < count, sample, (0, state), maximum_iterations=BLOCK
        )[1]

    return loop


def drawn_codes(logits, noise, size, drawing: Drawing):
    """(codes `[batch]`, entropies in bits) of logits `[batch, levels]` and noise of 0 to 1."""
    entropy = -tf.reduce_sum(tf.nn.softmax(logits) * tf.nn.log_softmax(logits), axis=-1)
    if not drawing.temperature:
        return tf.argmax(logits, axis=-1, output_type=tf.int32), entropy / math.log(2)
    logits = logits / drawing.temperature
    if drawing.top_k is not None and drawing.top_k < size.levels:
        least = tf.math.top_k(logits, drawing.top_k).values[:, -1:]
        logits = tf.where(logits < least, -1e9, logits)
    return picked(logits, noise[:, :1]), entropy / math.log(2)


def picked(logits, noise):
    """The numbers `[batch]` in whose shares of 0 to 1 lies the noise `[batch, 1]`."""
    below = tf.cumsum(tf.nn.softmax(logits), axis=-1)
    number = tf.reduce_sum(tf.cast(below <= noise * below[:, -1:], tf.int32), axis=-1)
    return tf.minimum(number, logits.shape[-1] - 1)


def drawn_amplitudes(parameters, noise, size, drawing: Drawing):
    """(amplitudes `[batch]`, bits) of a mixture's parameters `[batch, 3 * components]`."""
    one, log_scale = amplitude(
        parameters, noise[:, :1], spread(noise[:, 1], size.output), drawing.temperature
    )
    return one, (log_scale + 0.5) / math.log(2)


def amplitude(parameters, noise, spread, temperature):
    """(amplitudes, log scales), `[batch]` each.

    noise: `[batch, 1]`, which draws the component; spread: `[batch]`, see `spread`.
    """
    logits, means, log_scales = tf.split(parameters, 3, axis=-1)
    chosen = tf.one_hot(picked(logits, noise), logits.shape[-1])
    mean, log_scale = (tf.reduce_sum(chosen * part, axis=-1) for part in (means, log_scales))
    one = mean + temperature * tf.exp(log_scale) * spread
    return tf.clip_by_value(one, -1.0, 1.0), log_scale


def spread(noise, output: str):
    """Noise of 0 to 1 as numbers of a logistic or normal distribution of scale 1."""
    share = tf.clip_by_value(noise, 1e-5, 1 - 1e-5)
    if output == "logistics":
        return tf.math.log(share) - tf.math.log(1.0 - share)
    # Giles, 2010, Approximating the erfinv function: TFLite has none.
    x = 2.0 * share - 1.0
    w = -tf.math.log((1.0 - x) * (1.0 + x))
    near, far = w - 2.5, tf.sqrt(tf.maximum(w, 5.0)) - 3.0
    one, other = _NEAR[0] * tf.ones_like(x), _FAR[0] * tf.ones_like(x)
    for a, b in zip(_NEAR[1:], _FAR[1:], strict=True):
        one, other = a + one * near, b + other * far
    return math.sqrt(2) * x * tf.where(w < 5.0, one, other)


_NEAR = (
    2.81022636e-08, 3.43273939e-07, -3.5233877e-06, -4.39150654e-06, 0.00021858087, -0.00125372503,
    -0.00417768164, 0.246640727, 1.50140941,
)  # fmt: skip
_FAR = (
    -0.000200214257, 0.000100950558, 0.00134934322, -0.00367342844, 0.00573950773, -0.0076224613,
    0.00943887047, 1.00167406, 2.83297682,
)  # fmt: skip


def _check(drawing: Drawing, size) -> None:
    if drawing.temperature < 0:
        raise ValueError(f"temperature must be 0 or above; got {drawing.temperature}")
    if drawing.top_k is not None and not 0 < drawing.top_k <= size.levels:
        raise ValueError(f"top_k must be 1 to {size.levels} codes; got {drawing.top_k}")
    if drawing.top_k is not None and size.output != "softmax":
        raise ValueError(f"top_k is for codes; this model gives {size.output}")
