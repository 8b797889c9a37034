"""Speech in noise, mixed on the fly: for enhancement.

    kzoo data prepare SPEECH -o SHARDS --kind speech --sample-rate 16000 --channels 1
    kzoo data prepare NOISE -o SHARDS --kind sources --sample-rate 16000 --channels 1
SPEECH/<speaker>/.../<utterance> and NOISE/<kind>/.../<recording>, any format, all at one rate, or
shards of them. Besides recordings there are the noises that `kzoo.data.mixing.noises` makes up, and
babble: three to eight voices of other speakers of the same partition. A mixture is one speaker in a
room (or none) and one noise or more; all that is drawn is a function of a seed and a number.

What is learned to give back is the speech before the room (target: dry), with its reflections
within 50 ms (early), or as it was heard there (reverberant).
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

import numpy as np

from kzoo.data.corpus import Corpus, fits
from kzoo.data.mixing.noises import NOISES, equalized
from kzoo.data.mixing.signals import active_db, at_level, at_speed, in_room, room_tail
from kzoo.data.mixing.utterances import Mixtures, Utterances, open_recordings
from kzoo.data.recorded import Folders
from kzoo.data.recordings import visible
from kzoo.data.shards import INDEX

TARGETS = ("dry", "early", "reverberant")
SOURCES = (("speech",), ("speech", "noise"))
BABBLE = "babble"
_EARLY_SECONDS = 0.05
_VOICES = (3, 8)
_SECOND_NOISE_DB = (-15.0, 0.0)  # of any further noise, relative to the first


@dataclass(kw_only=True, eq=False)
class NoisySpeech(Mixtures):
    """One speaker and noise.

    sources: speech alone, or speech and noise, which is all of the mixture that is not the speech,
        what the room adds beyond the target included.
    noise: a folder of recordings with a folder a kind (or none), or shards of it.
    noises: {kind: how often, relative to the others}; a kind is a folder of `noise`, "babble", or
        one of `kzoo.data.mixing.noises.NOISES`. By default every folder, without `noise` all that
        are made up, equally often. noise_exclude: patterns of recordings. A test of unseen noises
        names folders that no training names.
    level_db: active level of the speech, of full scale. snr_db: of it, as heard, over the noise's
        RMS.
    speed: of the speech, pitch and tempo together. noise_speed, noise_equalizer_db: of recorded
        noises; octaves up or down by as much. noises_at_once: how many.
    reverb_chance: how often there is a room. target: one of TARGETS.
    A speaker who is held out by utterances is the one who speaks in that partition, and the others'
    utterances there are babble. Steps that vary sources come after all this: `speed` as a step
    would leave the room's echo of the speech as it was.
    Raises ValueError also for a partition with no speaker, or none to babble.
    """

    sources: Sequence[str] = ("speech",)
    noise: str | None = None
    noises: Mapping[str, float] | None = None
    noise_exclude: Sequence[str] = ()
    level_db: Sequence[float] = (-35.0, -18.0)
    snr_db: Sequence[float] = (0.0, 15.0)
    speed: Sequence[float] = (1.0, 1.0)
    noise_speed: Sequence[float] = (1.0, 1.0)
    noise_equalizer_db: float = 0.0
    noises_at_once: Sequence[int] = (1, 1)
    reverb_chance: float = 1.0
    target: str = "early"

    drawn: ClassVar = (
        "level_db", "snr_db", "pause_seconds", "speed", "noise_speed", "noise_equalizer_db",
        "noises_at_once", "reverb_seconds", "reverb_chance", "direct_db", "target",
    )  # fmt: skip

    def __post_init__(self):
        if tuple(self.sources) not in SOURCES:
            raise ValueError(
                "the sources of noisy speech are [speech] or [speech, noise]; got "
                f"{list(self.sources)}"
            )
        if self.target not in TARGETS:
            raise ValueError(f"target must be one of {', '.join(TARGETS)}; got {self.target!r}")
        super().__post_init__()
        if self.noises_at_once[0] < 1:
            raise ValueError(f"noises_at_once must be at least 1; got {list(self.noises_at_once)}")
        if min(self.speed[0], self.noise_speed[0]) <= 0:
            raise ValueError("speed and noise_speed must be more than 0")
        self.noises_at_once = tuple(int(count) for count in self.noises_at_once)
        if not self.voices:
            raise ValueError(
                f"{self.path}: the partition {self.partition} has no speaker; use split: "
                "utterances, held_out, or other shares"
            )
        self.required = self.required or tuple(self.voices)
        self.kinds = _kinds(self.noise, self.noises, self.noise_exclude, self.recordings)
        if BABBLE in self.kinds and len(self.voices) < 2:
            raise ValueError(
                f"{self.path}: the partition {self.partition} has {next(iter(self.voices))} alone, "
                "and nobody else to babble; leave babble out of noises, or use split: utterances"
            )
        chances = np.array([chance for chance, _ in self.kinds.values()])
        self._chances = chances / chances.sum()
        # With noise among the sources they sum to what was heard.
        self.records_mixture = len(self.sources) == 1

    def mixed(self, rng: np.random.Generator, samples: int) -> dict[str, np.ndarray]:
        """A new mixture, as `Corpus.read` gives them."""
        rate = self.sample_rate
        speaker = self.required[rng.integers(len(self.required))]
        dry = self._voice(rng, speaker, samples, self.speed)
        # Not `at_level`: pauses count for nothing.
        gain = 10 ** ((rng.uniform(*self.level_db) - active_db(dry, rate)) / 20)
        target = heard = dry * np.float32(gain)
        if self.reverb_seconds is not None and rng.random() < self.reverb_chance:
            seconds = rng.uniform(*self.reverb_seconds)
            tail = room_tail(rng, rate, seconds, self.direct_db, self.channels)
            heard = in_room(target, tail, rate)
            if self.target == "early":
                target = in_room(target, tail, rate, early_seconds=_EARLY_SECONDS)
            elif self.target == "reverberant":
                target = heard
        wanted = active_db(heard, rate) - rng.uniform(*self.snr_db)
        mixture = heard + at_level(self._noise(rng, speaker, samples), wanted)
        sources = np.stack([target, mixture - target][: len(self.sources)])
        # One gain for all keeps the levels' differences.
        scale = np.float32(1 / max(1.0, np.abs(mixture).max(), np.abs(target).max()))
        return {"sources": sources * scale, "mixture": mixture * scale}

    def made_of(self):
        """Same as `Mixtures.made_of`."""
        speech = {name: voice.identities() for name, voice in self.voices.items()}
        noises = {
            kind: [chance, recordings.identities() if recordings else None]
            for kind, (chance, recordings) in self.kinds.items()
        }
        return json.dumps([speech, noises, self.scene, self.sources, self.required, self.seed])

    @property
    def description(self):
        """Same as `Mixtures.description`, with the noises."""
        noises = {
            kind: f"{recordings.ends[-1] / self.sample_rate / 60:.1f} minutes" if recordings
            else "other speakers" if kind == BABBLE else "made up"
            for kind, (_, recordings) in self.kinds.items()
        }  # fmt: skip
        return {**super().description, "noises": noises}

    def _voice(self, rng, speaker: str, samples: int, speed: tuple[float, float]) -> np.ndarray:
        pause = tuple(round(s * self.sample_rate) for s in self.pause_seconds)
        return _at_drawn_speed(rng, self.voices[speaker], samples, pause, speed)

    def _noise(self, rng, speaker: str, samples: int) -> np.ndarray:
        kinds, (fewest, most) = list(self.kinds), self.noises_at_once
        total = np.zeros((samples, self.channels), np.float32)
        for number in range(int(rng.integers(fewest, most + 1))):
            kind = kinds[rng.choice(len(kinds), p=self._chances)]
            level = rng.uniform(*_SECOND_NOISE_DB) if number else 0.0
            total += at_level(self._noise_of(rng, kind, speaker, samples), level)
        return total

    def _noise_of(self, rng, kind: str, speaker: str, samples: int) -> np.ndarray:
        recordings = self.kinds[kind][1]
        if recordings is not None:
            noise = _at_drawn_speed(rng, recordings, samples, (0, 0), self.noise_speed)
            if self.noise_equalizer_db:
                noise = equalized(rng, noise, self.sample_rate, self.noise_equalizer_db)
            return noise
        if kind != BABBLE:
            return np.repeat(
                NOISES[kind](rng, samples, self.sample_rate)[:, None], self.channels, 1
            )
        others = [name for name in self.voices if name != speaker]
        total = np.zeros((samples, self.channels), np.float32)
        for _ in range(int(rng.integers(_VOICES[0], _VOICES[1] + 1))):
            voice = self._voice(rng, others[rng.integers(len(others))], samples, self.noise_speed)
            total += at_level(voice, rng.uniform(-6.0, 0.0))
        return total


def _kinds(
    path: str | None, wanted: Mapping[str, float] | None, exclude: Sequence[str], speech: Corpus
) -> dict[str, tuple[float, Utterances | None]]:
    """{kind: (how often, its recordings or None)}; a folder goes before what is made up."""
    recorded: dict[str, Utterances] = {}
    if path is not None:
        corpus = _open_noise(path, speech.sample_rate, speech.channels)
        places: dict[str, list[int]] = {}
        for number, (name, samples) in enumerate(corpus.tracks):
            if samples and not fits(name, exclude):
                places.setdefault(name.split("/", 1)[0], []).append(number)
        recorded = {kind: Utterances(corpus, tuple(numbers)) for kind, numbers in places.items()}
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
        and not any(p.is_dir() for p in visible(root))
    ):
        # Recordings without folders are one kind, by the name of theirs.
        root = root.resolve()
        return Folders(
            path=str(root.parent), sources=[root.name], sample_rate=sample_rate, channels=channels
        ).open()
    return open_recordings(path, sample_rate, channels)


def _at_drawn_speed(rng, recordings: Utterances, samples: int, pause, speed) -> np.ndarray:
    """A segment of `recordings`, `[samples, channels]`, at a speed of the range."""
    thousandths = round(1000 * rng.uniform(*speed))
    if thousandths == 1000:
        return recordings.segment(rng, samples, pause)
    longer = -(-samples * thousandths // 1000) + 1
    return _exactly(at_speed(recordings.segment(rng, longer, pause), thousandths), samples)


def _exactly(signal: np.ndarray, samples: int) -> np.ndarray:
    return np.pad(signal[:samples], ((0, max(samples - len(signal), 0)), (0, 0)))
