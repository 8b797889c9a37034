"""True stems and pairs, on which an artefact's outputs are scored as the model's own are.

A ratio to Keras's output says how near an artefact is; what that costs who listens is the change
of SDR, SI-SDR or PESQ against what was really played or said.
"""

from __future__ import annotations

import importlib.util
import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from kzoo import audio
from kzoo.deploy.examples import WAVEFORM, stempeg_song
from kzoo.metrics.energy import si_sdr, snr

_SECONDS = 10
# The streams of a .stem.mp4 of MUSDB18, after the mixture.
_STREAMS = {"drums": 1, "bass": 2, "other": 3, "vocals": 4}

Scores = dict[str, dict[str, float]]


@dataclass(frozen=True)
class Truth:
    """What a mixture `[samples, channels]` is made of, {source: `[samples, channels]`}."""

    description: str
    sample_rate: int
    mixture: np.ndarray
    references: Mapping[str, np.ndarray]


def of_song(sources: Sequence[str], sample_rate: int, channels: int) -> Truth | None:
    """The excerpt of a song that the stempeg package carries; None where it has not these stems.

    "accompaniment" is all of it but the vocals.
    """
    song = stempeg_song()
    if song is None or not set(sources) <= {*_STREAMS, "accompaniment"}:
        return None
    stems = {
        name: audio.read(song, stream=stream, sample_rate=sample_rate)[0]
        for name, stream in _STREAMS.items()
    }
    stems["accompaniment"] = stems["drums"] + stems["bass"] + stems["other"]
    mixture = stems["accompaniment"] + stems["vocals"]
    return Truth(
        f"{song.stem.removesuffix('.stem')} (stempeg's excerpt)",
        sample_rate,
        _of_channels(mixture, channels),
        {source: _of_channels(stems[source], channels) for source in sources},
    )


def of_pair(
    folder: Path, sources: Sequence[str], sample_rate: int, channels: int, level_db: float | None
) -> Truth | None:
    """The first 10 s of FOLDER/clean and FOLDER/noisy, joined; None for other sources.

    level_db: to which the noisy sound is brought, and the clean one by the same gain. Raises
    ValueError for a folder without such pairs.
    """
    if "speech" not in sources or not set(sources) <= {"speech", "noise"}:
        return None
    names = sorted(path.name for path in (folder / "clean").glob("*.*"))
    clean, noisy = (
        _joined([folder / kind / name for name in names], sample_rate)
        for kind in ("clean", "noisy")
    )
    if not len(clean) or clean.shape != noisy.shape:
        raise ValueError(f"{folder}: needs recordings of the same names in clean/ and noisy/")
    gain = 1.0
    if level_db is not None:
        gain = 10 ** (level_db / 20) / math.sqrt(np.mean(np.square(noisy, dtype=np.float64)))
    stems = {"speech": gain * clean, "noise": gain * (noisy - clean)}
    return Truth(
        f"{len(names)} pairs of {folder.name}",
        sample_rate,
        _of_channels(gain * noisy, channels),
        {source: _of_channels(stems[source], channels) for source in sources},
    )


def of_speakers(
    recordings: Sequence[Path], sources: Sequence[str], sample_rate: int, channels: int
) -> Truth | None:
    """The first 10 s of as many recordings as there are sources, at one level; None for others."""
    if len(recordings) != len(sources) or not all(name.startswith("speaker") for name in sources):
        return None
    voices = [_joined([path], sample_rate) for path in recordings]
    length = min(map(len, voices))
    voices = [voice[:length] / (20 * np.sqrt(np.mean(voice[:length] ** 2))) for voice in voices]
    stems = {
        name: _of_channels(voice, channels) for name, voice in zip(sources, voices, strict=True)
    }
    names = " and ".join(path.stem for path in recordings)
    return Truth(names, sample_rate, sum(stems.values()), stems)


def estimates(
    run: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
    inputs: Mapping[str, np.ndarray],
    truth: Truth,
) -> dict[str, np.ndarray]:
    """What an artefact gives of the mixture, block after block: {source: `[samples, channels]`}.

    inputs: an example of what it takes, whose waveform says how long a block is.
    """
    block, length = inputs[WAVEFORM].shape[1], len(truth.mixture)
    padded = np.pad(truth.mixture, ((0, -length % block), (0, 0)))
    answers = [
        run({**inputs, WAVEFORM: part[None]}) for part in padded.reshape(-1, block, padded.shape[1])
    ]
    return {
        source: np.concatenate([answer[source][0] for answer in answers])[:length]
        for source in truth.references
    }


def in_order(truth: Truth, found: Mapping[str, np.ndarray]) -> Truth:
    """The truth with its sources in the order in which the estimates fit best, if they are alike.

    Speakers are: none of them is the first.
    """
    if not all(name.startswith("speaker") for name in truth.references):
        return truth
    names = list(truth.references)
    orders = itertools.permutations(truth.references.values())
    best = max(orders, key=lambda order: sum(map(si_sdr, order, (found[name] for name in names))))
    return Truth(
        truth.description, truth.sample_rate, truth.mixture, dict(zip(names, best, strict=True))
    )


def scores(truth: Truth, found: Mapping[str, np.ndarray]) -> Scores:
    """{source: {"sdr", "si_sdr", and of speech "pesq" where that is installed}}, of the whole."""
    speech = importlib.util.find_spec("pesq") is not None and truth.sample_rate in (8000, 16000)
    table = {}
    for source, reference in truth.references.items():
        table[source] = {
            "sdr": snr(reference, found[source]), "si_sdr": si_sdr(reference, found[source])
        }  # fmt: skip
        if speech and source != "noise":
            from kzoo.metrics.opinion import pesq

            table[source]["pesq"] = pesq(
                reference[:, 0], found[source][:, 0], truth.sample_rate,
                band="wb" if truth.sample_rate == 16000 else "nb",
            )  # fmt: skip
    return table


def change(before: Scores, after: Scores) -> dict[str, float]:
    """{measure: how much lower or higher it is, of the source that loses most}."""
    measures = {measure for row in before.values() for measure in row}
    return {
        measure: min(
            after[s][measure] - row[measure] for s, row in before.items() if measure in row
        )
        for measure in sorted(measures)
    }


def _joined(paths: Sequence[Path], sample_rate: int) -> np.ndarray:
    """The first 10 s of recordings one after the other, `[samples, 1]`."""
    parts = [audio.read(path, sample_rate=sample_rate)[0].mean(axis=1) for path in paths]
    return np.concatenate([np.zeros(0), *parts])[: _SECONDS * sample_rate, None]


def _of_channels(waveform: np.ndarray, channels: int) -> np.ndarray:
    if channels == 1:
        waveform = waveform.mean(axis=1, keepdims=True)
    return waveform[:, np.arange(channels) % waveform.shape[1]].astype(np.float32)
