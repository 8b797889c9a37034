"""Speakers talking at once, mixed on the fly from recordings of single ones.

    PATH/<speaker>/.../<utterance>.flac     any format, all at one rate, or shards of such a tree
    kzoo data prepare PATH -o SHARDS --kind speech --sample-rate 8000 --channels 1
Utterances follow one another until a segment is full. Levels, noise and reverberation are drawn for
every mixture; all of it is a function of a seed and a number. The tracks of the corpus are a fixed
set of such mixtures, for validation and tests; training draws new ones without end.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from kzoo.data.signals import at_level, in_room, level_db, room_tail
from kzoo.data.utterances import (
    Mixtures,
    Pool,
    open_recordings,
    partitioned,
    refuse_turned,
    span,
    talkers,
)


@dataclass(frozen=True)
class Scene:
    """What is drawn for a mixture; pairs are the ends of uniform ranges.

    level_db: RMS of the first speaker, of full scale. snr_db: of the first over every other one.
    pause_seconds: between utterances. noise_db: level of the speakers' sum over the noise.
    reverb_seconds: the time in which the room falls by 60 dB; each speaker has an impulse response
    of its own there, a direct path and an exponentially decaying tail of white noise that follows
    it after 2 ms, with direct_db between them. dry: the sources are without the room, the mixture
    is not.
    """

    level_db: tuple[float, float]
    snr_db: tuple[float, float]
    pause_seconds: tuple[float, float]
    noise_db: tuple[float, float]
    reverb_seconds: tuple[float, float] | None
    direct_db: tuple[float, float]
    dry: bool

    def __post_init__(self):
        refuse_turned(asdict(self))


class Speech(Mixtures):
    """`mixtures` fixed ones of `seconds` as tracks, and `mixed` for any number of others."""

    def __init__(
        self,
        sources: Sequence[str],
        speakers: Mapping[str, Pool],
        *,
        among: Sequence[str],
        noise: Pool | None,
        scene: Scene,
        name: str,
        mixtures: int,
        seconds: float,
        seed: int,
    ):
        """among: speakers of whom every mixture has one, at least; empty for no such rule."""
        first = next(iter(speakers.values())).corpus
        self.sources, self.speakers = tuple(sources), dict(speakers)
        self.sample_rate, self.channels = first.sample_rate, first.channels
        self.among, self.noise, self.scene, self.seed = tuple(among), noise, scene, seed
        # With noise or dry sources the sum of the sources is not what was heard.
        self.records_mixture = noise is not None or scene.dry
        self._fix(name, mixtures, seconds)

    def mixed(self, rng: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """A new mixture, as `Corpus.read` gives them."""
        rate, scene = self.sample_rate, self.scene
        pause = tuple(round(seconds * rate) for seconds in scene.pause_seconds)
        level = rng.uniform(*scene.level_db)
        sources = []
        for number, speaker in enumerate(self._cast(rng)):
            own = level if number == 0 else level - rng.uniform(*scene.snr_db)
            sources.append(at_level(self.speakers[speaker].segment(rng, samples, pause), own))
        dry = np.stack(sources)
        heard = dry
        if scene.reverb_seconds is not None:
            seconds = rng.uniform(*scene.reverb_seconds)
            heard = np.stack([self._in_room(rng, source, seconds) for source in dry])
        mixture = heard.sum(axis=0)
        if self.noise is not None:
            wanted = level_db(mixture) - rng.uniform(*scene.noise_db)
            mixture = mixture + at_level(self.noise.segment(rng, samples, (0, 0)), wanted)
        targets = dry if scene.dry else heard
        # One gain for all keeps the levels' differences.
        scale = np.float32(1 / max(1.0, np.abs(mixture).max(), np.abs(targets).max()))
        return {"sources": targets * scale, "mixture": mixture * scale}

    def made_of(self):
        """As `Mixtures.made_of`."""
        pools = {**self.speakers, **({} if self.noise is None else {"": self.noise})}
        made_of = {name: pool.identities() for name, pool in pools.items()}
        return json.dumps([made_of, asdict(self.scene), self.sources, self.among, self.seed])

    @property
    def description(self) -> dict[str, object]:
        """What the mixtures are made of, for a card."""
        samples = sum(int(pool.ends[-1]) for pool in self.speakers.values())
        return {
            "speakers": {name: len(pool.utterances) for name, pool in self.speakers.items()},
            "minutes": round(samples / self.sample_rate / 60, 1),
            "mixed": "on the fly, without end",
        }

    def _cast(self, rng) -> list[str]:
        """Different speakers, one of `among` with them, in an order of no meaning."""
        names = list(self.speakers)
        chosen = [self.among[rng.integers(len(self.among))]] if self.among else []
        others = [name for name in names if name not in chosen]
        count = len(self.sources) - len(chosen)
        chosen += [others[k] for k in rng.permutation(len(others))[:count]]
        return [chosen[k] for k in rng.permutation(len(chosen))]

    def _in_room(self, rng, source: np.ndarray, seconds: float) -> np.ndarray:
        rate, direct_db = self.sample_rate, self.scene.direct_db
        return in_room(source, room_tail(rng, rate, seconds, direct_db, self.channels), rate)


def speech(
    path: str,
    *,
    sources: Sequence[str] | None = None,
    speakers: Mapping[str, Sequence[str]] | Sequence[str] | None = None,
    partition: str = "train",
    split: str = "speakers",
    shares: Sequence[float] = (0.8, 0.1, 0.1),
    held_out: Mapping[str, Sequence[str]] | None = None,
    split_seed: int = 0,
    exclude: Sequence[str] = (),
    min_seconds: float = 0.3,
    mixtures: int = 100,
    seconds: float = 4.0,
    seed: int = 0,
    level_db: Sequence[float] = (-30.0, -20.0),
    snr_db: Sequence[float] = (-5.0, 5.0),
    pause_seconds: Sequence[float] = (0.0, 0.3),
    noise: str | None = None,
    noise_db: Sequence[float] = (0.0, 15.0),
    reverb_seconds: Sequence[float] | None = None,
    direct_db: Sequence[float] = (0.0, 10.0),
    dry: bool = False,
    sample_rate: int | None = None,
    channels: int | None = None,
) -> Speech:
    """Mixtures of as many speakers as `sources` names (speaker1 and speaker2).

    speakers: names of folders in `path`, or {speaker: patterns of utterances} where one person has
        several folders, such as {allison: ["en/*", "es/*"]}; by default every folder is a speaker.
    partition: "train", "validation" or "test". split: "speakers" shares whole speakers out among
        the partitions, "utterances" those of each speaker, for where there are too few speakers.
    shares: of train, validation and test, drawn by `split_seed`; utterances fall to a side by
        their names, so that new ones move no old ones.
    held_out: {"validation": speakers, "test": speakers}: all they say, in that partition alone. By
        speakers the others are then all for training; by utterances every mixture of that
        partition has one of them, against the utterances of the others that are held out.
    exclude: patterns of utterances, such as "*/silence/*". min_seconds: of an utterance.
    mixtures, seconds, seed: the fixed set that the corpus has as tracks.
    noise: a folder of recordings, or shards. The other options are `Scene`'s.
    Raises ValueError for an unknown name, and for a partition with fewer speakers than sources.
    """
    base = open_recordings(path, sample_rate, channels)
    found = talkers(base, path, speakers, exclude=exclude, min_seconds=min_seconds)
    names = tuple(sources or ("speaker1", "speaker2"))
    chosen, among = partitioned(base, found, partition, split, shares, held_out or {}, split_seed)
    if len(chosen) < len(names):
        raise ValueError(
            f"{path}: the partition {partition} has the speakers {', '.join(chosen) or 'none'}, "
            f"too few for {len(names)} at once; use split: utterances, or other shares"
        )
    scene = Scene(
        level_db=span(level_db), snr_db=span(snr_db), pause_seconds=span(pause_seconds),
        noise_db=span(noise_db), direct_db=span(direct_db), dry=dry,
        reverb_seconds=None if reverb_seconds is None else span(reverb_seconds),
    )  # fmt: skip
    sounds = None
    if noise is not None:
        heard = open_recordings(noise, base.sample_rate, base.channels)
        sounds = Pool(heard, tuple(range(len(heard.tracks))))
    return Speech(
        names, {name: Pool(base, tuple(utterances)) for name, utterances in chosen.items()},
        among=among, noise=sounds, scene=scene, name=partition, mixtures=mixtures, seconds=seconds,
        seed=seed,
    )  # fmt: skip
