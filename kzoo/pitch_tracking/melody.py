"""The melody of a mixture of any length, rate and number of channels, in constant memory.

    tracker = MelodyTracker("deep_salience_melody")   # the model is built once
    melody = tracker(waveform, sample_rate)

Deep Salience measures levels from the loudest moment of a recording, so that a recording is gone
through twice: for that moment, and for the salience.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kzoo import presets
from kzoo.audio import checked_waveform, mono, pieces
from kzoo.engines import litert

DEFAULT_PRESET = "deep_salience_melody"
THRESHOLD = 0.3  # the authors'


class Melody(NamedTuple):
    """Of each frame: its centre, the most salient pitch, how salient that is (0 to 1), and all.

    f0_hz is the bin's frequency, a guess even where there is no melody: look at `confidence`.
    salience: `[frames, bins]`.
    """

    times_seconds: np.ndarray
    f0_hz: np.ndarray
    confidence: np.ndarray
    salience: np.ndarray


class MelodyTracker:
    """Follows the most salient pitch of mixtures.

    preset: one of the model deep_salience, by name or folder. device, engine: as in
        `Separator.from_preset`.
    progress: bytes fetched, bytes in all, where the preset must come.
    """

    def __init__(
        self,
        preset: str | Path | presets.Preset = DEFAULT_PRESET,
        *,
        device: str | None = None,
        engine: str = "auto",
        progress: presets.Progress | None = None,
    ):
        opened = check_preset(preset)
        if litert.chosen(engine, opened, device=device):
            self._network = litert.melody(opened, progress=progress)
        else:
            from kzoo.engines import tensorflow

            self._network = tensorflow.melody(opened, device=device, progress=progress)
        self.preset = str(preset)
        self.sample_rate, self.hop_length = self._network.sample_rate, self._network.hop_length
        self.frequencies_hz = np.array(self._network.frequencies_hz)

    @property
    def frame_rate(self) -> float:
        """Frames a second."""
        return self.sample_rate / self.hop_length

    def track(
        self, reading: Callable[[], Iterable[np.ndarray]], sample_rate: int
    ) -> Iterator[Melody]:
        """Yield the melody of a recording, a stretch at a time.

        reading: called twice, for its blocks `[samples, channels]` of any length.
        """
        network, loudest, frames = self._network, 0.0, 0
        inside = slice(network.neighbours, network.neighbours + network.transformed)
        for seen, count in self._transformed(reading(), sample_rate):
            loudest = max(loudest, float(seen[inside][:count].max()))
        for seen, count in self._transformed(reading(), sample_rate):
            for at in range(0, count, network.frames):
                part = seen[at : at + network.frames + 2 * network.neighbours]
                salience = network.salience(part, loudest)[: count - at]
                seconds = (frames + np.arange(len(salience))) * self.hop_length / self.sample_rate
                frames += len(salience)
                best = salience.argmax(axis=1)
                yield Melody(seconds, self.frequencies_hz[best], salience.max(axis=1), salience)

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> Melody:
        """The melody of `[samples]` or `[samples, channels]`, full scale 1.0."""
        signal = checked_waveform(waveform, sample_rate)
        parts = zip(*self.track(lambda: [signal], sample_rate), strict=True)
        return Melody(*(np.concatenate(part) for part in parts))

    def _transformed(
        self, blocks: Iterable[np.ndarray], sample_rate: int
    ) -> Iterator[tuple[np.ndarray, int]]:
        """Yield (magnitudes of a stretch with its neighbours, how many of its frames count)."""
        network = self._network
        signal = mono(blocks, sample_rate, self.sample_rate)
        around = network.context * self.hop_length
        for piece, count in pieces(signal, self.hop_length, network.transformed, around, around):
            yield network.transform(piece), count


def check_preset(preset: str | Path | presets.Preset) -> presets.Preset:
    """The preset opened; ValueError for one that hears no melodies. Loads no backend."""
    if Path(str(preset)).suffix == presets.EXPORTED:
        raise ValueError(
            f"{preset}: an exported file knows levels of its own block alone, and a melody needs "
            "those of the whole recording; name a preset, which --engine litert runs without "
            "TensorFlow"
        )
    opened = presets.open_preset(preset)
    if opened.card["model"]["name"] != "deep_salience":
        others = [name for name in presets.list_presets() if name.startswith("deep_salience")]
        raise ValueError(f"preset {preset!s} hears no melodies; there are {', '.join(others)}")
    opened.refuse_untrained()
    return opened


def notes(
    melodies: Iterable[Melody], frame_rate: float, threshold: float, least_seconds: float = 0.06
) -> Iterator[tuple[int, float, float, float]]:
    """Yield (MIDI note, start, end, mean confidence), in seconds, of melodies stretch by stretch.

    A note is a run of frames of one semitone that are `threshold` salient at least; shorter ones
    than least_seconds are left out.
    """
    running: tuple[int, float, list[float]] | None = None
    end = 0.0

    def finished():
        if running is not None and end - running[1] >= least_seconds:
            yield running[0], running[1], end, float(np.mean(running[2]))

    for melody in melodies:
        semitones = np.round(69 + 12 * np.log2(melody.f0_hz / 440)).astype(int)
        semitones[melody.confidence < threshold] = -1
        for seconds, note, confidence in zip(
            melody.times_seconds, semitones, melody.confidence, strict=True
        ):
            if running is None or note != running[0]:
                yield from finished()
                running = (int(note), float(seconds), []) if note >= 0 else None
            if running is not None:
                running[2].append(float(confidence))
            end = float(seconds) + 1 / frame_rate
    yield from finished()
