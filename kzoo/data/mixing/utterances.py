"""Recordings of single speakers, or of single noises: who is in them, and whose turn it is.

A tree of folders, PATH/<speaker>/.../<utterance>, or shards of it. Speakers or utterances are
shared out among partitions by their names, so that no partition hears another's.
"""

# No postponed annotations: `config` reads those of inherited fields in the subclass's module.

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import ClassVar

import numpy as np

from kzoo.data.corpus import Corpus, fits
from kzoo.data.mixing.signals import level_db
from kzoo.data.recorded import Folders
from kzoo.data.shards import INDEX, shards

PARTITIONS = ("train", "validation", "test")
SPLITS = ("speakers", "utterances")
_ATTEMPTS = 8
_SILENCE_DB = -55.0  # a segment below this is drawn again


@dataclass(frozen=True)
class Utterances:
    """Recordings of one speaker or kind, drawn in proportion to their length.

    tracks: their positions in `corpus.tracks`.
    """

    corpus: Corpus
    tracks: tuple[int, ...]

    @cached_property
    def ends(self) -> np.ndarray:
        """Where each would end if one followed the other, in samples."""
        return np.cumsum([self.corpus.tracks[track][1] for track in self.tracks])

    def read(self, track: int, start: int, samples: int) -> np.ndarray:
        """A stretch of one, `[samples, channels]`."""
        part = self.corpus.tracks[track][0].split("/", 1)[0]
        return self.corpus.read_part(track, part, start, samples)

    def segment(self, rng: np.random.Generator, samples: int, pause: tuple[int, int]) -> np.ndarray:
        """Utterances and pauses in turn, `[samples, channels]`; the first may be under way already.

        pause: its shortest and its longest length in samples.
        """
        for _ in range(_ATTEMPTS):
            out = np.zeros((samples, self.corpus.channels), np.float32)
            at = 0
            while at < samples:
                picked = int(np.searchsorted(self.ends, rng.integers(self.ends[-1]), side="right"))
                track = self.tracks[picked]
                length = self.corpus.tracks[track][1]
                skip = int(rng.integers(0, max(length - samples, 0) + 1))
                count = min(length - skip, samples - at)
                out[at : at + count] = self.read(track, skip, count)
                at += count + int(rng.integers(pause[0], pause[1] + 1))
            if level_db(out) >= _SILENCE_DB:
                break
        return out

    def identities(self) -> list[str]:
        """sha256 of each."""
        return [self.corpus.identity(track) for track in self.tracks]


