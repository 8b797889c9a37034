"""Players of controls, block by block in constant memory, and the room that they sound in.

One is the sinusoidal-plus-noise model itself (Serra and Smith, 1990), the other a trained network.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

import numpy as np

from kzoo import presets
from kzoo.engines import exported, litert
from kzoo.synthesis.controls import SILENCE_DB

BLOCK_FRAMES = 256
_NOISE_BANDS = 65
_EARLY_SECONDS = 0.02  # the ear takes what comes later for an echo

# Controls of a block, `[frames, 3 + harmonics]`, to its sound `[samples]`, one hop late.
Player = Callable[[np.ndarray], np.ndarray]


def played(play: Player, controls: Iterator[np.ndarray], hop_length: int) -> Iterator[np.ndarray]:
    """Sound of all frames, block after block; `play` is one hop late, the result is not."""
    late, rows = hop_length, _last_held(controls)
    while block := list(itertools.islice(rows, BLOCK_FRAMES)):
        yield _whole(play, np.stack(block))[late:]
        late = 0


def in_room(blocks: Iterable[np.ndarray], room: np.ndarray | None) -> Iterator[np.ndarray]:
    """Each block `[samples]` with what `room` `[taps]` makes of it and of those before it added.

    As long as the blocks: the room falls silent with the last of them. None is no room.
    """
    if room is None:
        yield from blocks
        return
    tail = np.zeros(len(room) - 1, np.float32)
    for block in blocks:
        heard = _convolved(block, room)
        heard[: len(tail)] += tail
        heard, tail = np.split(heard, [len(block)])
        yield heard


def _convolved(signal: np.ndarray, response: np.ndarray) -> np.ndarray:
    """All samples of the convolution, as by scipy.signal, whose import takes a second."""
    samples = len(signal) + len(response) - 1
    n_fft = 1 << (samples - 1).bit_length()
    product = np.fft.rfft(signal, n_fft) * np.fft.rfft(response, n_fft)
    return np.fft.irfft(product, n_fft)[:samples].astype(np.float32)


def early(room: np.ndarray, sample_rate: int) -> np.ndarray:
    """What a response `[taps]` answers within 20 ms, faded out: timbre and level, and no echo.

    A network and its room are learned together, and the beginning of the room is part of the sound.
    """
    taps = min(len(room), round(_EARLY_SECONDS * sample_rate))
    return room[:taps] * np.sin(0.5 * np.pi * np.minimum(2 - 2 * np.arange(taps) / taps, 1)) ** 2


def _last_held(controls: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
    row = None
    for row in controls:
        yield row
    if row is not None:
        yield row


def sinusoids(
    sample_rate: int,
    hop_length: int,
    *,
    harmonics: int,
    given: bool,
    slope_db: float,
    noise_db: float,
) -> Player:
    """Harmonics of fixed shares, or of `given` amplitudes, and white noise under them."""
    from kzoo.dsp import synthesis
    from kzoo.dsp.oscillators import audible_distribution

    noise_bands = min(_NOISE_BANDS, hop_length + 1)  # half of the noise's filter must fit a hop
    state = synthesis.initial_state(
        harmonics=harmonics, noise_bands=noise_bands, hop_length=hop_length
    )
    shares = np.arange(1, harmonics + 1) ** (-slope_db / (20 * math.log10(2)))
    pitch = 0.0

    def play(block: np.ndarray) -> np.ndarray:
        nonlocal state, pitch
        f0_hz = np.empty(len(block), np.float32)
        for k, own in enumerate(block[:, 1]):  # where there is none, the last one is held
            pitch = f0_hz[k] = own or pitch
        level = np.where(block[:, 2] > SILENCE_DB, 10 ** (block[:, 2] / 20), 0.0)[:, None]
        if given:
            amplitudes = block[:, 3:]
        else:
            tiled = np.tile(shares.astype(np.float32), (1, len(block), 1))
            audible = audible_distribution(tiled, f0_hz[None, :, None], sample_rate)
            amplitudes = np.asarray(audible)[0]
        amplitudes = level * amplitudes * (block[:, 1:2] > 0)
        noise = np.tile(level * 10 ** (noise_db / 20), (1, noise_bands))
        signal, state = synthesis.continue_harmonics_plus_noise(
            f0_hz[None, :, None],
            *(x[None].astype(np.float32) for x in (amplitudes, noise)),
            state,
            hop_length=hop_length,
            sample_rate=sample_rate,
        )
        return np.asarray(signal)[0, :, 0]

    return play


class Instrument(NamedTuple):
    """A trained synthesiser: `begin()` is a player of whole blocks that begins in silence.

    room: the response `[taps]` of its learned room, the direct sound at the first tap, for
    `in_room`; None for none. hop_length: in samples. range_db: silence is so far below full scale.
    """

    begin: Callable[..., Player]
    sample_rate: int
    hop_length: int
    room: np.ndarray | None
    range_db: float = -SILENCE_DB


def instrument(preset: presets.Preset, *, dry: bool = False, engine: str = "auto") -> Instrument:
    """What a preset's card and weights make; its players are dry, its room is beside them.

    dry: of its room only what is `early`; ValueError for an exported file, whose room is in its
    sound. engine: what runs the network, as in
    `Separator.from_preset`. begin(watch=...): called with the amplitudes of the harmonics
    `[frames, harmonics]` and the noise's magnitudes `[frames, bands]` of each block played, but by
    an exported file, which does not give them.
    Raises ValueError for a model that hears the whole recording.
    """
    if dry and isinstance(preset, exported.Exported):
        raise ValueError(f"{preset}: has its room in its sound: leave dry out, or name the preset")
    if litert.chosen(engine, preset, frames=BLOCK_FRAMES):
        run = litert.instrument(preset, frames=BLOCK_FRAMES)
    else:
        from kzoo.engines import tensorflow

        run = tensorflow.instrument(preset, frames=BLOCK_FRAMES)
    sample_rate, room = preset.card["sample_rate"], run.room
    if room is not None:
        room = np.concatenate([[1.0], room[1:]]).astype(np.float32)
        room = early(room, sample_rate) if dry else room

    def begin(watch: Callable[[np.ndarray, np.ndarray], object] | None = None) -> Player:
        step = run.begin()

        def play(block: np.ndarray) -> np.ndarray:
            given = block[None].astype(np.float32)
            found = step(f0_hz=given[..., 1:2], loudness_db=given[..., 2:3])
            if watch and "amplitudes" in found:
                watch(*(np.asarray(found[name])[0] for name in ("amplitudes", "noise_magnitudes")))
            return np.asarray(found["audio"])[0, :, 0]

        play.whole_blocks = True
        return play

    return Instrument(begin, sample_rate, run.hop_length, room, range_of(preset))


def range_of(preset: presets.Preset) -> float:
    """How far below full scale silence is for a synthesiser, in dB."""
    options = preset.card.get("model", {}).get("options", preset.card)  # of an exported file it is
    return float(options.get("loudness_range_db", -SILENCE_DB))


def _whole(play: Player, block: np.ndarray) -> np.ndarray:
    """A block that may be shorter than a player of whole ones takes."""
    missing = BLOCK_FRAMES - len(block) if getattr(play, "whole_blocks", False) else 0
    sound = play(np.concatenate([block, np.repeat(block[-1:], missing, axis=0)]))
    return sound[: len(block) * len(sound) // (len(block) + missing)]
