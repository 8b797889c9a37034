"""Separation and enhancement: a waveform in, named waveforms out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo import config, data
from kzoo.config import ConfigError
from kzoo.tasks.base import Task, sound_of, streaming_form

if TYPE_CHECKING:
    import keras

    from kzoo.deploy.proof import Proof
    from kzoo.evaluation import System


_SPEECH_DB = -26.0  # the usual level of speech in ITU-T's tests, for cards that name none


class Separation(Task):
    """`[batch, samples, channels]` to `[batch, sources, samples, channels]`.

    A model with a second input is told by it what to extract.
    """

    exported = True

    @property
    def waveform(self):
        return self.graph.inputs[0]

    @property
    def sources(self) -> list[str]:
        """The names of what comes out, in its order."""
        return list(self.arguments["sources"])

    @property
    def conditioned(self) -> bool:
        """Whether the graph is told what to extract."""
        return len(self.graph.inputs) > 1

    def card(self, said: str | None) -> dict[str, Any]:
        return {"task": said or "music separation", "sources": self.sources}

    def corpus(self) -> dict[str, Any]:
        return {"sources": self.sources}

    def check(self, corpus: data.Corpus, where: str, kind: str) -> None:
        if corpus.controls:
            raise ValueError(f"{where}: is for synthesisers, and the model separates")
        if corpus.labels:
            raise ValueError(f"{where}: is labelled, for listeners, and the model separates")
        if list(corpus.sources) != self.sources:
            raise ValueError(
                f"{where}: has the sources {', '.join(corpus.sources)}, the model "
                f"{', '.join(self.sources)}"
            )

    def examples(
        self, corpus: data.Corpus, *, seed: int, steps: Sequence, conditions: Mapping | None
    ) -> Any:
        examples = data.Examples(corpus, samples=self.samples, seed=seed, steps=steps)
        if self.conditioned:
            return config.call(
                data.Conditioned, conditions or {}, where="data.conditions", examples=examples
            )
        if conditions is not None:
            raise ConfigError("data.conditions is for models that take a condition")
        return examples

    def windows(self, corpus: data.Corpus) -> Any:
        windows = data.Windows(corpus, samples=self.samples)
        return data.ConditionedWindows(windows) if self.conditioned else windows

    def pair(self, batch: Mapping[str, Any], *, takes_mixture: bool) -> tuple[Any, Any]:
        from keras import ops

        mixture, targets = batch["mixture"], batch["target" if self.conditioned else "sources"]
        if takes_mixture:
            targets = ops.concatenate([targets, mixture[:, None]], axis=1)
        return ((mixture, batch["condition"]) if self.conditioned else mixture), targets

    @staticmethod
    def prove(
        preset: Any, size: Any, *, sound: str | Path | None, stream: bool
    ) -> Callable[[keras.Model], Proof]:
        """A sound, and the sources that the model's last layer names.

        What gives speech is compared on speech in noise, at the level that its card asks for.
        """
        from kzoo.deploy.examples import sound_proof

        streaming, speech_db = None, None
        conditions: Sequence[str] = ()
        if getattr(size, "condition", None) == "input":  # the model is told what to extract
            conditions = size.conditions or preset.sources
        if stream and size.streams:
            streaming = streaming_form(preset, size, preset.sources)
        waveform, description = sound_of(sound, size)
        if "speech" in preset.sources:
            speech_db = preset.card.get("level_db", _SPEECH_DB)
        return functools.partial(
            sound_proof, sample_rate=size.sample_rate, sound=waveform, description=description,
            speech_db=speech_db, stream=streaming, conditions=conditions, size=size,
        )  # fmt: skip

    @staticmethod
    def scored(
        preset: Any, run: Callable, options: Mapping[str, Any], *, interchangeable: bool
    ) -> System:
        """By BSS Eval, or as speech; `interchangeable` also where the card says so."""
        from kzoo import evaluation

        name = preset.card["name"]
        card = {key: preset.card.get(key) for key in ("model", "level_db", "overlap")}
        weights = preset.weights_sha256()
        known_by = {"preset": name, "weights_sha256": weights, "card": card, **options}
        interchangeable = interchangeable or bool(preset.card.get("interchangeable", False))
        return evaluation.Separation(
            name, tuple(preset.sources), run, known_by, interchangeable, preset.count_weights()
        )

    def sounds(self, example: Mapping[str, Any]) -> tuple[Any, Any]:
        return example["mixture"], example["sources"]
