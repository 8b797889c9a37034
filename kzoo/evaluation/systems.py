"""What is scored: a separator, a folder of estimates, the untouched mixture, the oracles.

A system has a `name`, `sources` where it knows them, an `identity` for a track (from which a score
is known to be still valid), and `estimates` for a track.
"""

from __future__ import annotations

import functools
import re
import shutil
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import kzoo
from kzoo import audio, classical
from kzoo.classical import masks
from kzoo.data.recordings import Recording, Track, audio_file, recordings_sha256, stem_recordings
from kzoo.data.tracks import Sound, fitted_to, members, read_recordings, sum_of
from kzoo.separation import Bag, BlockSeparator, Part, Streamed

BASELINES = ("mixture", *masks.KINDS, masks.COMPLEX)
_ORACLE_WINDOW_SECONDS = 4096 / 44100
_LATE_SECONDS = 0.001  # what resampling and the padding of codecs may cost
# Codecs of files whose rounding is far below what any score sees.
_EXACT = (
    "float",
    "double",
    "pcm_24",
    "pcm_32",
    "pcm_s24",
    "pcm_s32",
    "pcm_f",
    "alac_24",
    "alac_32",
)


@dataclass(frozen=True)
class Baseline:
    """The mixture itself as the estimate of every source, or an oracle mask of `BASELINES`.

    The masks' window is the power of two nearest 93 ms, with 75 % overlap. Of a single source they
    are against what it leaves of the mixture.
    """

    name: str
    sources: tuple[str, ...] = ()

    def identity(self, track: Track) -> dict[str, Any]:
        """Nothing but the window can change what a baseline does."""
        return {"baseline": self.name, "window_seconds": round(_ORACLE_WINDOW_SECONDS, 4)}

    def estimates(self, track: Track, sound: Sound, crop: Mapping) -> dict[str, np.ndarray]:
        """{source: `[samples, channels]`} for every reference of `sound`."""
        if self.name == "mixture":
            return dict.fromkeys(sound.references, sound.mixture)
        n_fft = 2 ** round(np.log2(_ORACLE_WINDOW_SECONDS * sound.sample_rate))
        references = dict(sound.references)
        if len(references) == 1:
            references["the rest"] = sound.mixture - next(iter(references.values()))
        estimates = masks.oracle(
            self.name, references, sound.mixture, n_fft=n_fft, hop_length=n_fft // 4
        )
        return {source: estimates[source] for source in sound.references}


