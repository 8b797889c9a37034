"""Controls in a file to sound in another, in constant memory, whole or not at all."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np

from kzoo.audio import AudioWriter
from kzoo.synthesis.controls import SILENCE_DB, frames, read_points, rests_as_silence
from kzoo.synthesis.player import Instrument, in_room, played, sinusoids

_LOUDEST_DB = 40.0  # of a trained synthesiser, whose loudness is a sum and may exceed 0
_NO_NOTE_HZ = 440.0  # of a file of rests only
_FRAMES_A_SECOND = 250  # at least, or little less: a hop is a power of two


def points_of(
    controls: str | Path, *, by_preset: bool, silence_db: float = SILENCE_DB
) -> Callable[[], Iterator[np.ndarray]]:
    """A function that reads a file's points from its beginning, within a player's limits."""
    loudest_db = _LOUDEST_DB if by_preset else 0.0
    return functools.partial(read_points, controls, loudest_db=loudest_db, silence_db=silence_db)


def synthesize_file(
    controls: str | Path,
    out: str | Path,
    *,
    instrument: Instrument | None = None,
    sample_rate: int = 16000,
    harmonics: int = 30,
    slope_db: float = 9.0,
    noise_db: float = -40.0,
    bit_depth: int | str = 16,
    overwrite: bool = False,
    progress: Callable[[float, float | None], object] | None = None,
) -> float:
    """Write the sound of `controls` to `out`, as long as they are; its seconds.

    instrument: a trained synthesiser, whose own rate counts; without one, sinusoids and noise.
    harmonics, slope_db (dB an octave): of the tone where the file gives no amplitudes; noise_db: of
    the noise beside it, relative to it. progress: called with (seconds done, None).
    Raises ValueError for controls that cannot be played; whatever is raised, nothing
    half-written stays.
    """
    silence_db = SILENCE_DB if instrument is None else -instrument.range_db
    points = points_of(controls, by_preset=instrument is not None, silence_db=silence_db)
    first = next(points())
    room = None
    if instrument is None:
        hop_length = 1 << round(math.log2(sample_rate / _FRAMES_A_SECOND))
        play = sinusoids(
            sample_rate,
            hop_length,
            harmonics=len(first) - 3 or harmonics,
            given=len(first) > 3,
            slope_db=slope_db,
            noise_db=noise_db,
        )
    else:
        begin, sample_rate, hop_length, room, _ = instrument
        play = begin()
    rows = frames(points(), sample_rate / hop_length)
    if instrument is not None:
        notes = (point[1] for point in points() if point[1] > 0)
        rows = rests_as_silence(rows, next(notes, _NO_NOTE_HZ), silence_db)
    with AudioWriter(out, sample_rate, 1, bit_depth=bit_depth, overwrite=overwrite) as writer:
        for block in in_room(played(play, rows, hop_length), room):
            writer.write(block[:, None])
            if progress:
                progress(writer.samples / sample_rate, None)
        return writer.samples / sample_rate
