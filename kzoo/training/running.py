"""From a configuration to a run folder: build, compile, fit, and leave a preset behind.

The run folder holds config.yaml (resolved), checkpoint.npz (everything, for going on), history.csv
and its picture history.png, and card.yaml with weights.npz, the best weights so far: a preset.
"""

from __future__ import annotations

import datetime
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

import kzoo
from kzoo import config, data, presets
from kzoo.config import ConfigError
from kzoo.pictures.training import card_curves
from kzoo.training import adversary
from kzoo.training.adversarial import AdversaryWatch
from kzoo.training.allocation import keep_freed_memory
from kzoo.training.callbacks import AveragedValidation, Checkpoints, Meter, TensorBoardExamples
from kzoo.training.compiling import Compiled, compiled
from kzoo.training.folder import CHECKPOINT, CONFIG, check_folder, locked
from kzoo.training.pretraining import Pretraining, pretrain
from kzoo.training.scores import TrackScores
from kzoo.training.settings import Fit, resolved
from kzoo.training.start import take_over
from kzoo.training.strategies import Team, team


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
    With fit.strategy=multi_worker this is one of several processes, and the folder the chief's.
    say: takes a line for each epoch. command: how the run was started, for the card.
    Raises ConfigError and ValueError for what cannot be trained, before the first step, and
    ValueError for a run whose loss is no number any more.
    """
    sizes_given = "sizes" in (values.get("model") or {})
    folder, settings = Path(folder), config.call(Fit, values.get("fit") or {}, where="fit")
    keep_freed_memory()
    # Before all else, as a strategy for several workers comes before any other use of TensorFlow.
    with team(settings, devices, say=say) as ours:
        values = resolved(values)
        ours.agree({"configuration": {**values, "data": None}, "version of kzoo": kzoo.__version__})
        if not ours.chief:
            say, verbose = _silent, 0
        with ours.place(folder) as place, locked(place):
            if ours.chief:
                values = check_folder(values, place, sizes_given=sizes_given)
            ours.share(place, (presets.CARD, CONFIG, CHECKPOINT))
            if not ours.chief:
                values = check_folder(values, place, sizes_given=sizes_given)
            keras.utils.set_random_seed(values["seed"])
            if settings.deterministic:
                tf.config.experimental.enable_op_determinism()
            replicas = ours.strategy.num_replicas_in_sync
            check_devices(settings, replicas)
            with ours.strategy.scope():
                made = compiled(values, synchronized=replicas > 1)
            _fit(made, values, place, ours, say=say, verbose=verbose, command=command)
            ours.wait()
    return folder


def check_devices(settings: Fit, replicas: int) -> None:
    """Raise ValueError for what so many devices cannot share."""
    if settings.batch_size % replicas:
        raise ValueError(
            f"fit.batch_size must be a multiple of the {replicas} devices; got "
            f"{settings.batch_size}"
        )
    if settings.carried_state and replicas > 1:
        raise ConfigError(
            f"fit.carried_state is for one device, and there are {replicas}: name one by --devices"
        )


def _fit(made: Compiled, values, folder: Path, ours: Team, *, say, verbose, command) -> None:
    """Everything that can be refused comes before the first file."""
    settings, meter, errors = Fit(**values["fit"]), Meter(), data.ReadErrors()
    training, validation = made.open_data(values, say=say)
    replicas = ours.strategy.num_replicas_in_sync
    card = _card(made, values, training, command)
    ours.agree({"data": training.description})

    def save_preset(state):
        trained = {**card["trained"], **{k: state[k] for k in ("steps", "best", "best_epoch")}}
        trained["epochs"], trained["seconds"] = state["epoch"], round(state["seconds"])
        trained["curves"] = card_curves(state["history"], state["best_epoch"])
        presets.save_to_preset(made.system, folder, {**card, "trained": trained})

    others = _schedules(settings, validation is not None)
    checkpoints = Checkpoints(
        folder,
        others=others,
        save_preset=save_preset,
        meter=meter,
        say=say,
        latest=adversary.active(values) and values["adversary"]["choose"] == "latest",
        data={
            "train": training.description["sha256"],
            "validation": training.description.get("validation_sha256"),
        },
    )
    checkpoints.resume(made.trainer, settings.epochs)
    state = checkpoints.state
    callbacks = [*others]
    if values["optimizer"]["ema_momentum"] is not None:
        callbacks.append(AveragedValidation())
    if adversary.active(values):
        callbacks.append(AdversaryWatch(say))
    if settings.score_every:
        callbacks.append(_scores(settings, made, validation, card, say))
    if settings.tensorboard:
        callbacks.append(_tensorboard(folder, settings.tensorboard, made, training))
    workers = values["data"]["workers"]
    batches = _batches(
        made,
        training,
        settings.batch_size,
        start=state["steps"],
        workers=workers,
        meter=meter,
        errors=errors,
        ours=ours,
    )
    held_out = None
    if validation is not None:
        whole, rest = divmod(len(validation), settings.batch_size)
        # A rest would leave some of several devices without an example, which TensorFlow refuses.
        count = whole + (1 if rest and replicas == 1 else 0)
        if not count:
            raise ValueError(
                f"the validation tracks make {len(validation)} windows, less than one "
                f"batch of {settings.batch_size} for {replicas} devices"
            )
        held_out = _batches(
            made,
            validation,
            settings.batch_size,
            batches=count,
            workers=workers,
            errors=errors,
            ours=ours,
        )
    for line in made.started:
        say(line)
    if state["finished"]:
        say(f"{folder}: finished already, after {state['epoch']} epochs; fit.epochs asks for more")
        return
    if state["epoch"]:
        say(f"{folder}: goes on after epoch {state['epoch']}")
    else:
        before = values["start"].get("run")
        if before is not None:
            say(take_over(before, made.trainer))
        presets.save_to_preset(made.system, folder, {**card, "trained": {"steps": 0}})
        made.begin(training, fresh=not (before or values["start"].get("preset")))
        if values.get("pretraining"):
            pretrain(
                made.size.stages(made.system),
                made.system,
                training,
                Pretraining(**values["pretraining"]),
                batch_size=settings.batch_size,
                seed=values["seed"],
                say=say,
            )
    config.dump_yaml(values, folder / CONFIG)
    with errors.told():
        made.trainer.fit(
            batches,
            epochs=settings.epochs,
            initial_epoch=state["epoch"],
            steps_per_epoch=settings.steps_per_epoch,
            validation_data=held_out,
            callbacks=[*callbacks, checkpoints],
            verbose=verbose,
            shuffle=False,
        )
    if checkpoints.diverged:
        raise ValueError(f"{folder}: {checkpoints.diverged}")
    _complete_curves(folder, checkpoints.state)


def _complete_curves(folder: Path, state: Mapping[str, Any]) -> None:
    """Give the card the curves of all epochs: those after the best one did not write it."""
    card = config.load_yaml(folder / presets.CARD)
    card["trained"]["curves"] = card_curves(state["history"], state["best_epoch"])
    config.dump_yaml(card, folder / presets.CARD)


def _card(made: Compiled, values, training, command) -> dict[str, Any]:
    model = {key: value for key, value in values["model"].items() if key != "sizes"}
    options = {**values["model"]["sizes"], **model}
    licences = {"code": "Apache-2.0 (kzoo)", "weights": "as you choose", "data": "not stated"}
    card = {
        "name": values["name"],
        **made.task.card(values.get("task")),
        "summary": values.get("summary") or f"{values['model']['name']}, trained here",
        "model": {
            "name": options.pop("name"),
            "variant": options.pop("variant"),
            "options": options,
        },
        "sample_rate": made.size.sample_rate,
        "channels": made.task.channels,
        "bandwidth_hz": made.size.bandwidth_hz(),
        "licences": {**licences, **values["licences"]},
        "trained": {
            "command": command or "kzoo.training.train",
            "seed": values["seed"],
            "data": training.description,
            "loss": values["loss"]["name"],
            **({"adversary": values["adversary"]} if adversary.active(values) else {}),
            **({"pretraining": values["pretraining"]} if values.get("pretraining") else {}),
            "start": values["start"].get("preset") or values["start"].get("run"),
            "date": datetime.date.today().isoformat(),
            "machine": f"{platform.machine()}, Python {platform.python_version()}",
            "versions": {
                "kzoo": kzoo.__version__,
                "tensorflow": tf.__version__,
                "keras": keras.__version__,
                "numpy": np.__version__,
            },
        },
    }
    if made.loss.permutation_invariant:
        card["interchangeable"] = True
    if values["fit"]["inference_mode"]:
        card["fixed_norms"] = True
    return card


def _schedules(settings: Fit, validated: bool) -> list[keras.callbacks.Callback]:
    monitor = "val_loss" if validated else "loss"
    found = []
    if settings.plateau is not None:
        found.append(
            keras.callbacks.ReduceLROnPlateau(
                monitor,
                factor=settings.plateau_factor,
                patience=settings.plateau,
                min_delta=settings.min_delta,
            )
        )
    if settings.early_stopping is not None:
        found.append(
            keras.callbacks.EarlyStopping(
                monitor, patience=settings.early_stopping, min_delta=settings.min_delta
            )
        )
    return found


def _batches(
    made: Compiled, examples, batch_size, *, workers, errors, ours, start=0, batches=None,
    meter=None,
):  # fmt: skip
    """(inputs, targets) of the graph, from batch `start` on: this worker's part of each."""
    # Positions count batches, so that a run that is resumed sees what it would have seen.
    source = data.dataset(
        examples,
        batch_size // ours.workers,
        start=start * ours.workers + ours.index,
        every=ours.workers,
        batches=batches,
        workers=workers,
        ahead=max(4, 2 * workers),
        errors=errors,
    ).map(made.pair)
    if meter is None:
        return ours.distributed(source, batch_size)
    # The generator is asked for a batch when the training wants one, so its own wait is the run's.
    metered = tf.data.Dataset.from_generator(
        lambda: meter.through(source), output_signature=source.element_spec
    )
    # No prefetch behind it, or it would be the prefetch that waits.
    options = tf.data.Options()
    options.experimental_optimization.inject_prefetch = False
    return ours.distributed(metered.with_options(options), batch_size)