@dataclass(frozen=True)
class EstimatesFolder:
    """FOLDER/<track>/<source>.wav (any readable format), or FOLDER/<subset>/<track>/<source>.wav.

    FOLDER/<track>.wav is the estimate of a single source: a folder of enhanced speech.
    Estimates are of whole tracks: a crop of the references crops them too. As in museval, one that
    is too long is cut, one too short is silent at its end. interchangeable: their names mean
    nothing, as those of speakers; they are scored in the best order of each track.
    """

    name: str
    folder: Path
    sources: tuple[str, ...] = ()
    interchangeable: bool = False

    def place(self, track: Track) -> Path:
        """The folder of a track, or its one file; ValueError where there is neither."""
        parents = (self.folder, self.folder / track.subset)
        places = [parent / track.name for parent in parents if (parent / track.name).is_dir()]
        places = places or [path for p in parents if (path := audio_file(p, track.name))]
        if places:
            return places[0]
        raise ValueError(f"{self.folder}: has no estimates of the track {track.name!r}")

    def identity(self, track: Track) -> dict[str, Any]:
        """The bytes of the estimates."""
        place = self.place(track)
        recordings = stem_recordings(place) if place.is_dir() else {"": Recording(place)}
        return {"estimates_sha256": recordings_sha256(recordings)}

    def estimates(self, track: Track, sound: Sound, crop: Mapping) -> dict[str, np.ndarray]:
        """Same as `Baseline.estimates`; ValueError for another rate, or a source not there."""
        place, recordings = self._recordings(track, list(sound.references))
        signals, sample_rate = read_recordings(recordings, **crop)
        if sample_rate != sound.sample_rate:
            raise ValueError(
                f"{place}: estimates must be at the references' rate, {sound.sample_rate} Hz; "
                f"got {sample_rate} Hz: resample them"
            )
        return gathered(signals, list(sound.references), where=str(place))

    def notes(self, track: Track, sound: Sound, crop: Mapping) -> list[str]:
        """What a reader of the scores should know of the files of a track."""
        _, recordings = self._recordings(track, list(sound.references))
        channels = sound.mixture.shape[1]
        wanted = len(sound.mixture) / sound.sample_rate
        found = []
        used = members(recordings, list(sound.references)).values()
        for source in dict.fromkeys(name for names in used for name in names):
            recording = recordings[source]
            about = audio.info(recording.path)
            if about.channels < channels:
                found.append(f"{source}: has 1 channel, which is played on all {channels}")
            if about.duration_seconds is not None:
                missing = wanted - max(0.0, about.duration_seconds - crop["start_seconds"])
                if missing > _LATE_SECONDS:
                    found.append(f"{source}: ends {missing:.3g} s early, and is silent there")
                elif crop["duration_seconds"] is None and -missing > _LATE_SECONDS:
                    found.append(f"{source}: is {-missing:.3g} s longer than the track, and is cut")
            if not about.codec.startswith(_EXACT):
                found.append(f"estimates in {about.codec}: its rounding counts where it is quiet")
        return [f"{self.name}: {note}" for note in dict.fromkeys(found)]

    def _recordings(
        self, track: Track, sources: Sequence[str]
    ) -> tuple[Path, dict[str, Recording]]:
        place = self.place(track)
        if place.is_dir():
            recordings = stem_recordings(place)
        elif len(sources) == 1:
            recordings = {sources[0]: Recording(place)}
        else:
            raise ValueError(
                f"{place}: a file alone can only be the estimate of a single source; got "
                f"{', '.join(sources)}: make it a folder {track.name}/<source>.wav"
            )
        if not recordings:
            raise audio.AudioError(f"{place}: holds no sound that can be read")
        return place, recordings


@dataclass(frozen=True)
class Separation:
    """A separator: `separate(waveform, sample_rate)` to {source: `[samples, channels]`}.

    It runs in the calling process; `separate` may load its model when it is first called.
    known_by: what makes its results reproducible (the sha256 of weights, options); None where
    nothing does, and its scores are then made anew in every run. parameters: how many numbers its
    weights are.
    """

    name: str
    sources: tuple[str, ...]
    separate: Callable[[np.ndarray, int], Mapping[str, np.ndarray]]
    known_by: Mapping[str, Any] | None = None
    interchangeable: bool = False
    parameters: int | None = None

    def identity(self, track: Track) -> dict[str, Any] | None:
        """The same for every track."""
        return None if self.known_by is None else dict(self.known_by)

    def estimates(self, sound: Sound) -> dict[str, np.ndarray]:
        """{source: `[samples, channels]`} for every reference of `sound`.

        Interchangeable sources that have other names keep them, and may be more; ValueError for
        fewer.
        """
        stems = self.separate(sound.mixture, sound.sample_rate)
        references = list(sound.references)
        if not self.interchangeable or set(references) <= set(stems):
            return gathered(stems, references, where=self.name)
        if len(stems) < len(references):
            raise ValueError(
                f"{self.name}: gives {len(stems)} sources, and {len(references)} are scored"
            )
        return dict(stems)

    def stored(self, sound: Sound, folder: Path, identity: dict | None) -> StoredEstimates:
        """Separate the mixture and leave the estimates in `folder`, for another process."""
        start = time.perf_counter()
        stems = self.estimates(sound)
        seconds = time.perf_counter() - start
        for source, signal in stems.items():
            np.save(folder / f"{source}.npy", signal)
        return StoredEstimates(self.name, folder, identity, self.interchangeable, seconds)


@dataclass(frozen=True)
class StoredEstimates:
    """Estimates of one track that a `Separation` has left behind, and the `seconds` it took."""

    name: str
    folder: Path
    known_by: dict[str, Any] | None
    interchangeable: bool = False
    seconds: float | None = None

    def identity(self, track: Track) -> dict[str, Any] | None:
        """The separator's."""
        return self.known_by

    def estimates(self, track: Track, sound: Sound, crop: Mapping) -> dict[str, np.ndarray]:
        """Same as `Baseline.estimates`."""
        return {path.stem: np.load(path) for path in sorted(self.folder.glob("*.npy"))}

    def discard(self) -> None:
        """Delete them: they have been scored."""
        shutil.rmtree(self.folder, ignore_errors=True)


