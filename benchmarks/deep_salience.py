"""Whole-process time and memory of `kzoo melody` next to the published path of Deep Salience.

    python benchmarks/deep_salience.py song.ogg --weights melody1.h5 [--seconds 60] [--runs 2]

The authors' program (Bittner, ISMIR 2017) takes a constant-Q transform for each of six harmonics by
librosa, and its network from a file of Keras 2.0.6, all frames of a song at once. Keras 3 does not
read that file, so that the network is laid out anew here with plain layers of Keras, whose weights
are those of the file in its order. kzoo has the same weights as the preset deep_salience_melody, by
TensorFlow and by LiteRT, whose files are made before. Reported are medians, ratios, and how far the
salience of both is apart where the network is kzoo's and the transform librosa's or kzoo's.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from separate import measure, medians, repeated

RATE, HOP, LOWEST_HZ, OCTAVES, BINS = 22050, 256, 32.7, 6, 60  # bins of an octave
HARMONICS = 0.5, 1, 2, 3, 4, 5


def main() -> None:
    """Measure each in turn, `runs` times after one to fill the disk's cache."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("song", type=Path)
    parser.add_argument("--weights", type=Path, required=True, help="the authors' melody1.h5")
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--runs", type=int, default=2)
    parser.add_argument("--published", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.published:
        np.save(options.published, published(options.song, options.weights))
        return
    with tempfile.TemporaryDirectory() as folder:
        song = repeated(options.song, options.seconds, Path(folder) / "song.wav")
        found = Path(folder) / "salience.npy"
        melody = [
            str(Path(sys.executable).with_name("kzoo")), "melody", "-q", str(song),
            "-p", "deep_salience_melody", "--overwrite", "-o", folder,
        ]  # fmt: skip
        commands = {
            "kzoo melody, litert": [*melody, "--engine", "litert"],
            "kzoo melody, tensorflow": [*melody, "--engine", "tensorflow"],
            "the authors' path": [
                sys.executable, __file__, str(song), "--weights", str(options.weights),
                "--published", str(found),
            ],
        }  # fmt: skip
        runs = {name: [] for name in commands}
        for run in range(options.runs + 1):
            for name, command in commands.items():
                measured = measure(command)
                if run:
                    runs[name].append(measured)
        far = _difference(song, np.load(found))
    machine = f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}"
    print(
        f"{machine}, {time.strftime('%Y-%m-%d')}; {options.seconds:g} s; median of {options.runs}"
    )
    figures = {name: medians(measured) for name, measured in runs.items()}
    for name, figure in figures.items():
        print(f"{name:24}" + "".join(f"{value:10.2f} {unit}" for unit, value in figure.items()))
    *ours, peer = figures
    for name in ours:
        ratios = [
            f"{figures[peer][unit] / v:.2f} times its {unit}" for unit, v in figures[name].items()
        ]
        print(f"{peer} to {name}: " + ", ".join(ratios))
    print(f"salience, 0 to 1: {far.mean():.4f} apart in the mean, {far.max():.3f} at most")


def published(song: Path, weights: Path) -> np.ndarray:
    """Salience `[bins, frames]` of a song by librosa's transform and the authors' network."""
    import librosa

    sound, _ = librosa.load(song, sr=RATE)
    transforms = [
        librosa.cqt(
            sound, sr=RATE, hop_length=HOP, fmin=LOWEST_HZ * harmonic, n_bins=OCTAVES * BINS,
            bins_per_octave=BINS,
        )
        for harmonic in HARMONICS
    ]  # fmt: skip
    levels = librosa.amplitude_to_db(np.abs(np.stack(transforms, axis=-1)), ref=np.max)
    return network(weights).predict(levels[None] / 80 + 1, verbose=0)[0, ..., 0]


def network(weights: Path):
    """Levels `[batch, bins, frames, harmonics]` to salience `[batch, bins, frames, 1]`."""
    import h5py
    import keras
    from keras import layers

    model = keras.Sequential([keras.Input((OCTAVES * BINS, None, len(HARMONICS)))])
    kernels = [(128, (5, 5)), (64, (5, 5)), (64, (3, 3)), (64, (3, 3)), (8, (70, 3))]
    for filters, kernel in kernels:
        model.add(layers.BatchNormalization())
        model.add(layers.Conv2D(filters, kernel, padding="same", activation="relu"))
    model.add(layers.BatchNormalization())
    model.add(layers.Conv2D(1, 1, activation="sigmoid"))
    with h5py.File(weights) as file:
        stored = [
            np.asarray(file[layer][weight])
            for layer in file.attrs["layer_names"]
            for weight in file[layer].attrs["weight_names"]
        ]
    model.set_weights(stored)
    return model


def _difference(song: Path, theirs: np.ndarray) -> np.ndarray:
    """How far kzoo's salience is from `theirs`, in each bin and frame that both have."""
    import kzoo
    from kzoo import audio

    sound, _ = audio.read(song, sample_rate=RATE)
    model = kzoo.from_preset("deep_salience_melody", samples=None)
    ours = np.asarray(model(sound.mean(axis=1)[None, :, None]))[0].T
    frames = min(ours.shape[1], theirs.shape[1])
    return np.abs(ours[:, :frames] - theirs[:, :frames])


if __name__ == "__main__":
    main()
