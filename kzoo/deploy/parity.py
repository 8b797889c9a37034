"""Does the artefact say what Keras says? Signal-to-noise ratios per source, on sound."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

# dB. fp32 must be the same computation; fp16 rounds every weight to 11 bits.
LIMITS_DB = {"fp32": 80.0, "fp16": 50.0}
# A stem fainter than this below the mixture is measured as if it were this loud: the rounding of
# something that nobody hears is no fault of an artefact.
_FLOOR_DB = -60.0


class ParityError(ValueError):
    """An artefact that does not reproduce its model."""


@dataclass(frozen=True)
class Difference:
    """One source: artefact against Keras.

    snr_db: energy of the stem over energy of the difference; inf where they are equal, nan where
        either holds something that is not a number. max_abs: the largest difference of a sample.
    """

    snr_db: float
    max_abs: float


def compare(
    reference: Mapping[str, np.ndarray], artefact: Mapping[str, np.ndarray], mixture: np.ndarray
) -> dict[str, Difference]:
    """Difference per source. Raises ParityError where names or shapes differ."""
    if set(reference) != set(artefact):
        raise ParityError(
            f"the artefact gives {', '.join(artefact)}; the model has {', '.join(reference)}"
        )
    floor = np.sum(np.square(mixture, dtype=np.float64)) * 10 ** (_FLOOR_DB / 10)
    return {
        source: _difference(source, reference[source], artefact[source], floor)
        for source in reference
    }


def check(differences: Mapping[str, Difference], limit_db: float) -> None:
    """ParityError that names the sources under `limit_db`; one that is not a number is under it."""
    bad = {source: d for source, d in differences.items() if not d.snr_db >= limit_db}
    if bad:
        found = ", ".join(f"{source} {d.snr_db:.1f} dB" for source, d in bad.items())
        raise ParityError(
            f"the artefact differs from Keras by more than its limit of {limit_db:g} dB: {found}"
        )


def parity_sound(sample_rate: int, channels: int, samples: int) -> tuple[np.ndarray, str]:
    """float32 `[samples, channels]` to compare on, and a line that says what it is.

    The song excerpt of the stempeg package where that is installed, repeated to the length;
    otherwise notes and drum hits from a seeded generator, which the line calls synthetic.
    """
    song = _stempeg_song()
    if song is None:
        waveform, source = _synthetic(sample_rate, channels, samples), "synthetic notes and hits"
        return waveform, f"{source}, seed 0, {sample_rate} Hz"
    from kzoo import audio

    waveform, _ = audio.read(song, sample_rate=sample_rate)
    return fitted_to(
        waveform, channels, samples
    ), f"{song.stem.removesuffix('.stem')} (stempeg's excerpt)"


def fitted_to(waveform: np.ndarray, channels: int, samples: int) -> np.ndarray:
    """`[samples, channels]` repeated or cut to that length; mono is the mean."""
    if not len(waveform):
        raise ValueError("the sound to compare on is empty")
    if channels == 1:
        waveform = waveform.mean(axis=1, keepdims=True)
    waveform = waveform[:, np.arange(channels) % waveform.shape[1]]
    return np.resize(waveform, (samples, channels)).astype(np.float32)


def _difference(source: str, reference, artefact, floor: float) -> Difference:
    if np.shape(reference) != np.shape(artefact):
        raise ParityError(
            f"the artefact gives {source} as {np.shape(artefact)}, Keras as {np.shape(reference)}"
        )
    reference, artefact = np.asarray(reference, np.float64), np.asarray(artefact, np.float64)
    error = artefact - reference
    if not np.isfinite(error).all():
        return Difference(float("nan"), float("nan"))
    noise = np.sum(error**2)
    if noise == 0:
        return Difference(float("inf"), 0.0)
    signal = max(np.sum(reference**2), floor)
    snr = 10 * np.log10(signal / noise) if signal else float("-inf")
    return Difference(float(snr), float(np.abs(error).max()))


def _stempeg_song() -> Path | None:
    # Located, not imported: stempeg refuses to be imported where the ffmpeg program is missing.
    spec = importlib.util.find_spec("stempeg")
    folders = spec.submodule_search_locations or [] if spec else []
    return next((path for f in folders for path in Path(f).glob("data/*.stem.mp4")), None)


def _synthetic(sample_rate: int, channels: int, samples: int) -> np.ndarray:
    rng = np.random.default_rng(0)
    waveform = np.zeros((samples, channels))
    for onset in range(0, samples, max(1, sample_rate // 4)):
        seconds = np.arange(min(samples - onset, sample_rate)) / sample_rate
        pitch_hz = 110.0 * 2 ** (rng.integers(0, 25) / 12)
        partials = np.arange(1, 9)
        partials = partials[partials * pitch_hz < sample_rate / 2]
        note = np.sin(2 * np.pi * pitch_hz * np.outer(seconds, partials)) @ (1.0 / partials)
        hit = rng.standard_normal(len(seconds)) * np.exp(-40 * seconds)
        for sound, level, decay in ((note, 0.1, 3.0), (hit, 0.2, 1.0)):
            gains = rng.uniform(0.3, 1.0, channels)
            waveform[onset : onset + len(seconds)] += (
                level * (sound * np.exp(-decay * seconds))[:, None] * gains
            )
    return np.clip(waveform, -1, 1).astype(np.float32)
