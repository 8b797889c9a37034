"""Synthesis: controls in, the waveform that they play out."""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from kzoo import data
from kzoo.config import ConfigError
from kzoo.tasks.base import Task

if TYPE_CHECKING:
    import keras

    from kzoo.deploy.proof import Proof

STREAM_FRAMES = 4  # of a step of a synthesiser that streams: 16 ms


class Synthesis(Task):
    """{control: `[batch, frames, 1]`} to audio `[batch, samples, 1]`."""

    exported = True

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

    @staticmethod
    def prove(
        preset: Any, size: Any, *, sound: str | Path | None, stream: bool
    ) -> Callable[[keras.Model], Proof]:
        """A melody and, where the model can, a stream."""
        from kzoo.deploy.examples import melody_proof
        from kzoo.deploy.proof import Streaming

        if sound is not None:
            raise ValueError("a synthesiser is compared on controls, not on a sound: leave it out")
        streaming = None
        if stream and not size.z_dims:  # an encoder hears the whole recording
            step = preset.module.build_step(size, frames=STREAM_FRAMES)
            preset.assign(step)
            streaming = Streaming(
                step=step,
                state=preset.module.initial_state(size, frames=STREAM_FRAMES),
                frames=STREAM_FRAMES,
                hop_length=size.hop_length,
                delay_samples=size.hop_length,
            )
        told = {"loudness_range_db": size.loudness_range_db}
        if not isinstance(preset.card.get("trained"), Mapping) and preset.statistics:
            told["statistics"] = preset.statistics  # which a published file told
        return functools.partial(
            melody_proof, hop_length=size.hop_length, stream=streaming, told=told
        )

    def pair(self, batch: Mapping[str, Any], *, takes_mixture: bool) -> tuple[Any, Any]:
        return {name: batch[name] for name in self.controls}, batch["waveform"]
