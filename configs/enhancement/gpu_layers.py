"""GTCRN's recurrences and convolutions as a GPU runs them fast under JAX.

A GRU of 16 units over some hundred steps is thousands of tiny kernels in a loop of XLA; here it is
one for the steps there and one for the steps back, of Pallas, each with its state in registers.
The convolutions of XLA are slow for so few channels, too: sums over shifted inputs are not. A step
of training on 64 times 4 s takes 22 ms of an H200 so, and 155 ms with XLA's convolutions.
"""

import jax
from jax import numpy as jnp
from jax.experimental import pallas as pl
from jax.experimental.pallas import triton

from kzoo.layers.grouped_conv import GroupedConv2D
from kzoo.layers.grouped_gru import GroupedGRU

ROWS = 16  # examples a program has, of which a batch is a multiple


def use() -> None:
    """Let all layers of kzoo that are made from now on run so."""
    GroupedGRU.inner_loop = recurrence
    GroupedConv2D.convolution_op = convolution


def convolution(self, inputs, kernel):
    """Of `GroupedConv2D`, without padding: one product, or one sum where channels are apart."""
    kernel = jnp.asarray(kernel)
    (high, wide, _, filters), channels = kernel.shape, inputs.shape[-1]
    frames, bands = self.compute_output_shape(inputs.shape)[1:3]
    spans = [(frames - 1) * self.strides[0] + 1, (bands - 1) * self.strides[1] + 1]
    shifted = [
        inputs[:, i : i + spans[0] : self.strides[0], k : k + spans[1] : self.strides[1]]
        for i in range(0, high * self.dilation_rate[0], self.dilation_rate[0])
        for k in range(0, wide * self.dilation_rate[1], self.dilation_rate[1])
    ]
    if self.groups == channels > 1:
        return sum(
            x * factors for x, factors in zip(shifted, kernel.reshape(-1, filters), strict=True)
        )
    kernel = jnp.tile(kernel, (1, 1, self.groups, 1))
    group_of_input = jnp.arange(channels)[:, None] // (channels // self.groups)
    kernel *= group_of_input == jnp.arange(filters) // (filters // self.groups)
    return jnp.concatenate(shifted, axis=-1) @ kernel.reshape(-1, filters)


def recurrence(self, sequences, initial_state, mask=None, training=False):
    """Of `GroupedGRU`, whose arguments and results are those of `keras.layers.RNN.inner_loop`."""
    with self.cell.joined():
        kernel, recurrent_kernel, bias = (
            self.cell.kernel,
            self.cell.recurrent_kernel,
            self.cell.bias,
        )
    gates = jnp.swapaxes(sequences @ kernel + bias[0], 0, 1)  # [steps, batch, 3 * units]
    (begun,) = jax.tree.leaves(initial_state)
    outputs = gru(
        gates, recurrent_kernel, bias[1], jnp.broadcast_to(begun, (gates.shape[1], self.units))
    )
    sequence = jnp.swapaxes(outputs, 0, 1) if self.return_sequences else outputs[-1][:, None]
    return outputs[-1], sequence, [outputs[-1]]


@jax.custom_vjp
def gru(gates, kernel, bias, begun):
    """States `[steps, batch, units]` after what the inputs say to the gates z, r and candidate."""
    return _forward(gates, kernel, bias, begun)[0]


def _forward(gates, kernel, bias, begun):
    (steps, batch, _), units = gates.shape, len(kernel)
    return _programs(
        _steps_there, [(steps, batch, units), (steps, batch, 4 * units)],
        gates, *jnp.split(kernel, 3, axis=1), bias.reshape(3, units), begun,
    )  # fmt: skip


def _kept(*inputs):
    states, kept = _forward(*inputs)
    return states, (states, kept, inputs[1], inputs[3])


def _gradients(residuals, d_states):
    states, kept, kernel, begun = residuals
    (steps, batch, units) = states.shape
    before = jnp.concatenate([begun[None], states[:-1]])
    d_gates, d_past, d_begun = _programs(
        _steps_back, [(steps, batch, 3 * units), (steps, batch, units), (batch, units)],
        kept, before, d_states, *(part.T for part in jnp.split(kernel, 3, axis=1)),
    )  # fmt: skip
    d_past = jnp.concatenate([d_gates[..., : 2 * units], d_past], axis=-1).reshape(-1, 3 * units)
    return d_gates, _product(before.reshape(-1, units).T, d_past), d_past.sum(axis=0), d_begun


gru.defvjp(_kept, _gradients)


def _programs(kernel, shapes, *inputs):
    """Run `kernel` on `ROWS` examples each; weights, whose first axis is no batch, are whole."""
    batch = shapes[0][1]

    def block(shape):
        if len(shape) == 3:
            return pl.BlockSpec((shape[0], ROWS, shape[2]), lambda row: (0, row, 0))
        if shape[0] == batch:
            return pl.BlockSpec((ROWS, shape[1]), lambda row: (row, 0))
        return pl.BlockSpec(shape, lambda row: (0, 0))

    return pl.pallas_call(
        kernel,
        grid=(batch // ROWS,),
        in_specs=[block(x.shape) for x in inputs],
        out_specs=[block(shape) for shape in shapes],
        out_shape=[jax.ShapeDtypeStruct(shape, jnp.float32) for shape in shapes],
        compiler_params=triton.CompilerParams(num_warps=1, num_stages=1),
        interpret=jax.default_backend() == "cpu",
    )(*inputs)


def _steps_there(gates, kernel_z, kernel_r, kernel_g, bias, begun, states, kept):
    units = begun.shape[1]
    kernels = kernel_z[...], kernel_r[...], kernel_g[...]
    parts = [slice(k * units, (k + 1) * units) for k in range(4)]

    def step(at, state):
        past_z, past_r, past_g = (_product(state, kernels[k]) + bias[k, :] for k in range(3))
        z = jax.nn.sigmoid(gates[at, :, parts[0]] + past_z)
        r = jax.nn.sigmoid(gates[at, :, parts[1]] + past_r)
        g = jnp.tanh(gates[at, :, parts[2]] + r * past_g)
        state = g + z * (state - g)
        states[at, :, :] = state
        for part, value in zip(parts, (z, r, g, past_g), strict=True):
            kept[at, :, part] = value
        return state

    jax.lax.fori_loop(0, gates.shape[0], step, begun[...])


def _steps_back(kept, before, d_states, kernel_z, kernel_r, kernel_g, d_gates, d_past, d_begun):
    steps, units = kept.shape[0], before.shape[2]
    kernels = kernel_z[...], kernel_r[...], kernel_g[...]  # transposed
    parts = [slice(k * units, (k + 1) * units) for k in range(4)]

    def step(number, d_state):
        at = steps - 1 - number
        z, r, g, past_g = (kept[at, :, part] for part in parts)
        d_state = d_state + d_states[at, :, :]
        d_z = d_state * (before[at, :, :] - g) * z * (1 - z)
        d_g = d_state * (1 - z) * (1 - g * g)
        d_r = d_g * past_g * r * (1 - r)
        for part, value in zip(parts, (d_z, d_r, d_g), strict=False):
            d_gates[at, :, part] = value
        d_past[at, :, :] = d_g * r
        products = map(_product, (d_z, d_r, d_g * r), kernels)
        return sum(products, d_state * z)

    nothing = jnp.zeros(d_begun.shape, jnp.float32)
    d_begun[...] = jax.lax.fori_loop(0, steps, step, nothing)


def _product(one, other):
    return jnp.dot(one, other, precision=jax.lax.Precision.HIGHEST)
