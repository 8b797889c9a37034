"""How far what a network is given moves when the sound moves by less than a frame.

    python -m benchmarks.translation NAME=RECORDING [NAME=RECORDING ...] [-o FILE] [--picture FILE]

Each front end hears a sound, and the same sound a few samples later, up to the distance of its
frames. The relative change is |later - before| / |before| over all frames and channels: 0 where
nothing moved. Of a steady tone nothing should move; what a recording holds does change. Outputs
that are never negative are nearer to each other than others, so that noise in place of the first
recording is measured as well.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from pathlib import Path

import keras
import numpy as np
from keras import layers, ops

import kzoo
from benchmarks.training import machine
from kzoo import audio, models
from kzoo.files import replacing
from kzoo.layers import cascades
from kzoo.layers.band_passes import GaborBandPasses
from kzoo.layers.complex import squared_magnitude
from kzoo.pictures.images import figure

RATE = 22050
HOP, WINDOW, FILTERS = 243, 1024, 128  # the stride of SampleCNN's fourth block is 3^5
SHIFTS, SEEDS = range(9, HOP + 1, 9), 3
TONE_HZ = 440.0
OTHER = "noise in its place"
Front = Callable[[np.ndarray], np.ndarray]  # `[batch, samples, 1]` to `[batch, ...]`
Changes = dict[str, dict[str, np.ndarray]]


def main() -> None:
    """Measure, and write the page and its picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("recordings", nargs="+", metavar="NAME=RECORDING")
    results = Path("benchmarks/results/translation.md")
    parser.add_argument("-o", "--out", type=Path, default=results)
    parser.add_argument("--picture", type=Path, default=Path("docs/guides/translation.png"))
    options = parser.parse_args()
    if bare := [given for given in options.recordings if "=" not in given]:
        parser.error(f"a recording is NAME=FILE, such as violin={bare[0]}; got {bare[0]}")
    paths = {name: Path(path) for name, path in (r.split("=", 1) for r in options.recordings)}
    sounds = {"tone": tone(), "noise": noise(), **{n: middle(path) for n, path in paths.items()}}
    changes = measured(sounds, instead=next(iter(paths)))
    with replacing(options.out) as temporary:
        temporary.write_text(page(changes, paths), encoding="utf-8")
    draw(changes, options.picture)
    print(f"{options.out}, {options.picture}")


