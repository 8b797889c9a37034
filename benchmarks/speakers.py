"""Who speaks: a trained SincNet next to MFCC and a logistic regression, and the filters it learned.

    python -m benchmarks.speakers SPEAKERS RUN [-o FILE] [--picture FILE]

SPEAKERS is what `configs/listening/speakers.py` made: a folder of each voice under train,
validation and test. Windows of 200 ms follow each other by 50 ms; a recording's speaker is the one
of the largest mean over its windows. Of MFCC (librosa, 20 of 25 ms every 10 ms) the means and
deviations over a window are given to a logistic regression (scikit-learn), which learned from
windows 200 ms apart. The picture has the responses of the first layer's filters before and after
training, and their sum, as Ravanelli and Bengio (2018) draw it.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import librosa
import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

import kzoo
from benchmarks.representations_page import responses
from benchmarks.training import machine
from kzoo import audio, models, presets
from kzoo.files import replacing
from kzoo.layers.band_passes import SincBandPasses
from kzoo.pictures.images import figure

WINDOW_SECONDS, HOP_SECONDS = 0.2, 0.05
_FRAME_SECONDS, _STEP_SECONDS = 0.025, 0.01
_PARTS = "validation", "test"
Recordings = list[tuple[str, np.ndarray]]  # a voice and its sound `[samples]`
Shares = Callable[
    [np.ndarray], np.ndarray
]  # sound to each name's share in windows `[windows, names]`


class Score(NamedTuple):
    """What share of the windows and of the recordings was told rightly, and how many there are."""

    windows: float
    recordings: float
    window_count: int
    recording_count: int


def main() -> None:
    """Score, and write the table and the picture."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("speakers", type=Path)
    parser.add_argument("run", type=Path, help="the folder of a run of sincnet")
    parser.add_argument("-o", "--out", type=Path, default=Path("benchmarks/results/speakers.md"))
    parser.add_argument("--picture", type=Path, default=Path("docs/guides/sinc_filters.png"))
    options = parser.parse_args()
    sizes = presets.load_card(options.run)["model"]
    rate, names = sizes["options"]["sample_rate"], sizes["options"]["names"]
    trained = presets.from_preset(options.run, samples=round(WINDOW_SECONDS * rate))
    systems = {
        options.run.name: lambda sound: trained.predict(framed(sound, rate), verbose=0),
        "MFCC, logistic regression": regression(_recordings(options.speakers / "train"), rate),
    }
    told = {part: _recordings(options.speakers / part) for part in _PARTS}
    scores = {
        name: [score(told[part], names, shares) for part in _PARTS]
        for name, shares in systems.items()
    }
    fresh = models.build(sizes["name"], variant=sizes["variant"], **sizes["options"])
    bands = [_bands(network) for network in (fresh, trained)]
    with replacing(options.out) as temporary:
        temporary.write_text(page(scores, options) + moved(*bands), encoding="utf-8")
    draw([np.asarray(layer.kernel()) for layer in bands], rate, options.picture)
    print(f"{options.out}, {options.picture}")


def framed(sound: np.ndarray, rate: int) -> np.ndarray:
    """`[samples]` to windows `[windows, samples, 1]`; ValueError for a sound shorter than one."""
    length, hop = round(WINDOW_SECONDS * rate), round(HOP_SECONDS * rate)
    return np.lib.stride_tricks.sliding_window_view(sound, length)[::hop, :, None]


def regression(learned_from: Recordings, rate: int) -> Shares:
    """Shares by a logistic regression of MFCC; names are in the order of the alphabet."""
    frames = round(WINDOW_SECONDS / _STEP_SECONDS)
    hop = round(HOP_SECONDS / _STEP_SECONDS)

    def features(sound: np.ndarray, hop: int) -> np.ndarray:
        found = librosa.feature.mfcc(
            y=sound, sr=rate, n_mfcc=20, n_mels=40,
            n_fft=round(_FRAME_SECONDS * rate), hop_length=round(_STEP_SECONDS * rate),
        )  # fmt: skip
        windows = np.lib.stride_tricks.sliding_window_view(found, frames, axis=1)[:, ::hop]
        return np.concatenate([windows.mean(axis=-1), windows.std(axis=-1)]).T

    windows = [(name, features(sound, frames)) for name, sound in learned_from]
    truth = np.repeat([name for name, _ in windows], [len(found) for _, found in windows])
    fitted = make_pipeline(StandardScaler(), LogisticRegression(max_iter=2000))
    fitted.fit(np.concatenate([found for _, found in windows]), truth)
    return lambda sound: fitted.predict_proba(features(sound, hop))


