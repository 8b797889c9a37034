"""Pitch: a waveform in, activations of pitch out; its networks are published, not trained here."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from kzoo import data
from kzoo.config import ConfigError
from kzoo.tasks.base import Task, heard_system, prove_frames

if TYPE_CHECKING:
    import keras

    from kzoo.deploy.proof import Proof
    from kzoo.evaluation import System


class Pitch(Task):
    """`[batch, samples, 1]` to `[batch, frames, bins]`; a corpus with its truth is not known."""

    exported = True

    @property
    def waveform(self):
        return self.graph.inputs[0]

    def card(self, said: str | None) -> dict[str, Any]:
        return {"task": "pitch"}

    def corpus(self) -> NoReturn:
        raise ConfigError(
            "a pitch tracker is not trained here: no corpus brings the pitch that is true; "
            "kzoo presets list has the published ones"
        )

    def check(self, corpus: data.Corpus, where: str, kind: str) -> None:
        self.corpus()

    def examples(
        self, corpus: data.Corpus, *, seed: int, steps: Sequence, conditions: Mapping | None
    ) -> Any:
        self.corpus()

    def windows(self, corpus: data.Corpus) -> Any:
        self.corpus()

    @staticmethod
    def prove(
        preset: Any, size: Any, *, sound: str | Path | None, stream: bool
    ) -> Callable[[keras.Model], Proof]:
        """A sound, and the activations that the model gives of it."""
        return prove_frames("activations", size, sound)

    @staticmethod
    def scored(
        preset: Any, run: Callable, options: Mapping[str, Any], *, interchangeable: bool
    ) -> System:
        """By the melody that recordings have."""
        return heard_system(preset, data.annotated.MELODY, run, options)

    def pair(self, batch: Mapping[str, Any], *, takes_mixture: bool) -> tuple[Any, Any]:
        self.corpus()
