"""What a training will take, before it is begun: its networks, data, memory and time.

Memory and time are estimates. A step computes its examples forwards and twice as much backwards;
of what a machine could multiply, or read and write, it uses SHARE, whichever of the two takes
longer. Of the waiting of recurrent steps for each other, and of the starting of operators, nothing
is known here. On an H200 the steps of gtcrn_speech, segan_speech and conv_tasnet_2speakers_large
took 0.65, 1.6 and 0.31 times the estimate, by JAX, which joins operators.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from kzoo import config
from kzoo.training import checkpoint, corpora
from kzoo.training.compiling import Drawn, drawn
from kzoo.training.folder import CHECKPOINT, check_folder
from kzoo.training.graph_costs import Costs, costs
from kzoo.training.optimizers import optimizer
from kzoo.training.settings import Fit, resolved

SHARE = 0.3
_WAYS = 3  # the work of a step in units of its way forwards: that, and both gradients


@dataclass(frozen=True)
class Machine:
    """multiply_adds, bytes: a second, at the most. link_bytes: a second, from device to device."""

    name: str
    multiply_adds: float
    bytes: float
    link_bytes: float = math.inf


# NVIDIA's data sheet of the H100 SXM, without sparsity: TF32, its twice as fast half precision,
# HBM3 and NVLink.
H100 = Machine("H100", 494.7e12 / 2, 3.35e12, 450e9)
_HALF_PRECISION = 2


@dataclass(frozen=True)
class Forecast:
    """Of one training; memory in bytes.

    weights: of all networks. trained: those that learn. samples: of one example. forwards: the
    costs of an example. state_bytes: weights, their gradients, and what the optimizers keep.
    example_bytes: what an example's way forwards leaves behind for the way back, at most.
    """

    weights: int
    trained: int
    samples: int
    channels: int
    sample_rate: int
    batch_size: int
    steps_per_epoch: int
    epochs: int
    precision: str
    forwards: Costs
    state_bytes: int

    @property
    def memory_bytes(self) -> int:
        """Of one device with the whole batch."""
        return self.state_bytes + self.batch_size * self.forwards.tensor_bytes

    def step_seconds(self, machine: Machine, devices: int = 1) -> float:
        """Estimated for `devices` of a kind that share the batch evenly."""
        half = _HALF_PRECISION if self.precision != "float32" else 1
        examples = math.ceil(self.batch_size / devices)
        arithmetic = self.forwards.multiply_adds / (machine.multiply_adds * half)
        tensors = self.forwards.tensor_bytes / machine.bytes
        update = 2 * self.state_bytes / machine.bytes
        exchanged = 2 * 4 * self.trained * (devices - 1) / devices / machine.link_bytes
        return (_WAYS * examples * max(arithmetic, tensors) + update + exchanged) / SHARE


@dataclass(frozen=True)
class Part:
    """One part of the data section; `missing` says in a line why it cannot be read."""

    name: str
    tracks: int = 0
    hours: float = 0.0
    missing: str | None = None


def forecast(values: Mapping[str, Any]) -> tuple[Forecast, list[Part]]:
    """What the configuration `values` will take, and what there is of its data.

    No weight is allocated and nothing is written. Raises ConfigError and ValueError for what cannot
    be trained whatever the data.
    """
    values = resolved(values)
    settings = Fit(**values["fit"])
    with _without_weights():
        networks = drawn(values)
        trainer, task = networks.trainer, networks.task()
        learning = [(networks.graph, values["optimizer"])]
        forwards = costs(networks.graph)
        if trainer is not networks.graph:
            rival = values["adversary"]
            learning.append((trainer.discriminator, rival["optimizer"]))
            # Of the right and the wrong signal in each of its steps, and once for the generator's.
            forwards = _sum(forwards, costs(trainer.discriminator), 2 * rival["steps"] + 1)
    state = sum(
        _bytes(network.weights) + (1 + _averages(section)) * _bytes(network.trainable_variables)
        for network, section in learning
    )
    found = Forecast(
        weights=sum(network.count_params() for network, _ in learning),
        trained=sum(_bytes(network.trainable_variables) // 4 for network, _ in learning),
        samples=task.samples,
        channels=task.channels,
        sample_rate=networks.size.sample_rate,
        batch_size=settings.batch_size,
        steps_per_epoch=settings.steps_per_epoch,
        epochs=settings.epochs,
        precision=settings.precision,
        forwards=forwards,
        state_bytes=state,
    )
    return found, list(_parts(values, networks))


@contextlib.contextmanager
def _without_weights() -> Iterator[None]:
    """Within it, and afterwards, no variable that is drawn has a value.

    Keras keeps those of a StatelessScope in a list of its own, and the next such scope would
    allocate them.
    """
    from keras.src.backend.common import global_state

    waiting = global_state.get_global_attribute("uninitialized_variables", [])
    try:
        with keras.StatelessScope(initialize_variables=False):
            global_state.set_global_attribute("uninitialized_variables", [])
            yield
    finally:
        global_state.set_global_attribute("uninitialized_variables", waiting)


def begun(values: Mapping[str, Any], folder: Path) -> str:
    """What kzoo train would do with `folder`, in words; ConfigError where it would refuse it."""
    if not folder.exists():
        return "new"
    check_folder(resolved(values), folder, sizes_given="sizes" in values["model"])
    path = folder / CHECKPOINT
    if not path.is_file():
        return "begins in it"
    return f"goes on after epoch {checkpoint.read_state(path)['epoch']}"


def this_machine(device: str | None = None) -> Machine:
    """What TensorFlow reaches here, measured in half a second.

    device: TensorFlow's name; by default its first GPU, or the CPU.
    """
    import tensorflow as tf

    size, floats = 1024, 2**23
    with tf.device(device):
        square, line = tf.random.normal((size, size)), tf.random.normal((floats,))
        return Machine(
            "GPU" if "GPU" in square.device else "CPU",
            size**3 / _seconds(lambda: tf.reduce_sum(square @ square)),
            8 * floats / _seconds(lambda: (line + 1.0)[0]),
        )


def _seconds(compute) -> float:
    """The least of four times; the value, asked for, makes a GPU finish."""
    found = []
    for _ in range(4):
        began = time.perf_counter()
        float(compute())
        found.append(time.perf_counter() - began)
    return min(found)


def _parts(values: Mapping[str, Any], networks: Drawn) -> Iterator[Part]:
    task, rate = networks.task(), networks.size.sample_rate
    for name in ("train", "validation"):
        section = values["data"].get(name)
        if section is None:
            continue
        try:
            corpus = corpora.open_corpus(name, section, task=task, sample_rate=rate)
        except (ValueError, OSError) as error:
            yield Part(name, missing=str(error).removeprefix(f"data.{name}: "))
        else:
            yield Part(name, len(corpus.tracks), corpus.seconds / 3600)


def _averages(section: Mapping[str, Any]) -> int:
    """How many numbers an optimizer keeps for each weight, counted on one."""
    chosen = config.call(optimizer, {**section, "rates": None}, where="optimizer")
    chosen.build([keras.Variable([0.0])])
    return sum(variable.shape == (1,) for variable in chosen.variables)


def _bytes(variables: Iterable) -> int:
    return sum(4 * math.prod(variable.shape) for variable in variables)


def _sum(one: Costs, other: Costs, times: int) -> Costs:
    return Costs(
        one.multiply_adds + times * other.multiply_adds,
        one.tensor_bytes + times * other.tensor_bytes,
        one.recurrent_steps + times * other.recurrent_steps,
    )
