"""What keeps a state from block to block, whichever engine computes it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import numpy as np

STATE = "state_"

# Named tensors of a block to named results, the state after it kept for the next one.
Step = Callable[..., dict[str, Any]]


class Instrument(NamedTuple):
    """A trained synthesiser, run in blocks of a fixed number of frames.

    begin: gives a function that plays on from silence: f0_hz and loudness_db, each
        `[1, frames, 1]`, to {"audio" `[1, samples, 1]`, one hop late, "amplitudes"
        `[1, frames, harmonics]`, "noise_magnitudes" `[1, frames, bands]`}.
    hop_length: samples of a frame. room: the learned response `[taps]`, in which `audio` does not
        sound yet; None for none.
    """

    begin: Callable[[], Step]
    hop_length: int
    room: np.ndarray | None


def beginnings(run: Step, silence: Mapping[str, np.ndarray]) -> Callable[[], Step]:
    """A function that begins anew: it gives `run` with its states, which are at first `silence`.

    run: gives, beside its results, the states by the names under which they go in.
    """

    def begin() -> Step:
        state = dict(silence)

        def step(**block):
            results = run(**block, **state)
            state.update((name, results.pop(name)) for name in silence)
            return results

        return step

    return begin
