"""GRUs of features in groups that do not see each other, and the halves of a dual path.

Rong et al., 2024, GTCRN, https://doi.org/10.1109/ICASSP48485.2024.10448310: a grouped GRU over the
bands of each frame, both ways, then one over the frames of each band, each with a dense layer, a
norm and its input added.

All groups, and both ways, run in one recurrence with block-diagonal kernels: a step costs the same
few operations however many there are.
"""

from __future__ import annotations

import contextlib

import keras
import numpy as np
from keras import layers, ops

from kzoo.layers.recurrent import GRU


@keras.saving.register_keras_serializable("kzoo")
class GroupedGRUCell(layers.GRUCell):
    """The step of `GroupedGRU`; its kernels hold no zeros, see `joined`."""

    def __init__(self, units: int, groups: int = 1, **kwargs):
        super().__init__(units, **kwargs)
        if units % groups:
            raise ValueError(f"units must be a multiple of groups={groups}; got {units}")
        self.groups = groups
        self._joined = None

    def build(self, input_shape):
        features = input_shape[-1]
        if features % self.groups:
            raise ValueError(f"features must be a multiple of groups={self.groups}; got {features}")
        own = self.units // self.groups
        self.own_kernel = self.add_weight(
            shape=(self.groups, features // self.groups, 3 * own),
            initializer=self.kernel_initializer,
            name="kernel",
        )
        self.own_recurrent_kernel = self.add_weight(
            shape=(self.groups, own, 3 * own),
            initializer=self.recurrent_initializer,
            name="recurrent_kernel",
        )
        self.own_bias = self.add_weight(shape=(2, self.groups, 3 * own), name="bias")

    @contextlib.contextmanager
    def joined(self):
        """Within it, the kernels of a plain GRU are made once and not at every step."""
        self._joined = self._join()
        try:
            yield
        finally:
            self._joined = None

    def _join(self):
        bias = _gates_first(self.own_bias)
        kernels = _block_diagonal(self.own_kernel), _block_diagonal(self.own_recurrent_kernel)
        return *kernels, bias, bias[1]

    @property
    def kernel(self):
        """Block-diagonal, `[features, 3 * units]`: gates z, r and candidate."""
        return (self._joined or self._join())[0]

    @property
    def recurrent_kernel(self):
        """Block-diagonal, `[units, 3 * units]`."""
        return (self._joined or self._join())[1]

    @property
    def bias(self):
        """Of both kernels, `[2, 3 * units]`."""
        return (self._joined or self._join())[2]

    def call(self, gates, states, training=False):
        """A step from what the kernel and its bias make of the input, `[batch, 3 * units]`."""
        _, kernel, _, bias = self._joined or self._join()
        z, r, candidate = ops.split(gates, 3, axis=-1)
        recurrent = ops.split(ops.matmul(states[0], kernel) + bias, 3, axis=-1)
        z, r = ops.sigmoid(z + recurrent[0]), ops.sigmoid(r + recurrent[1])
        candidate = ops.tanh(candidate + r * recurrent[2])
        state = candidate + z * (states[0] - candidate)
        return state, [state]


def _block_diagonal(kernel):
    groups, features, gates = kernel.shape
    blocks = ops.reshape(kernel, (groups, features, 3, 1, gates // 3))
    diagonal = np.eye(groups).reshape(groups, 1, 1, groups, 1)
    blocks = blocks * ops.convert_to_tensor(diagonal, blocks.dtype)
    return ops.reshape(blocks, (groups * features, gates * groups))


def _gates_first(bias):
    _, groups, gates = bias.shape
    bias = ops.reshape(bias, (2, groups, 3, gates // 3))
    return ops.reshape(ops.transpose(bias, (0, 2, 1, 3)), (2, gates * groups))


class _GatesAtOnce(layers.RNN):
    """The loop of `GroupedGRU` without cuDNN: what all inputs say to the gates, then the steps."""

    def inner_loop(self, sequences, *args, **kwargs):
        gates = ops.matmul(sequences, self.cell.kernel) + self.cell.bias[0]
        return super().inner_loop(gates, *args, **kwargs)


@keras.saving.register_keras_serializable("kzoo")
class GroupedGRU(GRU, _GatesAtOnce):
    """`[batch, steps, features]` to `[batch, steps, units]`: neighbours in groups, a GRU for each.

    units and features must be multiples of groups. options: of Keras's RNN, such as
    return_sequences. Weights: kernel `[groups, features / groups, 3 * units / groups]`,
    recurrent_kernel likewise, bias `[2, groups, 3 * units / groups]`.
    """

    def __init__(self, units: int, groups: int = 1, **options):
        cell = GroupedGRUCell(units, groups, dtype=options.get("dtype"), name="gru_cell")
        layers.RNN.__init__(self, cell, **options)  # GRU's own makes a cell without groups
        self.use_cudnn = "auto"
        self.groups = groups

    def inner_loop(self, *args, **kwargs):
        with self.cell.joined():
            return super().inner_loop(*args, **kwargs)

    def get_config(self):
        names = ("return_sequences", "return_state", "go_backwards", "stateful", "unroll")
        options = {name: getattr(self, name) for name in names}
        sizes = {"units": self.units, "groups": self.groups}
        return {**layers.Layer.get_config(self), **options, **sizes}


@keras.saving.register_keras_serializable("kzoo")
class BothWaysGRU(layers.Layer):
    """`[batch, steps, features]` to `[batch, steps, units]`: `GroupedGRU` there and back.

    The output of each group is its units / groups / 2 there, then as many back. steps must be
    known. Weights are those of `GroupedGRU` with twice the groups in the order of the output.
    """

    def __init__(self, units: int, groups: int = 1, unroll: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.units, self.groups, self.unroll = units, groups, unroll
        self.gru = GroupedGRU(
            units, 2 * groups, return_sequences=True, unroll=unroll, dtype=self.dtype_policy,
            name="gru",
        )  # fmt: skip

    def build(self, input_shape):
        self.gru.build((*input_shape[:2], 2 * input_shape[2]))

    def call(self, x):
        steps, features = x.shape[1:]
        x = ops.reshape(x, (-1, steps, self.groups, features // self.groups))
        x = ops.concatenate([x, ops.flip(x, axis=1)], axis=-1)
        x = self.gru(ops.reshape(x, (-1, steps, 2 * features)))
        there, back = ops.split(
            ops.reshape(x, (-1, steps, self.groups, self.units // self.groups)), 2, axis=-1
        )
        x = ops.concatenate([there, ops.flip(back, axis=1)], axis=-1)
        return ops.reshape(x, (-1, steps, self.units))

    def compute_output_shape(self, input_shape):
        return (*input_shape[:2], self.units)

    def get_config(self):
        sizes = {"units": self.units, "groups": self.groups, "unroll": self.unroll}
        return {**super().get_config(), **sizes}


class _Half(layers.Layer):
    """`[batch, frames, bands, channels]` and what a GRU, a dense layer and a norm add to it."""

    def __init__(self, groups: int = 1, unroll: bool = False, **kwargs):
        super().__init__(**kwargs)
        self.groups, self.unroll = groups, unroll

    def build(self, x_shape):
        bands, channels = x_shape[2:]
        self.gru = self.recurrent(channels)
        self.gru.build((None, None, channels))
        self.dense = layers.Dense(channels, dtype=self.dtype_policy, name="dense")
        self.dense.build((None, None, channels))
        # Over bands and channels of a frame; by hand, as it is faster without transposes.
        shape = (bands, channels)
        self.gamma = self.add_weight(shape=shape, initializer="ones", name="gamma")
        self.beta = self.add_weight(shape=shape, initializer="zeros", name="beta")

    def normed(self, x):
        """Zero mean and unit variance of each frame, times gamma, plus beta."""
        centred = x - ops.mean(x, axis=(2, 3), keepdims=True)
        variance = ops.mean(ops.square(centred), axis=(2, 3), keepdims=True)
        return centred * ops.rsqrt(variance + 1e-8) * self.gamma + self.beta

    def get_config(self):
        return {**super().get_config(), "groups": self.groups, "unroll": self.unroll}


@keras.saving.register_keras_serializable("kzoo")
class IntraFrameGRU(_Half):
    """The half of a dual path that goes over the bands of each frame, both ways."""

    def recurrent(self, channels: int):
        return BothWaysGRU(
            channels, self.groups, unroll=self.unroll, dtype=self.dtype_policy, name="bands"
        )

    def call(self, x):
        frames = ops.shape(x)[1]
        bands, channels = x.shape[2:]
        y = self.dense(self.gru(ops.reshape(x, (-1, bands, channels))))
        return x + self.normed(ops.reshape(y, (-1, frames, bands, channels)))

    def compute_output_shape(self, x_shape):
        return x_shape


@keras.saving.register_keras_serializable("kzoo")
class InterFrameGRU(_Half):
    """The half of a dual path that goes over the frames of each band, from a state.

    (x, state `[batch, bands, channels]`) to (y, state); without one to y alone, from zeros.
    """

    def recurrent(self, channels: int):
        return GroupedGRU(
            channels, self.groups, return_sequences=True, return_state=True, unroll=self.unroll,
            dtype=self.dtype_policy, name="frames",
        )  # fmt: skip

    def build(self, x_shape, state_shape=None):
        super().build(x_shape)

    def call(self, x, state=None):
        frames = ops.shape(x)[1]
        bands, channels = x.shape[2:]
        y = ops.reshape(ops.swapaxes(x, 1, 2), (-1, frames, channels))  # [batch * bands, ...]
        begun = None if state is None else ops.reshape(state, (-1, channels))
        y, after = self.gru(y, initial_state=begun)
        y = ops.reshape(self.dense(y), (-1, bands, frames, channels))
        y = x + self.normed(ops.swapaxes(y, 1, 2))
        return y if state is None else (y, ops.reshape(after, (-1, bands, channels)))

    def compute_output_shape(self, x_shape, state_shape=None):
        return x_shape if state_shape is None else (x_shape, state_shape)
