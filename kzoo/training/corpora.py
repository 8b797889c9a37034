"""The `data` section of a configuration: a corpus to learn from, and one to be judged by."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from pydantic import Field

from kzoo import config, data
from kzoo.tasks import Task


@dataclass
class Data:
    """The fields of the section: corpora, steps that vary the examples, and who reads them.

    conditions: options of `data.Conditioned`, for models that are told what to extract.
    tests: for kzoo data mix; training takes no notice.
    workers: threads that make batches ahead of the training; their number changes no batch.
    """

    train: dict
    validation: dict | None = None
    steps: list[dict] = ()
    conditions: dict | None = None
    tests: dict | None = None
    workers: Annotated[int, Field(ge=1)] = 2

    def __post_init__(self):
        self.varied = [
            config.call(data.step, options, where="data.steps") for options in self.steps
        ]


class Described:
    """Examples with a line in the card about where they come from."""

    def __init__(self, examples, description: dict[str, Any]):
        self._examples, self.description = examples, description

    def example(self, index: int):
        """Return the example of that number, unchanged."""
        return self._examples.example(index)


def open_corpus(what: str, options: Mapping[str, Any], *, task: Task, sample_rate: int):
    """The corpus of one part of the section, such as "train", for a model's task.

    Raises ConfigError and ValueError for what is not there, or at another rate or width; they name
    the part of the section.
    """
    if "kind" not in options:
        raise config.ConfigError(f"data.{what} needs a kind: {', '.join(data.KINDS)}")
    given = {"sample_rate": sample_rate, "channels": task.channels, **task.corpus()}
    options = {**given, **options}
    config.check(data.open_corpus, options, where=f"data.{what}")
    try:
        found = data.open_corpus(**options)
    except config.ConfigError as error:
        raise config.ConfigError(f"data.{what}: {error}") from None
    except ValueError as error:
        # A file's anchors fill several sections alike; an override reaches one of them.
        raise ValueError(f"data.{what}: {error}") from None
    if (found.sample_rate, found.channels) != (sample_rate, task.channels):
        raise ValueError(
            f"data.{what}: has {found.channels} channels at {found.sample_rate} Hz, the model "
            f"{task.channels} at {sample_rate} Hz: prepare it so (kzoo data prepare)"
        )
    task.check(found, f"data.{what}", options["kind"])
    return found


def open_data(
    section: Mapping[str, Any],
    *,
    task: Task,
    sample_rate: int,
    seed: int,
    say: Callable[[str], None] | None = None,
) -> tuple[Described, Any]:
    """(training examples, validation windows or None) for a model's task.

    say: called with a line where reading the corpus takes over a second. Raises as `open_corpus`.
    """
    wanted = config.call(Data, section, where="data")
    learned = open_corpus("train", wanted.train, task=task, sample_rate=sample_rate)
    examples = task.examples(learned, seed=seed, steps=wanted.varied, conditions=wanted.conditions)
    description = {
        "tracks": len(learned.tracks),
        "minutes": round(learned.seconds / 60, 1),
        "sha256": _sha256(learned, say),
        **getattr(learned, "description", {}),
        "steps": list(wanted.steps),
        **(
            {"conditions": wanted.conditions or {}}
            if isinstance(examples, data.Conditioned)
            else {}
        ),
    }
    windows = None
    if wanted.validation is not None:
        held_out = open_corpus("validation", wanted.validation, task=task, sample_rate=sample_rate)
        windows = task.windows(held_out)
        description["validation"] = [name for name, _ in held_out.tracks]
        description["validation_sha256"] = _sha256(held_out, say)
    return Described(examples, description), windows


def _sha256(corpus: data.Corpus, say: Callable[[str], None] | None) -> str:
    line = f"reading {len(corpus.tracks)} tracks once, for the sha256 of what is learned from"
    told = threading.Timer(1.0, say or (lambda line: None), (line,))
    told.daemon = True
    told.start()
    try:
        identities = "".join(corpus.identity(track) for track in range(len(corpus.tracks)))
    finally:
        told.cancel()
    return hashlib.sha256(identities.encode()).hexdigest()
