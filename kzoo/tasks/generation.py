"""Generation: what was heard of a sound in, the distribution of each next sample out."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kzoo import data
from kzoo.config import ConfigError
from kzoo.dsp.quantisation import codes_of
from kzoo.tasks.base import Task, sound_of

if TYPE_CHECKING:
    import keras

    from kzoo.deploy.proof import Proof

MOST_WINDOWS = 100  # by which a generator is judged: each sample costs it as much as one it learns
MOST_LANE_SECONDS = 30  # the same, of a generator whose state goes on


class Generation(Task):
    """Samples, with conditions, to what is said of the samples behind them.

    "past" `[batch, samples, 1]`, codes or amplitudes, and the graph's other inputs. A model learns
    from recordings of one channel; a speaker is a label that a corpus knows, controls are those of
    the kind solo, a piano roll is of a kind that has notes, and levels of mel bands are made of
    the sound.
    """

    exported = True
    served = True

    @property
    def waveform(self):
        return self.graph.inputs[[x.name for x in self.graph.inputs].index("past")]

    @property
    def _controls(self) -> list[str]:
        others = ("past", "speaker", "begins", "mel", "piano_roll")
        return [x.name for x in self.graph.inputs if x.name not in others]

    @property
    def _rolls(self) -> bool:
        return self.size.conditions == "piano_roll"

    def _told(self, corpus: data.Corpus) -> Any:
        """A corpus that tells what is played, where the model is to know it."""
        return corpus.in_rolls(self.size.hop_length) if self._rolls else corpus

    @property
    def _lanes(self) -> int | None:
        """Of a graph whose state goes on from one batch to the next."""
        lanes = [x.shape[0] for x in self.graph.inputs if x.name == "begins"]
        return lanes[0] if lanes else None

    def card(self, said: str | None) -> dict[str, Any]:
        return {"task": "generation"}

    def corpus(self) -> dict[str, Any]:
        return {"names": list(self.size.speakers)} if self.size.speakers else {}

    def check(self, corpus: data.Corpus, where: str, kind: str) -> None:
        if self.size.speakers and list(corpus.labels) != list(self.size.speakers):
            raise ValueError(
                f"{where}: is of the kind {kind} and has the labels "
                f"{', '.join(corpus.labels) or 'of nothing'}; the model speaks as "
                f"{', '.join(self.size.speakers)}: kind labelled has a folder of each"
            )
        if self._rolls and not corpus.has_notes:
            raise ValueError(
                f"{where}: is of the kind {kind} and has no notes, which the model plays: kind "
                "rendered reads those that kzoo data render writes"
            )
        if self._rolls and self.size.speakers:
            raise ValueError(
                f"{where}: says which instruments play together, and not which of the speakers "
                "plays alone: leave the speakers of a model that plays notes out"
            )
        if missing := set(self._controls) - set(corpus.controls):
            raise ValueError(
                f"{where}: is of the kind {kind} and has no {', '.join(sorted(missing))}, which "
                "the model is conditioned on"
            )

    def examples(
        self, corpus: data.Corpus, *, seed: int, steps: Sequence, conditions: Mapping | None
    ) -> Any:
        if steps:
            raise ConfigError("data.steps vary sources; a generator's examples have none")
        if conditions is not None:
            raise ConfigError("data.conditions is for models that are told what to extract")
        if self._lanes:
            lanes = data.Lanes(corpus, samples=self.samples, lanes=self._lanes, seed=seed)
            return Predicted(lanes, self)
        drawn = data.Examples(self._told(corpus), samples=self._drawn(corpus), seed=seed)
        return Predicted(drawn, self)

    def windows(self, corpus: data.Corpus) -> Any:
        """Windows one behind the other, or where those are more than MOST_WINDOWS, at distances.

        With a state that goes on, the first stretches of each lane, MOST_LANE_SECONDS in all.
        """
        if self._lanes:
            most = MOST_LANE_SECONDS * self.size.sample_rate // self.samples
            lanes = {"samples": self.samples, "lanes": self._lanes, "most": most}
            return Predicted(data.LaneWindows(corpus, **lanes), self)
        samples = sum(length for _, length in corpus.tracks)
        hop = self.size.whole(max(self.samples, math.ceil(samples / MOST_WINDOWS)))
        windows = data.Windows(self._told(corpus), samples=self._drawn(corpus), hop=hop)
        return Predicted(windows, self)

    def _drawn(self, corpus: data.Corpus) -> int:
        """An example's samples, and what it needs behind them, in whole frames of the corpus."""
        hop = getattr(corpus, "hop_length", 1)
        return self.samples + math.ceil(max(1, self.size.samples_ahead) / hop) * hop

    @staticmethod
    def prove(
        preset: Any, size: Any, *, sound: str | Path | None, stream: bool
    ) -> Callable[[keras.Model], Proof]:
        """A sound that is heard as the past and, where the model can, a loop that draws.

        It cannot where what is said of a frame's samples hangs on frames to come.
        """
        from kzoo.deploy.examples import samples_proof
        from kzoo.deploy.proof import Streaming

        waveform, description = sound_of(sound, size)

        def proof(model: keras.Model) -> Proof:
            drawing = None
            if stream and not getattr(size, "frames_around", 0):
                from kzoo.generation import steps

                name, samples = preset.card["model"]["name"], steps.block_samples(size)
                noise = np.random.default_rng(0).random((1, samples, 2)).astype(np.float32)
                drawing = Streaming(
                    step=steps.build_step(model, size, name=name),
                    state=steps.initial_state(model, size, name=name),
                    frames=samples // size.frame_samples,
                    hop_length=size.frame_samples,
                    delay_samples=0,
                    further={"noise": noise, "temperature": np.ones((1, 1), np.float32)},
                )
            return samples_proof(
                model, size, sound=waveform, description=description, stream=drawing
            )

        return proof

    def pair(self, batch: Mapping[str, Any], *, takes_mixture: bool) -> tuple[Any, Any]:
        return {x.name: batch[x.name] for x in self.graph.inputs}, batch["target"]

    def predicted(self, segment: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """{"past", "target" `[samples, 1]`, and the graph's other inputs} of a segment of sound."""
        waveform = segment["waveform"] if "waveform" in segment else segment["mixture"]
        samples, frames = self.samples, self.samples // self.size.frame_samples
        known = {}
        if self.size.conditions == "mel":
            known["mel"] = self.size.levels_of(waveform[:, 0])[:frames]
        elif self._rolls:
            known["piano_roll"] = segment["piano_roll"][:frames]
        if self.size.output == "softmax":
            waveform = codes_of(waveform, self.size.levels, self.size.quantisation)
        example = {"past": waveform[:samples], "target": waveform[1 : samples + 1]} | known
        if self.size.speakers:
            example["speaker"] = np.argmax(segment["labels"], keepdims=True).astype(np.int32)
        if "begins" in segment:
            example["begins"] = segment["begins"]
        return example | {name: segment[name][:frames] for name in self._controls}


class Predicted:
    """Segments of a corpus as pairs of what was heard and what is to be said."""

    def __init__(self, segments: data.Examples | data.Windows | data.Lanes, task: Generation):
        self._segments, self._task = segments, task
        self.corpus = segments.corpus

    def __len__(self) -> int:
        return len(self._segments)

    def example(self, index: int) -> dict[str, np.ndarray]:
        """Same as `Generation.predicted` of segment `index`."""
        return self._task.predicted(self._segments.example(index))
