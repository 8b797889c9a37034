"""Recordings of single speakers, or of single noises: who is in them, and whose turn it is.

A tree of folders, PATH/<speaker>/.../<utterance>, or shards of it. Speakers or utterances are
shared out among partitions by their names, so that no partition hears another's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np

from kzoo.data.corpus import Corpus, fits
from kzoo.data.recorded import folders
from kzoo.data.shards import INDEX, shards
from kzoo.data.signals import level_db

PARTITIONS = ("train", "validation", "test")
SPLITS = ("speakers", "utterances")
_ATTEMPTS = 8
_SILENCE_DB = -55.0  # a segment below this is drawn again


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
            if level_db(out) >= _SILENCE_DB:
                break
        return out

    def identities(self) -> list[str]:
        """sha256 of each."""
        return [self.corpus.identity(u) for u in self.utterances]


class Mixtures(Corpus):
    """Mixtures of what pools hold: `mixed` makes new ones, and a fixed set are the tracks.

    A subclass has `sources`, `sample_rate`, `channels` and `seed`, and calls `_fix`.
    """

    mixes = True
    seed: int

    def _fix(self, name: str, mixtures: int, seconds: float) -> None:
        samples = round(seconds * self.sample_rate)
        self.tracks = [(f"{name}_{n:04d}", samples) for n in range(mixtures)]
        # Windows of one track are asked for one after the other, by a few threads.
        self._whole = lru_cache(maxsize=4)(self._mix)

    def _mix(self, track: int) -> dict[str, np.ndarray]:
        name, samples = self.tracks[track]
        number = int(name.rsplit("_", 1)[1])
        return self.mixed(np.random.default_rng((self.seed, number)), samples)

    def made_of(self) -> str:
        """Text that names everything that the mixtures depend on."""
        raise NotImplementedError

    def read(self, track, start, samples):
        """As `Corpus.read`, of the fixed mixtures."""
        whole, length = self._whole(track), self.tracks[track][1]
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
            self._digest = hashlib.sha256(self.made_of().encode()).hexdigest()
        return hashlib.sha256(f"{self._digest} {self.tracks[track]}".encode()).hexdigest()


def open_recordings(path: str, sample_rate: int | None, channels: int | None) -> Corpus:
    """A tree of folders, or shards of one."""
    opener = shards if (Path(path) / INDEX).is_file() else folders
    return opener(path, sample_rate=sample_rate, channels=channels)


def talkers(
    base: Corpus, path: str, speakers: Mapping[str, Sequence[str]] | Sequence[str] | None, *,
    exclude: Sequence[str], min_seconds: float,
) -> dict[str, list[int]]:  # fmt: skip
    """{speaker: utterances} of `base`, speakers in the order of their names.

    speakers: as of `kzoo.data.speech.speech`. ValueError for one who says nothing.
    """
    places = [name for name, _ in base.tracks]
    if not isinstance(speakers, Mapping):
        wanted = speakers or sorted({name.split("/", 1)[0] for name in places})
        speakers = {name: [f"{name}/*"] for name in wanted}
    found = {}
    for speaker in sorted(speakers):
        found[speaker] = [u for u, name in enumerate(places) if fits(name, speakers[speaker])]
        if not found[speaker]:
            tops = ", ".join(sorted({name.split("/", 1)[0] for name in places})[:8])
            raise ValueError(
                f"{path}: no utterance of {speaker!r} under {', '.join(speakers[speaker])}; its "
                f"folders are {tops}"
            )
    shortest = min_seconds * base.sample_rate
    return {
        name: [
            u for u in utterances
            if base.tracks[u][1] >= shortest and not fits(base.tracks[u][0], exclude)
        ]
        for name, utterances in found.items()
    }  # fmt: skip


def partitioned(base, speakers, partition, split, shares, held_out, seed):
    """({speaker: utterances of the partition}, those of whom every mixture has one).

    The options are those of `kzoo.data.speech.speech`.
    """
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


def span(ends: Sequence[float]) -> tuple[float, float]:
    """Both ends of a range; ValueError where there are more or fewer."""
    if len(ends) != 2:
        raise ValueError(f"a range is [low, high]; got {list(ends)}")
    return float(ends[0]), float(ends[1])


def refuse_turned(values: Mapping[str, object]) -> None:
    """ValueError for a range whose low end is above its high end."""
    for name, value in values.items():
        if isinstance(value, tuple) and value[0] > value[1]:
            raise ValueError(f"{name} must be [low, high]; got {list(value)}")


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
