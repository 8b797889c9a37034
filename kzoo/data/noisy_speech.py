"""Speech in noise, mixed on the fly: for enhancement.

    kzoo data prepare SPEECH -o SHARDS --kind speech --sample-rate 16000 --channels 1
    kzoo data prepare NOISE -o SHARDS --kind sources --sample-rate 16000 --channels 1
SPEECH/<speaker>/.../<utterance> and NOISE/<kind>/.../<recording>, any format, all at one rate, or
shards of them. Besides recordings there are the noises that `kzoo.data.noises` makes up, and
babble: three to eight voices of other speakers of the same partition. A mixture is one speaker in a
room (or none) and one noise or more; all that is drawn is a function of a seed and a number.

What is learned to give back is the speech before the room (target: dry), with its reflections
within 50 ms (early), or as it was heard there (reverberant).
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np

from kzoo.data.corpus import Corpus, fits
from kzoo.data.noises import NOISES, equalized
from kzoo.data.recorded import folders
from kzoo.data.shards import INDEX
from kzoo.data.signals import active_db, at_level, at_speed, in_room, room_tail
from kzoo.data.utterances import (
    Mixtures,
    Pool,
    open_recordings,
    partitioned,
    refuse_turned,
    span,
    talkers,
)

TARGETS = ("dry", "early", "reverberant")
SOURCES = (("speech",), ("speech", "noise"))
BABBLE = "babble"
_EARLY_SECONDS = 0.05
_VOICES = (3, 8)
_SECOND_NOISE_DB = (-15.0, 0.0)  # of any further noise, relative to the first


@dataclass(frozen=True)
class Scene:
    """What is drawn for a mixture; pairs are the ends of uniform ranges.

    level_db: active level of the speech, of full scale. snr_db: of it, as heard, over the noise's
    RMS. pause_seconds: between utterances. speed: of the speech, pitch and tempo together.
    noise_speed, noise_equalizer_db: of recorded noises; octaves up or down by as much.
    noises_at_once: how many. reverb_seconds: the time in which the room falls by 60 dB, and
    reverb_chance how often there is one; its impulse response is a direct path and, direct_db
    below, an exponentially decaying tail of white noise. target: one of TARGETS.
    """

    level_db: tuple[float, float]
    snr_db: tuple[float, float]
    pause_seconds: tuple[float, float]
    speed: tuple[float, float]
    noise_speed: tuple[float, float]
    noise_equalizer_db: float
    noises_at_once: tuple[int, int]
    reverb_seconds: tuple[float, float] | None
    reverb_chance: float
    direct_db: tuple[float, float]
    target: str

    def __post_init__(self):
        refuse_turned(asdict(self))
        if self.target not in TARGETS:
            raise ValueError(f"target must be one of {', '.join(TARGETS)}; got {self.target!r}")
        if self.noises_at_once[0] < 1:
            raise ValueError(f"noises_at_once must be at least 1; got {list(self.noises_at_once)}")
        if min(self.speed[0], self.noise_speed[0]) <= 0:
            raise ValueError("speed and noise_speed must be more than 0")


class NoisySpeech(Mixtures):
    """`mixtures` fixed ones of `seconds` as tracks, and `mixed` for any number of others.

    sources: speech alone, or speech and noise, which is all of the mixture that is not the speech,
    what the room adds beyond the target included.
    """

    def __init__(
        self,
        sources: Sequence[str],
        speakers: Mapping[str, Pool],
        *,
        among: Sequence[str],
        noises: Mapping[str, tuple[float, Pool | None]],
        scene: Scene,
        name: str,
        mixtures: int,
        seconds: float,
        seed: int,
    ):
        """among: the speakers of the mixtures, all where empty; the others then only babble.
        noises: {kind: (chance, recordings or None)}, None for what is made up.
        """
        first = next(iter(speakers.values())).corpus
        self.sources, self.speakers = tuple(sources), dict(speakers)
        self.sample_rate, self.channels = first.sample_rate, first.channels
        self.among, self.noises = tuple(among) or tuple(speakers), dict(noises)
        self.scene, self.seed = scene, seed
        chances = np.array([chance for chance, _ in self.noises.values()])
        self._chances = chances / chances.sum()
        # With noise among the sources they sum to what was heard.
        self.records_mixture = len(self.sources) == 1
        self._fix(name, mixtures, seconds)

    def mixed(self, rng: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """A new mixture, as `Corpus.read` gives them."""
        rate, scene = self.sample_rate, self.scene
        speaker = self.among[rng.integers(len(self.among))]
        dry = self._voice(rng, speaker, samples, scene.speed)
        # Not `at_level`: pauses count for nothing.
        gain = 10 ** ((rng.uniform(*scene.level_db) - active_db(dry, rate)) / 20)
        target = heard = dry * np.float32(gain)
        if scene.reverb_seconds is not None and rng.random() < scene.reverb_chance:
            seconds = rng.uniform(*scene.reverb_seconds)
            tail = room_tail(rng, rate, seconds, scene.direct_db, self.channels)
            heard = in_room(target, tail, rate)
            if scene.target == "early":
                target = in_room(target, tail, rate, early_seconds=_EARLY_SECONDS)
            elif scene.target == "reverberant":
                target = heard
        wanted = active_db(heard, rate) - rng.uniform(*scene.snr_db)
        mixture = heard + at_level(self._noise(rng, speaker, samples), wanted)
        sources = np.stack([target, mixture - target][: len(self.sources)])
        # One gain for all keeps the levels' differences.
        scale = np.float32(1 / max(1.0, np.abs(mixture).max(), np.abs(target).max()))
        return {"sources": sources * scale, "mixture": mixture * scale}

    def made_of(self):
        """As `Mixtures.made_of`."""
        speech = {name: pool.identities() for name, pool in self.speakers.items()}
        noises = {
            kind: [chance, pool.identities() if pool else None]
            for kind, (chance, pool) in self.noises.items()
        }
        return json.dumps([speech, noises, asdict(self.scene), self.sources, self.among, self.seed])

    @property
    def description(self) -> dict[str, object]:
        """What the mixtures are made of, for a card."""
        samples = sum(int(pool.ends[-1]) for pool in self.speakers.values())
        return {
            "speakers": {name: len(pool.utterances) for name, pool in self.speakers.items()},
            "minutes": round(samples / self.sample_rate / 60, 1),
            "noises": {
                kind: f"{pool.ends[-1] / self.sample_rate / 60:.1f} minutes" if pool
                else "other speakers" if kind == BABBLE else "made up"
                for kind, (_, pool) in self.noises.items()
            },
            "mixed": "on the fly, without end",
        }  # fmt: skip

    def _voice(self, rng, speaker: str, samples: int, speed: tuple[float, float]) -> np.ndarray:
        pause = tuple(round(s * self.sample_rate) for s in self.scene.pause_seconds)
        return _at_drawn_speed(rng, self.speakers[speaker], samples, pause, speed)

    def _noise(self, rng, speaker: str, samples: int) -> np.ndarray:
        kinds, (fewest, most) = list(self.noises), self.scene.noises_at_once
        total = np.zeros((samples, self.channels), np.float32)
        for number in range(int(rng.integers(fewest, most + 1))):
            kind = kinds[rng.choice(len(kinds), p=self._chances)]
            level = rng.uniform(*_SECOND_NOISE_DB) if number else 0.0
            total += at_level(self._noise_of(rng, kind, speaker, samples), level)
        return total

    def _noise_of(self, rng, kind: str, speaker: str, samples: int) -> np.ndarray:
        pool, scene = self.noises[kind][1], self.scene
        if pool is not None:
            noise = _at_drawn_speed(rng, pool, samples, (0, 0), scene.noise_speed)
            if scene.noise_equalizer_db:
                noise = equalized(rng, noise, self.sample_rate, scene.noise_equalizer_db)
            return noise
        if kind != BABBLE:
            return np.repeat(
                NOISES[kind](rng, samples, self.sample_rate)[:, None], self.channels, 1
            )
        others = [name for name in self.speakers if name != speaker]
        total = np.zeros((samples, self.channels), np.float32)
        for _ in range(int(rng.integers(_VOICES[0], _VOICES[1] + 1))):
            voice = self._voice(rng, others[rng.integers(len(others))], samples, scene.noise_speed)
            total += at_level(voice, rng.uniform(-6.0, 0.0))
        return total


def noisy_speech(
    path: str,
    *,
    sources: Sequence[str] = ("speech",),
    noise: str | None = None,
    noises: Mapping[str, float] | None = None,
    noise_exclude: Sequence[str] = (),
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
    level_db: Sequence[float] = (-35.0, -18.0),
    snr_db: Sequence[float] = (0.0, 15.0),
    pause_seconds: Sequence[float] = (0.0, 0.3),
    speed: Sequence[float] = (1.0, 1.0),
    noise_speed: Sequence[float] = (1.0, 1.0),
    noise_equalizer_db: float = 0.0,
    noises_at_once: Sequence[int] = (1, 1),
    reverb_seconds: Sequence[float] | None = None,
    reverb_chance: float = 1.0,
    direct_db: Sequence[float] = (0.0, 10.0),
    target: str = "early",
    sample_rate: int | None = None,
    channels: int | None = None,
) -> NoisySpeech:
    """Mixtures of a speaker and noise. sources: speech, or speech and noise.

    noise: a folder of recordings with a folder a kind (or none), or shards of it.
    noises: {kind: how often, relative to the others}; a kind is a folder of `noise`, "babble", or
        one of `kzoo.data.noises.NOISES`. By default every folder, without `noise` all that are made
        up, equally often. noise_exclude: patterns of recordings. A test of unseen noises names
        folders that no training names.
    speakers, partition, split, shares, held_out, split_seed, exclude, min_seconds: as of the kind
        speech. A speaker who is held out by utterances is the one who speaks in that partition,
        and the others' utterances there are babble.
    mixtures, seconds, seed: the fixed set that the corpus has as tracks.
    The other options are `Scene`'s. Steps that vary sources come after all this: `speed` as a step
    would leave the room's echo of the speech as it was.
    Raises ValueError for an unknown name, and for a partition with no speaker, or none to babble.
    """
    if tuple(sources) not in SOURCES:
        raise ValueError(
            f"the sources of noisy speech are [speech] or [speech, noise]; got {list(sources)}"
        )
    scene = Scene(
        level_db=span(level_db), snr_db=span(snr_db), pause_seconds=span(pause_seconds),
        speed=span(speed), noise_speed=span(noise_speed), noise_equalizer_db=noise_equalizer_db,
        noises_at_once=tuple(int(end) for end in span(noises_at_once)),
        reverb_seconds=None if reverb_seconds is None else span(reverb_seconds),
        reverb_chance=reverb_chance, direct_db=span(direct_db), target=target,
    )  # fmt: skip
    base = open_recordings(path, sample_rate, channels)
    found = talkers(base, path, speakers, exclude=exclude, min_seconds=min_seconds)
    chosen, among = partitioned(base, found, partition, split, shares, held_out or {}, split_seed)
    if not chosen:
        raise ValueError(
            f"{path}: the partition {partition} has no speaker; use split: utterances, held_out, "
            "or other shares"
        )
    kinds = _kinds(noise, noises, noise_exclude, base)
    if BABBLE in kinds and len(chosen) < 2:
        raise ValueError(
            f"{path}: the partition {partition} has {next(iter(chosen))} alone, and nobody else to "
            "babble; leave babble out of noises, or use split: utterances"
        )
    return NoisySpeech(
        tuple(sources), {name: Pool(base, tuple(mine)) for name, mine in chosen.items()},
        among=among, noises=kinds, scene=scene, name=partition, mixtures=mixtures, seconds=seconds,
        seed=seed,
    )  # fmt: skip


def _kinds(
    path: str | None, wanted: Mapping[str, float] | None, exclude: Sequence[str], speech: Corpus
) -> dict[str, tuple[float, Pool | None]]:
    """{kind: (how often, its recordings or None)}; a folder goes before what is made up."""
    recorded: dict[str, Pool] = {}
    if path is not None:
        corpus = _open_noise(path, speech.sample_rate, speech.channels)
        places: dict[str, list[int]] = {}
        for number, (name, samples) in enumerate(corpus.tracks):
            if samples and not fits(name, exclude):
                places.setdefault(name.split("/", 1)[0], []).append(number)
        recorded = {kind: Pool(corpus, tuple(numbers)) for kind, numbers in places.items()}
    known = [*recorded, BABBLE, *NOISES]
    wanted = dict.fromkeys(recorded or NOISES, 1.0) if wanted is None else wanted
    for kind, chance in wanted.items():
        if kind not in known or chance <= 0:
            raise ValueError(
                f"noises are {', '.join(known)}, each with a chance above 0; got {kind}: {chance}"
            )
    if not wanted:
        raise ValueError(f"noises must name one at least, of {', '.join(known)}")
    return {kind: (float(chance), recorded.get(kind)) for kind, chance in wanted.items()}


def _open_noise(path: str, sample_rate: int, channels: int) -> Corpus:
    root = Path(path)
    if (
        root.is_dir()
        and not (root / INDEX).is_file()
        and not any(p.is_dir() for p in root.iterdir())
    ):
        # Recordings without folders are one kind, by the name of theirs.
        root = root.resolve()
        return folders(
            str(root.parent), sources=[root.name], sample_rate=sample_rate, channels=channels
        )
    return open_recordings(path, sample_rate, channels)


def _at_drawn_speed(rng, pool: Pool, samples: int, pause, speed) -> np.ndarray:
    """A segment of a pool, `[samples, channels]`, at a speed of the range."""
    thousandths = round(1000 * rng.uniform(*speed))
    if thousandths == 1000:
        return pool.segment(rng, samples, pause)
    longer = -(-samples * thousandths // 1000) + 1
    return _exactly(at_speed(pool.segment(rng, longer, pause), thousandths), samples)


def _exactly(signal: np.ndarray, samples: int) -> np.ndarray:
    return np.pad(signal[:samples], ((0, max(samples - len(signal), 0)), (0, 0)))
