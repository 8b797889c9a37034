"""What mixing does to a signal `[samples, channels]`: its level, its speed, the room around it."""

from __future__ import annotations

import numpy as np

from kzoo import audio

_ACTIVE_FRAME_SECONDS = 0.032
_ACTIVE_DB = -40.0  # under the loudest frame: what is softer is a pause
_ROOM_GAP_SECONDS = 0.002  # from the direct path to the first reflection


def level_db(signal: np.ndarray) -> float:
    """RMS in dB of full scale; -120 for silence."""
    return 10 * float(np.log10(np.mean(np.square(signal)) + 1e-12))


def at_level(signal: np.ndarray, wanted_db: float) -> np.ndarray:
    """The signal at an RMS level; silence stays silence."""
    found = level_db(signal)
    return signal if found < -100 else signal * np.float32(10 ** ((wanted_db - found) / 20))


def active_db(speech: np.ndarray, sample_rate: int) -> float:
    """RMS in dB of full scale of the 32 ms frames in which there is speech: pauses do not count.

    Frames more than 40 dB softer than the loudest are pauses: a simple stand-in for the active
    speech level of ITU-T P.56.
    """
    frame = min(max(round(_ACTIVE_FRAME_SECONDS * sample_rate), 1), len(speech))
    whole = speech[: len(speech) // frame * frame]
    power = np.square(whole).reshape(-1, frame * speech.shape[1]).mean(axis=1)
    loud = power >= power.max() * 10 ** (_ACTIVE_DB / 10)
    return 10 * float(np.log10(power[loud].mean() + 1e-12))


def at_speed(signal: np.ndarray, thousandths: int) -> np.ndarray:
    """Pitch and tempo together at so many thousandths of their own: 1100 is faster by a tenth."""
    return audio.resample(signal, thousandths, 1000)


def room_tail(
    rng: np.random.Generator, sample_rate: int, seconds: float, direct_db: tuple[float, float],
    channels: int,
) -> np.ndarray:  # fmt: skip
    """Reverberation `[samples, channels]` that falls by 60 dB in `seconds`, white noise.

    It begins 2 ms after a direct path of one, whose level over it is drawn from `direct_db`.
    """
    length = max(round(seconds * sample_rate), 1)
    tail = rng.standard_normal((length, channels))
    tail *= 10 ** (-3 * np.arange(length) / length)[:, None]
    ratio = 10 ** (-rng.uniform(*direct_db) / 20)
    return tail * (ratio / np.sqrt(np.square(tail).sum(axis=0)))


def in_room(
    signal: np.ndarray, tail: np.ndarray, sample_rate: int, *, early_seconds: float | None = None
) -> np.ndarray:
    """The direct path and what `tail` adds to it; only its reflections within `early_seconds`."""
    from scipy.signal import oaconvolve

    gap = round(_ROOM_GAP_SECONDS * sample_rate)
    if early_seconds is not None:
        tail = tail[: max(round(early_seconds * sample_rate) - gap, 1)]
    late = oaconvolve(signal, tail, axes=0)[: len(signal)]
    heard = signal.copy()
    heard[gap:] += late[: len(signal) - gap].astype(np.float32)
    return heard
