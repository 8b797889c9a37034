"""What a configuration says, and what it leaves out, checked as far as that needs no data.

A run keeps the answer, so that a default that changes later changes no run that is under way.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal

from pydantic import Field

from kzoo import config, losses, models
from kzoo.config import ConfigError
from kzoo.models.base.sizes import Signal
from kzoo.training import adversary, kept_sizes, pretraining
from kzoo.training.corpora import Data
from kzoo.training.optimizers import optimizer

AtLeastOne = Annotated[int, Field(ge=1)]


@dataclass
class Fit:
    """The `fit` section of a configuration: how long a training lasts, and how it is done.

    An epoch is `steps_per_epoch` batches; after each one the run can be killed and resumed.
    early_stopping: epochs without a better loss after which the run ends; plateau: those after
    which the learning rate is multiplied by plateau_factor.
    deterministic: the same bits on every run of one machine; some GPU kernels are slower then.
    inference_mode: batch norms keep the statistics that they have and dropout is off, while all
        weights learn, the norms' scales and offsets too. For going on from weights that were
        trained so, as Spleeter's were: with the statistics of its batches the network is another,
        and what it has learned is lost in the first steps.
    carried_state: what a recurrent generator knows of the past goes on from one batch to the next:
        each of batch_size lanes goes through the recordings, segment_seconds a step, and gradients
        end where an example begins. For one device.
    synchronized_batch_norm: statistics over the batches of all devices, where there are several.
    tensorboard: epochs between sound and spectrogram examples; 0 writes no logs.
    score_every: epochs between scores of validation tracks, which are separated as kzoo separate
        does it; SDR and SI-SDR go to the history and its picture. 0 scores none.
    score_tracks: so many of them, at equal distances in the corpus.
    score_seconds: of each of them, from its middle.
    segment_seconds: of an example; by default one block of the model, as it is used later.
    strategy: mirrored, for the devices of one machine; multi_worker, for as many processes, here or
        on other machines, as TF_CONFIG, SLURM or Kubernetes say; tpu, which nobody has tried. A
        batch is shared among all devices, and its size stays what batch_size says.
    meeting_seconds: for which multi_worker waits for its other workers.
    steps_per_execution: batches that TensorFlow takes without a return to Python, which small
        networks on fast devices are slowed down by. It changes no weight.
    """

    batch_size: AtLeastOne = 4
    epochs: AtLeastOne = 100
    steps_per_epoch: AtLeastOne = 500
    early_stopping: int | None = None
    plateau: int | None = None
    plateau_factor: float = 0.5
    min_delta: float = 0.0
    precision: Literal["float32", "mixed_float16", "mixed_bfloat16"] = "float32"
    deterministic: bool = True
    inference_mode: bool = False
    carried_state: bool = False
    synchronized_batch_norm: bool = True
    tensorboard: int = 0
    score_every: Annotated[int, Field(ge=0)] = 0
    score_tracks: AtLeastOne = 5
    score_seconds: Annotated[float, Field(gt=0)] = 30.0
    segment_seconds: Annotated[float, Field(gt=0)] | None = None
    strategy: Literal["mirrored", "multi_worker", "tpu"] = "mirrored"
    meeting_seconds: Annotated[float, Field(gt=0)] = 300.0
    steps_per_execution: AtLeastOne = 1


@dataclass
class Quick:
    """The part `quick` of a configuration's section `expected`: a training of seconds.

    settings: what replaces parts of the configuration, as on the command line; the data are made.
    loss: that of its last epoch. tolerance: of the loss, relative: other processors and numbers of
    threads round otherwise. data_sha256: of what it learns from. commit: of kzoo where it was
    recorded.
    """

    settings: list[str]
    loss: float
    tolerance: Annotated[float, Field(gt=0)]
    data_sha256: str
    commit: str


def resolved(values: Mapping[str, Any]) -> dict[str, Any]:
    """Fill `values` up: every section, and the defaults of fit, optimizer, loss and variant.

    A section without a line is one that says nothing; `expected` is no part of a run and left out.
    Of what was resolved before, nothing changes.
    Raises ConfigError and ValueError for whatever is wrong without a look at the data.
    """

    def sections(
        *,
        name: str,
        model: dict,
        data: dict,
        summary: str | None = None,
        task: str | None = None,
        seed: int = 0,
        loss: dict | None = None,
        optimizer: dict | None = None,
        fit: dict | None = None,
        start: dict | None = None,
        licences: dict | None = None,
        adversary: dict | None = None,
        pretraining: dict | None = None,
        expected: dict | None = None,
    ):
        """Never called; `config.check` reads the allowed sections from this signature."""

    config.check(sections, values, where="the configuration")
    found = {**values, "seed": values.get("seed", 0)}
    found.pop("expected", None)
    for section in ("loss", "optimizer", "fit", "start", "licences"):
        found[section] = values.get(section) or {}
    found["model"] = _model(values["model"])
    workers = config.call(Data, values["data"], where="data").workers
    found["data"] = {**values["data"], "workers": workers}
    found["fit"] = dataclasses.asdict(config.call(Fit, found["fit"], where="fit"))
    loss = config.call(losses.get, {"name": "l1", **found["loss"]}, where="loss")
    found["loss"] = loss.resolved()
    config.call(optimizer, found["optimizer"], where="optimizer")
    found["optimizer"] = {**config.defaults(optimizer), **found["optimizer"]}
    if found.get("adversary"):
        found["adversary"] = adversary.resolved(found["adversary"], found["model"])
    if found.get("pretraining") is not None:
        found["pretraining"] = pretraining.resolved(found["pretraining"], sizes(found)[0])
        if found["start"].get("preset") is not None:
            raise ConfigError(
                "pretraining is of fresh weights, and start.preset has others; got "
                f"{found['start']['preset']}: leave one out"
            )
    _check_steps(Fit(**found["fit"]))
    if found["fit"]["plateau"] is not None and found["optimizer"]["decay_steps"] is not None:
        raise ConfigError(
            "fit.plateau and optimizer.decay_steps both lower the learning rate; got "
            f"{found['fit']['plateau']} and {found['optimizer']['decay_steps']}: leave one out"
        )
    return found


def _check_steps(fit: Fit) -> None:
    if fit.strategy == "multi_worker" and fit.steps_per_execution > 1:
        raise ConfigError(
            "fit.steps_per_execution must be 1 with fit.strategy=multi_worker, whose collective "
            f"operations do not run in TensorFlow's loop over steps; got {fit.steps_per_execution}"
        )
    if fit.steps_per_epoch % fit.steps_per_execution:  # Keras would take more steps
        raise ConfigError(
            "fit.steps_per_epoch must be a multiple of fit.steps_per_execution; got "
            f"{fit.steps_per_epoch} and {fit.steps_per_execution}"
        )


def sizes(values: Mapping[str, Any]) -> tuple[Signal, dict[str, Any]]:
    """Return (sizes, other arguments of `build`) of the model of a resolved configuration."""
    section = {k: v for k, v in values["model"].items() if k not in ("name", "variant", "sizes")}
    kept = kept_sizes.kept(values["model"], values["model"]["variant"])
    return models.split(values["model"]["name"], {**kept, **section})


def _model(section: Mapping[str, Any]) -> dict[str, Any]:
    """The section with its variant and, under `sizes`, what a run keeps of it."""

    def model(
        *,
        name: str,
        sources: Sequence[str] | None = None,
        variant: str | None = None,
        sizes: dict | None = None,
        **options,
    ):
        """Never called; `config.check` reads from this signature what every model has."""

    if "name" not in section:
        raise ConfigError("the section model needs a name: see kzoo models")
    config.check(model, section, where="model")
    name, module = section["name"], models.architecture(section["name"])
    separates = "sources" in inspect.signature(module.build).parameters
    if separates and section.get("sources") is None:
        raise ConfigError("the section model needs its sources, such as [vocals, accompaniment]")
    variant = section.get("variant") or next(iter(module.VARIANTS))
    options = {k: v for k, v in section.items() if k not in ("name", "variant", "sizes")}
    kept = section.get("sizes") or {}
    if kept and "variant" not in kept:
        raise ConfigError(
            f"model.sizes is what a run keeps of itself; got {', '.join(kept)}: say "
            f"model.{next(iter(kept))}=..."
        )
    base = kept_sizes.kept(section, variant) or {"variant": variant}
    size, arguments = models.split(name, {**base, **options})
    config.check(module.build, arguments, where=f"model {name}", given=["size"])
    sources = {"sources": list(section["sources"])} if separates else {}
    return {
        **section,
        **sources,
        "variant": variant,
        "sizes": kept_sizes.keep(variant, size),
    }
