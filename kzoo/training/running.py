"""From a configuration to a run folder: build, compile, fit, and leave a preset behind.

The run folder holds config.yaml (resolved), checkpoint.npz (everything, for going on), history.csv,
and card.yaml with weights.npz, the best weights so far: a preset.
"""

from __future__ import annotations

import contextlib
import datetime
import inspect
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import kzoo
from kzoo import config, data, losses, presets
from kzoo.config import ConfigError
from kzoo.models import architecture
from kzoo.training import corpora
from kzoo.training.callbacks import AveragedValidation, Checkpoints, Meter, TensorBoardExamples
from kzoo.training.graph import DomainLoss, training_graph
from kzoo.training.optimizers import optimizer
from kzoo.training.start import start

CONFIG = "config.yaml"
PRECISIONS = ("float32", "mixed_float16", "mixed_bfloat16")


@dataclass
class Fit:
    """How long and how: the `fit` section of a configuration.

    An epoch is `steps_per_epoch` batches; after each one the run can be killed and resumed.
    early_stopping: epochs without a better loss after which the run ends; plateau: those after
    which the learning rate is multiplied by plateau_factor.
    precision: "float32", "mixed_float16" or "mixed_bfloat16".
    deterministic: the same bits on every run of one machine; some GPU kernels are slower then.
    synchronized_batch_norm: statistics over the batches of all devices, where there are several.
    tensorboard: epochs between sound and spectrogram examples; 0 writes no logs.
    segment_seconds: of an example; by default one block of the model, as it is used later.
    """

    batch_size: int = 4
    epochs: int = 100
    steps_per_epoch: int = 500
    early_stopping: int | None = None
    plateau: int | None = None
    plateau_factor: float = 0.5
    min_delta: float = 0.0
    precision: str = "float32"
    deterministic: bool = True
    inference_mode: bool = False
    synchronized_batch_norm: bool = True
    tensorboard: int = 0
    segment_seconds: float | None = None

    def __post_init__(self):
        for name in ("batch_size", "epochs", "steps_per_epoch"):
            if getattr(self, name) < 1:
                raise ValueError(f"fit.{name} must be at least 1; got {getattr(self, name)}")
        if self.segment_seconds is not None and not self.segment_seconds > 0:
            raise ValueError(f"fit.segment_seconds must be above 0; got {self.segment_seconds}")
        if self.precision not in PRECISIONS:
            raise ValueError(
                f"fit.precision must be one of {', '.join(PRECISIONS)}; got {self.precision!r}"
            )


