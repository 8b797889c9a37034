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

import math
from collections.abc import Iterator, Mapping

import numpy as np
import tensorflow as tf

from kzoo.generation.drawing import (
    AS_IT_IS,
    BLOCK,
    Block,
    Drawing,
    Engine,
    Generative,
    Position,
    chosen,
    noise_of,
)
from kzoo.models import architecture


class Generator(Generative):
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
        super().__init__(size, batch, {x.name for x in model.inputs} - {"past"})
        self._sampler = architecture(name).Sampler(model, size)
        engine = chosen(engine, name)
        if engine == "numba":
            from kzoo.generation.loops import Loop

            self._loop = Loop(model, size, threads=threads)
        else:
            self._loop = XlaLoop(self._sampler)
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
        drawing.check(self.size.levels, self.size.output)
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
            noise = noise_of(seed, position.drawn, count, self.batch)
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
        heard, state = self._primes(prime), position.state
        samples = heard.shape[1]
        for start in range(0, samples - 1, BLOCK):
            part = heard[:, start : min(start + BLOCK, samples - 1)]
            given = self._stretch(known, start, part.shape[1])
            nothing = np.zeros((0, self.batch, 2), np.float32)
            _, _, state = self._loop(part, state, start, nothing, given)
        return Position(state, heard[:, -1:], samples - 1, 0)

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

        # The position goes round the loop: of an argument that only places in buffers are told by,
        # XLA takes the value for a constant, and compiles the loop for each anew.
        def sample(number, now, last, state, drawn, entropies):
            here = conditions[:, number, None] if each else conditions
            said, state = sampler.step(last, state, now, here)
            one, entropy = draw(said[:, 0], noise[number], sampler.size, drawing)
            return (
                number + 1, now + 1, one[:, None, None], state, drawn.write(number, one),
                entropies.write(number, entropy),
            )  # fmt: skip

        drawn = tf.TensorArray(last.dtype, BLOCK, element_shape=(batch,))
        entropies = tf.TensorArray(tf.float32, BLOCK, element_shape=(batch,))
        _, _, _, state, drawn, entropies = tf.while_loop(
            lambda number, *_: number < count, sample, (0, at, last, state, drawn, entropies),
            maximum_iterations=BLOCK,
        )  # fmt: skip
        return drawn.stack(), entropies.stack(), state

    return loop


def _heard(sampler):
    def loop(count, heard, state, at, conditions):
        each = conditions is not None and conditions.shape[1] > 1

        def sample(number, now, state):  # as above
            here = conditions[:, number, None] if each else conditions
            past = heard[:, number, None]
            return number + 1, now + 1, sampler.step(past, state, now, here)[1]

        return tf.while_loop(
            lambda number, *_: number < count, sample, (0, at, state), maximum_iterations=BLOCK
        )[2]

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
