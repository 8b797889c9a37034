"""MIDI files to a corpus of stems with their truth: OUT/{train,validation,test}/<track>/.

Each track has <stem>.flac for every class of instruments in it, mixture.flac, which is their sum
to the last bit, and the files of `truth`. OUT/corpus.yaml says how all of it was made.
"""

from __future__ import annotations

import dataclasses
import hashlib
import os
import shutil
import threading
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from kzoo import __version__, audio, config
from kzoo.data.midi import playing, score, truth
from kzoo.data.midi.changes import Changes, Version, draw
from kzoo.data.midi.playing import SoundFont
from kzoo.data.mixing.signals import in_room, room_tail
from kzoo.data.mixing.utterances import PARTITIONS, checked_shares, side
from kzoo.data.recordings import files_in
from kzoo.extras import package

CORPUS = "corpus.yaml"
SUFFIXES = (".mid", ".midi", ".kar", ".smf")
_FORMAT = 1
_PEAK = 10 ** (-1 / 20)  # of the mixture or of its loudest stem, whichever is louder
_SILENCE_DB = -80.0  # under that peak: where a track ends, its last note's ring included
_STEPS = 2**23  # of 24 bits, from silence to full scale


@dataclass(frozen=True)
class Rendered:
    """How many tracks each subset has, how many of them were there already, and what failed."""

    tracks: dict[str, int]
    kept: int
    failures: list[str]


class _Job(NamedTuple):
    midi: Path
    name: str  # of the track
    version: int


@dataclass(frozen=True)
class _Settings:
    """Everything but the MIDI file that a track depends on."""

    soundfont: SoundFont
    fluidsynth: str
    seed: int
    sample_rate: int
    shares: tuple[float, ...]
    changes: Changes

    def listed(self) -> dict[str, Any]:
        font = self.soundfont
        return config.plain({
            "format": _FORMAT, "seed": self.seed, "sample_rate": self.sample_rate,
            "shares": self.shares, "changes": dataclasses.asdict(self.changes),
            "soundfont": {"name": font.name, "file": font.path.name, "sha256": font.sha256,
                          "copyright": font.copyright},
            "fluidsynth": self.fluidsynth,
        })  # fmt: skip


def render(
    midi: Sequence[str | Path],
    out: str | Path,
    *,
    soundfont: str | Path | None = None,
    versions: int = 1,
    seed: int = 0,
    sample_rate: int = 44100,
    shares: Sequence[float] = (0.8, 0.1, 0.1),
    changes: Changes | None = None,
    workers: int = 1,
    command: str = "kzoo.data.midi.render(...)",
    progress: Callable[[float, float], object] | None = None,
    say: Callable[[str], object] | None = None,
) -> Rendered:
    """Write a corpus of what fluidsynth and a soundfont play of MIDI files, with its truth.

    midi: files, and folders of any depth. versions: tracks made of each file, each with its own
    draw from `changes`, `Changes()` by default; the sound depends on the file's bytes, the number
    of the version, `seed` and these options alone, and not on `workers`, which play at one time.
    shares: of the files in train, validation and test. A file falls to a side by its bytes and the
    seed: its versions and copies stay together, and further files move none.
    Tracks that are there already, of the same file and options, are kept; each is written whole or
    not at all. progress: called with (tracks done, tracks in all). say: called with a line about a
    file that fails, at once; the others go on.
    Raises ValueError where nothing is to be rendered, an option is out of bounds, OUT holds tracks
    of other options, or fluidsynth or a soundfont is missing; ImportError without mido.
    """
    low, high = playing.SAMPLE_RATES
    if not low <= sample_rate <= high:
        raise ValueError(f"sample_rate must be from {low} to {high} Hz; got {sample_rate}")
    for name, count in (("versions", versions), ("workers", workers)):
        if count < 1:
            raise ValueError(f"{name} must be at least 1; got {count}")
    checked_shares(shares)
    out = Path(out)
    jobs = [
        _Job(path, f"{name}_{version}", version)
        for name, path in find_midi(midi).items() for version in range(versions)
    ]  # fmt: skip
    package("mido", "a MIDI file", "midi")
    settings = _Settings(
        playing.open_soundfont(soundfont), playing.fluidsynth(), seed, sample_rate, tuple(shares),
        changes or Changes(),
    )  # fmt: skip
    _begin(out, settings, command)
    counts, kept, failures = Counter(), 0, []
    stop = threading.Event()
    # Threads: what takes long is a program of its own, or NumPy and libsndfile without the lock.
    with ThreadPoolExecutor(workers) as pool:
        try:
            waiting = {pool.submit(_attempt, job, out, settings, stop) for job in jobs}
            while waiting:
                done, waiting = wait(waiting, return_when=FIRST_COMPLETED)
                for subset, was_there, failure in (future.result() for future in done):
                    counts[subset] += not failure
                    kept += was_there
                    if failure:
                        failures.append(failure)
                        if say:
                            say(failure)
                if progress:
                    progress(len(jobs) - len(waiting), len(jobs))
        except BaseException:
            stop.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    return Rendered({name: counts[name] for name in PARTITIONS}, kept, sorted(failures))


