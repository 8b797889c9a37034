"""Onsets by a preset and by librosa's detector: how many are found, and how long it takes.

    python -m benchmarks.onsets PRESET CORPUS... [--threshold 0.3 ...] [--delta 0.07 ...]
    python -m benchmarks.onsets PRESET --recording song.mp3 [--seconds 300]

CORPUS is one of kind `events`, all of whose events are onsets; those within 30 ms of the one before
count as one, as Schlüter and Böck have it. F, precision and recall are mir_eval's at 50 ms, means
over recordings. librosa's detector is onset_detect with its own defaults but for `delta`, how far a
peak stands out. The recording is repeated or cut to its length and both hear it in turn, three
times: the least wall seconds of each count, loading and resampling left out.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from pathlib import Path

import librosa
import mir_eval
import numpy as np

from kzoo import audio
from kzoo.data import events
from kzoo.listening import OnsetDetector
from kzoo.listening.onsets import DISTANCE_SECONDS, THRESHOLD, peaks

LIBROSA_RATE, LIBROSA_HOP = 22050, 512
RUNS = 3


def merged(times: np.ndarray) -> np.ndarray:
    """Sorted times without those within 30 ms of the one that was kept before."""
    kept: list[float] = []
    for at in np.sort(times):
        if not kept or at - kept[-1] > DISTANCE_SECONDS:
            kept.append(float(at))
    return np.array(kept)


def by_librosa(signal: np.ndarray, delta: float) -> np.ndarray:
    """Onsets in seconds of `[samples]` at 22,050 Hz."""
    return librosa.onset.onset_detect(
        y=signal, sr=LIBROSA_RATE, hop_length=LIBROSA_HOP, delta=delta, units="time"
    )


def scores(detector: OnsetDetector, corpus, thresholds, deltas, gain: float) -> dict[str, list]:
    """{system: (F, precision, recall) of each recording}."""
    rate = detector.listener.frame_rate
    found: dict[str, list] = {}
    for track, (_, samples) in enumerate(corpus.tracks):
        sound = gain * corpus.sound(track, 0, samples)
        truth = merged(np.concatenate([times[:, 0] for times in corpus.events[track].values()]))
        _, frames = detector.detect([sound], corpus.sample_rate)
        estimates = {
            f"{detector.listener.preset} {threshold:g}": frames.times_seconds[
                peaks(frames.probabilities[:, 0], rate, threshold, detector.distance_seconds)
            ]
            for threshold in thresholds
        }
        signal = audio.resample(sound, corpus.sample_rate, LIBROSA_RATE)[:, 0]
        estimates |= {f"librosa {delta:g}": by_librosa(signal, delta) for delta in deltas}
        for name, times in estimates.items():
            score = mir_eval.onset.f_measure(truth, times, window=0.05)
            found.setdefault(name, []).append(score)
    return found


def seconds_taken(detector: OnsetDetector, path: Path, seconds: float) -> dict[str, float]:
    """{system: the least wall seconds}."""
    sound, rate = audio.read(path, sample_rate=detector.listener.sample_rate)
    sound = np.resize(sound.mean(axis=1), round(seconds * rate))
    signal = audio.resample(sound[:, None], rate, LIBROSA_RATE)[:, 0]
    calls = {
        detector.listener.preset: lambda: detector(sound, rate),
        "librosa": lambda: by_librosa(signal, 0.07),
    }
    taken = {name: float("inf") for name in calls}
    for run in range(RUNS + 1):
        for name, call in calls.items():
            start = time.perf_counter()
            call()
            if run:  # the first one compiles
                taken[name] = min(taken[name], time.perf_counter() - start)
    return taken


def main() -> None:
    """Print a row a system and corpus, or the seconds that each takes."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("preset")
    parser.add_argument("corpora", nargs="*", type=Path)
    parser.add_argument("--threshold", type=float, nargs="+", default=[THRESHOLD])
    parser.add_argument("--delta", type=float, nargs="+", default=[0.07])
    parser.add_argument("--gain-db", type=float, default=0.0, help="of all recordings")
    parser.add_argument("--include", nargs="*", default=[], help="recordings, or patterns of them")
    parser.add_argument("--recording", type=Path)
    parser.add_argument("--seconds", type=float, default=300.0)
    options = parser.parse_args()
    detector = OnsetDetector(options.preset)
    machine = f"{platform.machine()}, {os.cpu_count()} cores, {time.strftime('%Y-%m-%d')}"
    if options.recording:
        print(f"{options.seconds:g} s of sound; {machine}")
        for name, wall in seconds_taken(detector, options.recording, options.seconds).items():
            print(f"{name:24}{wall:8.2f} s, {options.seconds / wall:6.0f} times real time")
    for path in options.corpora:
        corpus = events.events(path, label="onset", include=options.include)
        print(f"{path}: {len(corpus.tracks)} recordings, {corpus.seconds / 60:.1f} min; {machine}")
        found = scores(
            detector, corpus, options.threshold, options.delta, 10 ** (options.gain_db / 20)
        )
        for name, rows in found.items():
            mean = np.mean(rows, axis=0)
            print(f"{name:24}  F {mean[0]:.3f}  precision {mean[1]:.3f}  recall {mean[2]:.3f}")


if __name__ == "__main__":
    main()
