"""Listening: a waveform in, a probability of each name out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo import data
from kzoo.config import ConfigError
from kzoo.data.timit import PHONES
from kzoo.tasks.base import Task, heard_system, sound_of, streaming_form

if TYPE_CHECKING:
    import keras

    from kzoo.deploy.proof import Proof
    from kzoo.evaluation import System


class Listening(Task):
    """`[batch, samples, 1]` to `[batch, names]`, whose last layer is `layers.labels.Labels`.

    Of `FrameListenerSizes` to `[batch, frames, names]`; such a model learns from corpora that know
    when names are heard.
    """

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
        if corpus.frame_wise != self.size.frame_wise:
            rule = "the model tells of each frame" if self.size.frame_wise else "the model does not"
            known = "when its labels are heard" if corpus.frame_wise else "whole recordings alone"
            raise ValueError(f"{where}: is of the kind {kind} and knows {known}; {rule}")
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
        return data.Examples(self._framed(corpus), samples=self._told_samples, seed=seed)

    def windows(self, corpus: data.Corpus) -> Any:
        return data.Windows(self._framed(corpus), samples=self._told_samples)

    @property
    def _told_samples(self) -> int:
        """How many samples an example tells of: of frames, those without what they see around."""
        if not self.size.frame_wise:
            return self.samples
        return self.graph.outputs[0].shape[1] * self.size.hop_length

    def _framed(self, corpus: data.Corpus) -> data.Corpus:
        if not self.size.frame_wise:
            return corpus.in_windows(self.samples)
        return corpus.in_frames(
            self.size.hop_length, self.size.before_samples, self.size.after_samples
        )

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
            hop_length=size.hop_length if size.frame_wise else None,
            hop_seconds=size.hop_seconds, description=description,
            stream=streaming_form(preset, size) if stream and size.streams else None,
        )  # fmt: skip

    @staticmethod
    def scored(
        preset: Any, run: Callable, options: Mapping[str, Any], *, interchangeable: bool
    ) -> System:
        """By the names that recordings have, or of frames by phones or onsets."""
        size, _ = preset.sizes()
        truth = Listening.truth_of(size)
        names = () if truth == data.annotated.ONSETS else tuple(size.names)
        return heard_system(preset, truth, run, options, names=names)

    @staticmethod
    def truth_of(size: Any) -> str:
        """What a model of `size` says of recordings, of `data.annotated`.

        What tells of frames says which phones are spoken, if all of its names are phones or their
        states, and else when something begins.
        """
        if not size.frame_wise:
            return data.annotated.NAMES
        spoken = {name.partition(".")[0] for name in size.names}
        return data.annotated.PHONES if spoken <= set(PHONES) else data.annotated.ONSETS
