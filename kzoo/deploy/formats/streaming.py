"""A model that runs for ever, block by block, as one TFLite file that keeps its state.

Two signatures: `step` takes a block of controls and gives its sound, `reset` brings the state of
silence back. The state is inside the file's own variables, so an app holds nothing.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

from kzoo.deploy.formats import saved_model
from kzoo.deploy.formats.tflite import FlexError, convert, open_interpreter, operators

STEP, RESET, DONE = "step", "reset", "done"
_STATE = "state_"


def write_stream(step: keras.Model, path: str | Path, *, state: Mapping[str, np.ndarray]) -> Path:
    """Write `step` with `state` as what it begins with and is reset to.

    step: a model of named inputs and outputs, of which those called "state_<name>" come back as
    they are to go in next; all others have a batch of 1, and the sizes that the file will have.
    Raises FlexError for operators that TFLite does not have, ValueError for a state that does not
    fit the model.
    """
    inputs = {x.name: x for x in step.inputs}
    names = {name.removeprefix(_STATE) for name in inputs if name.startswith(_STATE)}
    if names != set(state):
        raise ValueError(
            f"{step.name!r} keeps {', '.join(sorted(names))}; the state has "
            f"{', '.join(sorted(state))}"
        )
    variables = {name: tf.Variable(value, name=_STATE + name) for name, value in state.items()}
    fed = {name: x for name, x in inputs.items() if not name.startswith(_STATE)}

    @tf.function(
        input_signature=[
            tf.TensorSpec((1, *x.shape[1:]), x.dtype, name=name) for name, x in fed.items()
        ],
        autograph=False,
    )
    def run(*arguments):
        given = dict(zip(fed, arguments, strict=True))
        kept = {_STATE + name: variable.read_value() for name, variable in variables.items()}
        results = dict(step({**given, **kept}, training=False))
        for name, variable in variables.items():
            variable.assign(tf.ensure_shape(results.pop(_STATE + name), variable.shape))
        return results

    @tf.function(input_signature=[], autograph=False)
    def reset():
        for name, variable in variables.items():
            variable.assign(state[name])
        return {DONE: tf.constant(1)}

    with tempfile.TemporaryDirectory() as folder:
        saved_model.store(
            folder, {STEP: run.get_concrete_function(), RESET: reset.get_concrete_function()}
        )
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        content = convert(converter, step.name, allow_flex=False)
    path = Path(path)
    path.write_bytes(content)
    foreign = [name for name in operators(path) if name.startswith("Flex")]
    if foreign:
        path.unlink()
        raise FlexError(step.name, [name.removeprefix("Flex") for name in foreign])
    return path


class Stream:
    """A file of `write_stream`, run by LiteRT: `step(f0_hz=..., ...)` and `reset()`.

    Raises ImportError where LiteRT is not installed. Not thread-safe.
    """

    def __init__(self, path: str | Path, *, threads: int = 1):
        self._interpreter = open_interpreter(path, threads, flex=False)
        self._interpreter.allocate_tensors()
        self._step = self._interpreter.get_signature_runner(STEP)
        self._reset: Callable = self._interpreter.get_signature_runner(RESET)
        self.inputs = {
            name: tuple(int(n) for n in detail["shape"])
            for name, detail in self._step.get_input_details().items()
        }
        self.reset()

    def step(self, **block: np.ndarray) -> dict[str, np.ndarray]:
        """A block in, its sound out; the state goes on."""
        return self._step(**block)

    def reset(self) -> None:
        """Back to silence, before the first frame."""
        self._reset()
