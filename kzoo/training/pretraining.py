"""Layers that learn without labels first, one after another, each as a Boltzmann machine.

Hinton, Osindero and Teh, 2006, https://doi.org/10.1162/neco.2006.18.7.1527: a layer's machine
learns to show what the layer below it shows, and its weights are what the layer begins with.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import keras
import numpy as np
from pydantic import Field

from kzoo import config, data
from kzoo.layers.boltzmann import BoltzmannMachine, Stage
from kzoo.models.base.sizes import Signal

AtLeastOne = Annotated[int, Field(ge=1)]
Positive = Annotated[float, Field(gt=0)]


@dataclass
class Pretraining:
    """The `pretraining` section of a configuration, of models that have such layers.

    steps: of each layer. cases: of a step, at most, drawn of as many examples as fit.batch_size
        says: frames with what the layer sees around them, or whole examples of convolutional
        machines.
    learning_rate: where a layer sees binary units. gaussian_learning_rate: where it sees what is
        measured. momentum: of the steps. weight_decay: half the penalty on a squared weight.
    sparsity: share of the time that units should be on. sparsity_cost: how strongly they are drawn
        towards it.
    """

    steps: AtLeastOne = 1000
    cases: AtLeastOne = 128
    learning_rate: Positive = 0.02
    gaussian_learning_rate: Positive = 0.002
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    weight_decay: Annotated[float, Field(ge=0)] = 2e-4
    sparsity: Annotated[float, Field(gt=0, lt=1)] | None = None
    sparsity_cost: Positive = 1.0


def resolved(section: Mapping[str, Any], size: Signal) -> dict[str, Any]:
    """The section with its defaults; ConfigError for a model that has no such layers."""
    if type(size).stages is Signal.stages:
        raise config.ConfigError(
            f"pretraining is for models of which layers learn without labels first, and "
            f"{type(size).__name__} has none: leave it out"
        )
    return asdict(config.call(Pretraining, section, where="pretraining"))


def pretrain(
    stages: Sequence[Stage],
    system: keras.Model,
    examples: Any,
    settings: Pretraining,
    *,
    batch_size: int,
    seed: int,
    say: Callable[[str], None],
) -> None:
    """Give the layers of `stages` what their machines learn of `examples`, in their order.

    say: takes a line for each layer. Raises ValueError where a machine's error is no number.
    """
    for level, stage in enumerate(stages):
        below = keras.Model(system.input, stage.layer.input)
        machine = BoltzmannMachine(
            stage.layer.filters, stage.layer.kernel_size[0], kind=stage.kind, pool=stage.pool,
            sparsity=settings.sparsity, sparsity_cost=settings.sparsity_cost,
            weight_decay=settings.weight_decay, seed=seed + level,
        )  # fmt: skip
        gaussian = stage.kind == "gaussian"
        rate = settings.gaussian_learning_rate if gaussian else settings.learning_rate
        machine.compile(optimizer=keras.optimizers.SGD(rate, momentum=settings.momentum))
        rng = np.random.default_rng((seed, level))
        cases = _cases(stage, below, examples, settings.cases, batch_size, rng)
        first = max(1, settings.steps // 10)  # whose error tells from where it fell
        errors = [
            machine.fit(cases, steps_per_epoch=steps, shuffle=False, verbose=0).history["error"][0]
            for steps in (first, settings.steps - first)
            if steps
        ]
        if not np.all(np.isfinite(errors)):
            raise ValueError(
                f"{stage.layer.name} has learned nothing before the training: its error is "
                f"{errors[-1]}: lower pretraining.learning_rate, or gaussian_learning_rate"
            )
        stage.layer.set_weights([np.asarray(machine.kernel), np.asarray(machine.hidden_bias)])
        fell = " and then ".join(f"{error:.4g}" for error in errors)
        say(f"{stage.layer.name}: pretrained in {settings.steps} steps, with an error of {fell}")


def _cases(
    stage: Stage, below: keras.Model, examples, cases: int, batch_size: int, rng
) -> Iterator[tuple[np.ndarray]]:
    """Batches `[cases, frames, channels]` of what the layer sees, without end."""
    taps = stage.layer.kernel_size[0]
    for number in itertools.count():
        batch = data.batch(examples, number, batch_size)
        seen = np.asarray(below(batch["mixture"]))  # [batch, frames, channels]
        moments = seen.shape[1] - taps + 1
        if stage.dense:
            windows = np.lib.stride_tricks.sliding_window_view(seen, taps, axis=1)
            windows = windows.swapaxes(2, 3).reshape(-1, taps, seen.shape[2])
            yield (windows[rng.choice(len(windows), min(cases, len(windows)), replace=False)],)
        else:
            frames = moments // stage.pool * stage.pool + taps - 1
            yield (seen[:cases, :frames],)