def find_midi(midi: Sequence[str | Path]) -> dict[str, Path]:
    """{name: path} of MIDI files and of those in folders, by names that tracks can bear.

    The name of one in a folder is its path there, with - for /. Raises ValueError for what is not
    there, a folder without any, and two files of one name.
    """
    found: dict[str, Path] = {}
    for place in map(Path, midi):
        if place.is_dir():
            paths = files_in(place, SUFFIXES)
            if not paths:
                raise ValueError(f"{place}: holds no MIDI file ({', '.join(SUFFIXES)})")
        elif place.is_file():
            paths = [place]
        else:
            raise ValueError(f"{place}: there is no such file or folder")
        for path in paths:
            folders = path.relative_to(place).parts[:-1] if path != place else ()
            name = "-".join((*folders, audio.safe_track_name(path))).lstrip(".")
            if found.setdefault(name, path) != path:
                raise ValueError(
                    f"{found[name]} and {path} would both be called {name!r}: rename one"
                )
    if not found:
        raise ValueError("no MIDI file is given")
    return found


def _begin(out: Path, settings: _Settings, command: str) -> None:
    """Say in OUT how it is made; ValueError where it was made in another way."""
    wanted, path = settings.listed(), out / CORPUS
    if path.is_file():
        before = config.load_yaml(path)
        other = [name for name, value in wanted.items() if before.get(name) != value]
        if other:
            raise ValueError(
                f"{out}: holds tracks of other options ({', '.join(other)}): "
                "give the same ones, or name another folder"
            )
    elif out.is_dir() and any(path.name[0] != "." for path in out.iterdir()):
        raise ValueError(f"{out}: holds other files, and no {CORPUS}: name another folder")
    else:
        out.mkdir(parents=True, exist_ok=True)
        config.dump_yaml({"command": command, "kzoo": __version__, **wanted}, path)


def _attempt(
    job: _Job, out: Path, settings: _Settings, stop: threading.Event
) -> tuple[str, bool, str | None]:
    """(subset, whether the track was there already, what failed)."""
    if stop.is_set():
        raise playing.Stopped
    try:
        return _render(job, out, settings, stop)
    except (ValueError, OSError) as error:
        words = " ".join(str(error).split())
        return "", False, words if str(job.midi) in words else f"{job.midi}: {words}"


