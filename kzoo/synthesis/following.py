"""Pitch, confidence and loudness of a recording of any length, kept on disk and read in stretches.

What a synthesiser is played by is known only when the recording has ended: its octave and level
from all frames, a line through a rest from the note after it. So they wait in files meanwhile, 12
bytes a frame, and the memory in use is that of a stretch.
"""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
from scipy import ndimage

from kzoo.data import solo
from kzoo.pitch_tracking import SAMPLE_RATE, Pitch, PitchTracker

STRETCH = 4096  # frames
_CLOSED, _OPENED, _FADE = 12, 10, 5  # frames of the gate: see `Controls.gate`
_MARGIN = 2 * (_CLOSED + _OPENED) + _FADE
_N_FFT = 512


class Summary(NamedTuple):
    """Of the frames that sound: quantiles `[len(solo.QUANTILES)]` of both, their share of all."""

    midi: np.ndarray
    loudness_db: np.ndarray
    voiced: float


class LoudnessMeter:
    """`dsp.loudness.loudness_db` of a signal that comes in blocks."""

    def __init__(self, sample_rate: int, hop_length: int):
        from kzoo.dsp.loudness import a_weights  # Keras: only where it is used

        self._weights = a_weights(sample_rate, _N_FFT)
        self._window = np.hanning(_N_FFT + 1)[:-1]
        self._hop = hop_length
        self._kept = np.zeros(_N_FFT // 2, np.float32)
        self._samples = self._done = 0

    def push(self, signal: np.ndarray) -> np.ndarray:
        """Take `[samples]`; the loudness of the frames that are complete, in dB, float32."""
        self._samples += len(signal)
        self._kept = np.concatenate([self._kept, signal])
        return self._take(min((len(self._kept) - _N_FFT) // self._hop + 1,
                              len(self._kept) // self._hop))  # fmt: skip

    def flush(self) -> np.ndarray:
        """The frames at the end, with silence after it."""
        rest = 1 + self._samples // self._hop - self._done
        size = max(_N_FFT + (rest - 1) * self._hop, rest * self._hop)
        self._kept = np.pad(self._kept, (0, max(0, size - len(self._kept))))
        return self._take(rest)

    def _take(self, count: int) -> np.ndarray:
        if count < 1:
            return np.zeros(0, np.float32)
        frames = np.lib.stride_tricks.sliding_window_view(self._kept, _N_FFT)[:: self._hop][:count]
        power = np.square(np.abs(np.fft.rfft(frames * self._window, axis=1))) * self._weights
        self._kept, self._done = self._kept[count * self._hop :], self._done + count
        level = 10 * np.log10(np.maximum(power.mean(axis=1), 1e-20))
        return np.maximum(level, solo.SILENCE_DB).astype(np.float32)


class Histogram:
    """Quantiles of any number of values between `low` and `high`, to `step`."""

    def __init__(self, low: float, high: float, step: float):
        self._low, self._step = low, step
        self._counts = np.zeros(int(np.ceil((high - low) / step)), np.int64)

    def add(self, values: np.ndarray) -> None:
        """Count in values; those outside lie at the ends."""
        at = ((values - self._low) / self._step).astype(np.int64)
        at = np.clip(at, 0, len(self._counts) - 1)
        self._counts += np.bincount(at, minlength=len(self._counts))

    @property
    def total(self) -> int:
        """How many there were."""
        return int(self._counts.sum())

    def quantile(self, share) -> np.ndarray:
        """The value below which there is `share` of all (a number or several)."""
        reached = np.searchsorted(np.cumsum(self._counts), np.asarray(share) * self.total)
        return self._low + (np.minimum(reached, len(self._counts) - 1) + 0.5) * self._step


class Controls:
    """What `follow` found; a context, at whose end the files are gone.

    confidence: frames below `gate` have no pitch, and neither have those that are 50 dB under the
    recording's loudest hundredth, as where a synthesiser's corpus is prepared.
    """

    def __init__(self, gate: float):
        self._folder = tempfile.TemporaryDirectory(prefix="kzoo.")
        self._gate = gate
        self.frames = 0

    def __enter__(self) -> Controls:
        return self

    def __exit__(self, *exception) -> None:
        self._pitch = self._loudness = None
        self._folder.cleanup()

    def follow(
        self, pairs: Iterable[tuple[np.ndarray, np.ndarray]], tracker: PitchTracker, *,
        sample_rate: int, hop_length: int, hear: Callable[[Pitch], object],
    ) -> None:  # fmt: skip
        """Follow a recording that comes as pairs of `[samples]`: for the tracker, for loudness.

        The one is at the tracker's rate, the other at `sample_rate`, where `hop_length` counts.
        hear: called with the pitch as it is found.
        """
        pitch_file, loudness_file = (Path(self._folder.name) / name for name in ("f0", "loudness"))
        meter = LoudnessMeter(sample_rate, hop_length)
        loud = Histogram(solo.SILENCE_DB, 60.0, 0.05)
        with open(pitch_file, "wb") as pitches, open(loudness_file, "wb") as levels:

            def measured(found: np.ndarray) -> None:
                loud.add(found)
                levels.write(found.astype("<f4").tobytes())

            def heard():
                for for_pitch, for_loudness in pairs:
                    measured(meter.push(for_loudness))
                    yield for_pitch[:, None]

            for pitch in tracker.track(heard(), SAMPLE_RATE):
                rows = np.stack([pitch.f0_hz, pitch.confidence], axis=1)
                pitches.write(rows.astype("<f4").tobytes())
                hear(pitch)
            measured(meter.flush())
        self._pitch = np.memmap(pitch_file, "<f4", "r").reshape(-1, 2)
        self._loudness = np.memmap(loudness_file, "<f4", "r")
        self.frames = len(self._loudness)
        floor = float(loud.quantile(0.99)) - solo.SILENT_BELOW_DB
        self._silent_db = max(floor, solo.SILENCE_DB + 1)
        self._last, self._next = -1, 0  # voiced frames before and after a stretch, once looked for

    def read(self, start: int, end: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """(f0_hz, loudness_db, voiced) of frames `start` to `end`, within the recording."""
        # Two rates may give one frame less of pitch: the last one is held.
        at = np.minimum(np.arange(start, end), len(self._pitch) - 1)
        f0_hz, confidence = np.asarray(self._pitch[at]).T
        loudness = np.asarray(self._loudness[start:end])
        return (
            f0_hz,
            loudness,
            ((confidence >= self._gate) & (f0_hz > 0) & (loudness >= self._silent_db)),
        )

    def summary(self) -> Summary | None:
        """Of all frames that have a pitch; None where none has."""
        midi, loudness = Histogram(0.0, 140.0, 0.02), Histogram(solo.SILENCE_DB, 60.0, 0.05)
        for start, end in stretches(self.frames):
            f0_hz, level, voiced = self.read(start, end)
            midi.add(69 + 12 * np.log2(f0_hz[voiced] / 440.0))
            loudness.add(level[voiced])
        if not midi.total:
            return None
        found = (x.quantile(solo.QUANTILES) for x in (midi, loudness))
        return Summary(*found, midi.total / self.frames)

    def drawn(self, start: int, end: int) -> tuple[np.ndarray, np.ndarray]:
        """(f0_hz, loudness_db) of a stretch, f0 a line on the scale of notes where there is none.

        It is `data.solo.interpolate_unvoiced` of the whole recording. Stretches must come in order.
        """
        f0_hz, loudness, voiced = self.read(start, end)
        at = start + np.flatnonzero(voiced)
        if self._next < end:
            self._next = self._voiced_from(end)
        before = [self._last] if self._last >= 0 else []
        after = [self._next] if self._next < self.frames else []
        hertz = np.concatenate(
            [*(self.read(k, k + 1)[0] for k in before), f0_hz[voiced],
             *(self.read(k, k + 1)[0] for k in after)]
        ).astype(np.float64)  # fmt: skip
        line = 2 ** np.interp(np.arange(start, end), [*before, *at, *after], np.log2(hertz))
        self._last = at[-1] if len(at) else self._last
        return np.where(voiced, f0_hz, line).astype(np.float32), loudness

    def gate(self, start: int, end: int) -> np.ndarray:
        """How open the gate is, 0 to 1, at frames from `start`; closed beyond the end.

        Open where there is a pitch, over gaps of up to 12 frames, but not for less than 10, which
        are no note; it opens and closes along 10, half of them outside.
        """
        whole = np.zeros(end - start + 2 * _MARGIN, bool)
        first, last = max(start - _MARGIN, 0), min(end + _MARGIN, self.frames)
        if last > first:
            offset = first - (start - _MARGIN)
            whole[offset : offset + last - first] = self.read(first, last)[2]
        whole = ndimage.binary_closing(whole, np.ones(_CLOSED + 1, bool))
        whole = ndimage.binary_opening(whole, np.ones(_OPENED, bool))
        ramp = np.hanning(2 * _FADE + 1)[1:-1]
        smooth = np.convolve(whole, ramp / ramp.sum(), "same")
        return np.clip(smooth[_MARGIN : _MARGIN + end - start], 0.0, 1.0)

    def _voiced_from(self, start: int) -> int:
        for first, last in stretches(self.frames, start):
            if (voiced := self.read(first, last)[2]).any():
                return first + int(voiced.argmax())
        return self.frames


def stretches(frames: int, start: int = 0) -> Iterator[tuple[int, int]]:
    """(start, end) of stretches of STRETCH frames, the last one shorter."""
    return ((k, min(k + STRETCH, frames)) for k in range(start, frames, STRETCH))
