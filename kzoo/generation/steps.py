"""A generator as files and servers run it: a block of samples at a time, its state in and out.

The loop over the samples is inside. The noise from which they are drawn is given, so that a file
draws what `generator.Generator` does from the same seed.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kzoo.dsp.quantisation import amplitudes_of, codes_of
from kzoo.generation.generator import amplitude, picked, spread
from kzoo.models import architecture

OWN = -2  # given as a sample's past: what was drawn before it
STATE = "state_"
_LEAST = 32  # samples of a block


def block_samples(size: Any) -> int:
    """Samples of a block of a file: whole frames of all that has frames, _LEAST or more."""
    frame = max(size.frame_samples, *getattr(size, "frames", (1,)))
    return -(-_LEAST // frame) * frame


def build_step(model: keras.Model, size: Any, *, name: str) -> keras.Model:
    """A block of samples and a state to what is drawn, what it is drawn from, and the state after.

    model, size: what `build` of the architecture `name` made. All tensors have a batch of 1.
    "past" `[1, samples, 1]`: what is heard before each sample, as the model has it; OWN for what
    was drawn. "noise" `[1, samples, 2]`, from 0 to 1; "temperature" `[1, 1]`; the model's other
    inputs, of the block; "state_<name>" as `initial_state` has them. Out come "audio"
    `[1, samples, 1]`, full scale 1.0, "next_sample" `[1, samples, parameters]` as the model says
    it, and the states.
    """
    samples = block_samples(size)
    sampler = architecture(name).Sampler(model, size)
    past = next(x for x in model.inputs if x.name == "past")
    shapes = {"past": ((samples, 1), past.dtype), "noise": ((samples, 2), "float32")}
    shapes["temperature"] = ((1,), "float32")
    for x in model.inputs:
        if x.name != "past":
            length = 1 if x.name == "speaker" else samples // size.frame_samples
            shapes[x.name] = ((length, *x.shape[2:]) if len(x.shape) > 2 else (1,), x.dtype)
    for state, value in initial_state(model, size, name=name).items():
        shapes[STATE + state] = (value.shape[1:], value.dtype.name)
    inputs = {
        key: keras.Input(batch_shape=(1, *shape), dtype=dtype, name=key)
        for key, (shape, dtype) in shapes.items()
    }
    return keras.Model(inputs, DrawnBlock(sampler, samples)(inputs), name=f"{name}_step")


def initial_state(model: keras.Model, size: Any, *, name: str) -> dict[str, np.ndarray]:
    """What a sound begins with, {name: array}: the sampler's, and the "last" sample, of silence."""
    state = architecture(name).Sampler(model, size).state(1)
    last = np.zeros((1, 1, 1), np.float32)
    if size.output == "softmax":
        last = codes_of(last, size.levels, size.quantisation)
    return {**{key: np.asarray(x) for key, x in state.items()}, "last": last}


class DrawnBlock(keras.layers.Layer):
    """The loop over a block of `samples` samples: the inputs of `build_step` to its outputs."""

    def __init__(self, sampler, samples: int, **kwargs):
        super().__init__(**kwargs)
        self.sampler, self.samples = sampler, samples
        self.network = sampler.model  # whose weights are the layer's

    def call(self, given):
        size = self.sampler.size
        past, noise, temperature = (given[name] for name in ("past", "noise", "temperature"))
        state = {n.removeprefix(STATE): x for n, x in given.items() if n.startswith(STATE)}
        last = state.pop("last")
        known = {x.name: given[x.name] for x in self.network.inputs if x.name != "past"}
        block = self.sampler.block(state, self.samples, self.sampler.conditions(**known))
        spreads = None if size.output == "softmax" else spread(noise[..., 1:], size.output)

        def here(x, number):
            return tf.slice(x, (0, number, 0), (1, 1, x.shape[2]))

        def sample(number, last, inside, arrays):
            forced = here(past, number)
            heard = tf.where(forced <= OWN, last, forced)
            said, inside, kept = block.step(heard, inside, number)
            parameters, share = said[:, 0], here(noise, number)[:, 0, :1]
            if size.output == "softmax":
                # At 0 the likeliest alone: beside it all others come to nothing.
                one = picked(parameters / tf.maximum(temperature, 1e-6), share)
            else:
                own = here(spreads, number)[:, 0, 0]
                one, _ = amplitude(parameters, share, own, temperature[:, 0])
            values = {"one": one, "said": parameters[0]}
            values |= {"kept": kept[0, 0]} if block.width else {}
            arrays = {key: array.write(number, values[key]) for key, array in arrays.items()}
            return number + 1, one[:, None, None], inside, arrays

        widths = {"said": size.parameters} | ({"kept": block.width} if block.width else {})
        arrays = {
            key: tf.TensorArray("float32", self.samples, element_shape=(width,))
            for key, width in widths.items()
        }
        arrays["one"] = tf.TensorArray(past.dtype, self.samples, element_shape=(1,))
        _, last, inside, arrays = tf.while_loop(
            lambda number, *_: number < self.samples, sample, (0, last, block.inside, arrays)
        )
        found = {key: array.stack()[None] for key, array in arrays.items()}
        audio = found["one"]
        if size.output == "softmax":
            codes = np.arange(size.levels)
            audio = tf.gather(amplitudes_of(codes, size.levels, size.quantisation), audio)
        after = {**block.after(inside, found.get("kept")), "last": last}
        results = {"audio": audio, "next_sample": found["said"]}
        return {**results, **{STATE + name: x for name, x in after.items()}}
