"""Restricted Boltzmann machines over time, dense and convolutional, and what their units tell.

Hinton, 2002, https://doi.org/10.1162/089976602760128018 (contrastive divergence) and 2012, A
practical guide to training restricted Boltzmann machines; Lee, Grosse, Ranganath and Ng, 2009,
https://doi.org/10.1145/1553374.1553453 (convolution, and probabilistic max-pooling). A machine
whose filters are as long as what it sees is a dense one.

    E(v, h) = |v - c|^2 / 2 - sum(h * I(v))     Gaussian units of variance 1; I(v) = v * W + b
    E(v, h) = -sum(c * v) - sum(h * I(v))       binary ones

In each block of `pool` hidden units after one another at most one is on, which is what the pooling
unit above them tells.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import keras
from keras import ops


def pooled_probabilities(drive, pool: int):
    """The chance that one of each `pool` hidden units in a row is on.

    drive: `[..., frames, units]`, what the units hear, I(v). Returns `[..., frames // pool,
    units]`; frames that fill no block are left out. Of blocks of one it is the sigmoid.
    """
    return ops.sigmoid(ops.logsumexp(_blocks(drive, pool), axis=-2))


def hidden_probabilities(drive, pool: int):
    """The chance of each hidden unit to be on, `[..., frames // pool * pool, units]`."""
    blocks = _blocks(drive, pool)
    most = ops.maximum(ops.max(blocks, axis=-2, keepdims=True), 0.0)
    each = ops.exp(blocks - most)
    shares = each / (ops.exp(-most) + ops.sum(each, axis=-2, keepdims=True))
    return _joined(shares)


def free_energy(visible, kernel, hidden_bias, visible_bias, *, kind: str, pool: int):
    """-log of the sum over all hidden states of exp(-E), `[batch]`, of `[batch, frames, channels]`.

    kernel: `[taps, channels, units]`. kind: of the visible units, "gaussian" or "binary".
    """
    drive = _drive(visible, kernel, hidden_bias)
    hidden = ops.sum(ops.softplus(ops.logsumexp(_blocks(drive, pool), axis=-2)), axis=(1, 2))
    if kind == "gaussian":
        return ops.sum(ops.square(visible - visible_bias), axis=(1, 2)) / 2 - hidden
    return -ops.sum(visible * visible_bias, axis=(1, 2)) - hidden


@keras.saving.register_keras_serializable("kzoo")
class PooledProbabilities(keras.layers.Layer):
    """`pooled_probabilities` of what a convolution gives, `[batch, frames, units]`."""

    def __init__(self, pool: int, **kwargs):
        super().__init__(**kwargs)
        self.pool = pool

    def call(self, drive):
        return pooled_probabilities(drive, self.pool)

    def compute_output_shape(self, drive_shape):
        batch, frames, units = drive_shape
        return (batch, None if frames is None else frames // self.pool, units)

    def get_config(self):
        return {**super().get_config(), "pool": self.pool}


class Stage(NamedTuple):
    """A convolution of a network that begins as a machine of `kind`, after those before it.

    dense: the machine sees as many frames as the filters are long, each by itself; otherwise all
    frames that fill whole blocks of `pool`.
    """

    layer: keras.layers.Conv1D
    kind: Literal["gaussian", "binary"]
    pool: int = 1
    dense: bool = False


class BoltzmannMachine(keras.Model):
    """A machine that `fit` trains by contrastive divergence: `[batch, frames, channels]` alone.

    Binary units take what lies in 0 to 1 as the chance of being on. Frames are as many as fill
    whole blocks: taps - 1 more than a multiple of `pool`. What `fit` reports as "error" is the mean
    squared difference between what is seen and what the machine makes of it.

    taps: length of a filter. steps: of Gibbs sampling to where the divergence is measured.
    sparsity: share of the time that a hidden unit should be on; where it is another, the offsets
    are drawn towards it with `sparsity_cost` (Lee, Ekanadham and Ng, 2007). weight_decay: half the
    penalty on a squared weight. Raises ValueError for an unknown kind.
    """

    def __init__(
        self,
        units: int,
        taps: int,
        *,
        kind: Literal["gaussian", "binary"],
        pool: int = 1,
        steps: int = 1,
        sparsity: float | None = None,
        sparsity_cost: float = 1.0,
        weight_decay: float = 0.0,
        seed: int = 0,
        **kwargs,
    ):
        super().__init__(**kwargs)
        if kind not in ("gaussian", "binary"):
            raise ValueError(f"kind must be one of gaussian, binary; got {kind!r}")
        self.units, self.taps, self.kind, self.pool, self.steps = units, taps, kind, pool, steps
        self.sparsity, self.sparsity_cost = sparsity, sparsity_cost
        self.weight_decay = weight_decay
        self._random = keras.random.SeedGenerator(seed)
        self._error = keras.metrics.Mean("error")

    def build(self, visible_shape):
        channels = visible_shape[-1]
        few = keras.initializers.RandomNormal(stddev=0.01, seed=self._random)
        self.kernel = self.add_weight(
            (self.taps, channels, self.units), initializer=few, name="kernel"
        )
        self.hidden_bias = self.add_weight((self.units,), initializer="zeros", name="hidden_bias")
        self.visible_bias = self.add_weight((channels,), initializer="zeros", name="visible_bias")
        self.built = True

    def call(self, visible):
        """What the machine makes of it after `steps` of sampling, of the same shape."""
        for _ in range(self.steps):
            visible = self.seen(self.sampled(_drive(visible, self.kernel, self.hidden_bias)))
        return visible

    def sampled(self, drive):
        """Hidden units, each 0 or 1, at most one of a block."""
        blocks = _blocks(drive, self.pool)
        none = ops.zeros_like(blocks[..., :1, :])
        choices = ops.moveaxis(ops.concatenate([blocks, none], axis=-2), -2, -1)
        noise = keras.random.uniform(ops.shape(choices), minval=1e-7, maxval=1.0, seed=self._random)
        winner = ops.argmax(choices - ops.log(-ops.log(noise)), axis=-1)  # Gumbel's
        states = ops.one_hot(winner, self.pool + 1, dtype=drive.dtype)[..., : self.pool]
        return _joined(ops.moveaxis(states, -1, -2))

    def seen(self, hidden):
        """The means of the visible units where these hidden ones are on."""
        drive = ops.conv_transpose(hidden, self.kernel, strides=1, padding="valid")
        drive = drive + self.visible_bias
        return drive if self.kind == "gaussian" else ops.sigmoid(drive)

    def free_energy(self, visible):
        """`free_energy` with this machine's weights."""
        return free_energy(
            visible, self.kernel, self.hidden_bias, self.visible_bias,
            kind=self.kind, pool=self.pool,
        )  # fmt: skip

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The contrastive divergence for each moment of the hidden units, and the penalties."""
        made = ops.stop_gradient(y_pred)
        self._error.update_state(ops.mean(ops.square(made - x), axis=(1, 2)))
        moments = x.shape[1] - self.taps + 1
        loss = ops.mean(self.free_energy(x) - self.free_energy(made)) / moments
        if self.sparsity is not None:
            offset = self.hidden_bias - ops.stop_gradient(self.hidden_bias)
            drive = ops.stop_gradient(_drive(x, self.kernel, self.hidden_bias)) + offset
            on = ops.mean(hidden_probabilities(drive, self.pool), axis=(0, 1))
            loss = loss + self.sparsity_cost * ops.sum(ops.square(on - self.sparsity)) / 2
        return loss + self.weight_decay * ops.sum(ops.square(self.kernel)) / 2

    @property
    def metrics(self):
        """The error, beside what Keras measures."""
        return [*super().metrics, self._error]

    def compute_metrics(self, x, y, y_pred, sample_weight=None):
        """All that was measured of the epoch so far."""
        return self.get_metrics_result()


def _drive(visible, kernel, hidden_bias):
    return ops.conv(visible, kernel, strides=1, padding="valid") + hidden_bias


def _blocks(drive, pool: int):
    """`[..., frames, units]` to `[..., frames // pool, pool, units]`."""
    *lead, frames, units = ops.shape(drive)
    blocks = frames // pool
    return ops.reshape(drive[..., : blocks * pool, :], (*lead, blocks, pool, units))


def _joined(blocks):
    *lead, count, pool, units = ops.shape(blocks)
    return ops.reshape(blocks, (*lead, count * pool, units))