@dataclass(kw_only=True, eq=False)
class Mixtures(Corpus):
    """Mixtures of what is recorded of speakers: `mixed` makes new ones, a fixed set are the tracks.

    The fields are the options of a configuration, a subclass's beside these; those that `drawn`
    names are drawn for every mixture, pairs being the ends of uniform ranges.

    path: PATH/<speaker>/.../<utterance> in any format, all at one rate, or shards of such a tree.
    speakers: names of folders in `path`, or {speaker: patterns of utterances} where one person has
        several folders, such as {allison: ["en/*", "es/*"]}; by default every folder is a speaker.
    partition: "train", "validation" or "test". split: "speakers" shares whole speakers out among
        the partitions, "utterances" those of each speaker, for where there are too few speakers.
    shares: of train, validation and test, drawn by `split_seed`; utterances fall to a side by
        their names, so that new ones move no old ones.
    held_out: {"validation": speakers, "test": speakers}: all they say, in that partition alone. By
        speakers the others are then all for training; by utterances every mixture of that
        partition has one of them, beside the utterances of the others that are held out.
    exclude: patterns of utterances, such as "*/silence/*". min_seconds: of an utterance.
    mixtures, seconds, seed: the fixed set that the corpus has as tracks.
    pause_seconds: between utterances.
    reverb_seconds: the time in which the room falls by 60 dB, None for no room; its impulse
        response is a direct path and a tail of white noise that decays exponentially and follows it
        after 2 ms, direct_db below it.

    voices: {speaker: utterances} of the partition. required: the speakers of whom every mixture has
    one, empty where there is no such rule.
    Raises ValueError for an unknown name, and for a range whose low end is above its high end.
    """

    path: str
    sources: Sequence[str] | None = None
    speakers: Mapping[str, Sequence[str]] | Sequence[str] | None = None
    partition: str = "train"
    split: str = "speakers"
    shares: Sequence[float] = (0.8, 0.1, 0.1)
    held_out: Mapping[str, Sequence[str]] | None = None
    split_seed: int = 0
    exclude: Sequence[str] = ()
    min_seconds: float = 0.3
    mixtures: int = 100
    seconds: float = 4.0
    seed: int = 0
    level_db: Sequence[float] = (-30.0, -20.0)
    snr_db: Sequence[float] = (-5.0, 5.0)
    pause_seconds: Sequence[float] = (0.0, 0.3)
    reverb_seconds: Sequence[float] | None = None
    direct_db: Sequence[float] = (0.0, 10.0)
    sample_rate: int | None = None
    channels: int | None = None

    mixes: ClassVar[bool] = True
    # In the order in which the sha256 of runs has them.
    drawn: ClassVar[tuple[str, ...]]

    def __post_init__(self):
        self.sources = tuple(self.sources)
        for name in self.drawn:
            if isinstance(getattr(self, name), list | tuple):
                setattr(self, name, _range(name, getattr(self, name)))
        self.recordings = open_recordings(self.path, self.sample_rate, self.channels)
        self.sample_rate, self.channels = self.recordings.sample_rate, self.recordings.channels
        everyone = speakers_of(
            self.recordings, self.path, self.speakers, exclude=self.exclude,
            min_seconds=self.min_seconds,
        )  # fmt: skip
        present, self.required = partitioned(
            self.recordings, everyone, partition=self.partition, split=self.split,
            shares=self.shares, held_out=self.held_out or {}, seed=self.split_seed,
        )  # fmt: skip
        self.voices = {
            name: Utterances(self.recordings, tuple(tracks)) for name, tracks in present.items()
        }
        samples = round(self.seconds * self.sample_rate)
        self.tracks = [(f"{self.partition}_{n:04d}", samples) for n in range(self.mixtures)]
        # Windows of one track are asked for one after the other, by a few threads.
        self._whole = lru_cache(maxsize=4)(self._mix)

    @property
    def scene(self) -> dict[str, object]:
        """What is drawn for a mixture, and from which ranges."""
        return {name: getattr(self, name) for name in self.drawn}

    def _mix(self, track: int) -> dict[str, np.ndarray]:
        return self.mixed(np.random.default_rng((self.seed, track)), self.tracks[track][1])

    def made_of(self) -> str:
        """Text that names everything that the mixtures depend on."""
        raise NotImplementedError

    @property
    def description(self) -> dict[str, object]:
        """What the mixtures are made of, for a card."""
        samples = sum(int(voice.ends[-1]) for voice in self.voices.values())
        return {
            "speakers": {name: len(voice.tracks) for name, voice in self.voices.items()},
            "minutes": round(samples / self.sample_rate / 60, 1),
            "mixed": "on the fly, without end",
        }

    def read(self, track, start, samples):
        """Same as `Corpus.read`, of the fixed mixtures."""
        whole, length = self._whole(track), self.tracks[track][1]
        count = max(min(samples, length - start), 0)
        found = {"sources": np.zeros((len(self.sources), samples, self.channels), np.float32),
                 "mixture": np.zeros((samples, self.channels), np.float32)}  # fmt: skip
        found["sources"][:, :count] = whole["sources"][:, start : start + count]
        found["mixture"][:count] = whole["mixture"][start : start + count]
        return found

    def read_part(self, track, part, start, samples):
        """Same as `Corpus.read_part`."""
        found = self.read(track, start, samples)
        return found["mixture"] if part == "mixture" else found["sources"][self.sources.index(part)]

    def identity(self, track):
        """Of the utterances that it may draw from, and of what is done to them."""
        if not hasattr(self, "_digest"):
            self._digest = hashlib.sha256(self.made_of().encode()).hexdigest()
        return hashlib.sha256(f"{self._digest} {self.tracks[track]}".encode()).hexdigest()


