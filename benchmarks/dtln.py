"""A folder of speech enhanced by DTLN's published TFLite files, for `kzoo evaluate` to score.

    python benchmarks/dtln.py noisy_folder -o estimates --models folder
    kzoo evaluate estimates PRESET --corpus pairs

Westhausen and Meyer, 2020, Dual-signal transformation LSTM network for real-time noise suppression,
https://arxiv.org/abs/2005.07551. --models holds model_1.tflite and model_2.tflite (MIT). Frames of
512 samples every 128 at 16 kHz go through both as a phone would run them, one at a time, the LSTM
states carried along: the first masks the magnitudes, the second the frame in a learned domain. What
leaves lags by 384 samples, which are made up for, so that estimates lie on their recordings.
Printed are the seconds that a second of sound takes, in LiteRT with one thread.
"""

from __future__ import annotations

import argparse
import os
import platform
import time
from datetime import date
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from kzoo import audio

RATE, FRAME, HOP = 16000, 512, 128


class Stage:
    """One of the two networks: (frame, state) to (frame, state), by the shapes of its tensors."""

    def __init__(self, path: Path):
        self._network = Interpreter(str(path), num_threads=1)
        self._network.allocate_tensors()
        self._inputs = self._by_rank(self._network.get_input_details())
        self._outputs = self._by_rank(self._network.get_output_details())
        self.state = np.zeros(self._inputs[1]["shape"], np.float32)

    def __call__(self, frame: np.ndarray) -> np.ndarray:
        shape = self._inputs[0]["shape"]
        self._network.set_tensor(self._inputs[0]["index"], frame.astype(np.float32).reshape(shape))
        self._network.set_tensor(self._inputs[1]["index"], self.state)
        self._network.invoke()
        found, self.state = (self._network.get_tensor(out["index"]) for out in self._outputs)
        return found.ravel()

    @staticmethod
    def _by_rank(tensors: list[dict]) -> list[dict]:
        return sorted(tensors, key=lambda tensor: len(tensor["shape"]))  # states have four axes


def enhance(noisy: np.ndarray, models: Path) -> np.ndarray:
    """16 kHz `[samples]` to the same, states fresh, delay compensated."""
    mask, refine = Stage(models / "model_1.tflite"), Stage(models / "model_2.tflite")
    delay = FRAME - HOP
    padded = np.concatenate([np.zeros(delay), noisy, np.zeros(delay + HOP)])
    output = np.zeros(len(padded) + FRAME)
    for start in range(0, len(padded) - FRAME + 1, HOP):
        spectrum = np.fft.rfft(padded[start : start + FRAME])
        masked = mask(np.abs(spectrum)) * spectrum
        output[start : start + FRAME] += refine(np.fft.irfft(masked))
    return output[delay : delay + len(noisy)].astype(np.float32)


def main() -> None:
    """Enhance every recording of a folder, and say how long a second of sound took."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("noisy", type=Path)
    parser.add_argument("-o", "--out", type=Path, required=True)
    parser.add_argument("--models", type=Path, required=True)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    spent = heard = 0.0
    for path in sorted(options.noisy.iterdir()):
        if path.suffix.lower() not in audio.READABLE:
            continue
        noisy, _ = audio.read(path, sample_rate=RATE)
        began = time.perf_counter()
        clean = enhance(noisy.mean(axis=1), options.models)
        spent += time.perf_counter() - began
        heard += len(noisy) / RATE
        target = options.out / f"{path.stem}.wav"
        audio.write(target, clean[:, None], RATE, bit_depth="float32")
        print(target)
    if heard:
        machine = (
            f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
        )
        print(f"{1000 * spent / heard:.1f} ms per second of sound; {machine}, {date.today()}")


if __name__ == "__main__":
    main()
