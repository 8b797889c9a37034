"""Steps that vary an example: seeded, pure, dict to dict.

A step is called with (example, random generator, examples); the last can draw more segments. Each
has a `probability`, decided anew for every example, or for every source where that is said.
`sources` move and mix what is there, `voices` change pitch, tempo and timbre, `recordings` what
equalisers, rooms, codecs and clipping do to a sound, `masking` leaves out bands and moments.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from kzoo import config
from kzoo.data.examples import Step
from kzoo.data.steps import masking, recordings, sources, voices

STEPS: dict[str, Callable[..., Step]] = {
    function.__name__: function
    for function in (
        sources.remix, sources.level, sources.gain, sources.swap_channels, sources.flip_polarity,
        sources.shift, sources.speed, sources.mute, voices.pitch, voices.detune, voices.stretch,
        voices.envelope,
        recordings.equalise, recordings.room, recordings.codec, recordings.clip,
        masking.spec_augment,
    )
}  # fmt: skip


def step(name: str, **options: Any) -> Step:
    """Make a step by its name; ConfigError for an unknown name or option."""
    return config.call(config.named(STEPS, name, "step"), options, where=f"step {name}")
