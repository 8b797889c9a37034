"""The verb `melody`: the predominant pitch of every recording as files, whole or not at all."""

from __future__ import annotations

from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import loading
from kzoo.extras import package


def melody(
    files: options.Files,
    out: Annotated[
        str, options.out("Folder of the files; - writes one CSV to standard output.")
    ] = "out",
    preset: options.Preset = "deep_salience_melody",
    threshold: Annotated[
        float,
        typer.Option(
            metavar="SALIENCE", min=0, max=1, help="There is a melody where it is so salient."
        ),
    ] = 0.3,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the salience, too.")] = False,
    sonify: Annotated[
        bool, typer.Option("--sonify", help="Write a tone that plays the melody, too.")
    ] = False,
    midi: Annotated[bool, typer.Option("--midi", help="Write the melody's notes, too.")] = False,
    overwrite: options.Overwrite = False,
    device: options.Device = None,
    engine: options.Engine = "auto",
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Follow the melody of music: OUT/<recording>.csv.

    A recording may hold any mixture, at any length, sample rate and number of channels. The CSV
    has a row a frame: time, f0, whether there is a melody, and how salient its pitch is. A
    picture, a tone and notes stand beside it where asked for.
    """
    from kzoo import audio
    from kzoo.cli.files import Job, Outcome, check_stdout, each_recording
    from kzoo.cli.presets import fetch
    from kzoo.engines import litert
    from kzoo.pictures.images import figure
    from kzoo.pitch_tracking.melody import MelodyTracker, check_preset
    from kzoo.pitch_tracking.melody_files import follow_melody

    opened = check_preset(preset)
    by_litert = litert.chosen(engine, opened, device=device)
    wanted = {"png": plot, "wav": sonify, "mid": midi}
    endings = ["csv", *(ending for ending, asked in wanted.items() if asked)]
    check_stdout(files, out, endings)
    if midi:
        package("mido", "--midi", "midi")
    if plot:
        figure(1, 1)

    def load():
        fetch(preset, show=not quiet)
        with loading(opened, by_litert=by_litert, made=by_litert and litert.is_made(opened)):
            tracker = MelodyTracker(preset, device=device, engine=engine)

        def work(job: Job, progress) -> Outcome:
            from kzoo.pictures.melody import Overview

            line, warnings = follow_melody(
                tracker, job.path, job.targets, threshold=threshold, progress=progress,
                picture=Overview(tracker) if plot else None,
            )  # fmt: skip
            return Outcome(f"{line} -> {', '.join(map(str, job.targets.values()))}", warnings)

        return work

    each_recording(
        files, out, places=lambda name: {ending: f"{name}.{ending}" for ending in endings},
        check=lambda job: audio.info(job.path), load=load, overwrite=overwrite, quiet=quiet,
    )  # fmt: skip
