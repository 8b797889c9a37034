"""Solo recordings with their pitch and loudness: what a synthesiser learns to play from.

    solo.prepare("violin/", "data/violin", estimate=tracker.estimate)
    corpus = data.open_corpus("solo", path="data/violin", exclude=["partita/2"])

FOLDER/solo.json          format, rate, hop, and of each track its name, samples and files' sha256
FOLDER/<n>_waveform.raw   `[samples]`, little-endian float32, mono
FOLDER/<n>_controls.raw   `[frames, 3]`, little-endian float32: f0_hz, confidence, loudness_db

Silences of more than a second are shortened to one, so that no training example is empty, and where
nothing has a pitch it is drawn as a line from the note before to the note after.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from kzoo import audio
from kzoo.data import json_index
from kzoo.data.corpus import Corpus, chosen
from kzoo.data.recordings import Recording, Track, find_audio
from kzoo.dsp.notes import hz_to_midi
from kzoo.files import file_sha256, replacing

INDEX, FORMAT = "solo.json", 1
CONTROLS = ("f0_hz", "confidence", "loudness_db")
QUANTILES = (0.01, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)
SILENCE_DB = -80.0  # of loudness after a track's end
SILENT_BELOW_DB = 50.0  # under a recording's loudest hundredth
_LONGEST_SILENCE_SECONDS = 1.0

# (waveform `[samples]`, sample rate) to f0_hz and confidence, `[1 + samples // hop_length]` each.
Estimate = Callable[[np.ndarray, int], tuple[np.ndarray, np.ndarray]]


class Solo(Corpus):
    """The corpus that `prepare` wrote; it is memory-mapped, so reading is random access."""

    sources, channels, records_mixture = ("audio",), 1, True
    controls = ("f0_hz", "loudness_db")

    def __init__(self, path: Path, index: dict[str, Any], tracks: Sequence[dict]):
        self.path, self.sample_rate = path, index["sample_rate"]
        self.hop_length, self._threshold = index["hop_length"], index["confidence_threshold"]
        self._tracks = list(tracks)
        self.tracks = [(track["name"], track["samples"]) for track in tracks]

    def read(self, track, start, samples):
        """{"f0_hz", "loudness_db"} `[frames, 1]` and "waveform" `[samples, 1]`, whole frames.

        `start` is moved back to the frame that it is in. Beyond the end of a track there is
        silence, at its last pitch.
        """
        first, frames = start // self.hop_length, samples // self.hop_length
        found = np.zeros((frames, len(CONTROLS)), np.float32)
        known = self._map(track, "controls").reshape(-1, len(CONTROLS))
        part = known[first : first + frames]
        found[: len(part)] = part
        found[len(part) :] = (known[-1, 0], 0.0, SILENCE_DB)
        waveform = np.zeros((frames * self.hop_length, 1), np.float32)
        sound = self._map(track, "waveform")[first * self.hop_length :][: len(waveform)]
        waveform[: len(sound), 0] = sound
        return {"f0_hz": found[:, :1], "loudness_db": found[:, 2:], "waveform": waveform}

    def identity(self, track):
        """Return the sha256 of the bytes of its files."""
        return hashlib.sha256("".join(self._tracks[track]["sha256"].values()).encode()).hexdigest()

    @property
    def description(self) -> dict[str, Any]:
        """What a card keeps, for transfer: `statistics`."""
        return {"hop_length": self.hop_length, "statistics": self.statistics()}

    def statistics(self) -> dict[str, Any]:
        """Of loudness in dB and pitch in MIDI notes, over the frames that have one.

        {"loudness_db" and "midi": {"mean", "std", "quantiles": {0.01: ..., 0.99: ...}},
        "voiced": their share of all frames}.
        """
        frames = np.concatenate(
            [self._map(t, "controls").reshape(-1, len(CONTROLS)) for t in range(len(self.tracks))]
        ).astype(np.float64)
        voiced = frames[:, 1] >= self._threshold
        f0_hz, _, loudness = frames[voiced].T
        found = {"loudness_db": loudness, "midi": hz_to_midi(f0_hz)}
        summary = {
            name: {
                "mean": _rounded(values.mean()), "std": _rounded(values.std()),
                "quantiles": {q: _rounded(np.quantile(values, q)) for q in QUANTILES},
            }
            for name, values in found.items()
        }  # fmt: skip
        return {**summary, "voiced": _rounded(voiced.mean())}

    def _map(self, track: int, part: str) -> np.ndarray:
        return np.memmap(self.path / self._tracks[track]["files"][part], "<f4", "r")


def solo(
    path: str,
    *,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    sample_rate: int | None = None,
    channels: int | None = None,
) -> Solo:
    """Open a folder that `prepare` wrote; ValueError where it is none, cut short, or another's.

    include, exclude: names of recordings, their paths under the folder without their endings.
    """
    index = read_index(Path(path))
    if index is None:
        raise ValueError(f"{path}: holds no {INDEX}; make it with kzoo data prepare --kind solo")
    for name, wanted, own in (
        ("sample_rate", sample_rate, index["sample_rate"]), ("channels", channels, 1),
    ):  # fmt: skip
        if wanted not in (None, own):
            raise ValueError(f"{path}: has {name}={own}, not {wanted}: prepare it again")
    kept = chosen([entry["name"] for entry in index["tracks"]], include, exclude, path)
    tracks = [entry for entry in index["tracks"] if entry["name"] in kept]
    for entry in tracks:
        frames = entry["samples"] // index["hop_length"]
        for part, count in (("waveform", entry["samples"]), ("controls", frames * len(CONTROLS))):
            file = Path(path) / entry["files"][part]
            if not file.is_file() or file.stat().st_size != 4 * count:
                raise ValueError(f"{file}: is missing or cut short; run kzoo data prepare again")
    return Solo(Path(path), index, tracks)


def verify(folder: str | Path) -> list[str]:
    """Lines about files whose sha256 is not that of the index."""
    entries = (read_index(Path(folder)) or {"tracks": []})["tracks"]
    files = {e["files"][part]: e["sha256"][part] for e in entries for part in e["files"]}
    return json_index.verify(folder, files)


def find_recordings(path: str | Path) -> dict[str, Path]:
    """Every recording under `path` by its name: its path there without the ending.

    Raises ValueError where there are none, and where two have the same name.
    """
    found = find_audio(Path(path))
    if not found:
        raise ValueError(f"{path}: holds no recordings")
    names = {p.relative_to(path).with_suffix("").as_posix(): p for p in found}
    if len(names) != len(found):
        raise ValueError(f"{path}: two recordings differ by their endings only; rename one")
    return names


def find_tracks(path: str | Path, exclude: Sequence[str] = ()) -> list[Track]:
    """The recordings of `find_recordings` that are not excluded, each as a track."""
    recordings = find_recordings(path)
    kept = chosen(list(recordings), (), exclude, str(path))
    return [Track(name, "", {"audio": Recording(recordings[name])}) for name in kept]


def prepare(
    path: str | Path,
    folder: str | Path,
    *,
    estimate: Estimate,
    method: str = "not stated",
    sample_rate: int = 16000,
    hop_length: int = 64,
    confidence_threshold: float = 0.3,
    exclude: Sequence[str] = (),
    licence: str = "not stated",
    progress: Callable[[float, float], None] | None = None,
    say: Callable[[str], None] = lambda line: None,
) -> Path:
    """Follow pitch and loudness of every recording under `path`, once, into `folder`.

    Recordings that are there already, from the same files and settings, are kept, and a kill costs
    the one that was under way. estimate: see `Estimate`; method: what it is called.
    confidence_threshold: a frame below it has no pitch of its own.
    progress: called with (seconds done, seconds in all). say: with a line about each recording
    in which nothing has a pitch; it is left out.
    Raises ValueError where there are no recordings or none has a pitch, where the folder holds
    other settings, and for an estimate of another number of frames.
    """
    names = find_recordings(path)
    kept = chosen(list(names), (), exclude, str(path))
    folder = Path(folder)
    head = head_of(
        method, sample_rate=sample_rate, hop_length=hop_length,
        confidence_threshold=confidence_threshold,
    )  # fmt: skip
    index = index_for(head, folder)
    known = {entry["name"]: entry for entry in index["tracks"]}
    seconds = {name: audio.info(names[name]).duration_seconds or 0.0 for name in kept}
    done, total = 0.0, sum(seconds.values())
    for name in kept:
        source = file_sha256(names[name])
        if name not in known or known[name]["from_sha256"] != source:
            position = known.get(name, {}).get("position", len(known))
            entry = write_recording(names[name], estimate, head, folder, f"{position:05d}_")
            if entry is None:
                say(f"{names[name]}: nothing in it has a pitch; it is left out")
            else:
                known[name] = {"name": name, "position": position, "from_sha256": source, **entry,
                               "licence": licence}  # fmt: skip
                json_index.write(folder / INDEX, {**index, "tracks": list(known.values())})
        done += seconds[name]
        if progress:
            progress(done, total)
    if not known:
        raise ValueError(f"{path}: no recording has a pitch")
    return folder


def head_of(
    method: str, *, sample_rate: int, hop_length: int, confidence_threshold: float = 0.3
) -> dict[str, Any]:
    """What all recordings of a prepared folder share; the options are those of `prepare`."""
    return {
        "format": FORMAT, "sample_rate": sample_rate, "hop_length": hop_length, "pitch": method,
        "confidence_threshold": confidence_threshold,
    }  # fmt: skip


def index_for(head: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The index of `folder`, which is made, or a new one; ValueError for one of another head."""
    folder.mkdir(parents=True, exist_ok=True)
    index = read_index(folder) or {**head, "tracks": []}
    for key, value in head.items():
        if index[key] != value:
            raise ValueError(
                f"{folder}: was prepared with {key}={index[key]}, not {value}; name another folder"
            )
    return index


