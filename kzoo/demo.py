"""The whole road on one real song: stems, scores, a picture, and a TFLite file proven equal."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from kzoo import audio
from kzoo.commands import export_preset, separate_files
from kzoo.metrics import bss_eval
from kzoo.stem_files import OutputOptions
from kzoo.terminal import say

PRESET = "spleeter_2stems"
# The streams of a .stem.mp4 of MUSDB18, after the mixture.
_STREAMS = {"drums": 1, "bass": 2, "other": 3, "vocals": 4}


def song_path() -> Path:
    """The excerpt of a real song, with its stems, that the stempeg package carries.

    Raises ValueError with the pip line where the package is absent. stempeg itself is not imported:
    it wants an ffmpeg program.
    """
    spec = importlib.util.find_spec("stempeg")
    folder = Path(next(iter(spec.submodule_search_locations))) if spec else None
    songs = sorted(folder.glob("**/*.stem.mp4")) if folder else []
    if not songs:
        raise ValueError("the demo's song comes with stempeg: pip install 'kzoo[demo]'")
    return songs[0]


def run(out: Path, *, show: bool = True) -> None:
    """Separate, score, draw and export into `out`; prints the scores."""
    song = song_path()
    mixture, sample_rate = audio.read(song)
    stems = {name: audio.read(song, stream=k)[0] for name, k in _STREAMS.items()}
    references = {"vocals": stems["vocals"], "accompaniment": mixture - stems["vocals"]}
    separate_files(
        [str(song)], preset=PRESET, out=str(out), two_stems=None, only=None,
        output=OutputOptions(bit_depth="float32", overwrite=True), start_seconds=0.0,
        duration_seconds=None, show=show, options={},
    )  # fmt: skip
    track = out / song.name.removesuffix(".stem.mp4")
    estimates = {name: audio.read(track / f"{name}.wav")[0] for name in references}
    lines = score_lines(song.name, references, estimates, mixture, sample_rate)
    (out / "scores.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    for line in lines:
        print(line)
    panels = {"mixture": mixture, **estimates, "vocals, as recorded": references["vocals"]}
    draw_spectrograms(panels, sample_rate, out / "stems.png")
    export_preset(
        PRESET, "tflite", out / "tflite", precision="fp32", block_seconds=None, sound=song,
        allow_flex=False, overwrite=True, show=show,
    )  # fmt: skip
    say(f"all of it is in {out}/: stems, scores.txt, stems.png, tflite/")


def score_lines(
    title: str,
    references: Mapping[str, np.ndarray],
    estimates: Mapping[str, np.ndarray],
    mixture: np.ndarray,
    sample_rate: int,
) -> list[str]:
    """A table of BSS Eval medians of the estimates, with the untouched mixture for comparison."""
    truth = np.stack(list(references.values()))
    rows = {
        PRESET: bss_eval(truth, np.stack([estimates[name] for name in references])),
        "mixture": bss_eval(truth, np.stack([mixture] * len(references))),
    }
    lines = [
        f"{title}, {len(mixture) / sample_rate:.1f} s",
        "BSS Eval v4 (images), dB: median over frames of 1 s",
        f"{'system':18}{'stem':16}{'SDR':>8}{'ISR':>8}{'SIR':>8}{'SAR':>8}",
    ]
    for system, scores in rows.items():
        for i, name in enumerate(references):
            medians = [
                np.nanmedian(np.asarray(measure)[i])
                for measure in (scores.sdr, scores.isr, scores.sir, scores.sar)
            ]
            lines.append(f"{system:18}{name:16}" + "".join(f"{value:8.2f}" for value in medians))
    return lines


def draw_spectrograms(panels: Mapping[str, np.ndarray], sample_rate: int, path: Path) -> None:
    """Log-magnitude spectrograms of `[samples, channels]` signals, one above the other."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise ValueError("the picture needs matplotlib: pip install 'kzoo[plot]'") from None
    from scipy.signal import ShortTimeFFT
    from scipy.signal.windows import hann

    transform = ShortTimeFFT(hann(2048, sym=False), hop=512, fs=sample_rate, scale_to="magnitude")
    figure = Figure(figsize=(9, 7), layout="constrained")
    axes = figure.subplots(len(panels), 1, sharex=True)
    for axis, (title, signal) in zip(axes, panels.items(), strict=True):
        level = 20 * np.log10(np.abs(transform.spectrogram(signal.mean(axis=1))) ** 0.5 + 1e-7)
        image = axis.imshow(
            level, origin="lower", aspect="auto", cmap="magma", vmin=-110, vmax=-30,
            extent=(0, len(signal) / sample_rate, 0, sample_rate / 2000),
        )  # fmt: skip
        axis.set_ylim(0, 14)
        axis.set_ylabel("kHz")
        axis.set_title(title, loc="left", fontsize=10)
    axes[-1].set_xlabel("seconds")
    figure.colorbar(image, ax=axes, label="dB", fraction=0.03)
    FigureCanvasAgg(figure)
    figure.savefig(path, dpi=80)
