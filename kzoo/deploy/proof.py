"""What an export must know of a model: the names of its tensors, and an example that proves it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import keras


@dataclass(frozen=True, kw_only=True)
class Streaming:
    """A model's streaming form: the same weights, block after block, with a state between them.

    step: a model of named inputs and outputs, of which those called "state_<name>" come back as
        they are to go in next; all others are those of the whole model, of a block of `frames`,
        and maybe outputs of its own.
    state: {name: array}, what a stream begins with and is reset to.
    hop_length: samples of a frame. delay_samples: how much later the stream says what the whole
        model says. differs: it says something else by intent, as its authors' own stream does, and
        is compared with `step` in Keras. twin: it is also written as a file of `step` as it is,
        whose state its caller keeps. further: what `step` is given, block after block, beside the
        inputs of the whole model.
    """

    step: keras.Model
    state: Mapping[str, np.ndarray]
    frames: int
    hop_length: int
    delay_samples: int
    differs: bool = False
    twin: bool = False
    further: Mapping[str, np.ndarray] = field(default_factory=dict)

    @property
    def latency_samples(self) -> int:
        """From a sound to what is said of it: the delay, and the block that must be full before."""
        return self.delay_samples + self.frames * self.hop_length


@dataclass(frozen=True, kw_only=True)
class Proof:
    """The names that an artefact's tensors bear, and the examples on which it is compared.

    inputs: {name: array `[1, ...]`} of the model's inputs in their order. An artefact is written
        only if it gives what Keras gives on this example.
    outputs: the names of what comes out. stacked: whether they lie along axis 1 of the model's
        output, as sources do; otherwise the output bears the one name.
    description: a line that says what the example is.
    also: {description: inputs} of further examples that must hold as that one does.
    reference: the input that an output is faint beside; None where each output stands for itself.
    passages: further inputs of the shapes of `inputs`, in which an output may be faint.
    probes: {description: inputs} of further examples. How an artefact differs on them is told in
        the card and refuses nothing.
    stream: the streaming form, written beside a TFLite file; None for none.
    card: the fields of the card that only this kind of model has.
    """

    inputs: Mapping[str, np.ndarray]
    outputs: Sequence[str]
    stacked: bool = False
    description: str
    also: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    reference: str | None = None
    passages: Sequence[Mapping[str, np.ndarray]] = ()
    probes: Mapping[str, Mapping[str, np.ndarray]] = field(default_factory=dict)
    stream: Streaming | None = None
    card: Mapping[str, Any] = field(default_factory=dict)