def score(recordings: Recordings, names: Sequence[str], shares: Shares) -> Score:
    """Accuracies of `shares`, whose columns are `names`."""
    right, windows, whole = 0, 0, 0
    for name, sound in recordings:
        found = shares(sound)
        right += np.count_nonzero(found.argmax(axis=1) == names.index(name))
        windows += len(found)
        whole += found.mean(axis=0).argmax() == names.index(name)
    return Score(right / windows, whole / len(recordings), windows, len(recordings))


def page(scores: Mapping[str, Sequence[Score]], options: argparse.Namespace) -> str:
    """Markdown: a row a system."""
    lines = [
        "# Who speaks",
        "",
        f"`python -m benchmarks.speakers {options.speakers.name} {options.run.name}`",
        f"(kzoo {kzoo.__version__}, {machine()}): accuracy over windows of",
        f"{1000 * WINDOW_SECONDS:g} ms, {1000 * HOP_SECONDS:g} ms apart, and over recordings by",
        "the mean of their windows, on synthetic voices whose other texts were learned from. The",
        "validation chose the epoch of the network.",
        "",
        "| system | "
        + " | ".join(f"windows, {part} | recordings, {part}" for part in _PARTS)
        + " |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, (validation, test) in scores.items():
        cells = [validation.windows, validation.recordings, test.windows, test.recordings]
        lines.append(f"| {name} | " + " | ".join(f"{100 * cell:.1f} %" for cell in cells) + " |")
    _, test = next(iter(scores.values()))
    lines += [
        "",
        f"The test has {test.recording_count} recordings and {test.window_count} windows.",
    ]
    return "\n".join(lines) + "\n"


def moved(before: SincBandPasses, after: SincBandPasses) -> str:
    """How far the training moved what the filters learn."""
    pairs = zip(before.trainable_weights, after.trainable_weights, strict=True)
    far = [np.abs(np.asarray(b) - np.asarray(a)) for b, a in pairs]
    return (
        f"\nThe training moved lower edges and widths by {np.mean(far):.2f} Hz, at most by "
        f"{np.max(far):.2f} Hz.\n"
    )


def draw(kernels: Sequence[np.ndarray], rate: int, path: Path) -> None:
    """Each filter's response before and after, and the sum of all."""
    made = figure(12, 4)
    panels = made.subplots(1, 3)
    for panel, kernel, when in zip(panels, kernels, ("before", "after"), strict=False):
        levels = responses(kernel)
        panel.imshow(
            levels.T, origin="lower", aspect="auto", vmin=-60, vmax=0,
            extent=(0, levels.shape[0], 0, rate / 2),
        )  # fmt: skip
        panel.set(title=f"{when} training", xlabel="filter, by its peak", ylabel="Hz")
        total = np.mean(10 ** (levels / 20), axis=0)
        frequencies = np.linspace(0, rate / 2, len(total))
        panels[2].plot(frequencies, total / total.max(), label=when)
    panels[2].set(
        title="mean of the filters", xlabel="Hz", ylabel="gain, its largest 1", ylim=(0, 1.05)
    )
    panels[2].grid(alpha=0.3)
    panels[2].legend()
    with replacing(path) as temporary:
        made.savefig(temporary, dpi=110, format="png")


def _recordings(folder: Path) -> Recordings:
    paths = sorted(folder.glob("*/*.wav"))
    return [(path.parent.name, audio.read(path)[0][:, 0]) for path in paths]


def _bands(network) -> SincBandPasses:
    return next(layer for layer in network.layers if isinstance(layer, SincBandPasses))


if __name__ == "__main__":
    main()
