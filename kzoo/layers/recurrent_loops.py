"""LSTM and GRU over time in TensorFlow: by XLA for training, and as TFLite runs them fastest.

Autodiff sums the gradient of the kernels in every step of a loop. Here the loops hold one product
each, with the recurrent kernel and, backwards, with its transpose; what the kernels and the bias
get are single products and sums after it. Hochreiter and Schmidhuber, 1997, and Cho et al., 2014,
https://arxiv.org/abs/1406.1078, the latter with its reset after the product, as cuDNN has it.

All sequences are `[steps, batch, ...]`. XLA compiles a loop anew for every number of steps and
examples, which takes some tenths of a second.
"""

from __future__ import annotations

from collections.abc import Callable

import tensorflow as tf

# Steps in an iteration in TFLite, by the weights of the recurrent kernel, of which each step has a
# copy that the processor's caches must hold. One thread, AVX-512, batch 1 (2026-11-26): 64 units in
# 4, 8 and 16 steps 1.9, 1.4 and 1.2 ms, 256 units 12.5, 11.5 and 12.5, 512 units 52, 76 and 79.
_STEPS = ((2**16, 16), (2**18, 8))
_FEWEST_STEPS = 4
# With many sequences at once what an iteration copies of them outweighs the kernels. One thread,
# 476 steps of 128 units in 8 and 32 steps (2026-11-27): 4 sequences 14 and 12 ms, 16 sequences 68
# and 50, 57 sequences 301 and 161; 256 units, 16 sequences, 250 and 151.
_MANY, _STEPS_OF_MANY = 16, 32


def available() -> bool:
    """Whether this TensorFlow has XLA, and no device but processors to run on."""
    devices = tf.config.list_logical_devices()
    return tf.test.is_built_with_xla() and all(one.device_type == "CPU" for one in devices)


def lstm(x, kernel, recurrent_kernel, bias, h, c):
    """`[steps, batch, features]` and two states to (`[steps, batch, units]`, the state c after).

    Weights are laid out as keras.layers.LSTM has them. Raises NotImplementedError for second
    derivatives.
    """
    projected = _projected(x, kernel, bias, h, c)
    outputs, cell = _lstm(projected, recurrent_kernel, h, c)
    return _as_long_as(projected, outputs), cell


def gru(x, kernel, recurrent_kernel, bias, h):
    """`[steps, batch, features]` and the state to `[steps, batch, units]`.

    Weights are laid out as keras.layers.GRU(reset_after=True) has them. Raises NotImplementedError
    for second derivatives.
    """
    projected = _projected(x, kernel, bias[0], h)
    return _as_long_as(projected, _gru(projected, recurrent_kernel, bias[1], h))


def lstm_in_blocks(x, kernel, recurrent_kernel, bias, h, c):
    """The outputs of `lstm`, in the way of `gru_in_blocks`."""

    def step(inputs, h, c):
        i, f, g, o = tf.split(inputs + tf.matmul(h, recurrent_kernel), 4, axis=-1)
        c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
        return tf.sigmoid(o) * tf.tanh(c), c

    return _in_blocks(step, _projected(x, kernel, bias, h, c), recurrent_kernel, h, c)


def gru_in_blocks(x, kernel, recurrent_kernel, bias, h):
    """The outputs of `gru`, by a loop over blocks of steps, all of static shape.

    In LiteRT an iteration copies whatever the loop holds, and a product has a copy of its kernel:
    few steps in a block are many copies, many steps more kernels than the cache holds. XNNPACK
    splits into equal parts alone.
    """

    def step(inputs, h):
        past = tf.nn.bias_add(tf.matmul(h, recurrent_kernel), bias[1])
        (z, r, g), (past_z, past_r, past_g) = (
            tf.split(gates, 3, axis=-1) for gates in (inputs, past)
        )
        z, r = tf.sigmoid(z + past_z), tf.sigmoid(r + past_r)
        g = tf.tanh(g + r * past_g)
        return (g + z * (h - g),)

    return _in_blocks(step, _projected(x, kernel, bias[0], h), recurrent_kernel, h)


