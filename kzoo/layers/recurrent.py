"""LSTM and GRU that train fast on a processor: those of Keras with a training loop of their own.

Weights, their paths, outputs and gradients are those of Keras's layers; only the way to them
differs: in training, in TFLite (`tflite_forms`), and in a process that runs recordings
(`compiled_loops`). What else is exported is Keras's own layer.
"""

from __future__ import annotations

import contextlib
import contextvars
from collections.abc import Iterator

import keras
from keras import activations, layers, ops

_DTYPES = ("float32", "bfloat16", "float16")
# From so many steps times units on, some blocks of a recording make up for 0.2 s of compiling.
_WORTH_COMPILING = 2**15
_traced_for = contextvars.ContextVar("traced_for", default="graphs")  # "tflite", "processor"


@contextlib.contextmanager
def tflite_forms() -> Iterator[None]:
    """Within it, layers of float32 and static shape are traced as LiteRT runs them fastest.

    Keras's own become loops there that copy the whole sequence in every step. Here they are loops
    over blocks of steps; an LSTM that gives its state away is left as it is. TFLite's own operator
    of an LSTM is no faster in DTLN, and was 70 dB from Keras with the published weights.
    """
    with _traced(for_="tflite"):
        yield


@contextlib.contextmanager
def compiled_loops() -> Iterator[None]:
    """Within it, long layers of static shape are traced with the training's loop, by XLA.

    For graphs that this process runs itself: one that is written would want XLA of whoever runs it.
    One thread, batch 1, 862 steps of 256 and 512 units (AMD EPYC, 2026-11-27): 23 and 90 ms, where
    Keras's loop takes 59 and 226.
    """
    with _traced(for_="processor"):
        yield


@contextlib.contextmanager
def _traced(for_: str) -> Iterator[None]:
    token = _traced_for.set(for_)
    try:
        yield
    finally:
        _traced_for.reset(token)


class _CompiledTraining:
    """Before a layer of Keras: its loop in training is one of `recurrent_loops`, where it can be.

    Keras's own is used for masks, recurrent dropout, `unroll`, `use_cudnn=True`, layers without
    bias, activations but tanh and sigmoid, float64, devices but processors, and other backends.
    """

    def inner_loop(self, sequences, initial_state, mask, training=False):
        states = keras.tree.flatten(initial_state)
        if mask is None and self._is_standard():
            cell = self.cell
            x = ops.cast(sequences, cell.compute_dtype)
            if training and _is_possible():
                if 0.0 < cell.dropout < 1.0:
                    x = x * ops.expand_dims(cell.get_dropout_mask(x[:, 0]), axis=1)
                return self._over_time(self._loop, x, *states)
            if not training and _traced_for.get() == "tflite" and self._has_tflite_form(x, *states):
                return self._over_time(self._tflite_loop, x, *states)
            if not training and _traced_for.get() == "processor" and self._is_worth_compiling(x):
                return self._over_time(self._loop, x, *states)
        return super().inner_loop(sequences, initial_state, mask=mask, training=training)

    def _over_time(self, loop, x, *states):
        """What `inner_loop` returns, by a loop over `[steps, batch, features]`."""
        cell = self.cell
        x = ops.transpose(x, (1, 0, 2))
        if self.go_backwards:
            x = ops.flip(x, axis=0)
        weights = (cell.kernel, cell.recurrent_kernel, cell.bias)
        weights = [ops.cast(weight, cell.compute_dtype) for weight in weights]
        outputs, *cells = loop(x, *weights, *states)
        last = outputs[-1]
        outputs = ops.transpose(outputs, (1, 0, 2)) if self.return_sequences else last[:, None]
        return last, outputs, [last, *cells]

    def _is_standard(self) -> bool:
        cell = self.cell
        return (
            cell.use_bias
            and cell.activation is activations.tanh
            and cell.recurrent_activation is activations.sigmoid
            and cell.compute_dtype in _DTYPES
            and not cell.recurrent_dropout
            and (cell.implementation == 2 or not cell.dropout)  # 1 has a mask for each gate
            and self.use_cudnn is not True
            and not self.unroll
        )

    def _is_worth_compiling(self, x) -> bool:
        static = None not in x.shape
        return static and x.shape[1] * self.units >= _WORTH_COMPILING and _is_possible()

    def _has_tflite_form(self, x, *states) -> bool:
        static = not any(None in tensor.shape for tensor in (x, *states))
        return static and self.cell.compute_dtype == "float32"


@keras.saving.register_keras_serializable("kzoo")
class LSTM(_CompiledTraining, layers.LSTM):
    """keras.layers.LSTM, with all its arguments, several times faster in a step of training.

    benchmarks/results/recurrent.txt says how much. Each number of steps and examples is compiled
    once, which takes some tenths of a second: train on segments of one length. Raises
    NotImplementedError where a training step differentiates twice through it.
    """

    def _has_tflite_form(self, x, *states) -> bool:
        return super()._has_tflite_form(x, *states) and not (self.return_state or self.stateful)

    def _loop(self, *inputs):
        from kzoo.layers import recurrent_loops

        return recurrent_loops.lstm(*inputs)

    def _tflite_loop(self, *inputs):
        from kzoo.layers import recurrent_loops

        return (recurrent_loops.lstm_in_blocks(*inputs),)


@keras.saving.register_keras_serializable("kzoo")
class GRU(_CompiledTraining, layers.GRU):
    """keras.layers.GRU in the same way; with `reset_after=False` it trains as Keras's does."""

    def _is_standard(self) -> bool:
        return super()._is_standard() and self.cell.reset_after

    def _loop(self, *inputs):
        from kzoo.layers import recurrent_loops

        return (recurrent_loops.gru(*inputs),)

    def _tflite_loop(self, *inputs):
        from kzoo.layers import recurrent_loops

        return (recurrent_loops.gru_in_blocks(*inputs),)


def _is_possible() -> bool:
    if keras.backend.backend() != "tensorflow":
        return False
    from kzoo.layers import recurrent_loops

    return recurrent_loops.available()
