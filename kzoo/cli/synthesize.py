"""The verb `synthesize`: controls in a file to sound in another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import quiet_tensorflow


def synthesize(
    controls: Annotated[
        Path,
        typer.Argument(
            metavar="CONTROLS",
            help="CSV or JSON with time, f0_hz, loudness_db, and h1, h2, ... for harmonics.",
        ),
    ],
    out: options.Sound,
    preset: options.Synthesiser = None,
    dry: options.Dry = False,
    sample_rate: Annotated[
        int, typer.Option(metavar="HZ", min=4000, help="Rate of the sound; a preset has its own.")
    ] = 16000,
    harmonics: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of harmonics where the file gives none.")
    ] = 30,
    slope: Annotated[
        float,
        typer.Option(metavar="DB", help="How much softer the harmonics become with every octave."),
    ] = 9.0,
    noise: Annotated[
        float, typer.Option(metavar="DB", help="Level of the noise, relative to the tone.")
    ] = -40.0,
    bit_depth: options.BitDepth = "16",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Play a file of controls: pitch and loudness to sound.

    Without a preset the sound is sinusoids and noise; with one, a trained synthesiser plays. The
    memory in use does not grow with the length.
    """
    from kzoo import audio, presets
    from kzoo.cli.files import Job, Outcome, each_job
    from kzoo.synthesis.files import points_of, synthesize_file

    if dry and preset is None:
        raise ValueError("dry is without the echo of a preset: name one (-p), or leave dry out")
    depth = options.depth(bit_depth)

    def check(job: Job) -> None:
        rate = sample_rate
        next(points_of(controls, preset)())
        if preset is not None:
            opened = presets.synthesiser(preset)
            opened.refuse_untrained()
            rate = opened.card["sample_rate"]
        audio.check_writable(out, rate, 1, bit_depth=depth)

    def load():
        quiet_tensorflow()

        def work(job: Job, progress) -> Outcome:
            seconds = synthesize_file(
                controls, out, preset=preset, dry=dry, sample_rate=sample_rate,
                harmonics=harmonics, slope_db=slope, noise_db=noise, bit_depth=depth,
                overwrite=overwrite, progress=progress,
            )  # fmt: skip
            return Outcome(f"{seconds:.1f} s -> {out}")

        return work

    each_job(
        [Job(controls, {"sound": out})], check=check, load=load, overwrite=overwrite, quiet=quiet
    )
