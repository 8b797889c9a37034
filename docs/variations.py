"""What each data step makes of one made-up song, to see and to hear, for the page of steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from kzoo import audio, data
from kzoo.pictures.stems import draw_spectrograms

RATE, SECONDS = 22050, 4.0
BEFORE = "before"
# Options with which a step is heard alone, where its own could as well draw next to nothing.
OPTIONS: dict[str, dict[str, Any]] = {
    "gain": {"low_db": -12.0, "high_db": 6.0},
    "speed": {"low": 1.2, "high": 1.2},
    "mute": {"probability": 0.5},
    "pitch": {"low": 3.0, "high": 3.0},
    "stretch": {"low": 0.8, "high": 0.8},
    "envelope": {"low": 1.18, "high": 1.18, "sources": ["vocals"]},
    "equalise": {"gain_db": 12.0},
    "codec": {"codecs": ["mp3"], "low": 1.0},
    "clip": {"low_db": 12.0, "kinds": ["hard"]},
    "spec_augment": {"band_hz": 3000.0, "moment_seconds": 0.4},
}


def mixture(name: str | None = None) -> np.ndarray:
    """The song `[samples, channels]`, as it is, or after the step of that name."""
    corpus = data.open_corpus("synthetic", tracks=2, seconds=12.0, sample_rate=RATE)
    examples = data.Examples(corpus, samples=round(SECONDS * RATE))
    example = examples.example(0)
    if name is not None:
        step = data.step(name, **{"probability": 1.0, **OPTIONS.get(name, {})})
        example = step(example, np.random.default_rng(0), examples)
    return example["sources"].sum(axis=0)


def write(folder: Path) -> None:
    """Write <step>.png, before above after, and <step>.ogg, and before.ogg."""
    folder.mkdir(parents=True, exist_ok=True)
    before = mixture()
    audio.write(folder / f"{BEFORE}.ogg", before, RATE)
    for name in data.STEPS:
        after = mixture(name)
        audio.write(folder / f"{name}.ogg", after, RATE)
        panels = {BEFORE: before, f"after {name}": after}
        draw_spectrograms(panels, RATE, folder / f"{name}.png")


def shown(name: str) -> str:
    """What stands under a step: its picture, its sound, and the options with which it was made."""
    options = OPTIONS.get(name)
    said = ", ".join(f"{key}: {value}" for key, value in (options or {}).items())
    return (
        f"![Spectrogram before and after {name}](steps/{name}.png)\n\n"
        f"Before {_player(BEFORE)} and after {_player(name)}"
        f"{f', with `{said}`' if said else ''}. The song is made up.\n"
    )


def _player(name: str) -> str:
    return f'<audio controls preload="none" src="steps/{name}.ogg"></audio>'