def write_recording(
    path: Path, estimate: Estimate, head: Mapping[str, Any], folder: Path, stem: str
) -> dict[str, Any] | None:
    """Follow a recording into `stem`<part>.raw: its entry of the index, None without any pitch.

    Raises ValueError for an estimate of another number of frames.
    """
    followed = _followed(path, estimate, head)
    if followed is None:
        return None
    files, sha256 = {}, {}
    for part, array in zip(("waveform", "controls"), followed, strict=True):
        place = folder / f"{stem}{part}.raw"
        with replacing(place) as temporary:
            array.tofile(temporary)
        files[part], sha256[part] = place.name, file_sha256(place)
    return {"samples": len(followed[0]), "files": files, "sha256": sha256}


def read_index(folder: Path) -> dict[str, Any] | None:
    """The index of a prepared folder, as `json_index.read` gives it."""
    return json_index.read(folder / INDEX, FORMAT, "solo recordings")


def interpolate_unvoiced(f0_hz: np.ndarray, voiced: np.ndarray) -> np.ndarray:
    """`f0_hz` `[frames]` where `voiced`, and lines on the scale of notes between; float32.

    Before the first voiced frame and after the last, their pitch; there must be one.
    """
    at = np.flatnonzero(voiced)
    notes = np.interp(np.arange(len(f0_hz)), at, np.log2(f0_hz[at].astype(np.float64)))
    return np.where(voiced, f0_hz, 2**notes).astype(np.float32)