def train(
    values: Mapping[str, Any],
    folder: str | Path,
    *,
    devices: Sequence[str] | None = None,
    say: Callable[[str], None] = print,
    verbose: int = 0,
    command: str | None = None,
) -> Path:
    """Train what the configuration `values` says into `folder`, or go on where it stopped.

    devices: TensorFlow's names; by default every GPU, or the CPU. Several are a MirroredStrategy.
    say: takes a line for each epoch. command: how the run was started, for the card.
    Raises ConfigError and ValueError for what cannot be trained, before the first step.
    """
    folder = Path(folder)
    _check_sections(values)
    settings = config.call(Fit, values.get("fit", {}), where="fit")
    check_folder(values, folder)
    keras.utils.set_random_seed(values.get("seed", 0))
    if settings.deterministic:
        tf.config.experimental.enable_op_determinism()
    strategy, meter = _strategy(devices), Meter()
    replicas = strategy.num_replicas_in_sync
    if settings.batch_size % replicas:
        raise ValueError(
            f"fit.batch_size must be a multiple of the {replicas} devices; got "
            f"{settings.batch_size}"
        )

    with strategy.scope(), _policy(settings.precision):
        system, module, options = _system(values["model"], settings.segment_seconds)
        sources = list(options["sources"])
        graph, domain = training_graph(system, inference_mode=settings.inference_mode)
        if replicas > 1 and settings.synchronized_batch_norm:
            for layer in graph._flatten_layers():
                if isinstance(layer, keras.layers.BatchNormalization):
                    layer.synchronized = True
        lines = config.call(start, values.get("start", {}), where="start", model=system)
        loss = losses.get(**{"name": "l1", **values.get("loss", {})})
        chosen = config.call(optimizer, values.get("optimizer", {}), where="optimizer")
        graph.compile(optimizer=chosen, loss=DomainLoss(loss, domain), jit_compile=False)
        graph.optimizer.build(graph.trainable_variables)

    training, validation = corpora.open_data(
        values["data"], sources=sources, samples=graph.inputs[0].shape[1],
        channels=system.input_shape[-1], sample_rate=_sample_rate(module, options),
        seed=values.get("seed", 0), conditioned=len(graph.inputs) > 1, say=say,
    )  # fmt: skip
    card = _card(values, options, system, module, training, command)
    if loss.permutation_invariant:
        card["interchangeable"] = True
    if not (folder / presets.CARD).is_file():
        presets.save_to_preset(system, folder, {**card, "trained": {"steps": 0}})
    config.dump_yaml(values, folder / CONFIG)

    def save_preset(state):
        trained = {**card["trained"], **{k: state[k] for k in ("steps", "best", "best_epoch")}}
        trained["epochs"], trained["seconds"] = state["epoch"], round(state["seconds"])
        presets.save_to_preset(system, folder, {**card, "trained": trained})

    others = _schedules(settings, validation is not None)
    checkpoints = Checkpoints(folder, others=others, save_preset=save_preset, meter=meter, say=say)
    checkpoints.resume(graph)
    state = checkpoints.state
    for line in lines:
        say(line)
    if state["finished"] and state["epoch"] >= settings.epochs:
        say(f"{folder}: finished already, after {state['epoch']} epochs; fit.epochs asks for more")
        return folder
    if state["epoch"]:
        say(f"{folder}: goes on after epoch {state['epoch']}")
    callbacks = [*others]
    if values.get("optimizer", {}).get("ema_momentum") is not None:
        callbacks.append(AveragedValidation())
    if settings.tensorboard:
        callbacks.append(_tensorboard(folder, settings, graph, system, training, sources, card))
    batches = _batches(
        training, settings.batch_size, start=state["steps"], inputs=graph.inputs, meter=meter,
        with_mixture=loss.takes_mixture,
    )  # fmt: skip
    held_out = None
    if validation is not None:
        whole, rest = divmod(len(validation), settings.batch_size)
        # A rest would leave some of several devices without an example, which TensorFlow refuses.
        count = whole + (1 if rest and replicas == 1 else 0)
        if not count:
            raise ValueError(f"the validation tracks make {len(validation)} windows, less than one "
                             f"batch of {settings.batch_size} for {replicas} devices")  # fmt: skip
        held_out = _batches(
            validation, settings.batch_size, batches=count, inputs=graph.inputs,
            with_mixture=loss.takes_mixture,
        )  # fmt: skip
    graph.fit(
        batches, epochs=settings.epochs, initial_epoch=state["epoch"],
        steps_per_epoch=settings.steps_per_epoch, validation_data=held_out,
        callbacks=[*callbacks, checkpoints], verbose=verbose, shuffle=False,
    )  # fmt: skip
    return folder


def check_folder(values: Mapping[str, Any], folder: Path) -> None:
    """ConfigError where `folder` holds something else than this run.

    Of its configuration only fit.epochs may change between the parts of a run.
    """
    if (folder / CONFIG).is_file():
        before = config.load_yaml(folder / CONFIG)
        for key in {**before, **values}:
            one, other = before.get(key), values.get(key)
            if key == "fit":
                one, other = ({**(section or {}), "epochs": 0} for section in (one, other))
            if one != other:
                raise ConfigError(
                    f"{folder}: holds a run with another section {key!r}; name a new folder"
                )
    elif folder.is_dir() and any(folder.iterdir()):
        raise ConfigError(f"{folder}: holds other files; name a new folder for the run")


def _check_sections(values: Mapping[str, Any]) -> None:
    def sections(
        *, name: str, model: dict, data: dict, summary: str = "", task: str = "", seed: int = 0,
        loss: dict | None = None, optimizer: dict | None = None, fit: dict | None = None,
        start: dict | None = None, licences: dict | None = None,
    ):  # fmt: skip
        """Nothing: its signature is the list of sections."""

    config.call(sections, values, where="the configuration")
    if "name" not in values["model"]:
        raise ConfigError("the section model needs a name: see kzoo models")


def _system(section: Mapping[str, Any], segment_seconds: float | None):
    options = {key: value for key, value in section.items() if key != "name"}
    module = architecture(section["name"])
    if "sources" not in options:
        raise ConfigError("the section model needs its sources, such as [vocals, accompaniment]")
    if segment_seconds is None:
        blocks = presets.known(module.block_options, options)
    else:
        blocks = {"samples": round(segment_seconds * _sample_rate(module, options))}
        # A segment has sound on both sides, not the silence around a whole recording.
        if "padding" in inspect.signature(module.build).parameters:
            blocks["padding"] = "valid"
    system = config.call(module.build, {**options, **blocks}, where=f"model {section['name']}")
    return system, module, options


