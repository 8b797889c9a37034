"""Sound of a preset of the task generation, from nothing, from a recording, or by conditions.

    composer = Composer("runs/wavenet_violin")
    for block in composer.blocks(10.0, condition="melody.csv", seed=1):
        ...

The memory in use is the same for any length.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from kzoo import audio, config, presets
from kzoo.data.midi import score
from kzoo.engines import exported
from kzoo.generation.drawing import Drawing
from kzoo.synthesis.controls import frames, read_points, rests_as_silence

if TYPE_CHECKING:
    from kzoo.generation.drawing import Block, Engine

SECONDS = 5.0  # where neither a length nor a condition is given
_LOUDEST_DB = 40.0  # of controls, as a trained synthesiser has it
_STILL = 0.002  # of full scale: within it nothing is heard
_STILL_SECONDS = 0.5


def generative(preset: str | Path | presets.Preset) -> presets.Preset:
    """Open a preset that draws sound, or an exported file of one.

    Raises PresetError for one that does not, or is not trained.
    """
    opened = presets.open_preset(exported.opened(preset))
    if opened.task != "generation":
        raise presets.PresetError(
            f"preset {opened} draws no sound; its task is {opened.task}, and generation is wanted"
        )
    opened.refuse_untrained()
    return opened


class Composer:
    """Draws sound by a preset, whose model is built once.

    preset: a name, a folder, an exported file, or what is opened of them. voices: drawn at once,
    each another. engine, threads: as in `generator.Generator`; a file is run by LiteRT. Raises
    presets.PresetError for another task, ValueError for a number of voices below 1.
    """

    def __init__(
        self,
        preset: str | Path | presets.Preset,
        *,
        voices: int = 1,
        engine: Engine = "auto",
        threads: int = 1,
    ):
        if voices < 1:
            raise ValueError(f"voices must be 1 or more; got {voices}")
        opened = generative(preset)
        if isinstance(opened, exported.Exported):
            if engine != "auto":
                raise ValueError(f"{opened}: is run by LiteRT; leave the engine {engine} out")
            from kzoo.generation.exported import FileGenerator

            self.generator = FileGenerator(opened, voices=voices, threads=threads)
            self.size = self.generator.size
        else:
            from kzoo.generation.generator import Generator

            self.size, _ = opened.sizes()
            self.generator = Generator(
                presets.from_preset(opened), self.size, name=opened.card["model"]["name"],
                batch=voices, engine=engine, threads=threads,
            )  # fmt: skip
        self.sample_rate = self.size.sample_rate

    def blocks(
        self,
        seconds: float | None = None,
        *,
        prime: str | Path | None = None,
        condition: str | Path | None = None,
        speaker: str | None = None,
        seed: int = 0,
        temperature: float = 1.0,
        top_k: int | None = None,
    ) -> Iterator[Block]:
        """Yield blocks of `generator.Block`, together `seconds` long, in constant memory.

        seconds: by default as long as the condition, else SECONDS. prime: a recording that is heard
            first, of any rate and channels. condition, speaker: as in `conditions_of`; a condition
            begins with the prime. Others: as of `generator.Drawing`.
        Raises ValueError and audio.AudioError for what cannot be drawn or read.
        """
        heard = None if prime is None else prime_of(prime, self.size)
        known = conditions_of(self.size, condition, speaker)
        wanted = _samples(seconds, self.size, known, 0 if heard is None else len(heard))
        return self.generator.blocks(
            wanted, seed=seed, prime=heard, conditions=known, drawing=Drawing(temperature, top_k)
        )

    def __call__(self, seconds: float | None = None, **options: Any) -> np.ndarray:
        """The sound of `blocks`, `[samples]`, or of several voices `[samples, voices]`."""
        found = [block.samples for block in self.blocks(seconds, **options)]
        sound = np.concatenate(found, axis=1).T
        return sound[:, 0] if sound.shape[1] == 1 else sound


def prime_of(path: str | Path, size: Any) -> np.ndarray:
    """A recording as a model of `size` hears it first, `[samples]` of one channel.

    Of an unconditional model that hears so many samples alone, its end. Raises AudioError for what
    cannot be read.
    """
    sound, _ = audio.read(path, sample_rate=size.sample_rate)
    sound = sound.mean(axis=1)
    reach = size.context_samples()
    free = size.frame_samples == 1
    return sound[-reach:] if free and reach and len(sound) > reach else sound


def conditions_of(
    size: Any, condition: str | Path | None = None, speaker: str | None = None
) -> dict[str, np.ndarray]:
    """The inputs of a model of `size` beside the past: `[1, frames, width]`, a speaker `[1, 1]`.

    condition: of pitch and loudness a CSV or JSON as `kzoo synthesize` takes it, from its first row
    on; of mel bands a recording, of which they are made, or a .npy `[frames, bands]`; of a piano
    roll a MIDI file, whose drums are left out. speaker: one of the model's names. Raises ValueError
    for what the model does not take, or takes and is not given, audio.AudioError for a recording
    that cannot be read, and ImportError for MIDI without mido.
    """
    known = {}
    if size.speakers:
        if speaker is None:
            raise ValueError(f"name a speaker of the model: {', '.join(size.speakers)}")
        config.named(size.speakers, speaker, "speaker of the model")
        known["speaker"] = np.array([[size.speakers.index(speaker)]], np.int32)
    elif speaker is not None:
        raise ValueError(f"the model has one voice and no names; leave the speaker {speaker!r} out")
    if size.conditions == "none":
        if condition is not None:
            raise ValueError(f"the model takes no condition; leave {condition} out")
        return known
    if condition is None:
        what = {
            "controls": "pitch and loudness (.csv, .json)",
            "mel": "the mel bands of a recording (or a .npy of them)",
            "piano_roll": "the notes of a MIDI file (.mid)",
        }[size.conditions]
        raise ValueError(f"the model plays {what}: name a file of them as its condition")
    if size.conditions == "mel":
        if Path(condition).suffix == ".npy":
            return known | {"mel": _bands(condition, size.bands)}
        sound, _ = audio.read(condition, sample_rate=size.sample_rate)
        return known | {"mel": size.levels_of(sound.mean(axis=1))[None]}
    if size.conditions == "piano_roll":
        return known | {"piano_roll": _roll(condition, size.hop_length / size.sample_rate)}
    points = read_points(condition, loudest_db=_LOUDEST_DB)
    rate = size.sample_rate / size.hop_length
    rows = np.stack(list(rests_as_silence(frames(points, rate), 440.0))).astype(np.float32)
    return known | {"f0_hz": rows[None, :, 1:2], "loudness_db": rows[None, :, 2:3]}


def _bands(path: str | Path, bands: int) -> np.ndarray:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ValueError(f"{path}: is no .npy of mel bands ({error})") from None
    if not isinstance(found, np.ndarray) or found.ndim != 2 or found.shape[1] != bands:
        shape = list(np.shape(found))
        raise ValueError(f"{path}: mel bands are [frames, {bands}]; got {shape}")
    return found[None].astype(np.float32)


def _roll(path: str | Path, frame_seconds: float) -> np.ndarray:
    """`[1, frames, pitches]` until the last note ends."""
    notes = score.pitched(score.read(path).notes)
    if not len(notes):
        raise ValueError(f"{path}: has drums alone, and the model plays notes of a pitch")
    frames = math.ceil(notes[:, 1].max() / frame_seconds - 1e-6)
    return score.piano_roll(notes, frames, frame_seconds=frame_seconds)[None]


def _samples(seconds: float | None, size: Any, known: dict, primed: int) -> int:
    if seconds is not None:
        samples = round(seconds * size.sample_rate) if math.isfinite(seconds) else 0
        if samples < 1:
            raise ValueError(f"seconds must be above 0; got {seconds}")
        return samples
    lengths = [x.shape[1] for name, x in known.items() if name != "speaker"]
    if not lengths:
        return round(SECONDS * size.sample_rate)
    samples = min(lengths) * size.frame_samples - primed
    if samples < 1:
        raise ValueError(
            f"the condition is no longer than the prime, {primed / size.sample_rate:.2f} s: "
            "it begins with the prime, and goes on for what is drawn"
        )
    return samples


class Stillness:
    """Whether a sound has collapsed: told block by block, `[voices, samples]`."""

    def __init__(self, sample_rate: int, voices: int = 1):
        self.sample_rate, self._samples = sample_rate, 0
        self._low, self._high = np.full((2, voices), np.nan)
        self._since = np.zeros(voices, int)

    def hear(self, block: np.ndarray) -> None:
        """Take what was drawn next."""
        for voice, sound in enumerate(block):
            for start in range(0, len(sound), 100):
                part = sound[start : start + 100]
                low = np.fmin(self._low[voice], part.min())
                high = np.fmax(self._high[voice], part.max())
                if high - low > _STILL:
                    low, high = part[-1], part[-1]
                    self._since[voice] = self._samples + start + len(part)
                self._low[voice], self._high[voice] = low, high
        self._samples += block.shape[1]

    def lines(self) -> list[str]:
        """A line about each voice that stood still to the end, half a second or all there is."""
        least = min(_STILL_SECONDS * self.sample_rate, self._samples)
        told = []
        for voice, since in enumerate(self._since):
            if self._samples - since < least:
                continue
            level = (self._low[voice] + self._high[voice]) / 2
            what = "silence" if abs(level) < _STILL else f"a constant, {level:.3f}"
            told.append(
                f"voice {voice + 1} has collapsed to {what} after {since / self.sample_rate:.2f} "
                "s; try another seed, a higher temperature or a prime"
            )
        return told
