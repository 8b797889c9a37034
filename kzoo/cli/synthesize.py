"""What `kzoo synthesize` does: controls in a file to sound in another, in constant memory."""

from __future__ import annotations

import functools
import math
from pathlib import Path

from kzoo import audio, presets
from kzoo.cli.terminal import bar, quiet_tensorflow
from kzoo.synthesis.controls import frames, read_points, rests_as_silence
from kzoo.synthesis.player import in_room, instrument, played, sinusoids

_LOUDEST_DB = 40.0  # of a trained synthesiser, whose loudness is a sum and may exceed 0
_NO_NOTE_HZ = 440.0  # of a file of rests only
_FRAMES_A_SECOND = 250  # at least, or little less: a hop is a power of two


def synthesize_file(
    controls: Path,
    out: Path,
    *,
    preset: str | None,
    dry: bool,
    sample_rate: int,
    harmonics: int,
    slope_db: float,
    noise_db: float,
    bit_depth: int | str,
    overwrite: bool,
    show: bool,
) -> None:
    """Write the sound of `controls` to `out`; as long as they are, at any length.

    preset: a trained synthesiser, whose own rate counts; dry: of its room only what is `early`.
    harmonics, slope_db (an octave): of the tone where the file gives no amplitudes; noise_db: of
    the noise beside it.
    Raises ValueError for controls or a preset that cannot be played.
    """
    if dry and preset is None:
        raise ValueError("dry is without the echo of a preset: name one (-p), or leave dry out")
    loudest_db = 0.0 if preset is None else _LOUDEST_DB
    points = functools.partial(read_points, controls, loudest_db=loudest_db)
    first = next(points())  # what is wrong with the file is said before any work
    room = None
    if preset is None:
        hop_length = 1 << round(math.log2(sample_rate / _FRAMES_A_SECOND))
        audio.check_writable(out, sample_rate, 1, bit_depth=bit_depth)
        quiet_tensorflow()
        play = sinusoids(
            sample_rate, hop_length, harmonics=len(first) - 3 or harmonics,
            given=len(first) > 3, slope_db=slope_db, noise_db=noise_db,
        )  # fmt: skip
    else:
        opened = presets.synthesiser(preset)
        opened.refuse_untrained()
        sample_rate = opened.card["sample_rate"]
        audio.check_writable(out, sample_rate, 1, bit_depth=bit_depth)
        quiet_tensorflow()
        begin, hop_length, room = instrument(opened, dry=dry)
        play = begin()
    rows = frames(points(), sample_rate / hop_length)
    if preset is not None:
        notes = (point[1] for point in points() if point[1] > 0)
        rows = rests_as_silence(rows, next(notes, _NO_NOTE_HZ))
    with (
        bar(controls.name, unit="seconds", show=show) as progress,
        audio.AudioWriter(out, sample_rate, 1, bit_depth=bit_depth, overwrite=overwrite) as writer,
    ):
        for block in in_room(played(play, rows, hop_length), room):
            writer.write(block[:, None])
            progress(writer.samples / sample_rate, None)
