"""Speakers talking at once, mixed on the fly from recordings of single ones.

    PATH/<speaker>/.../<utterance>.flac     any format, all at one rate, or shards of such a tree
    kzoo data prepare PATH -o SHARDS --kind speech --sample-rate 8000 --channels 1
Utterances follow one another until a segment is full. Levels, noise and reverberation are drawn for
every mixture; all of it is a function of a seed and a number. The tracks of the corpus are a fixed
set of such mixtures, for validation and tests; training draws new ones without end.
"""

from __future__ import annotations

import fnmatch
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from kzoo.data.corpus import Corpus
from kzoo.data.recorded import folders
from kzoo.data.shards import INDEX, shards

PARTITIONS = ("train", "validation", "test")
SPLITS = ("speakers", "utterances")
_ATTEMPTS = 8
_SILENCE_DB = -55.0  # a segment below this is drawn again


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
        for name, value in asdict(self).items():
            if isinstance(value, tuple) and value[0] > value[1]:
                raise ValueError(f"{name} must be [low, high]; got {list(value)}")


@dataclass(frozen=True)
class Pool:
    """Utterances of one kind, drawn in proportion to their length: positions in `corpus.tracks`."""

    corpus: Corpus
    utterances: tuple[int, ...]

    @cached_property
    def ends(self) -> np.ndarray:
        """Where each would end if one followed the other, in samples."""
        return np.cumsum([self.corpus.tracks[u][1] for u in self.utterances])

    def read(self, utterance: int, start: int, samples: int) -> np.ndarray:
        """A stretch of one, `[samples, channels]`."""
        part = self.corpus.tracks[utterance][0].split("/", 1)[0]
        return self.corpus.read_part(utterance, part, start, samples)

    def segment(self, rng, samples: int, pause: tuple[int, int]) -> np.ndarray:
        """Utterances and pauses in turn; the first may be under way already."""
        for _ in range(_ATTEMPTS):
            out = np.zeros((samples, self.corpus.channels), np.float32)
            at = 0
            while at < samples:
                picked = int(np.searchsorted(self.ends, rng.integers(self.ends[-1]), side="right"))
                utterance = self.utterances[picked]
                length = self.corpus.tracks[utterance][1]
                skip = int(rng.integers(0, max(length - samples, 0) + 1))
                count = min(length - skip, samples - at)
                out[at : at + count] = self.read(utterance, skip, count)
                at += count + int(rng.integers(pause[0], pause[1] + 1))
            if _level_db(out) >= _SILENCE_DB:
                break
        return out