def _in_blocks(step: Callable, projected, recurrent_kernel, *states):
    """The first state after each step of (inputs, *states) to the states after it."""
    steps, batch, width = projected.shape
    weights = recurrent_kernel.shape.num_elements()
    most = next((most for limit, most in _STEPS if weights <= limit), _FEWEST_STEPS)
    most = _STEPS_OF_MANY if batch >= _MANY else most
    blocks = -(-steps // most)
    length = -(-steps // blocks)
    projected = tf.pad(projected, ((0, blocks * length - steps), (0, 0), (0, 0)))
    projected = tf.reshape(projected, (blocks, length, batch, width))

    def block(at, outputs, *states):
        found = []
        for inputs in _at(projected, at):
            states = step(inputs, *states)
            found.append(states[0])
        return at + 1, tf.concat([outputs[1:], tf.stack(found)[None]], axis=0), *states

    # All of it is moved out by the last block; zeros would lie in the file.
    outputs = projected[..., : states[0].shape[-1]]
    _, outputs, *_ = tf.while_loop(lambda at, *_: at < blocks, block, (0, outputs, *states))
    return tf.reshape(outputs, (-1, *states[0].shape))[:steps]


def _at(blocks, at):
    """The steps of a block, `[batch, ...]` each."""
    block = tf.slice(blocks, tf.stack([at, 0, 0, 0]), (1, *blocks.shape[1:]))
    return tf.unstack(tf.reshape(block, blocks.shape[1:]))


def _projected(x, kernel, bias, *states):
    """What x adds to the gates, `[steps, batch, gates * units]`.

    Its batch is as static as that of x or of a state: a loop wants its variables' shapes to agree.
    """
    width = kernel.shape[1]
    flat = tf.nn.bias_add(tf.matmul(tf.reshape(x, (-1, kernel.shape[0])), kernel), bias)
    batch = x.shape[1:2]
    for state in states:
        batch = batch.merge_with(state.shape[:1])
    projected = tf.reshape(flat, tf.concat([tf.shape(x)[:2], [width]], 0))
    return tf.ensure_shape(projected, [x.shape[0], *batch, width])


def _as_long_as(projected, outputs):
    """`outputs`, known to have as many steps: a compiled loop forgets how many there are."""
    return tf.ensure_shape(outputs, [*projected.shape[:2], None])


@tf.custom_gradient
def _lstm(projected, recurrent_kernel, h, c):
    inputs = projected, recurrent_kernel, h, c
    outputs, cells, gates = _apart(_lstm_forward, *inputs)

    def grad(d_outputs, d_cell):
        return _first_derivatives(_lstm_gradients, inputs, outputs, cells, gates, d_outputs, d_cell)

    return (outputs, cells[-1]), grad


def _lstm_gradients(inputs, outputs, cells, gates, d_outputs, d_cell):
    _, recurrent_kernel, h, c = inputs
    d_projected, d_h, d_c = _lstm_backward(
        gates, cells, c, d_outputs, d_cell, tf.transpose(recurrent_kernel)
    )
    return d_projected, _product_over_time(_before(outputs, h), d_projected), d_h, d_c


@tf.function(jit_compile=True, autograph=False)
def _lstm_forward(projected, recurrent_kernel, h, c):
    """Outputs, cells and gates (i, f, g, o) of all steps."""
    steps, batch, units = tf.shape(projected)[0], projected.shape[1], recurrent_kernel.shape[0]
    (inputs,) = _readable(projected)

    def step(at, h, c, outputs, cells, gates):
        i, f, g, o = tf.split(inputs.read(at) + tf.matmul(h, recurrent_kernel), 4, axis=-1)
        i, f, g, o = tf.sigmoid(i), tf.sigmoid(f), tf.tanh(g), tf.sigmoid(o)
        c = f * c + i * g
        h = o * tf.tanh(c)
        saved = tf.concat([i, f, g, o], axis=-1)
        return at + 1, h, c, outputs.write(at, h), cells.write(at, c), gates.write(at, saved)

    def room(width):
        return _writable(steps, projected.dtype, (batch, width))

    _, _, _, *results = tf.while_loop(
        lambda at, *_: at < steps,
        step,
        (0, h, c, room(units), room(units), room(4 * units)),
        maximum_iterations=projected.shape[0],
    )
    return [result.stack() for result in results]


@tf.function(jit_compile=True, autograph=False)
def _lstm_backward(gates, cells, c, d_outputs, d_cell, transposed):
    """Gradients of the projected input and of the first h and c."""
    steps, batch = tf.shape(cells)[0], cells.shape[1]
    gates, befores, cells_, d_outputs = _readable(gates, _before(cells, c), cells, d_outputs)

    def step(at, d_h, d_c, d_projected):
        i, f, g, o = tf.split(gates.read(at), 4, axis=-1)
        squashed = tf.tanh(cells_.read(at))
        d_h = d_h + d_outputs.read(at)
        d_c = d_c + d_h * o * (1 - squashed * squashed)
        d_gates = tf.concat(
            [
                d_c * g * i * (1 - i),
                d_c * befores.read(at) * f * (1 - f),
                d_c * i * (1 - g * g),
                d_h * squashed * o * (1 - o),
            ],
            axis=-1,
        )
        d_projected = d_projected.write(at, d_gates)
        return at - 1, tf.matmul(d_gates, transposed), d_c * f, d_projected

    room = _writable(steps, cells.dtype, (batch, transposed.shape[0]))
    _, d_h, d_c, d_projected = tf.while_loop(
        lambda at, *_: at >= 0,
        step,
        (steps - 1, tf.zeros_like(d_cell), d_cell, room),
        maximum_iterations=cells.shape[0],
    )
    return d_projected.stack(), d_h, d_c


@tf.custom_gradient
def _gru(projected, recurrent_kernel, bias, h):
    inputs = projected, recurrent_kernel, bias, h
    outputs, gates = _apart(_gru_forward, *inputs)

    def grad(d_outputs):
        return _first_derivatives(_gru_gradients, inputs, outputs, gates, d_outputs)

    return outputs, grad


def _gru_gradients(inputs, outputs, gates, d_outputs):
    _, recurrent_kernel, _, h = inputs
    d_projected, d_recurrent, d_h = _gru_backward(
        gates, _before(outputs, h), d_outputs, tf.transpose(recurrent_kernel)
    )
    d_kernel = _product_over_time(_before(outputs, h), d_recurrent)
    return d_projected, d_kernel, tf.reduce_sum(d_recurrent, axis=(0, 1)), d_h


@tf.function(jit_compile=True, autograph=False)
def _gru_forward(projected, recurrent_kernel, bias, h):
    """Outputs of all steps, and the gates z, r, g beside what r lets through to g."""
    steps, batch, units = tf.shape(projected)[0], projected.shape[1], recurrent_kernel.shape[0]
    (inputs,) = _readable(projected)

    def step(at, h, outputs, gates):
        input_z, input_r, input_g = tf.split(inputs.read(at), 3, axis=-1)
        past_z, past_r, past_g = tf.split(tf.matmul(h, recurrent_kernel) + bias, 3, axis=-1)
        z, r = tf.sigmoid(input_z + past_z), tf.sigmoid(input_r + past_r)
        g = tf.tanh(input_g + r * past_g)
        h = z * h + (1 - z) * g
        saved = tf.concat([z, r, g, past_g], axis=-1)
        return at + 1, h, outputs.write(at, h), gates.write(at, saved)

    def room(width):
        return _writable(steps, projected.dtype, (batch, width))

    _, _, *results = tf.while_loop(
        lambda at, *_: at < steps,
        step,
        (0, h, room(units), room(4 * units)),
        maximum_iterations=projected.shape[0],
    )
    return [result.stack() for result in results]


@tf.function(jit_compile=True, autograph=False)
def _gru_backward(gates, before, d_outputs, transposed):
    """Gradients of the projected input, of its recurrent counterpart, and of the first h."""
    steps, batch = tf.shape(before)[0], before.shape[1]
    gates, befores, d_outputs = _readable(gates, before, d_outputs)

    def step(at, d_h, d_projected, d_recurrent):
        z, r, g, past_g = tf.split(gates.read(at), 4, axis=-1)
        d_h = d_h + d_outputs.read(at)
        d_z = d_h * (befores.read(at) - g) * z * (1 - z)
        d_g = d_h * (1 - z) * (1 - g * g)
        d_r = d_g * past_g * r * (1 - r)
        d_past = tf.concat([d_z, d_r, d_g * r], axis=-1)
        return (
            at - 1,
            d_h * z + tf.matmul(d_past, transposed),
            d_projected.write(at, tf.concat([d_z, d_r, d_g], axis=-1)),
            d_recurrent.write(at, d_past),
        )

    def room():
        return _writable(steps, before.dtype, (batch, transposed.shape[0]))

    _, d_h, d_projected, d_recurrent = tf.while_loop(
        lambda at, *_: at >= 0,
        step,
        (steps - 1, tf.zeros_like(before[0]), room(), room()),
        maximum_iterations=before.shape[0],
    )
    return d_projected.stack(), d_recurrent.stack(), d_h


def _readable(*sequences):
    return [tf.TensorArray(x.dtype, tf.shape(x)[0]).unstack(x) for x in sequences]


def _writable(steps, dtype, shape):
    return tf.TensorArray(dtype, steps, element_shape=shape)


def _before(sequence, first):
    """What was before each step: `first`, and the sequence without its last."""
    return tf.concat([first[None], sequence[:-1]], axis=0)


def _product_over_time(x, d_y):
    """The gradient `[in, out]` of a kernel that takes x to y in every step."""
    x, d_y = tf.reshape(x, (-1, x.shape[2])), tf.reshape(d_y, (-1, d_y.shape[2]))
    return tf.matmul(x, d_y, transpose_a=True)


def _apart(function: Callable, *inputs):
    """`function(*inputs)`, out of sight of tapes, which would try to differentiate XLA's loops."""
    return [tf.stop_gradient(y) for y in function(*tf.nest.map_structure(tf.stop_gradient, inputs))]


def _first_derivatives(gradients: Callable, *arguments):
    """`gradients(*arguments)`, which nobody differentiates: that would silently give a part."""

    @tf.custom_gradient
    def once(*flat):
        def grad(*_):
            raise NotImplementedError(
                "kzoo's LSTM and GRU have no second derivatives in training; use those of "
                "keras.layers in a model that needs them"
            )

        packed = tf.nest.pack_sequence_as(arguments, flat)
        return _apart(gradients, *packed), grad

    return once(*tf.nest.flatten(arguments))