def sounding(silent: np.ndarray, longest: int) -> np.ndarray:
    """Positions of frames `[frames]` without the middle of each silence of more than `longest`."""
    edges = np.flatnonzero(np.diff(np.r_[False, silent, False]))
    keep = np.ones(len(silent), bool)
    for start, end in zip(edges[::2], edges[1::2], strict=True):
        if end - start > longest:
            keep[start + longest // 2 : end - (longest - longest // 2)] = False
    return np.flatnonzero(keep)


def _followed(path: Path, estimate: Estimate, head) -> tuple[np.ndarray, np.ndarray] | None:
    """(waveform, controls) of whole frames, None where nothing has a pitch."""
    from kzoo.dsp.loudness import loudness_db  # Keras: only where it is used

    rate, hop_length = head["sample_rate"], head["hop_length"]
    waveform, _ = audio.read(path, sample_rate=rate)
    waveform = waveform.mean(axis=1)
    frames = len(waveform) // hop_length
    if not frames:
        return None
    f0_hz, confidence = (np.asarray(x, np.float32) for x in estimate(waveform, rate))
    if not frames <= len(f0_hz) == len(confidence) <= frames + 2:
        raise ValueError(
            f"{path}: a pitch is needed every {hop_length} samples, {frames} times; the estimate "
            f"gave {len(f0_hz)}: set its hop to {1000 * hop_length / rate:g} ms"
        )
    loudness = np.asarray(loudness_db(waveform[None], sample_rate=rate, hop_length=hop_length))[0]
    f0_hz, confidence, loudness = f0_hz[:frames], confidence[:frames], loudness[:frames]
    silent = loudness < max(np.quantile(loudness, 0.99) - SILENT_BELOW_DB, SILENCE_DB + 1)
    confidence = np.where(silent | ~(f0_hz > 0), 0.0, confidence)
    voiced = confidence >= head["confidence_threshold"]
    if not voiced.any():
        return None
    controls = np.stack([interpolate_unvoiced(f0_hz, voiced), confidence, loudness], axis=1)
    kept = sounding(silent, round(_LONGEST_SILENCE_SECONDS * rate / hop_length))
    sound = waveform[: frames * hop_length].reshape(frames, hop_length)[kept]
    return sound.ravel().astype("<f4"), controls[kept].astype("<f4")


def _rounded(value: float) -> float:
    return round(float(value), 3)