def _scores(settings: Fit, made: Compiled, validation, card, say) -> TrackScores:
    if validation is None:
        raise ConfigError(
            "fit.score_every scores validation tracks: name some by data.validation, or set it to 0"
        )
    if "sources" not in card:
        raise ConfigError(
            f"fit.score_every scores what is separated, and this model is for {card['task']}: "
            "leave it at 0"
        )
    _refuse_conditioned(made, "fit.score_every scores")
    return TrackScores(
        validation.corpus,
        card,
        system=made.system,
        every=settings.score_every,
        tracks=settings.score_tracks,
        seconds=settings.score_seconds,
        say=say,
    )


def _refuse_conditioned(made: Compiled, option: str) -> None:
    if len(made.system.inputs) > 1:
        raise ConfigError(
            f"{option} what is separated, and this system must be told what: leave it at 0, or say "
            "model.condition=fixed"
        )


def _tensorboard(folder: Path, every: int, made: Compiled, training) -> TensorBoardExamples:
    try:
        import tensorboard  # noqa: F401
    except ImportError:
        raise ValueError(
            "fit.tensorboard needs a package: pip install 'kzoo[train]', or set it to 0"
        ) from None
    _refuse_conditioned(made, "fit.tensorboard shows")
    example = training.example(0)
    batch = tuple(made.middle(sound)[None] for sound in made.task.sounds(example))
    return TensorBoardExamples(
        folder / "logs",
        system=made.system,
        batch=batch,
        sources=made.task.sources,
        sample_rate=made.size.sample_rate,
        every=every,
    )


def _silent(line: str) -> None:
    """Of what all workers would say, the chief's is enough."""