def _sample_rate(module, options: Mapping[str, Any]) -> int:
    return int(module.VARIANTS[_variant(module, options)]["sample_rate"])


def _variant(module, options: Mapping[str, Any]) -> str:
    return options.get("variant") or inspect.signature(module.build).parameters["variant"].default


def _card(values, options, system, module, training, command) -> dict[str, Any]:
    rate = _sample_rate(module, options)
    licences = {"code": "Apache-2.0 (kzoo)", "weights": "as you choose", "data": "not stated"}
    return {
        "name": values["name"],
        "task": values.get("task") or "music separation",
        "summary": values.get("summary") or f"{values['model']['name']}, trained here",
        "model": {"name": values["model"]["name"], "options": dict(options)},
        "sources": list(options["sources"]),
        "sample_rate": rate,
        "channels": system.input_shape[-1],
        "bandwidth_hz": _bandwidth(system, rate),
        "licences": {**licences, **values.get("licences", {})},
        "trained": {
            "command": command or "kzoo.training.train",
            "seed": values.get("seed", 0),
            "data": training.description,
            "loss": values.get("loss", {}).get("name", "l1"),
            "start": values.get("start", {}).get("preset"),
            "date": datetime.date.today().isoformat(),
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "versions": {
                "kzoo": kzoo.__version__, "tensorflow": tf.__version__,
                "keras": keras.__version__, "numpy": np.__version__,
            },
        },
    }  # fmt: skip


def _bandwidth(system: keras.Model, sample_rate: int) -> int:
    core = next((layer for layer in system.layers if layer.name.endswith("_core")), None)
    if core is None or len(core.inputs[0].shape) == 3:
        return sample_rate // 2
    n_fft = system.get_layer("stft").n_fft
    return min(sample_rate // 2, core.inputs[0].shape[2] * sample_rate // n_fft)


def _schedules(settings: Fit, validated: bool) -> list[keras.callbacks.Callback]:
    monitor = "val_loss" if validated else "loss"
    found = []
    if settings.plateau is not None:
        found.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor, factor=settings.plateau_factor, patience=settings.plateau,
                min_delta=settings.min_delta,
            )
        )  # fmt: skip
    if settings.early_stopping is not None:
        found.append(
            keras.callbacks.EarlyStopping(
                monitor, patience=settings.early_stopping, min_delta=settings.min_delta
            )
        )
    return found


def _batches(
    examples, batch_size, *, inputs, start=0, batches=None, meter=None, with_mixture=False
):
    """(inputs, targets) of the graph, from batch `start` on; the mixture may be the last target."""
    # Positions count batches, so that a run that is resumed sees what it would have seen.
    source = data.dataset(examples, batch_size, start=start, batches=batches)
    names = [x.name for x in inputs]

    def pair(batch):
        targets = batch["target"] if "target" in batch else batch["sources"]
        if with_mixture:
            targets = tf.concat([targets, batch["mixture"][:, None]], axis=1)
        values = [batch["condition" if name == "condition" else "mixture"] for name in names]
        return (values[0] if len(values) == 1 else tuple(values)), targets

    source = source.map(pair)
    if meter is None:
        return source
    # The generator is asked for a batch when the training wants one, so its own wait is the run's.
    metered = tf.data.Dataset.from_generator(
        lambda: meter.through(source), output_signature=source.element_spec
    )
    # No prefetch behind it, or it would be the prefetch that waits.
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    return metered.with_options(options)


def _tensorboard(folder, settings, graph, system, training, sources, card):
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise ValueError(
            "fit.tensorboard needs a package: pip install 'kzoo[train]', or set it to 0"
        ) from None
    batch = next(iter(_batches(training, 1, inputs=graph.inputs, batches=1)))
    inputs, targets = tf.nest.map_structure(lambda tensor: tensor.numpy(), batch)
    return TensorBoardExamples(
        folder / "logs", graph=graph, system=system, batch=(inputs, targets), sources=sources,
        sample_rate=card["sample_rate"], every=settings.tensorboard,
    )  # fmt: skip


def _strategy(devices: Sequence[str] | None) -> tf.distribute.Strategy:
    if devices is None:
        devices = [device.name for device in tf.config.list_logical_devices("GPU")]
    if len(devices) > 1:
        return tf.distribute.MirroredStrategy(list(devices))
    return tf.distribute.OneDeviceStrategy(devices[0]) if devices else tf.distribute.get_strategy()


@contextlib.contextmanager
def _policy(precision: str):
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(precision)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
