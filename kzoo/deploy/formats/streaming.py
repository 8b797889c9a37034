"""A model that runs for ever, block by block, as one TFLite file that keeps its state.

Two signatures: `step` takes a block and gives its sound, `reset` brings the state of silence back.
The state is inside the file's own variables, so an app holds nothing. The twin has the signature
`step` alone, whose further inputs and outputs "state_<name>" an app hands on itself: for runtimes
without variables, or for many streams of one model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from kzoo.deploy.formats.metadata import finished
from kzoo.deploy.formats.tflite import (
    check_operators,
    check_tensors,
    convert,
    description,
    open_interpreter,
)
from kzoo.deploy.forms import for_tflite
from kzoo.deploy.signature import RESET, STATE, STEP, step_function

DONE = "done"


def write_stream(
    step: keras.Model,
    path: str | Path,
    *,
    state: Mapping[str, np.ndarray],
    twin: str | Path | None = None,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    """Write `step` with `state` as what it begins with and is reset to.

    step: a model of named inputs and outputs, of which those called "state_<name>" come back as
    they are to go in next; all others have a batch of 1, and the sizes that the file will have.
    twin: where `write_state_twin` is to write as well, of the same graph; None for nowhere.
    metadata: goes into both files, as in `tflite.write`.
    Raises FlexError for operators that TFLite does not have, ValueError for a state that does not
    fit the model.
    """
    inputs = {x.name: x for x in step.inputs}
    names = {name.removeprefix(STATE) for name in inputs if name.startswith(STATE)}
    if names != set(state):
        raise ValueError(
            f"{step.name!r} keeps {', '.join(sorted(names))}; the state has "
            f"{', '.join(sorted(state))}"
        )
    step = for_tflite(step)  # its weights live as long as it does
    graph = step_function(step)
    variables = {name: tf.Variable(value, name=STATE + name) for name, value in state.items()}
    fed = {name: x for name, x in inputs.items() if not name.startswith(STATE)}

    @tf.function(
        input_signature=[
            tf.TensorSpec((1, *x.shape[1:]), x.dtype, name=name) for name, x in fed.items()
        ],
        autograph=False,
    )
    def run(*arguments):
        given = dict(zip(fed, arguments, strict=True))
        given |= {STATE + name: variable.read_value() for name, variable in variables.items()}
        results = dict(graph(*(given[name] for name in inputs)))
        for name, variable in variables.items():
            variable.assign(tf.ensure_shape(results.pop(STATE + name), variable.shape))
        return results

    @tf.function(input_signature=[], autograph=False)
    def reset():
        for name, variable in variables.items():
            variable.assign(state[name])
        return {DONE: tf.constant(1)}

    functions = {STEP: run.get_concrete_function(), RESET: reset.get_concrete_function()}
    path = _write(step.name, functions, Path(path), metadata)
    if twin is not None:
        _write(step.name, {STEP: graph}, Path(twin), metadata)
    return path


def write_state_twin(step: keras.Model, path: str | Path) -> Path:
    """Write `step` as it is: its states are inputs and outputs of one name, and the caller's.

    Raises FlexError as `write_stream` does.
    """
    step = for_tflite(step)
    return _write(step.name, {STEP: step_function(step)}, Path(path))


class StateTwin:
    """A file of `write_state_twin`, run by LiteRT: `step(...)`, whose states are kept here.

    state: {name: array}, what it begins with. Raises ImportError where LiteRT is not installed.
    """

    def __init__(self, path: str | Path, state: Mapping[str, np.ndarray]):
        interpreter = open_interpreter(path, threads=1, flex=False)
        interpreter.allocate_tensors()
        self._step = interpreter.get_signature_runner(STEP)
        self._state = {STATE + name: value for name, value in state.items()}

    def step(self, **block: np.ndarray) -> dict[str, np.ndarray]:
        """A block in, its sound out; the state goes on."""
        results = self._step(**block, **self._state)
        self._state = {name: results.pop(name) for name in self._state}
        return results


def _write(
    name: str,
    functions: Mapping[str, tf.types.experimental.ConcreteFunction],
    path: Path,
    metadata: Mapping[str, Any] | None = None,
) -> Path:
    content = convert(functions, name, allow_flex=False)
    found = description(content)
    check_operators(found, name)
    check_tensors(content, name)
    path.write_bytes(finished(content, metadata))
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
