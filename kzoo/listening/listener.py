"""Windows of a recording through a listener, in constant memory.

    listener = Listener("musicnn_msd")            # the model is built once
    heard = listener(waveform, sample_rate)
    heard.top(5)                                  # [("rock", 0.41), ...]

Sound is averaged to one channel and resampled to the network's rate. Windows follow one another,
and the last one ends where the recording does, so that every sample is heard; a recording that is
shorter than a window goes on in silence.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kzoo import presets
from kzoo.audio import checked_waveform, mono
from kzoo.engines import exported, litert

# Of the presets with Last.fm's tags the one whose authors report the best figures, see the cards;
# its windows of 3 s tell where in a song a tag is heard, and hear short clips whole.
DEFAULT_PRESET = "musicnn_msd"


class Window(NamedTuple):
    """Of one window: where it begins and ends in seconds, its probabilities, its embedding."""

    start_seconds: float
    end_seconds: float
    probabilities: np.ndarray
    embedding: np.ndarray | None


class Heard(NamedTuple):
    """names; of each window its start and end in seconds, `[windows]`, and what is heard in it.

    probabilities: `[windows, names]`, 0 to 1. embeddings: `[windows, features]`, what the last
    dense layer takes, None of an exported file. All are float32.
    """

    names: tuple[str, ...]
    starts_seconds: np.ndarray
    ends_seconds: np.ndarray
    probabilities: np.ndarray
    embeddings: np.ndarray | None

    @property
    def mean(self) -> np.ndarray:
        """The mean of the windows' probabilities, `[names]`."""
        return self.probabilities.mean(axis=0)

    def top(self, count: int | None = None, *, threshold: float = 0.0) -> list[tuple[str, float]]:
        """The `count` names of the highest mean, or all, without those under `threshold`."""
        mean = self.mean
        order = np.argsort(-mean, kind="stable")[:count]
        return [(self.names[k], float(mean[k])) for k in order if mean[k] >= threshold]


class Listener:
    """Hears which names fit a recording, window after window.

    preset: of a listener, by name or folder, or a file that `kzoo export` has written of one, which
        gives no embeddings. hop_seconds: from one window's start to the next, by default the
        network's own: mostly a window's length. device, engine: as in `Separator.from_preset`.
    progress: bytes fetched, bytes in all, where a preset must come.
    Raises PresetError for a preset that is no listener, ValueError for a hop that is not above 0 or
    longer than a window.
    """

    def __init__(
        self,
        preset: str | Path = DEFAULT_PRESET,
        *,
        hop_seconds: float | None = None,
        device: str | None = None,
        engine: str = "auto",
        progress: presets.Progress | None = None,
    ):
        opened = check_preset(exported.opened(preset))
        if litert.chosen(engine, opened, device=device):
            network = litert.listener(opened, progress=progress)
        else:
            from kzoo.engines import tensorflow

            network = tensorflow.listener(opened, device=device, progress=progress)
        self.names, self.sample_rate = network.names, network.sample_rate
        self.samples, self._run = network.samples, network.run
        hop_seconds = network.hop_seconds if hop_seconds is None else hop_seconds
        hop = self.samples if hop_seconds is None else round(hop_seconds * self.sample_rate)
        if not 0 < hop <= self.samples:
            raise ValueError(
                f"hop_seconds must be above 0 and at most {self.window_seconds:g}, a window of "
                f"{opened}; got {hop_seconds}"
            )
        self.hop = hop

    @property
    def window_seconds(self) -> float:
        """How long a window is."""
        return self.samples / self.sample_rate

    def windows(self, blocks: Iterable[np.ndarray], sample_rate: int) -> Iterator[Window]:
        """Yield what is heard in blocks `[samples, channels]` of any length, window by window."""
        kept, start, upcoming = np.zeros(0, np.float32), 0, 0  # `kept` begins at sample `start`
        for block in mono(blocks, sample_rate, self.sample_rate):
            kept = np.concatenate([kept, block])
            while len(kept) >= upcoming - start + self.samples:
                at = upcoming - start
                yield self._hear(kept[at : at + self.samples], upcoming, self.samples)
                upcoming += self.hop
            # The last window may reach back before the upcoming one.
            done = max(0, min(upcoming - start, len(kept) - self.samples))
            kept, start = kept[done:], start + done
        end = start + len(kept)
        if upcoming == 0 or upcoming - self.hop + self.samples < end:
            first = max(0, end - self.samples)
            rest = kept[first - start :]
            padded = np.pad(rest, (0, self.samples - len(rest)))
            yield self._hear(padded, first, len(rest))

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> Heard:
        """What is heard in `[samples]` or `[samples, channels]`, full scale 1.0."""
        return self.gathered(self.windows([checked_waveform(waveform, sample_rate)], sample_rate))

    def gathered(self, windows: Iterable[Window]) -> Heard:
        """All windows of a recording together."""
        starts, ends, probabilities, embeddings = zip(*windows, strict=True)
        times = (np.array(times, np.float32) for times in (starts, ends))
        told = None if embeddings[0] is None else np.array(embeddings, np.float32)
        return Heard(self.names, *times, np.array(probabilities, np.float32), told)

    def _hear(self, window: np.ndarray, start: int, samples: int) -> Window:
        rate = self.sample_rate
        return Window(start / rate, (start + samples) / rate, *self._run(window))


def check_preset(preset: str | Path | presets.Preset) -> presets.Preset:
    """Open a preset that listens; PresetError for another, or for one that is not trained.

    Loads no backend.
    """
    opened = presets.open_preset(preset)
    if opened.task != "listening":
        raise presets.PresetError(f"preset {opened} is no listener; its task is {opened.task}")
    opened.refuse_untrained()
    return opened
