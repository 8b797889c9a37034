"""Onsets: when notes and beats begin, as the peaks of what a network says of each frame.

    detector = OnsetDetector("onset_cnn")              # the model is built once
    onsets = detector(waveform, sample_rate)
    onsets.times_seconds, onsets.strengths

As Schlüter and Böck have it, activations are smoothed by a Hamming window of 50 ms, and what is
higher than its neighbours and than a threshold is an onset; of two within 30 ms the stronger stays.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from kzoo import presets
from kzoo.audio import checked_waveform
from kzoo.listening.frames import FrameListener, Frames

DEFAULT_PRESET = "onset_cnn"
THRESHOLD = 0.15  # the best of onset_cnn on the validation of its training
SMOOTHING_SECONDS, DISTANCE_SECONDS = 0.05, 0.03


class Onsets(NamedTuple):
    """Of each onset, in the order of time: when, how strong (0 to 1), and what begins.

    names: of the network, "onset" where it knows no other.
    """

    times_seconds: np.ndarray
    strengths: np.ndarray
    names: tuple[str, ...]


class OnsetDetector:
    """Finds onsets in recordings of any length, in constant memory but for a row a frame.

    preset: of a listener that tells of frames, by name or folder. threshold: of the smoothed
    activation, 0 to 1. distance_seconds: of two onsets of one name that are closer the stronger one
    stays. device, progress: as in `FrameListener`.
    Raises PresetError for another preset, ValueError for a threshold outside of 0 to 1 and a
    distance below 0.
    """

    def __init__(
        self,
        preset: str | Path = DEFAULT_PRESET,
        *,
        threshold: float = THRESHOLD,
        distance_seconds: float = DISTANCE_SECONDS,
        device: str | None = None,
        progress: presets.Progress | None = None,
    ):
        check_picking(threshold, distance_seconds)
        self.threshold, self.distance_seconds = threshold, distance_seconds
        self.listener = FrameListener(preset, device=device, progress=progress)

    def __call__(self, waveform: np.ndarray, sample_rate: int) -> Onsets:
        """The onsets of `[samples]` or `[samples, channels]`, full scale 1.0."""
        return self.detect([checked_waveform(waveform, sample_rate)], sample_rate)[0]

    def detect(self, blocks: Iterable[np.ndarray], sample_rate: int) -> tuple[Onsets, Frames]:
        """(Onsets, what they were found in) of blocks `[samples, channels]` of any length.

        Probabilities of the second are smoothed.
        """
        frames = self.listener.joined(self.listener.track(blocks, sample_rate))
        rate = self.listener.frame_rate
        curves = [smoothed(curve, rate) for curve in frames.probabilities.T]
        found = [
            (float(frames.times_seconds[at]), float(curve[at]), name)
            for name, curve in zip(self.listener.names, curves, strict=True)
            for at in peaks(curve, rate, self.threshold, self.distance_seconds)
        ]
        times, strengths, names = zip(*sorted(found), strict=True) if found else ((), (), ())
        return (
            Onsets(np.array(times, np.float64), np.array(strengths, np.float64), tuple(names)),
            Frames(frames.times_seconds, np.stack(curves, axis=1)),
        )


def smoothed(activation: np.ndarray, frame_rate: float) -> np.ndarray:
    """`[frames]` averaged by a Hamming window of 50 ms in an odd number of frames."""
    half = max(0, round((SMOOTHING_SECONDS * frame_rate - 1) / 2))
    window = np.hamming(2 * half + 1)
    curve = np.convolve(activation, window / window.sum())
    return curve[half : half + len(activation)]


def peaks(
    curve: np.ndarray, frame_rate: float, threshold: float, distance_seconds: float
) -> np.ndarray:
    """Frames in which `[frames]` is above its neighbours and `threshold`, the first and last too.

    Of a plateau it is the middle. Of two that are closer than distance_seconds the higher one.
    """
    from scipy.signal import find_peaks

    framed = np.pad(curve, 1, constant_values=-1.0)
    distance = max(1, round(distance_seconds * frame_rate))
    found, _ = find_peaks(framed, height=threshold, distance=distance)
    return found - 1


def check_picking(threshold: float, distance_seconds: float) -> None:
    """Raise ValueError for a threshold or distance that no peaks can be picked by."""
    if not 0 <= threshold <= 1:
        raise ValueError(f"threshold must be 0 to 1; got {threshold}")
    if not 0 <= distance_seconds < np.inf:
        raise ValueError(f"distance_seconds must not be negative; got {distance_seconds}")
