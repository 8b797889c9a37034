"""Synthesis: controls in, the waveform that they play out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from kzoo import data
from kzoo.config import ConfigError
from kzoo.tasks.base import Task


class Synthesis(Task):
    """{control: `[batch, frames, 1]`} to audio `[batch, samples, 1]`."""

    @property
    def waveform(self):
        return self.graph.outputs[0]

    @property
    def controls(self) -> list[str]:
        """The names of what is played."""
        return [x.name for x in self.graph.inputs]

    def card(self, said: str | None) -> dict[str, Any]:
        return {"task": "synthesis"}

    def corpus(self) -> dict[str, Any]:
        return {}

    def check(self, corpus: data.Corpus, where: str, kind: str) -> None:
        if missing := set(self.controls) - {*corpus.controls, "waveform"}:
            raise ValueError(
                f"{where}: is of the kind {kind} and has no {', '.join(sorted(missing))}, which "
                "the model plays: kind solo has"
            )

    def examples(
        self, corpus: data.Corpus, *, seed: int, steps: Sequence, conditions: Mapping | None
    ) -> Any:
        if steps:
            raise ConfigError("data.steps vary sources; a synthesiser's examples have none")
        if conditions is not None:
            raise ConfigError("data.conditions is for models that take a condition")
        examples = data.Examples(corpus, samples=self.samples, seed=seed)
        example = examples.example(0)
        for x in self.graph.inputs:
            if len(example[x.name]) != x.shape[1]:
                raise ValueError(
                    f"data.train: gives {len(example[x.name])} frames of {x.name} an example, "
                    f"the model takes {x.shape[1]}: prepare it with the model's hop"
                )
        return examples

    def windows(self, corpus: data.Corpus) -> Any:
        return data.Windows(corpus, samples=self.samples)

    def pair(self, batch: Mapping[str, Any], *, takes_mixture: bool) -> tuple[Any, Any]:
        return {name: batch[name] for name in self.controls}, batch["waveform"]
