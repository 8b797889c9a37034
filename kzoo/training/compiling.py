"""From a configuration to a compiled model, for `train` and whatever else takes its steps."""

from __future__ import annotations

import contextlib
import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np

from kzoo import config, data, losses, models, presets, tasks
from kzoo.models.base.memory import TRAINING_COPIES, refuse_too_large
from kzoo.models.base.sizes import Signal
from kzoo.tasks import Task
from kzoo.training import adversary, corpora
from kzoo.training.optimizers import optimizer
from kzoo.training.settings import Fit, sizes
from kzoo.training.start import start

LABELLED_EXAMPLES = 256  # that a listener may measure before its first step


class DomainLoss(keras.losses.Loss):
    """A loss of `kzoo.losses` on what `domain` makes of the sources' waveforms.

    For a loss that takes the mixture, it is the last of the sources: `[batch, sources + 1, ...]`.
    """

    def __init__(self, loss: Callable, domain: Callable):
        super().__init__(name=loss.name, dtype="float32")
        self.loss, self.domain = loss, domain

    def call(self, y_true, y_pred):
        """Return the loss of each example, `[batch]`."""
        targets = self.domain(y_true)
        if self.loss.takes_mixture:
            return self.loss(targets[:, :-1], y_pred, targets[:, -1])
        return self.loss(targets, y_pred)


@dataclass
class Compiled:
    """`graph` is what is trained, `system`, of the same weights, what ships.

    trainer: what `fit` is called of: the graph itself, or the graph and its adversary.
    task: what the model is for. size: of what ships.
    started: lines about the weights that it began with.
    """

    graph: keras.Model
    trainer: keras.Model
    system: keras.Model
    loss: losses.Loss
    task: Task
    size: Signal
    started: list[str]

    def open_data(self, values: Mapping[str, Any], *, say: Callable[[str], None] | None = None):
        """`corpora.open_data` for this model's task."""
        return corpora.open_data(
            values["data"],
            task=self.task,
            sample_rate=self.size.sample_rate,
            seed=values["seed"],
            say=say,
        )

    def begin(self, examples, *, fresh: bool = False) -> None:
        """Called once before training: gives virtual batch norms their reference examples.

        fresh: the weights are no preset's, and the model measures what they want to know.
        """
        if fresh:
            self.size.adapt(
                self.system, (examples.example(i)["mixture"] for i in itertools.count())
            )
            self.size.adapt_to_labels(
                self.system, (examples.example(i)["labels"] for i in range(LABELLED_EXAMPLES))
            )
        count = getattr(self.trainer, "reference_examples", 0)
        if count:
            found = data.batch(examples, 0, count)
            tensors = {key: keras.ops.convert_to_tensor(array) for key, array in found.items()}
            self.trainer.set_reference(*self.pair(tensors))

    def pair(self, batch: Mapping[str, Any]) -> tuple[Any, Any]:
        """(inputs, targets) of the graph; a loss that takes the mixture finds it behind them."""
        return self.task.pair(batch, takes_mixture=self.loss.takes_mixture)

    def middle(self, waveforms: np.ndarray) -> np.ndarray:
        """`[..., samples, channels]` as long as the graph takes, cut or padded for the system."""
        missing = self.system.input_shape[1] - waveforms.shape[-2]
        before, after = abs(missing) // 2, abs(missing) - abs(missing) // 2
        if missing < 0:
            return waveforms[..., before : waveforms.shape[-2] - after, :]
        widths = [(0, 0)] * (waveforms.ndim - 2) + [(before, after), (0, 0)]
        return np.pad(waveforms, widths)


@dataclass
class Drawn:
    """The networks of a configuration, before any data, optimizer or loss.

    graph, trainer, system: as of `Compiled`. domain: where the loss compares. options: the other
    arguments of the model's `build`. samples: of the segments that the system takes.
    """

    graph: keras.Model
    trainer: keras.Model
    system: keras.Model
    domain: Callable
    size: Signal
    options: dict[str, Any]
    samples: int

    def task(self) -> Task:
        """What the model is for."""
        return tasks.task(self.size.task)(self.graph, self.options, self.size)


def drawn(values: Mapping[str, Any]) -> Drawn:
    """Draw the networks of a resolved configuration.

    Raises ConfigError and ValueError for what cannot be built.
    """
    settings = Fit(**values["fit"])
    size, options = sizes(values)
    segment, arguments = size, size.block()
    if settings.segment_seconds is not None:
        segment, arguments = size.segment(round(settings.segment_seconds * size.sample_rate))
    with policy(settings.precision):
        system = models.build(values["model"]["name"], segment, **{**options, **arguments})
        graph, domain = size.training(system, inference_mode=settings.inference_mode)
        if settings.carried_state:
            graph = size.carrying(system, settings.batch_size)
        trainer, rival = graph, values.get("adversary")
        if adversary.active(values):
            trainer = adversary.adversarial_model(
                graph, domain, rival, len(options.get("sources", ()))
            )
    return Drawn(graph, trainer, system, domain, size, options, arguments["samples"])


def compiled(
    values: Mapping[str, Any], *, synchronized: bool = False, jit_compile: bool = False
) -> Compiled:
    """Build the model of a resolved configuration, with its weights, loss and optimizer.

    synchronized: batch norms over several devices, where fit.synchronized_batch_norm has it so.
    Raises ConfigError and ValueError for what cannot be built.
    """
    settings = Fit(**values["fit"])
    size, options = sizes(values)
    weights = size.count_weights(len(options.get("sources", ())))
    refuse_too_large(f"training of {values['model']['name']}", weights, copies=TRAINING_COPIES)
    found = drawn(values)
    with policy(settings.precision):
        if synchronized and settings.synchronized_batch_norm:
            for layer in found.trainer._flatten_layers():
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.synchronized = True
        lines = config.call(start, values["start"], where="start", model=found.system)
        preset = values["start"].get("preset")
        if preset and presets.load_card(preset).get("fixed_norms") and not settings.inference_mode:
            lines.append(
                f"{preset} was trained with fixed statistics in its batch norms, and here they "
                "follow the batches: fit.inference_mode=true keeps what it has learned"
            )
        loss = losses.get(**values["loss"])
        chosen = config.call(optimizer, values["optimizer"], where="optimizer")
        compiling = {
            "optimizer": chosen,
            "loss": DomainLoss(loss, found.domain),
            "jit_compile": jit_compile,
            "steps_per_execution": settings.steps_per_execution,
        }
        if found.trainer is found.graph:
            found.graph.compile(**compiling)
            found.graph.optimizer.build(found.graph.trainable_variables)
        else:
            adversary.compile_adversarial(found.trainer, values["adversary"], **compiling)
    if line := _snapped(settings, found.size, found.samples):
        lines.append(line)
    return Compiled(found.graph, found.trainer, found.system, loss, found.task(), found.size, lines)


def _snapped(settings: Fit, size: Signal, samples: int) -> str | None:
    """A line where the segment is not as long as the configuration has it."""
    wanted = settings.segment_seconds
    if wanted is None or round(wanted * size.sample_rate) == samples:
        return None
    return (
        f"segments last {samples / size.sample_rate:.3f} s, the network's next length after the "
        f"{wanted:g} s of fit.segment_seconds"
    )


@contextlib.contextmanager
def policy(precision: str) -> Iterator[None]:
    """Within, layers are made with this policy of Keras, such as mixed_bfloat16."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
