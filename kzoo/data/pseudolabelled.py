"""Recordings, and for their sources what a trained separator makes of them: a teacher's word."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from kzoo import audio
from kzoo.data.corpus import Corpus, chosen
from kzoo.data.recordings import Recording, Track, find_audio
from kzoo.data.tracks import fitted_to
from kzoo.files import file_sha256

# (waveform `[samples, channels]`, sample rate in Hz) to {source: the same shape}.
Separate = Callable[[np.ndarray, int], dict[str, np.ndarray]]


class Pseudolabelled(Corpus):
    """Recorded mixtures, separated when `prepare` asks for them.

    sources, sample_rate, channels: those of the separator. teacher: a text that names its weights,
    for the identity of what it makes.
    Raises audio.AudioError for what is no recording.
    """

    def __init__(
        self,
        tracks: Sequence[Track],
        separate: Separate,
        *,
        sources: Sequence[str],
        sample_rate: int,
        channels: int,
        teacher: str,
    ):
        self.sources, self.sample_rate, self.channels = tuple(sources), sample_rate, channels
        self._files = [track.mixture.path for track in tracks]
        lengths = [audio.info(path).duration_seconds or 0 for path in self._files]
        self.tracks = [
            (track.name, round(seconds * sample_rate))
            for track, seconds in zip(tracks, lengths, strict=True)
        ]
        self._separate, self.teacher = separate, teacher
        self._of = functools.lru_cache(maxsize=1)(self._estimates)

    def whole(self, track: int, part: str) -> np.ndarray:
        """A source of a recording; all of them are made at the first that is asked for."""
        return self._of(track)[part]

    def identity(self, track: int) -> str:
        """Of the recording and of the separator's weights."""
        return file_sha256(self._files[track])[:32] + self.teacher[:32]

    def _estimates(self, track: int) -> dict[str, np.ndarray]:
        mixture, _ = audio.read(self._files[track], sample_rate=self.sample_rate)
        mixture = fitted_to(mixture, self.tracks[track][1], mixture.shape[1])
        stems = self._separate(mixture, self.sample_rate)
        wide = (len(mixture), self.channels)
        return {name: np.broadcast_to(stem, wide) for name, stem in stems.items()}


def find_mixtures(folder: str | Path, exclude: Sequence[str] = ()) -> list[Track]:
    """Tracks of a mixture alone: the recordings directly in `folder`; ValueError for none."""
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(f"{folder}: there is no such folder of recordings")
    files = find_audio(folder, deep=False)
    tracks = [Track(path.stem, "", {}, Recording(path)) for path in files]
    if not tracks:
        raise ValueError(f"{folder}: holds no recordings to be taught on")
    return chosen(tracks, (), exclude, str(folder))


class Taught(Corpus):
    """Recorded mixtures of `corpus`, and for its sources what a trained separator makes of them.

    The tracks are called as those of `corpus`, and after whom they are taught, so that both fit
    into one folder: learned from together, they are the mean of two losses.
    separate, teacher: as `Pseudolabelled` has them. name: of the separator, for the tracks.
    Raises ValueError where no mixtures are recorded.
    """

    records_mixture = True

    def __init__(self, corpus: Corpus, separate: Separate, *, teacher: str, name: str):
        if not corpus.records_mixture:
            raise ValueError("a teacher hears mixtures, and this corpus has none that is recorded")
        self._corpus, self._separate, self.teacher, self._name = corpus, separate, teacher, name
        self.sources, self.rates = corpus.sources, corpus.rates
        self.sample_rate, self.channels = corpus.sample_rate, corpus.channels
        self.excluded = tuple(map(self.called, corpus.excluded))
        self.tracks = [(self.called(track), samples) for track, samples in corpus.tracks]
        self._of = functools.lru_cache(maxsize=1)(self._estimates)

    def called(self, track: str) -> str:
        """What a track of `corpus` is called here."""
        return f"{track}@{self._name}"

    def whole(self, track: int, part: str) -> np.ndarray:
        """The mixture as it is, or a source as it is taught, from beginning to end."""
        return self._corpus.whole(track, part) if part == "mixture" else self._of(track)[part]

    def identity(self, track: int) -> str:
        """Of the recording and of the separator's weights."""
        return self._corpus.identity(track)[:32] + self.teacher[:32]

    def _estimates(self, track: int) -> dict[str, np.ndarray]:
        return self._separate(self._corpus.whole(track, "mixture"), self.sample_rate)
