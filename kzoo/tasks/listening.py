"""Listening: a waveform in, a probability of each name out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo import data
from kzoo.config import ConfigError
from kzoo.tasks.base import Task, sound_of

if TYPE_CHECKING:
    import keras

    from kzoo.deploy.proof import Proof


class Listening(Task):
    """`[batch, samples, 1]` to `[batch, names]`, whose last layer is `layers.labels.Labels`."""

    exported = True

    @property
    def waveform(self):
        return self.graph.inputs[0]

    @property
    def names(self) -> list[str]:
        """What is heard, in the order of the output."""
        return list(self.graph.layers[-1].names)

    def card(self, said: str | None) -> dict[str, Any]:
        return {"task": "listening"}

    def corpus(self) -> dict[str, Any]:
        return {"names": self.names}

    def check(self, corpus: data.Corpus, where: str, kind: str) -> None:
        if list(corpus.labels) != self.names:
            raise ValueError(
                f"{where}: is of the kind {kind} and has the labels "
                f"{', '.join(corpus.labels) or 'of nothing'}, the model {', '.join(self.names)}"
            )

    def examples(
        self, corpus: data.Corpus, *, seed: int, steps: Sequence, conditions: Mapping | None
    ) -> Any:
        if steps:
            raise ConfigError("data.steps vary sources; a listener's examples have none")
        if conditions is not None:
            raise ConfigError("data.conditions is for models that take a condition")
        return data.Examples(corpus, samples=self.samples, seed=seed)

    def windows(self, corpus: data.Corpus) -> Any:
        return data.Windows(corpus, samples=self.samples)

    def pair(self, batch: Mapping[str, Any], *, takes_mixture: bool) -> tuple[Any, Any]:
        return batch["mixture"], batch["labels"]

    @staticmethod
    def prove(
        preset: Any, size: Any, *, sound: str | Path | None, stream: bool
    ) -> Callable[[keras.Model], Proof]:
        """A sound, and the probabilities that the model gives its names."""
        from kzoo.deploy.examples import names_proof

        waveform, description = sound_of(sound, size)
        return functools.partial(
            names_proof, names=size.names, sample_rate=size.sample_rate, sound=waveform,
            description=description,
        )  # fmt: skip