def untrained(text: str) -> Separation:
    """A method without training by its text, as `classical.method_of` reads it.

    Sources that have no names are scored in their best order. Raises ValueError as that.
    """
    method = classical.method_of(text)

    def separate(waveform: np.ndarray, sample_rate: int) -> Mapping[str, np.ndarray]:
        system = method.system(sample_rate, waveform.shape[1])
        return BlockSeparator(system).separate(waveform, sample_rate)

    return Separation(
        name=re.sub(r"[^\w.,=-]+", "_", text),  # one of a folder
        sources=() if method.interchangeable else method.sources,
        separate=separate,
        known_by={"method": text, "kzoo": kzoo.__version__, **method.identity()},
        interchangeable=method.interchangeable,
    )


def blend(parts: Sequence[tuple[float, Separation]]) -> Separation:
    """The weighted mean of what several separators say, as Uhlich et al., 2017, blend networks.

    parts: (weight, separator); weights count by their share. The sources are those of the first;
    the others' are summed to them by the rule of `corpus.members`. Raises ValueError for a weight
    that is not above 0, sources that another lacks, and sources without an order, as speakers.
    """
    _, first = parts[0]
    for weight, part in parts:
        if not 0 < weight < np.inf:
            raise ValueError(f"weights of a blend must be above 0; got {weight:g} of {part.name}")
        if part.interchangeable:
            raise ValueError(
                f"{part.name} gives its sources in any order, and cannot be blended with others"
            )
        gathered(dict.fromkeys(part.sources, np.float32(0)), first.sources, where=part.name)

    bag = Bag(
        first.sources,
        [
            Part(functools.partial(_AtOnce, part, first.sources), dict.fromkeys(first.sources, w))
            for w, part in parts
        ],
    )
    known = [[weight, part.known_by] for weight, part in parts]
    counts = [part.parameters for _, part in parts]
    alike = len({weight for weight, _ in parts}) == 1
    return Separation(
        name="+".join(part.name if alike else f"{weight:g}_{part.name}" for weight, part in parts),
        sources=first.sources,
        separate=bag.separate,
        known_by=None if any(part is None for _, part in known) else {"blend": known},
        parameters=None if None in counts else sum(counts),
    )


@dataclass(frozen=True)
class _AtOnce(Streamed):
    """A separator of whole recordings as a part of a bag, whose `sources` it is asked for."""

    part: Separation
    sources: tuple[str, ...]

    def stream(self, pieces, sample_rate: int, channels: int, **_):
        mixture = np.concatenate(list(pieces()))
        stems = self.part.separate(mixture, sample_rate)
        stems = gathered(stems, self.sources, where=self.part.name)
        yield mixture, np.stack(list(stems.values()))


System = Baseline | EstimatesFolder | Separation | StoredEstimates


def gathered(
    signals: Mapping[str, np.ndarray], sources: Sequence[str], *, where: str
) -> dict[str, np.ndarray]:
    """The estimates of `sources`, summed from others by the rule of `corpus.members`."""
    assigned = members(signals, sources)
    missing = [source for source, names in assigned.items() if not names]
    if missing:
        raise ValueError(
            f"{where}: no estimate of {', '.join(missing)}; it has {', '.join(signals)}"
        )
    return {source: sum_of(signals[name] for name in names) for source, names in assigned.items()}


def fitted(estimates: Mapping[str, np.ndarray], like: np.ndarray) -> dict[str, np.ndarray]:
    """Estimates as long and as wide as `like`, `[samples, channels]`.

    Raises ValueError for an estimate of another number of channels, other than one.
    """
    for name, signal in estimates.items():
        if signal.shape[1] not in (1, like.shape[1]):
            raise ValueError(
                f"the estimate of {name} has {signal.shape[1]} channels and the track "
                f"{like.shape[1]}: mix it to {like.shape[1]}"
            )
    return {name: fitted_to(signal, *like.shape) for name, signal in estimates.items()}
