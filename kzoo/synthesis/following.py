"""Pitch, confidence and loudness of a recording of any length, which comes in blocks.

What a synthesiser is played by is known only when the recording has ended: its octave and level
from all frames, a line through a rest from the note after it. So the frames wait in memory
meanwhile, some 13 bytes each (3 kB for a second of sound), and the sound does not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view
from scipy import ndimage

from kzoo.data import solo
from kzoo.dsp import windows
from kzoo.dsp.notes import hz_to_midi
from kzoo.dsp.weighting import a_weights
from kzoo.pitch_tracking import SAMPLE_RATE, Pitch, PitchTracker
from kzoo.synthesis.controls import SILENCE_DB

STRETCH = 4096  # frames
BY_LEVELS_DB = 120.0  # DDSP's range of loudness before 2022, when loudness was another, too
_CLOSED, _OPENED, _FADE = 12, 10, 5  # frames of the gate: see `Controls.gate`
_MARGIN = 2 * (_CLOSED + _OPENED) + _FADE
_FAINTEST = 1e-20  # amplitude whose level is taken
_WHITE_DB = 20.7  # of white noise of full scale, before 2022


class Summary(NamedTuple):
    """Of the frames that sound: quantiles `[len(solo.QUANTILES)]` of both, their share of all."""

    midi: np.ndarray
    loudness_db: np.ndarray
    voiced: float


class LoudnessMeter:
    """`dsp.loudness.loudness_db` of a signal that comes in blocks, without a backend.

    range_db: how far below full scale silence is, `silence_db`. With 120 it is DDSP's loudness of
    before 2022, by which its published instruments are played: the mean over the bins of weighted
    levels, in frames of 2048 samples that begin where those of today have their middle.
    """

    def __init__(self, sample_rate: int, hop_length: int, range_db: float = -SILENCE_DB):
        self.silence_db = -range_db
        self._by_levels = range_db == BY_LEVELS_DB
        self._n_fft = 2048 if self._by_levels else 512
        self._before = 0 if self._by_levels else self._n_fft // 2  # samples before a frame's place
        self._window = windows.window("hann", self._n_fft).astype(np.float32)
        self._weights = a_weights(sample_rate, self._n_fft)
        self._hop = hop_length
        self._context = -(-self._before // hop_length)  # frames that a frame looks back
        self._kept, self._told = np.zeros(0, np.float32), 0  # frames of what is kept, told already

    def push(self, signal: np.ndarray) -> np.ndarray:
        """Take `[samples]`; the loudness of the frames that are complete, in dB, float32."""
        self._kept = np.concatenate([self._kept, signal])
        return self._until((len(self._kept) + self._before - self._n_fft) // self._hop + 1)

    def flush(self) -> np.ndarray:
        """The frames at the end, with silence after it."""
        return self._until(1 + len(self._kept) // self._hop)

    def _until(self, end: int) -> np.ndarray:
        if end <= self._told:
            return np.zeros(0, np.float32)
        sound = np.pad(self._kept, (self._before, self._n_fft - self._before))
        frames = sliding_window_view(sound, self._n_fft)[self._told * self._hop :: self._hop]
        amplitudes = np.abs(np.fft.rfft(frames[: end - self._told] * self._window))
        if self._by_levels:
            levels = 20 * np.log10(np.maximum(amplitudes, _FAINTEST))
            levels += 10 * np.log10(self._weights) - _WHITE_DB
            loudness = np.maximum(levels, self.silence_db).mean(axis=-1)
        else:
            power = np.square(amplitudes) @ self._weights / len(self._weights)
            loudness = 10 * np.log10(np.maximum(power, 10 ** (self.silence_db / 10)))
        past = max(end - self._context, 0)
        self._kept, self._told = self._kept[past * self._hop :], end - past
        return loudness.astype(np.float32)


@dataclass(frozen=True)
class Controls:
    """What `follow` found: arrays `[frames]`.

    f0_hz: where nothing has a pitch, a line on the scale of notes, as `data.solo` draws it.
    voiced: where there is one. openness: see `gate`.
    """

    f0_hz: np.ndarray
    loudness_db: np.ndarray
    voiced: np.ndarray
    openness: np.ndarray

    @property
    def frames(self) -> int:
        """The number of frames."""
        return len(self.loudness_db)

    def summary(self) -> Summary | None:
        """Of all frames that have a pitch; None where none has."""
        if not self.voiced.any():
            return None
        midi = hz_to_midi(self.f0_hz[self.voiced])
        values = (midi, self.loudness_db[self.voiced])
        quantiles = (np.quantile(each, solo.QUANTILES) for each in values)
        return Summary(*quantiles, float(self.voiced.mean()))

    def gate(self, start: int, end: int) -> np.ndarray:
        """How open the gate is, 0 to 1, at frames from `start`; closed beyond the end.

        Open where there is a pitch, over gaps of up to 12 frames, but not for less than 10, which
        are no note; it opens and closes along 10, half of them outside.
        """
        part = self.openness[start:end]
        return np.pad(part, (0, end - start - len(part)))


def follow(
    pairs: Iterable[tuple[np.ndarray, np.ndarray]],
    tracker: PitchTracker,
    *,
    gate: float,
    sample_rate: int,
    hop_length: int,
    hear: Callable[[Pitch], object],
    range_db: float = -SILENCE_DB,
) -> Controls:
    """Follow a recording that comes as pairs of `[samples]`: for the tracker, for loudness.

    The one is at the tracker's rate, the other at `sample_rate`, where `hop_length` counts.
    gate: frames of less confidence have no pitch, and neither have those that are 50 dB under the
    recording's loudest hundredth, as where a synthesiser's corpus is prepared.
    hear: called with the pitch as it is found. range_db: of `LoudnessMeter`.
    """
    meter = LoudnessMeter(sample_rate, hop_length, range_db)
    levels, pitches = [], []

    def blocks():
        for for_pitch, for_loudness in pairs:
            levels.append(meter.push(for_loudness))
            yield for_pitch[:, None]

    for pitch in tracker.track(blocks(), SAMPLE_RATE):
        pitches.append(np.stack([pitch.f0_hz, pitch.confidence]).astype(np.float32))
        hear(pitch)
    loudness = np.concatenate([*levels, meter.flush()])
    pitch = np.concatenate(pitches, axis=1)
    # Two rates may give one frame less of pitch: the last one is held.
    f0_hz, confidence = pitch[:, np.minimum(np.arange(len(loudness)), pitch.shape[1] - 1)]
    floor = np.quantile(loudness, 0.99) - solo.SILENT_BELOW_DB
    audible = loudness >= max(floor, meter.silence_db + 1)
    voiced = (confidence >= gate) & (f0_hz > 0) & audible
    if voiced.any():
        f0_hz = solo.interpolate_unvoiced(f0_hz, voiced)
    return Controls(f0_hz, loudness, voiced, _openness(voiced))


def _openness(voiced: np.ndarray) -> np.ndarray:
    """`Controls.gate` of `[frames]`, and of the frames after their end along which it closes."""
    whole = np.pad(voiced, _MARGIN)
    whole = ndimage.binary_closing(whole, np.ones(_CLOSED + 1, bool))
    whole = ndimage.binary_opening(whole, np.ones(_OPENED, bool))
    ramp = np.hanning(2 * _FADE + 1)[1:-1]
    smooth = np.convolve(whole, ramp / ramp.sum(), "same")
    return np.clip(smooth[_MARGIN:], 0.0, 1.0).astype(np.float32)


def stretches(frames: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """(start, end) of stretches of STRETCH frames, the last one shorter."""
    return ((k, min(k + STRETCH, frames)) for k in range(start, frames, STRETCH))