def open_recordings(path: str, sample_rate: int | None, channels: int | None) -> Corpus:
    """A tree of folders, or shards of one."""
    if (Path(path) / INDEX).is_file():
        return shards(path, sample_rate=sample_rate, channels=channels)
    return Folders(path=path, sample_rate=sample_rate, channels=channels).open()


def speakers_of(
    recordings: Corpus, path: str, speakers: Mapping[str, Sequence[str]] | Sequence[str] | None, *,
    exclude: Sequence[str], min_seconds: float,
) -> dict[str, list[int]]:  # fmt: skip
    """{speaker: positions of their utterances in `recordings`}, in the order of their names.

    The options are those of `Mixtures`. Raises ValueError for a speaker who says nothing.
    """
    names = [name for name, _ in recordings.tracks]
    if not isinstance(speakers, Mapping):
        wanted = speakers or sorted({name.split("/", 1)[0] for name in names})
        speakers = {name: [f"{name}/*"] for name in wanted}
    matches = {}
    for speaker in sorted(speakers):
        matches[speaker] = [u for u, name in enumerate(names) if fits(name, speakers[speaker])]
        if not matches[speaker]:
            tops = ", ".join(sorted({name.split("/", 1)[0] for name in names})[:8])
            raise ValueError(
                f"{path}: no utterance of {speaker!r} under {', '.join(speakers[speaker])}; its "
                f"folders are {tops}"
            )
    shortest = min_seconds * recordings.sample_rate
    return {
        name: [
            u for u in utterances
            if recordings.tracks[u][1] >= shortest and not fits(names[u], exclude)
        ]
        for name, utterances in matches.items()
    }  # fmt: skip


def partitioned(
    recordings: Corpus, speakers: Mapping[str, list[int]], *, partition: str, split: str,
    shares: Sequence[float], held_out: Mapping[str, Sequence[str]], seed: int,
) -> tuple[dict[str, list[int]], tuple[str, ...]]:  # fmt: skip
    """({speaker: utterances of the partition}, those of whom every mixture has one).

    The options are those of `Mixtures`, which says what is raised.
    """
    for value, known, what in ((partition, PARTITIONS, "partition"), (split, SPLITS, "split")):
        if value not in known:
            raise ValueError(f"{what} must be one of {', '.join(known)}; got {value!r}")
    checked_shares(shares)
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
    required = tuple(own)
    names = [name for name, _ in recordings.tracks]
    for name in others:
        mine = [u for u in speakers[name] if side(names[u], shares, seed) == partition]
        own |= {name: mine} if mine else {}
    return {name: own[name] for name in speakers if name in own}, required


def _range(name: str, ends: Sequence[float]) -> tuple[float, float]:
    if len(ends) != 2 or ends[0] > ends[1]:
        raise ValueError(f"{name} must be [low, high]; got {list(ends)}")
    return float(ends[0]), float(ends[1])


def _shared_out(names: Sequence[str], shares: Sequence[float], seed: int) -> dict[str, str]:
    order = [names[k] for k in np.random.default_rng(seed).permutation(len(names))]
    counts = [max(round(share * len(names)), share > 0) for share in shares[1:]]
    sides = ["validation"] * counts[0] + ["test"] * counts[1]
    sides += ["train"] * (len(names) - len(sides))
    return dict(zip(order, sides, strict=False))


def checked_shares(shares: Sequence[float]) -> None:
    """Raise ValueError for what cannot be the shares of train, validation and test."""
    if len(shares) != 3 or min(shares) < 0 or abs(sum(shares) - 1) > 1e-6:
        raise ValueError(f"shares must be three numbers that sum to one; got {list(shares)}")


def side(name: str, shares: Sequence[float], seed: int) -> str:
    """The one of `PARTITIONS` that a name falls to, whatever other names there are."""
    digest = hashlib.sha256(f"{seed} {name}".encode()).digest()
    place = int.from_bytes(digest[:8], "big") / 2**64
    return PARTITIONS[min(int(np.searchsorted(np.cumsum(shares), place, side="right")), 2)]
