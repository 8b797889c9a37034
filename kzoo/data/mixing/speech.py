"""Speakers talking at once, mixed on the fly from recordings of single ones.

    PATH/<speaker>/.../<utterance>.flac     any format, all at one rate, or shards of such a tree
    kzoo data prepare PATH -o SHARDS --kind speech --sample-rate 8000 --channels 1
Utterances follow one another until a segment is full. Levels, noise and reverberation are drawn for
every mixture; all of it is a function of a seed and a number. The tracks of the corpus are a fixed
set of such mixtures, for validation and tests; training draws new ones without end.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from kzoo.data.mixing.signals import at_level, in_room, level_db, room_tail
from kzoo.data.mixing.utterances import Mixtures, Utterances, open_recordings


@dataclass(kw_only=True, eq=False)
class Speech(Mixtures):
    """As many speakers at once as `sources` names.

    level_db: RMS of the first speaker, of full scale. snr_db: of the first over every other one.
    noise: a folder of recordings, or shards of it. noise_db: level of the speakers' sum over it.
    reverb_seconds: each speaker has an impulse response of its own in one room. dry: the sources
    are without the room, the mixture is not.
    Raises ValueError also for a partition with fewer speakers than sources.
    """

    noise: str | None = None
    noise_db: Sequence[float] = (0.0, 15.0)
    dry: bool = False

    drawn: ClassVar = (
        "level_db", "snr_db", "pause_seconds", "noise_db", "reverb_seconds", "direct_db", "dry"
    )  # fmt: skip

    def __post_init__(self):
        self.sources = self.sources or ("speaker1", "speaker2")
        super().__post_init__()
        if len(self.voices) < len(self.sources):
            raise ValueError(
                f"{self.path}: the partition {self.partition} has the speakers "
                f"{', '.join(self.voices) or 'none'}, too few for {len(self.sources)} at once; use "
                "split: utterances, or other shares"
            )
        self.noises = None
        if self.noise is not None:
            recordings = open_recordings(self.noise, self.sample_rate, self.channels)
            self.noises = Utterances(recordings, tuple(range(len(recordings.tracks))))
        # With noise or dry sources the sum of the sources is not what was heard.
        self.records_mixture = self.noises is not None or self.dry

    def mixed(self, rng: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """A new mixture, as `Corpus.read` gives them."""
        rate = self.sample_rate
        pause = tuple(round(seconds * rate) for seconds in self.pause_seconds)
        level = rng.uniform(*self.level_db)
        sources = []
        for number, speaker in enumerate(self._cast(rng)):
            own = level if number == 0 else level - rng.uniform(*self.snr_db)
            sources.append(at_level(self.voices[speaker].segment(rng, samples, pause), own))
        dry = np.stack(sources)
        heard = dry
        if self.reverb_seconds is not None:
            seconds = rng.uniform(*self.reverb_seconds)
            heard = np.stack([self._in_room(rng, source, seconds) for source in dry])
        mixture = heard.sum(axis=0)
        if self.noises is not None:
            wanted = level_db(mixture) - rng.uniform(*self.noise_db)
            mixture = mixture + at_level(self.noises.segment(rng, samples, (0, 0)), wanted)
        targets = dry if self.dry else heard
        # One gain for all keeps the levels' differences.
        scale = np.float32(1 / max(1.0, np.abs(mixture).max(), np.abs(targets).max()))
        return {"sources": targets * scale, "mixture": mixture * scale}

    def made_of(self):
        """Same as `Mixtures.made_of`."""
        heard = {**self.voices, **({} if self.noises is None else {"": self.noises})}
        made_of = {name: utterances.identities() for name, utterances in heard.items()}
        return json.dumps([made_of, self.scene, self.sources, self.required, self.seed])

    def _cast(self, rng) -> list[str]:
        """Different speakers, one of those required among them, in an order of no meaning."""
        names = list(self.voices)
        cast = [self.required[rng.integers(len(self.required))]] if self.required else []
        others = [name for name in names if name not in cast]
        count = len(self.sources) - len(cast)
        cast += [others[k] for k in rng.permutation(len(others))[:count]]
        return [cast[k] for k in rng.permutation(len(cast))]

    def _in_room(self, rng, source: np.ndarray, seconds: float) -> np.ndarray:
        rate, direct_db = self.sample_rate, self.direct_db
        return in_room(source, room_tail(rng, rate, seconds, direct_db, self.channels), rate)