class Speech(Corpus):
    """`mixtures` fixed ones of `seconds` as tracks, and `mixed` for any number of others."""

    mixes = True

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
        samples = round(seconds * self.sample_rate)
        self.tracks = [(f"{name}_{n:04d}", samples) for n in range(mixtures)]

    def mixed(self, rng: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """A new mixture, as `Corpus.read` gives them."""
        rate, scene = self.sample_rate, self.scene
        pause = tuple(round(seconds * rate) for seconds in scene.pause_seconds)
        level = rng.uniform(*scene.level_db)
        sources = []
        for number, speaker in enumerate(self._cast(rng)):
            own = level if number == 0 else level - rng.uniform(*scene.snr_db)
            sources.append(_at_level(self.speakers[speaker].segment(rng, samples, pause), own))
        dry = np.stack(sources)
        heard = dry
        if scene.reverb_seconds is not None:
            seconds = rng.uniform(*scene.reverb_seconds)
            heard = np.stack([self._in_room(rng, source, seconds) for source in dry])
        mixture = heard.sum(axis=0)
        if self.noise is not None:
            wanted = _level_db(mixture) - rng.uniform(*scene.noise_db)
            mixture = mixture + _at_level(self.noise.segment(rng, samples, (0, 0)), wanted)
        targets = dry if scene.dry else heard
        # One gain for all keeps the levels' differences.
        scale = np.float32(1 / max(1.0, np.abs(mixture).max(), np.abs(targets).max()))
        return {"sources": targets * scale, "mixture": mixture * scale}

    def read(self, track, start, samples):
        """As `Corpus.read`, of the fixed mixtures."""
        number = int(self.tracks[track][0].rsplit("_", 1)[1])
        length = self.tracks[track][1]
        whole = self.mixed(np.random.default_rng((self.seed, number)), length)
        count = max(min(samples, length - start), 0)
        found = {"sources": np.zeros((len(self.sources), samples, self.channels), np.float32),
                 "mixture": np.zeros((samples, self.channels), np.float32)}  # fmt: skip
        found["sources"][:, :count] = whole["sources"][:, start : start + count]
        found["mixture"][:count] = whole["mixture"][start : start + count]
        return found

    def read_part(self, track, part, start, samples):
        """As `Corpus.read_part`."""
        found = self.read(track, start, samples)
        return found["mixture"] if part == "mixture" else found["sources"][self.sources.index(part)]

    def identity(self, track):
        """Of the utterances that it may draw from, and of what is done to them."""
        if not hasattr(self, "_digest"):
            pools = {**self.speakers, **({} if self.noise is None else {"": self.noise})}
            made_of = {
                name: [pool.corpus.identity(u) for u in pool.utterances]
                for name, pool in pools.items()
            }
            text = json.dumps([made_of, asdict(self.scene), self.sources, self.among, self.seed])
            self._digest = hashlib.sha256(text.encode()).hexdigest()
        return hashlib.sha256(f"{self._digest} {self.tracks[track]}".encode()).hexdigest()

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
        from scipy.signal import fftconvolve

        gap, length = round(0.002 * self.sample_rate), max(round(seconds * self.sample_rate), 1)
        tail = rng.standard_normal((length, self.channels))
        tail *= 10 ** (-3 * np.arange(length) / length)[:, None]
        ratio = 10 ** (-rng.uniform(*self.scene.direct_db) / 20)
        tail *= ratio / np.sqrt(np.square(tail).sum(axis=0))
        late = fftconvolve(source, tail, axes=0)[: len(source)]
        heard = source.copy()
        heard[gap:] += late[: len(source) - gap].astype(np.float32)
        return heard


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
    base = _open(path, sample_rate, channels)
    found = _speakers(base, speakers, path)
    shortest = min_seconds * base.sample_rate
    found = {
        name: [
            u for u in utterances
            if base.tracks[u][1] >= shortest and not _fits(base.tracks[u][0], exclude)
        ]
        for name, utterances in found.items()
    }  # fmt: skip
    names = tuple(sources or ("speaker1", "speaker2"))
    chosen, among = _partition(base, found, partition, split, shares, held_out or {}, split_seed)
    if len(chosen) < len(names):
        raise ValueError(
            f"{path}: the partition {partition} has the speakers {', '.join(chosen) or 'none'}, "
            f"too few for {len(names)} at once; use split: utterances, or other shares"
        )
    scene = Scene(
        level_db=_range(level_db), snr_db=_range(snr_db), pause_seconds=_range(pause_seconds),
        noise_db=_range(noise_db), direct_db=_range(direct_db), dry=dry,
        reverb_seconds=None if reverb_seconds is None else _range(reverb_seconds),
    )  # fmt: skip
    sounds = None
    if noise is not None:
        heard = _open(noise, base.sample_rate, base.channels)
        sounds = Pool(heard, tuple(range(len(heard.tracks))))
    return Speech(
        names, {name: Pool(base, tuple(utterances)) for name, utterances in chosen.items()},
        among=among, noise=sounds, scene=scene, name=partition, mixtures=mixtures, seconds=seconds,
        seed=seed,
    )  # fmt: skip


def _open(path: str, sample_rate: int | None, channels: int | None) -> Corpus:
    opener = shards if (Path(path) / INDEX).is_file() else folders
    return opener(path, sample_rate=sample_rate, channels=channels)


def _speakers(base: Corpus, speakers, path: str) -> dict[str, list[int]]:
    """{speaker: utterances}, speakers in the order of their names."""
    places = [name for name, _ in base.tracks]
    if not isinstance(speakers, Mapping):
        wanted = speakers or sorted({name.split("/", 1)[0] for name in places})
        speakers = {name: [f"{name}/*"] for name in wanted}
    found = {}
    for speaker in sorted(speakers):
        found[speaker] = [u for u, name in enumerate(places) if _fits(name, speakers[speaker])]
        if not found[speaker]:
            tops = ", ".join(sorted({name.split("/", 1)[0] for name in places})[:8])
            raise ValueError(
                f"{path}: no utterance of {speaker!r} under {', '.join(speakers[speaker])}; its "
                f"folders are {tops}"
            )
    return found


def _partition(base, speakers, partition, split, shares, held_out, seed):
    """({speaker: utterances of the partition}, those of whom every mixture has one)."""
    for value, known, what in ((partition, PARTITIONS, "partition"), (split, SPLITS, "split")):
        if value not in known:
            raise ValueError(f"{what} must be one of {', '.join(known)}; got {value!r}")
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares must be three numbers that sum to one; got {list(shares)}")
    for key, names in held_out.items():
        unknown = [name for name in names if name not in speakers]
        if key not in PARTITIONS[1:] or unknown:
            raise ValueError(
                f"held_out names speakers for validation and test, of {', '.join(speakers)}; got "
                f"{key}: {', '.join(names)}"
            )
    apart = {name: key for key, names in held_out.items() for name in names}
    others = [name for name in speakers if name not in apart]
    own = {name: speakers[name] for name in speakers if apart.get(name) == partition}
    if split == "speakers":
        sides = dict.fromkeys(others, "train") if apart else _shared_out(others, shares, seed)
        own |= {name: speakers[name] for name in others if sides[name] == partition}
        return {name: own[name] for name in speakers if name in own}, ()
    among = tuple(own)
    for name in others:
        mine = [u for u in speakers[name] if _side(base.tracks[u][0], shares, seed) == partition]
        own |= {name: mine} if mine else {}
    return {name: own[name] for name in speakers if name in own}, among


def _shared_out(names: Sequence[str], shares: Sequence[float], seed: int) -> dict[str, str]:
    order = [names[k] for k in np.random.default_rng(seed).permutation(len(names))]
    counts = [max(round(share * len(names)), share > 0) for share in shares[1:]]
    sides = ["validation"] * counts[0] + ["test"] * counts[1]
    sides += ["train"] * (len(names) - len(sides))
    return dict(zip(order, sides, strict=False))


def _side(utterance: str, shares: Sequence[float], seed: int) -> str:
    digest = hashlib.sha256(f"{seed} {utterance}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return PARTITIONS[min(int(np.searchsorted(np.cumsum(shares), place, side="right")), 2)]


def _fits(name: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def _range(ends: Sequence[float]) -> tuple[float, float]:
    if len(ends) != 2:
        raise ValueError(f"a range is [low, high]; got {list(ends)}")
    return float(ends[0]), float(ends[1])


def _level_db(signal: np.ndarray) -> float:
    return 10 * float(np.log10(np.mean(np.square(signal)) + 1e-12))


def _at_level(signal: np.ndarray, level_db: float) -> np.ndarray:
    found = _level_db(signal)
    return signal if found < -100 else signal * np.float32(10 ** ((level_db - found) / 20))