def _render(
    job: _Job, out: Path, settings: _Settings, stop: threading.Event
) -> tuple[str, bool, str | None]:
    digest = hashlib.sha256(job.midi.read_bytes())
    subset = side(digest.hexdigest(), settings.shares, settings.seed)
    identity = hashlib.sha256(
        repr((digest.hexdigest(), job.version, settings.listed())).encode()
    ).hexdigest()
    folder = out / subset / job.name
    for other in PARTITIONS:
        if other != subset and (out / other / job.name).is_dir():
            raise ValueError(
                f"{out / other / job.name}: was made of another file of this name: remove it first"
            )
    if folder.is_dir() and config.load_yaml(folder / truth.TRACK).get("identity") == identity:
        return subset, True, None
    seeds = np.frombuffer(digest.digest(), "<u4").tolist()
    rng = np.random.default_rng([settings.seed, job.version, *seeds])
    version = draw(score.read(job.midi), settings.changes, rng, settings.soundfont.presets)
    unfinished = folder.with_name(f".{folder.name}")
    shutil.rmtree(unfinished, ignore_errors=True)  # what a kill left
    unfinished.mkdir(parents=True)
    try:
        samples, stems = _write_stems(version, settings, rng, unfinished, stop)
        seconds = samples / settings.sample_rate
        about = {
            "midi": job.midi.name, "midi_sha256": digest.hexdigest(), "version": job.version,
            "identity": identity, "copyright": version.score.copyright or "not stated",
            "sample_rate": settings.sample_rate, "seconds": seconds,
            "tempo": version.tempo, "transpose": version.transpose,
            "reverb_seconds": version.reverb_seconds,
            "gain_db": {stem: gain for stem, gain in version.gain_db.items() if stem in stems},
        }  # fmt: skip
        parts = [part for part in version.parts if part.stem in stems]
        truth.write(unfinished, version.score, parts, seconds, about)
        shutil.rmtree(folder, ignore_errors=True)  # of a file of this name that has changed
        os.replace(unfinished, folder)
    finally:
        shutil.rmtree(unfinished, ignore_errors=True)
    return subset, False, None


def _write_stems(
    version: Version, settings: _Settings, rng: np.random.Generator, folder: Path,
    stop: threading.Event,
) -> tuple[int, set[str]]:  # fmt: skip
    """Write the stems and their sum, all with one gain; (samples of each, those that sound).

    They wait for their gain in files, as a long piece of many does not fit into memory.
    """
    rate = settings.sample_rate
    places, mixture, peak = {}, np.float32(0.0), 0.0
    for stem, gain_db in version.gain_db.items():
        waveform = playing.play(version.score, stem, settings.soundfont, rate, folder, stop)
        if not np.any(waveform):  # keys or effects that the soundfont does not have
            continue
        waveform *= np.float32(10 ** (gain_db / 20))
        if version.reverb_seconds > 0:
            tail = room_tail(rng, rate, version.reverb_seconds, settings.changes.direct_db, 2)
            waveform = in_room(waveform, tail.astype(np.float32), rate)
        places[stem] = folder / f"{stem}.npy"
        np.save(places[stem], waveform)
        mixture = mixture + waveform
        peak = max(peak, float(np.abs(waveform).max()))
    if not places:
        raise ValueError(f"{settings.soundfont.path.name} plays nothing of it")
    level = np.abs(mixture).max(axis=1)
    peak = max(peak, float(level.max()))
    heard = np.flatnonzero(level > peak * 10 ** (_SILENCE_DB / 20))
    samples = max(int(heard[-1]) + 1, round(version.score.seconds * rate))
    total = np.zeros((samples, 2), np.int64)
    for stem, place in places.items():
        steps = np.rint(np.load(place)[:samples] * np.float32(_PEAK / peak * _STEPS))
        place.unlink()
        total += steps.astype(np.int64)
        _write(folder / f"{stem}.flac", steps, rate)
    _write(folder / "mixture.flac", total, rate)
    return samples, set(places)


def _write(path: Path, steps: np.ndarray, sample_rate: int) -> None:
    """Whole numbers of 24 bits, which float32 holds as they are."""
    waveform = (steps / _STEPS).astype(np.float32)
    audio.write(path, waveform, sample_rate, bit_depth=24, clip="none")
