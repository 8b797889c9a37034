"""The verb `synthesize`: controls in a file to sound in another."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import loading


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
    engine: options.Engine = "auto",
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Play a file of controls: pitch and loudness to sound.

    Without a preset the sound is sinusoids and noise; with one, a trained synthesiser plays. The
    memory in use does not grow with the length.
    """
    from kzoo import audio, presets
    from kzoo.cli.files import Job, Outcome, each_job
    from kzoo.engines import exported, litert
    from kzoo.synthesis import player
    from kzoo.synthesis.files import points_of, synthesize_file

    if dry and preset is None:
        raise ValueError("dry is without the echo of a preset: name one (-p), or leave dry out")
    if engine != "auto" and preset is None:
        raise ValueError("an engine runs a preset: name one (-p), or leave --engine out")
    depth = options.depth(bit_depth)
    opened, form = None, {"frames": player.BLOCK_FRAMES}
    if preset is not None:
        opened = presets.synthesiser(exported.opened(preset))
        opened.refuse_untrained()
        litert.chosen(engine, opened, **form)

    def check(job: Job) -> None:
        next(points_of(controls, by_preset=opened is not None)())
        rate = sample_rate if opened is None else opened.card["sample_rate"]
        audio.check_writable(out, rate, 1, bit_depth=depth)

    def load():
        instrument, by_litert = None, opened is not None and litert.chosen(engine, opened, **form)
        made = by_litert and litert.is_made(opened, **form)
        with loading(opened, by_litert=by_litert, made=made):
            if opened is not None:
                instrument = player.instrument(opened, dry=dry, engine=engine)

        def work(job: Job, progress) -> Outcome:
            seconds = synthesize_file(
                controls, out, instrument=instrument, sample_rate=sample_rate,
                harmonics=harmonics, slope_db=slope, noise_db=noise, bit_depth=depth,
                overwrite=overwrite, progress=progress,
            )  # fmt: skip
            return Outcome(f"{seconds:.1f} s -> {out}")

        return work

    each_job(
        [Job(controls, {"sound": out})], check=check, load=load, overwrite=overwrite, quiet=quiet
    )
