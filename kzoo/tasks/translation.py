"""Translation: what is heard in, and what each domain would play there out, sample by sample."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from kzoo import data
from kzoo.config import ConfigError
from kzoo.dsp.quantisation import mu_law_codes
from kzoo.tasks.base import Task, sound_of

if TYPE_CHECKING:
    import keras

    from kzoo.deploy.proof import Proof


class Translation(Task):
    """Codes of what is "heard", and of the "past" of a "domain", to logits of its next codes.

    A model learns from labelled recordings, a folder of them for each of its domains: each domain
    in turn gives an example, so that batches are balanced.
    """

    exported = True

    @property
    def waveform(self):
        return self._input("past")

    def _input(self, name: str):
        return next(x for x in self.graph.inputs if x.name == name)

    def card(self, said: str | None) -> dict[str, Any]:
        return {"task": "translation", "domains": list(self.size.domains)}

    def corpus(self) -> dict[str, Any]:
        return {"names": list(self.size.domains)}

    def check(self, corpus: data.Corpus, where: str, kind: str) -> None:
        if list(corpus.labels) != list(self.size.domains) or corpus.frame_wise:
            raise ValueError(
                f"{where}: is of the kind {kind} and has the labels "
                f"{', '.join(corpus.labels) or 'of nothing'}; the model's domains are "
                f"{', '.join(self.size.domains)}: kind labelled has a folder of each"
            )
        if empty := [name for name, tracks in _tracks_of(corpus).items() if not tracks]:
            raise ValueError(f"{where}: no recording is of {', '.join(empty)} alone")

    def examples(
        self, corpus: data.Corpus, *, seed: int, steps: Sequence, conditions: Mapping | None
    ) -> Any:
        if conditions is not None:
            raise ConfigError("data.conditions is for models that are told what to extract")
        if not all(getattr(step, "keeps_time", False) for step in steps):
            raise ConfigError(
                "data.steps: what a translation hears stays at its time, which detune alone keeps"
            )
        return Balanced(corpus, self, seed=seed, steps=steps)

    def windows(self, corpus: data.Corpus) -> Any:
        return Windows(corpus, self)

    @staticmethod
    def prove(
        preset: Any, size: Any, *, sound: str | Path | None, stream: bool
    ) -> Callable[[keras.Model], Proof]:
        """A sound that is heard, and that each domain is to have played; there is no stream.

        What is heard is encoded with what comes after it, so that nothing is drawn live.
        """
        from kzoo.deploy.examples import translation_proof

        waveform, description = sound_of(sound, size)
        return functools.partial(
            translation_proof, size=size, sound=waveform, description=description
        )

    def pair(self, batch: Mapping[str, Any], *, takes_mixture: bool) -> tuple[Any, Any]:
        return {x.name: batch[x.name] for x in self.graph.inputs}, batch["target"]

    def translated(
        self, segment: Mapping[str, np.ndarray], heard: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """The graph's inputs and "target" `[samples, 1]` of a segment of one sample more.

        heard: the segment as the encoder is given it; by default as it is.
        """
        codes = mu_law_codes(segment["mixture"], self.size.levels, rounding="down")
        other = codes if heard is None else mu_law_codes(heard, self.size.levels, rounding="down")
        return {
            "heard": other[1:],
            "past": codes[:-1],
            "target": codes[1:],
            "domain": np.argmax(segment["labels"], keepdims=True).astype(np.int32),
        }


class Balanced:
    """Random segments of each domain in turn, as a translation's examples.

    steps: change what the encoder hears, and not what it is to give.
    """

    def __init__(self, corpus: data.Corpus, task: Translation, *, seed: int, steps: Sequence):
        self.corpus, self._task, self._seed, self._steps = corpus, task, seed, steps
        self._domains = [
            data.Examples(corpus, samples=task.samples + 1, seed=seed, tracks=tracks)
            for tracks in _tracks_of(corpus).values()
        ]
        self._like = SimpleNamespace(
            corpus=SimpleNamespace(sources=("heard",), sample_rate=corpus.sample_rate)
        )

    def example(self, index: int) -> dict[str, np.ndarray]:
        """Same as `Translation.translated`, of the domain whose turn it is."""
        segment = self._domains[index % len(self._domains)].example(index)
        varied = {"sources": segment["mixture"][None]}
        rng = np.random.default_rng((self._seed, index, 1))
        for step in self._steps:
            varied = step(varied, rng, self._like)
        return self._task.translated(segment, varied["sources"][0])


class Windows(data.Windows):
    """The recordings from end to end, as a translation's examples."""

    def __init__(self, corpus: data.Corpus, task: Translation):
        super().__init__(corpus, samples=task.samples + 1, hop=task.samples)
        self._task = task

    def example(self, index: int) -> dict[str, np.ndarray]:
        """Same as `Translation.translated`."""
        return self._task.translated(super().example(index))


def _tracks_of(corpus: data.Corpus) -> dict[str, list[int]]:
    """The recordings of each domain, and of no other."""
    return {
        name: [int(n) for n in np.flatnonzero(corpus.truth[:, k] * (corpus.truth.sum(1) == 1))]
        for k, name in enumerate(corpus.labels)
    }
