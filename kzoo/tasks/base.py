"""The questions that training asks of every task."""

from __future__ import annotations

import functools
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from kzoo import audio
from kzoo.config import ConfigError

if TYPE_CHECKING:
    import keras

    from kzoo import data
    from kzoo.deploy.proof import Proof, Streaming
    from kzoo.evaluation import Hearing, System


class Task(ABC):
    """One model's task, made of the graph that is trained and the arguments of its `build`.

    size: the model's sizes.
    samples, channels: of the waveforms in an example of the training.
    exported: whether models of this task are exported, as `prove` then says. served: whether a
        SavedModel has the form that runs for ever, too.
    """

    exported: ClassVar[bool] = False
    served: ClassVar[bool] = False

    def __init__(self, graph: keras.Model, arguments: Mapping[str, Any], size: Any):
        self.graph, self.arguments, self.size = graph, arguments, size
        _, self.samples, self.channels = self.waveform.shape

    @property
    @abstractmethod
    def waveform(self):
        """The tensor of the graph that is a waveform `[batch, samples, channels]`."""

    @abstractmethod
    def card(self, said: str | None) -> dict[str, Any]:
        """The fields of a card that say what the model is for; `said`: the configuration's own."""

    @abstractmethod
    def corpus(self) -> dict[str, Any]:
        """The options of a corpus beside its rate and channels, such as its sources."""

    @abstractmethod
    def check(self, corpus: data.Corpus, where: str, kind: str) -> None:
        """Raise ValueError where `corpus`, of a `kind` and named `where`, has something else."""

    @abstractmethod
    def examples(
        self, corpus: data.Corpus, *, seed: int, steps: Sequence, conditions: Mapping | None
    ) -> Any:
        """Return what the model learns from: an object with `example(index)`.

        steps: functions that vary an example. conditions: of models that are told what to extract.
        Raises ConfigError for options that this task does not have.
        """

    @abstractmethod
    def windows(self, corpus: data.Corpus) -> Any:
        """What the model is judged by while it learns: all of a corpus, window after window."""

    @abstractmethod
    def pair(self, batch: Mapping[str, Any], *, takes_mixture: bool) -> tuple[Any, Any]:
        """Return (inputs, targets) of the graph.

        takes_mixture: the loss finds the mixture behind the targets.
        """

    @staticmethod
    def prove(
        preset: Any, size: Any, *, sound: str | Path | None, stream: bool
    ) -> Callable[[keras.Model], Proof]:
        """The maker of what an export must know of a preset's model: names, and an example.

        preset: an opened `presets.Preset`. size: of the model that is exported. sound: a recording
        to compare on. stream: whether a form that runs for ever is wanted beside it.
        Raises ConfigError for a task that is not exported.
        """
        raise ConfigError(f"preset {preset} is for {preset.task}, which is not exported")

    @staticmethod
    def scored(
        preset: Any, run: Callable, options: Mapping[str, Any], *, interchangeable: bool
    ) -> System:
        """The system that `kzoo.evaluation` scores, with the measures of this task.

        preset: an opened `presets.Preset`. run: the preset, made to run with `options` when it is
        first called. interchangeable: whether the order of its outputs means nothing. Raises
        ConfigError for a task that has no scores.
        """
        raise ConfigError(
            f"preset {preset} is for {preset.task}, which is not scored: kzoo evaluate takes "
            "presets that separate, enhance or hear"
        )

    def sounds(self, example: Mapping[str, Any]) -> tuple[Any, Any]:
        """Return (mixture, sources) of an example, to be heard in TensorBoard.

        Raises ConfigError for a task that has none.
        """
        raise ConfigError(
            f"fit.tensorboard shows what is separated, and this model is for "
            f"{type(self).__name__.lower()}: leave it at 0"
        )


def sound_of(sound: str | Path | None, size: Any) -> tuple[Any, str | None]:
    """(waveform at the rate of `size`, name) of the file that an export is to be compared on."""
    if sound is None:
        return None, None
    return audio.read(sound, sample_rate=size.sample_rate)[0], Path(sound).name


def heard_system(
    preset: Any, truth: str, run: Callable, options: Mapping[str, Any], names: Sequence[str] = ()
) -> Hearing:
    """`Task.scored` of what says something of recordings; truth: of `data.annotated`.

    run: to an answer, as `evaluation.aspects` has it. Raises ConfigError for `options` that are not
    None, 0 or False: they are of what separates.
    """
    from kzoo import evaluation

    if given := [name for name, value in options.items() if value]:
        raise ConfigError(
            f"preset {preset} is for {preset.task}, and {', '.join(given)} of what separates"
        )
    name, model = preset.card["name"], preset.card["model"]
    known_by = {"preset": name, "weights_sha256": preset.weights_sha256(), "model": model}
    return evaluation.Hearing(name, truth, run, known_by, names, preset.count_weights())


def prove_frames(
    output: str, size: Any, sound: str | Path | None
) -> Callable[[keras.Model], Proof]:
    """`Task.prove` of what says something of frames: a sound, and what the model calls `output`."""
    from kzoo.deploy.examples import frames_proof

    waveform, description = sound_of(sound, size)
    return functools.partial(
        frames_proof, output=output, sample_rate=size.sample_rate, hop_length=size.hop_length,
        sound=waveform, description=description,
    )  # fmt: skip


def streaming_form(preset: Any, size: Any, *arguments: Any) -> Streaming:
    """The form of a preset's model that runs for ever.

    arguments: of the architecture's `build_step`, before `size`.
    """
    from kzoo.deploy.proof import Streaming

    step = preset.module.build_step(*arguments, size, frames=size.live_frames)
    preset.assign(step)
    return Streaming(
        step=step,
        state=preset.module.initial_state(step),
        frames=size.live_frames,
        hop_length=size.hop_length,
        delay_samples=size.delay_samples,
        differs=size.stream_differs,
        twin=True,
    )
