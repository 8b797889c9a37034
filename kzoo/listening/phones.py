"""Phones of a recording of any length, by a network that tells of states and a chain of them.

recogniser = PhoneRecogniser("runs/dnn_hmm_phones")
recogniser(waveform, sample_rate)        # [Phone(0.0, 0.31, "sil"), Phone(0.31, 0.38, "hh"), ...]
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kzoo import presets
from kzoo.audio import checked_waveform
from kzoo.dsp.phones import phone_of
from kzoo.listening.frames import FrameListener
from kzoo.listening.viterbi import Viterbi

_LATEST_SECONDS = 10.0
_FAINTEST = 1e-10


class Phone(NamedTuple):
    """A stretch of a recording, in seconds, and the phone that is spoken in it."""

    start_seconds: float
    end_seconds: float
    name: str


class PhoneRecogniser:
    """Finds the most likely phones by Viterbi's algorithm, in constant memory.

    preset: of a listener with a chain of states, such as `dnn_hmm`, by name or folder.
    likelihood_weight: the power to which what is heard is raised against what the chain expects;
        frames that follow each other are not independent, so less than 1 may serve better.
    device: as in `Separator.from_preset`.
    Raises PresetError for another preset, ValueError for a weight that is not above 0.
    """

    def __init__(
        self, preset: str | Path, *, likelihood_weight: float = 1.0, device: str | None = None
    ):
        if not 0 < likelihood_weight < math.inf:
            raise ValueError(f"likelihood_weight must be above 0; got {likelihood_weight}")
        self._listener = FrameListener(preset, device=device)
        weights = presets.verified_weights(preset)
        if "chain/prior" not in weights:
            raise presets.PresetError(
                f"preset {preset} has no chain of states to find phones by; dnn_hmm has one"
            )
        self._prior, self._transitions = weights["chain/prior"], weights["chain/transitions"]
        self._weight, self.names = likelihood_weight, self._listener.names
        self.sample_rate, self.hop_length = self._listener.sample_rate, self._listener.hop_length

    def track(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[Phone]:
        """Yield the phones of blocks `[samples, channels]` of any length, each as it has ended."""
        rate = self._listener.frame_rate
        viterbi = Viterbi(self._prior, self._transitions, latest=round(_LATEST_SECONDS * rate))

        def states():
            for frames in self._listener.track(blocks, sample_rate):
                likelihoods = np.maximum(frames.probabilities, _FAINTEST) / self._prior
                yield viterbi.add(self._weight * np.log(likelihoods))
            yield viterbi.finish()

        return phones(states(), self.names, rate)

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> list[Phone]:
        """The phones of `[samples]` or `[samples, channels]`, full scale 1.0."""
        return list(self.track([checked_waveform(waveform, sample_rate)], sample_rate))


def phones(
    stretches: Iterable[np.ndarray], names: Sequence[str], frame_rate: float
) -> Iterator[Phone]:
    """The phones of numbers of states, a stretch of frames at a time.

    Another phone begins where the name changes, and where its states begin anew: of two that are
    the same, such as two pauses, each is one.
    """
    parts = [phone_of(name) for name in names]
    start, frame, last = 0, 0, None
    for states in stretches:
        for state in states:
            phone, number = parts[state]
            if last is not None and (phone != last[0] or number < last[1]):
                yield Phone(start / frame_rate, frame / frame_rate, last[0])
                start = frame
            last = phone, number
            frame += 1
    if last is not None:
        yield Phone(start / frame_rate, frame / frame_rate, last[0])
