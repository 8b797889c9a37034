"""Sound made on the fly: a seeded corpus that needs no download.

A sung-like voice, a plucked bass, a drum kit of noise bursts and sustained chords, at one tempo and
in one key a track. It is no music, but its sources have the textures by which music is separated,
so a network that learns nothing on it will learn nothing elsewhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np

from kzoo.data.corpus import Corpus, chosen
from kzoo.dsp.notes import midi_to_hz

_SOURCES = ("vocals", "drums", "bass", "other")
_SCALE = np.array([0, 2, 4, 5, 7, 9, 11])


class Synthetic(Corpus):
    """`n_tracks` tracks of `seconds`, each a pure function of the seed and its number."""

    def __init__(self, sources, sample_rate, channels, names, seconds, seed):
        self.sources, self.sample_rate, self.channels = tuple(sources), sample_rate, channels
        self.seed = seed
        self.tracks = [(name, round(seconds * sample_rate)) for name in names]
        self._numbers = [int(name.rsplit("_", 1)[1]) for name in names]

    def read_part(self, track, part, start, samples):
        """Same as `Corpus.read_part`; "accompaniment" is everything but the voice."""
        names = [n for n in _SOURCES if n != "vocals"] if part == "accompaniment" else [part]
        total = np.zeros((samples, self.channels), np.float32)
        length = self.tracks[track][1]
        inside = np.arange(start, start + samples) < length
        for name in names:
            seed = (self.seed, self._numbers[track], _SOURCES.index(name))
            total += _PLAYERS[name](seed, start, samples, self.sample_rate)[:, None] * _pan(
                seed, self.channels
            )
        return total * inside[:, None]

    def identity(self, track):
        """Return the sha256 of what the track is made from."""
        text = repr((self.seed, self._numbers[track], self.sample_rate, self.tracks[track]))
        return hashlib.sha256(text.encode()).hexdigest()


def synthetic(
    *,
    sources: Sequence[str] = _SOURCES,
    tracks: int = 8,
    seconds: float = 30.0,
    seed: int = 0,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    sample_rate: int = 44100,
    channels: int = 2,
) -> Synthetic:
    """A corpus of `tracks` made-up pieces; sources among vocals, drums, bass, other, accompaniment.

    Raises ValueError for another source.
    """
    for source in sources:
        if source not in (*_SOURCES, "accompaniment"):
            known = ", ".join((*_SOURCES, "accompaniment"))
            raise ValueError(f"the synthetic corpus has {known}; got {source!r}")
    names = chosen([f"synthetic_{n}" for n in range(tracks)], include, exclude, "synthetic")
    return Synthetic(sources, sample_rate, channels, names, seconds, seed)


def _beat(seed) -> float:
    return 60.0 / np.random.default_rng(seed[:2]).uniform(90, 140)


def _notes(seed, start, samples, rate, beats):
    """(number, length, which samples of it are heard, where in the segment) of the notes in it.

    What is not heard is not computed: a chord may last twenty times as long as a segment.
    """
    length = max(round(_beat(seed) * beats * rate), 1)
    for number in range(start // length, (start + samples) // length + 1):
        at = number * length - start
        heard = np.arange(max(-at, 0), min(length, samples - at))
        if len(heard):
            yield number, length, heard, heard + at


def _degree_hz(seed, degree: int, octave: int) -> float:
    key = np.random.default_rng(seed[:2]).integers(0, 12)
    semitones = key + _SCALE[degree % 7] + 12 * (octave + degree // 7)
    return midi_to_hz(semitones)


def _voice(seed, start, samples, rate):
    total = np.zeros(samples, np.float32)
    for number, length, heard, where in _notes(seed, start, samples, rate, 2):
        rng = np.random.default_rng((*seed, number))
        if rng.random() < 0.3:
            continue  # a rest
        t = np.arange(heard[-1] + 1) / rate
        pitch = _degree_hz(seed, int(rng.integers(0, 10)), 4)
        vibrato = 0.06 * np.sin(2 * np.pi * rng.uniform(4.5, 6.5) * t) * np.minimum(t / 0.3, 1)
        phase = (2 * np.pi * np.cumsum(pitch * 2 ** (vibrato / 12)) / rate)[heard]
        formants = rng.uniform((300, 900, 2300), (800, 2000, 3200))
        sound = np.zeros(len(heard))
        for harmonic in range(1, max(int(min(rate / 2, 8000) / (pitch * 1.05)), 2)):
            level = sum(np.exp(-(((harmonic * pitch - f) / 250) ** 2)) for f in formants)
            sound += (level + 0.1 / harmonic) * np.sin(harmonic * phase)
        total[where] = 0.08 * sound * _envelope(heard, length, rate, 0.04, 0.08)
    return total


def _drums(seed, start, samples, rate):
    total = np.zeros(samples, np.float32)
    for number, length, heard, where in _notes(seed, start, samples, rate, 0.5):
        rng = np.random.default_rng((*seed, number))
        noise = rng.standard_normal(min(length, round(0.25 * rate)))
        rings = heard < len(noise)
        heard, where = heard[rings], where[rings]
        t = heard / rate
        kind = ("kick", "hat", "snare", "hat")[number % 4]
        if kind == "kick":
            sound = np.sin(2 * np.pi * (50 * t + 3 * (1 - np.exp(-t / 0.02)))) * np.exp(-t / 0.08)
        elif kind == "snare":
            sound = (0.6 * noise[heard] + np.sin(2 * np.pi * 190 * t)) * np.exp(-t / 0.06)
        else:
            sound = 0.5 * np.diff(noise, prepend=0)[heard] * np.exp(-t / 0.02)
        total[where] = 0.3 * rng.uniform(0.6, 1) * sound
    return total


def _bass(seed, start, samples, rate):
    total = np.zeros(samples, np.float32)
    for number, length, heard, where in _notes(seed, start, samples, rate, 1):
        rng = np.random.default_rng((*seed, number))
        t = heard / rate
        pitch = _degree_hz(seed, int(rng.choice([0, 3, 4])), 2)
        sound = sum(np.sin(2 * np.pi * h * pitch * t) / h**1.5 for h in range(1, 8))
        decay = np.exp(-t / 0.35) * _envelope(heard, length, rate, 0.004, 0.02)
        total[where] = 0.2 * sound * decay
    return total


def _chords(seed, start, samples, rate):
    total = np.zeros(samples, np.float32)
    for number, length, heard, where in _notes(seed, start, samples, rate, 4):
        rng = np.random.default_rng((*seed, number))
        t = heard / rate
        root = int(rng.choice([0, 3, 4, 5]))
        sound = np.zeros(len(heard))
        for degree in (root, root + 2, root + 4):
            pitch = _degree_hz(seed, degree, 4)
            for detune in (-0.3, 0.4):
                saw = (t * (pitch + detune) + rng.random()) % 1.0
                sound += 2 * np.abs(2 * saw - 1) - 1
        total[where] = 0.05 * sound * _envelope(heard, length, rate, 0.1, 0.2)
    return total


def _envelope(heard, length: int, rate: int, attack_seconds: float, release_seconds: float):
    t, end = heard / rate, (length - 1) / rate
    return np.minimum(np.minimum(t / attack_seconds, (end - t) / release_seconds + 1e-9), 1)


def _pan(seed, channels: int) -> np.ndarray:
    if channels == 1:
        return np.ones(1, np.float32)
    angle = np.random.default_rng((*seed, 999)).uniform(0.2, 0.8, channels) * np.pi / 2
    return np.sqrt(2) * np.sin(angle).astype(np.float32)


_PLAYERS = {"vocals": _voice, "drums": _drums, "bass": _bass, "other": _chords}