def measured(sounds: Mapping[str, np.ndarray], instead: str) -> Changes:
    """{front end: {sound: the change for each of SHIFTS}}, the mean of the seeds.

    OTHER is the change from the sound `instead` to noise.
    """
    changes: Changes = {}
    for seed in range(SEEDS):
        for name, front in fronts(seed).items():
            row = changes.setdefault(name, dict.fromkeys([*sounds, OTHER], 0.0))
            for sound, waveform in sounds.items():
                row[sound] = row[sound] + moved(front, waveform, SHIFTS) / SEEDS
            both = np.concatenate([sounds[instead], sounds["noise"]])
            away = range(len(both) // 2, len(both) // 2 + 1)
            row[OTHER] = row[OTHER] + moved(front, both, away) / SEEDS
    return changes


def fronts(seed: int) -> dict[str, Front]:
    """Front ends of one hop by name; what is not fixed is drawn from the seed."""
    keras.utils.set_random_seed(seed)
    spectrum = cascades.dft(n_fft=WINDOW, hop_length=HOP).layers[-1]
    cosines = cascades.Stage(spectrum.units // 2, WINDOW, HOP)
    cosines.build((None, None, 1))
    kernel, bias = spectrum.get_weights()
    cosines.set_weights([kernel[..., ::2], bias[::2]])
    gabor = GaborBandPasses(FILTERS, WINDOW - 1, RATE, strides=HOP)
    learned = {"kernel_size": WINDOW, "activation": "relu", "kernel_initializer": "he_uniform"}
    pooled = keras.Sequential(
        [layers.Conv1D(FILTERS, strides=27, **learned), layers.MaxPooling1D(9)]
    )
    network = models.build("sample_cnn")
    blocks = keras.Model(network.input, network.get_layer("block4_pool").output)
    whole = keras.Model(network.input, network.get_layer("embedding").output)
    return {
        "DFT, magnitude": spectrum,
        "DFT, real part": cosines,
        "complex Gabor, magnitude": lambda x: ops.sqrt(squared_magnitude(gabor(x))),
        "complex Gabor, real part": lambda x: gabor(x)[..., ::2],
        "strided convolution": layers.Conv1D(FILTERS, strides=HOP, **learned),
        "strided convolution, largest of 9": pooled,
        "SampleCNN, four blocks": blocks,
        "SampleCNN, whole": whole,
    }


def moved(front: Front, waveform: np.ndarray, shifts: range) -> np.ndarray:
    """The relative change for each shift, of a `waveform` `[samples]` that is longer by the last.

    Windows have the same length, so that front ends that hear all of it hear as much.
    """
    length = len(waveform) - shifts[-1]
    first = np.asarray(front(waveform[None, :length, None]))
    changes = []
    for shift in shifts:
        later = np.asarray(front(waveform[None, shift : shift + length, None]))
        changes.append(np.linalg.norm(later - first) / np.linalg.norm(first))
    return np.array(changes)


def tone(samples: int = 59049 + HOP) -> np.ndarray:
    """A steady one, at the level of the other sounds."""
    return unit(np.sin(2 * np.pi * TONE_HZ / RATE * np.arange(samples)))


def noise(samples: int = 59049 + HOP) -> np.ndarray:
    """White and seeded."""
    return unit(np.random.default_rng(0).standard_normal(samples))


def middle(path: Path, samples: int = 59049 + HOP) -> np.ndarray:
    """The middle of a recording, its channels averaged; ValueError for one that is too short."""
    sound, _ = audio.read(path, sample_rate=RATE)
    start = (len(sound) - samples) // 2
    if start < 0:
        raise ValueError(f"{path}: must last {samples / RATE:.2f} s; got {len(sound) / RATE:.2f} s")
    return unit(sound[start : start + samples].mean(axis=1))


def unit(waveform: np.ndarray) -> np.ndarray:
    """A level of 0.1, as sound that is not quiet has it."""
    return np.float32(0.1 * waveform / np.sqrt(np.mean(np.square(waveform))))


def page(changes: Changes, paths: Mapping[str, Path]) -> str:
    """Markdown: a row a front end, and of each sound the mean and the largest change."""
    sounds = list(next(iter(changes.values())))
    given = " ".join(f"{name}={path.name}" for name, path in paths.items())
    first = next(iter(paths))
    lines = [
        "# What moves when the sound is shifted",
        "",
        f"`python -m benchmarks.translation {given}`",
        f"(kzoo {kzoo.__version__}, {machine()}): {59049 / RATE:.2f} s at {RATE} Hz, frames of",
        f"{WINDOW} samples every {HOP}, shifted by {SHIFTS[0]} to {SHIFTS[-1]} samples.",
        "Each figure is |later - before| / |before|, the mean over shifts and, behind it, the",
        f"largest; the last column has {first} before and noise later. Filters that are not fixed",
        f"are untrained, the mean of {SEEDS} seeds. The tone has {TONE_HZ:g} Hz.",
        "",
        "| front end | " + " | ".join(sounds) + " |",
        "| --- |" + " --- |" * len(sounds),
    ]
    for name, row in changes.items():
        cells = [f"{row[sound].mean():.3f}, {row[sound].max():.3f}" for sound in sounds[:-1]]
        lines.append(f"| {name} | " + " | ".join([*cells, f"{row[OTHER].max():.3f}"]) + " |")
    return "\n".join(lines) + "\n"


def draw(changes: Changes, path: Path) -> None:
    """The change over the shift, a panel a sound."""
    sounds = [sound for sound in next(iter(changes.values())) if sound != OTHER]
    made = figure(4 * len(sounds), 4)
    panels = made.subplots(1, len(sounds), sharey=True, squeeze=False)[0]
    for panel, sound in zip(panels, sounds, strict=True):
        for name, row in changes.items():
            style = "--" if "part" in name or name == "strided convolution" else "-"
            panel.plot(SHIFTS, row[sound], style, label=name)
        panel.set(title=sound, xlabel=f"shift in samples, {HOP} are a frame")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("relative change")
    made.legend(*panels[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    with replacing(path) as temporary:
        made.savefig(temporary, dpi=110)


if __name__ == "__main__":
    main()
