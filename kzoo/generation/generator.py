"""A generator: each sample is drawn from what the network says of it, and heard for the next one.

    generator = Generator(model, size)
    for block in generator.blocks(16000, seed=0):     # [samples] each, float32
        ...

What is drawn depends on the seed, not on how long the blocks are. The network is run one sample at
a time, by buffers of what its convolutions hear again, in a loop that XLA compiles: memory is the
same for any length.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from kzoo.dsp.quantisation import mu_law_amplitudes, mu_law_codes
from kzoo.models import architecture

BLOCK = 2000  # samples of a call of the compiled loop


class Drawing(NamedTuple):
    """How a sample is drawn. temperature: 0 takes the most likely code, or a component's mean;
    1 is as the network says. top_k: of the most likely codes alone; None for all.
    """

    temperature: float = 1.0
    top_k: int | None = None


AS_IT_IS = Drawing()


class Block(NamedTuple):
    """Samples `[batch, samples]`, full scale 1.0, and what was drawn from of each.

    entropies: in bits, of codes; for mixtures the likelihood that was drawn, in bits.
    """

    samples: np.ndarray
    entropies: np.ndarray


class Generator:
    """Draws sound from a model of the task generation.

    model, size: what `build` of its architecture made, and its sizes. batch: voices at once.
    """

    def __init__(self, model, size, *, name: str = "wavenet", batch: int = 1):
        self.size, self.batch = size, batch
        self._sampler = architecture(name).Sampler(model, size)
        self._runs: dict[tuple, Any] = {}

    def blocks(
        self,
        samples: int,
        *,
        seed: int = 0,
        drawing: Drawing = AS_IT_IS,
        prime: np.ndarray | None = None,
        conditions: Iterable[Mapping[str, np.ndarray]] | None = None,
        block: int = BLOCK,
    ) -> Iterator[Block]:
        """Yield `samples` samples, block after block.

        prime: `[batch, samples]` or `[samples]` that are heard first, and not given again.
        conditions: for each block the model's inputs beside "past", of whole frames; a speaker is
        given with each. Raises ValueError for a drawing that is none.
        """
        _check(drawing, self.size)
        rng = np.random.default_rng(seed)
        state, at = self._sampler.state(self.batch), 0
        last = self._silence()
        if prime is not None and prime.shape[-1]:
            heard = np.broadcast_to(np.atleast_2d(prime), (self.batch, prime.shape[-1]))
            state, at, last = self._hear(heard, state)
        known = iter(conditions) if conditions is not None else None
        done = 0
        while done < samples:
            count = min(block, samples - done)
            given = None
            if known is not None:
                given = self._sampler.conditions(**next(known))
                count = min(count, given.shape[1]) if given.shape[1] > 1 else count
            noise = rng.random((count, self.batch, 2), np.float32)
            run = self._run(count, drawing)
            drawn, entropies, last, state = run(last, state, tf.constant(at), noise, given)
            done, at = done + count, at + count
            yield Block(self._amplitudes(drawn.numpy().T), entropies.numpy().T)

    def _silence(self):
        """What is heard before the first sample, `[batch, 1, 1]`."""
        code = mu_law_codes(0.0, self.size.levels) if self.size.output == "softmax" else 0.0
        return tf.fill((self.batch, 1, 1), tf.cast(code, self._kind))

    @property
    def _kind(self):
        return tf.int32 if self.size.output == "softmax" else tf.float32

    def _amplitudes(self, drawn: np.ndarray) -> np.ndarray:
        if self.size.output == "softmax":
            return mu_law_amplitudes(drawn, self.size.levels)
        return drawn.astype(np.float32)

    def _hear(self, prime: np.ndarray, state):
        """(state, samples before, the last sample) after all but the last of the prime."""
        if self.size.output == "softmax":
            prime = mu_law_codes(prime, self.size.levels)
        heard = tf.cast(prime, self._kind)[..., None]
        for start in range(0, prime.shape[1] - 1, BLOCK):
            part = heard[:, start : min(start + BLOCK, prime.shape[1] - 1)]
            state = self._run(part.shape[1], None)(part, state, tf.constant(start))
        return state, prime.shape[1] - 1, heard[:, -1:]

    def _run(self, count: int, drawing: Drawing | None):
        """The compiled loop over `count` samples: drawn ones, or those that are heard first."""
        if (count, drawing) not in self._runs:
            loop = _heard(self._sampler) if drawing is None else _drawn(self._sampler, drawing)
            self._runs[count, drawing] = tf.function(loop, jit_compile=True, autograph=False)
        return self._runs[count, drawing]


def _drawn(sampler, drawing: Drawing):
    draw = _codes if sampler.size.output == "softmax" else _amplitudes

    def loop(last, state, at, noise, conditions):
        count, batch = noise.shape[:2]
        each = conditions is not None and conditions.shape[1] > 1

        def sample(number, last, state, drawn, entropies):
            here = conditions[:, number : number + 1] if each else conditions
            said, state = sampler.step(last, state, at + number, here)
            one, entropy = draw(said[:, 0], noise[number], sampler.size, drawing)
            return (
                number + 1, one[:, None, None], state, drawn.write(number, one),
                entropies.write(number, entropy),
            )  # fmt: skip

        drawn = tf.TensorArray(last.dtype, count, element_shape=(batch,))
        entropies = tf.TensorArray(tf.float32, count, element_shape=(batch,))
        _, last, state, drawn, entropies = tf.while_loop(
            lambda number, *_: number < count, sample, (0, last, state, drawn, entropies),
            maximum_iterations=count,
        )  # fmt: skip
        return drawn.stack(), entropies.stack(), last, state

    return loop


def _heard(sampler):
    def loop(heard, state, at):
        def sample(number, state):
            return number + 1, sampler.step(heard[:, number : number + 1], state, at + number)[1]

        count = heard.shape[1]
        return tf.while_loop(
            lambda number, _: number < count, sample, (0, state), maximum_iterations=count
        )[1]

    return loop


def _codes(logits, noise, size, drawing: Drawing):
    """(codes `[batch]`, entropies in bits) of logits `[batch, levels]` and noise of 0 to 1."""
    entropy = -tf.reduce_sum(tf.nn.softmax(logits) * tf.nn.log_softmax(logits), axis=-1)
    if not drawing.temperature:
        return tf.argmax(logits, axis=-1, output_type=tf.int32), entropy / math.log(2)
    logits = logits / drawing.temperature
    if drawing.top_k is not None and drawing.top_k < size.levels:
        least = tf.math.top_k(logits, drawing.top_k).values[:, -1:]
        logits = tf.where(logits < least, -1e9, logits)
    below = tf.cumsum(tf.nn.softmax(logits), axis=-1)
    code = tf.reduce_sum(tf.cast(below <= noise[:, :1] * below[:, -1:], tf.int32), axis=-1)
    return tf.minimum(code, size.levels - 1), entropy / math.log(2)


def _amplitudes(parameters, noise, size, drawing: Drawing):
    """(amplitudes `[batch]`, bits) of a mixture's parameters `[batch, 3 * components]`."""
    logits, means, log_scales = tf.split(parameters, 3, axis=-1)
    below = tf.cumsum(tf.nn.softmax(logits), axis=-1)
    component = tf.reduce_sum(tf.cast(below <= noise[:, :1] * below[:, -1:], tf.int32), axis=-1)
    chosen = tf.one_hot(tf.minimum(component, logits.shape[-1] - 1), logits.shape[-1])
    mean, log_scale = (tf.reduce_sum(chosen * part, axis=-1) for part in (means, log_scales))
    share = tf.clip_by_value(noise[:, 1], 1e-5, 1 - 1e-5)
    if size.output == "logistics":
        spread = tf.math.log(share) - tf.math.log1p(-share)
    else:
        spread = math.sqrt(2) * tf.math.erfinv(2 * share - 1)
    one = mean + drawing.temperature * tf.exp(log_scale) * spread
    return tf.clip_by_value(one, -1.0, 1.0), (log_scale + 0.5) / math.log(2)


def _check(drawing: Drawing, size) -> None:
    if drawing.temperature < 0:
        raise ValueError(f"temperature must be 0 or above; got {drawing.temperature}")
    if drawing.top_k is not None and not 0 < drawing.top_k <= size.levels:
        raise ValueError(f"top_k must be 1 to {size.levels} codes; got {drawing.top_k}")
    if drawing.top_k is not None and size.output != "softmax":
        raise ValueError(f"top_k is for codes; this model gives {size.output}")
