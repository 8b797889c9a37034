"""The verb `decompose`: what is wrong with an estimate, to hear and to see."""

from __future__ import annotations

import importlib.util
import math
from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import say

PARTS = ("target", "interference", "noise", "artefacts")


def decompose(
    estimate: Annotated[
        Path, typer.Argument(metavar="ESTIMATE", help="What a system made of one source.")
    ],
    sources: Annotated[
        list[Path],
        typer.Argument(
            metavar="SOURCES", help="The true source that it is an estimate of, then the others."
        ),
    ],
    out: Annotated[Path, options.out("Folder for the parts and their picture.")] = Path("parts"),
    noise: Annotated[
        list[Path] | None,
        typer.Option(
            metavar="FILE",
            help="Noise that the microphones added, a part of its own; may be given several times.",
        ),
    ] = None,
    taps: Annotated[
        int,
        typer.Option(
            metavar="N", min=1,
            help="Length of the filters that count as no error; 1 allows a gain alone.",
        ),
    ] = 512,
    start: options.Start = 0.0,
    duration: options.Duration = None,
    plot: Annotated[bool, typer.Option("--plot/--no-plot", help="Draw a picture, too.")] = True,
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Take an estimate apart: what is right, and what is wrong.

    Writes OUT/target.wav, interference.wav, noise.wav and artefacts.wav. The parts are those of BSS
    Eval's projections and add up to the estimate: what filters of its own source explain is target,
    what filters of the other sources explain beyond that is interference, and what nothing explains
    is artefacts. Prints SDR, SIR, SNR and SAR of the whole; parts.png has the spectrograms. Without
    --noise there is no noise.wav.
    """
    from kzoo import audio, metrics
    from kzoo.cli.files import Job, Outcome, each_job
    from kzoo.files import replacing
    from kzoo.pictures.stems import draw_spectrograms

    names = [name for name in PARTS if noise or name != "noise"]
    targets = {name: out / f"{name}.wav" for name in names}
    if plot:
        if importlib.util.find_spec("matplotlib"):
            targets["png"] = out / "parts.png"
        else:
            say("no picture: pip install 'kzoo[plot]' (--no-plot leaves out this line)")
    stretch = {"start_seconds": start, "duration_seconds": duration}

    def work(job: Job, progress) -> Outcome:
        paths = [job.path, *sources, *(noise or [])]
        waveforms, sample_rate, notes = _read_alike(paths, stretch)
        guess, true = waveforms[0], waveforms[1 : 1 + len(sources)]
        noises = waveforms[1 + len(sources) :] if noise else None
        parts = metrics.decompose(true, guess, noise=noises, taps=taps)
        out.mkdir(parents=True, exist_ok=True)
        sound = {name: getattr(parts, name).astype("float32") for name in names}
        for name in names:
            audio.write(
                job.targets[name], sound[name], sample_rate, bit_depth="float32", clip="none",
                overwrite=overwrite,
            )  # fmt: skip
        if "png" in job.targets:
            peak_db = 20 * math.log10(max(abs(guess).max(), 1e-6))
            with replacing(job.targets["png"]) as temporary:
                draw_spectrograms(
                    {"estimate": guess, **sound}, sample_rate, temporary, loudest_db=peak_db - 30
                )
        seconds = len(guess) / sample_rate
        progress(seconds, seconds)
        ratios = [f"{name.upper()} {value:.2f}" for name, value in parts.ratios._asdict().items()
                  if noise or name != "snr"]  # fmt: skip
        return Outcome(f"{', '.join(ratios)} dB -> {out}/", notes)

    each_job([Job(estimate, targets)], check=lambda job: audio.info(job.path), load=lambda: work,
             overwrite=overwrite, quiet=quiet)  # fmt: skip


def _read_alike(paths: list[Path], stretch: dict) -> tuple:
    """(Waveforms `[files, samples, channels]`, rate, notes), cut to the shortest file.

    Raises ValueError where rates or channels are not those of the first file.
    """
    import numpy as np

    from kzoo import audio

    waveforms, notes = [], []
    for path in paths:
        waveform, sample_rate = audio.read(path, **stretch)
        channels = waveform.shape[1]
        if not waveforms:
            wanted = (sample_rate, channels)
        elif (sample_rate, channels) != wanted:
            raise ValueError(
                f"{path}: has {sample_rate} Hz and {channels} channels, {paths[0].name} has "
                f"{wanted[0]} Hz and {wanted[1]}: convert one of them"
            )
        waveforms.append(waveform)
    lengths = [len(waveform) for waveform in waveforms]
    shortest = min(lengths)
    if max(lengths) > shortest:
        name = paths[lengths.index(shortest)].name
        notes.append(f"all files are cut to the shortest, {name}: {shortest / wanted[0]:.2f} s")
    return np.stack([waveform[:shortest] for waveform in waveforms]), wanted[0], notes
