"""The verb `onsets`: when notes and beats begin in every recording, as files."""

from __future__ import annotations

from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import loading


def onsets(
    files: options.Files,
    out: Annotated[
        str, options.out("Folder of the files; - writes one CSV to standard output.")
    ] = "out",
    preset: Annotated[
        str,
        typer.Option(
            "-p", "--preset", metavar="PRESET",
            help="Name (see kzoo presets list) or folder of the model, or its exported "
            "NAME_stream.tflite.",
        ),
    ] = "onset_cnn",
    threshold: Annotated[
        float,
        typer.Option(metavar="STRENGTH", min=0, max=1, help="Onsets are at least so strong."),
    ] = 0.15,
    distance_ms: Annotated[
        float,
        typer.Option(
            metavar="MS", min=0, help="Of two onsets that are closer the stronger one is kept."
        ),
    ] = 30.0,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw what the onsets were found in, too.")
    ] = False,
    clicks: Annotated[
        bool, typer.Option("--clicks", help="Write the recording with clicks on it, too.")
    ] = False,
    overwrite: options.Overwrite = False,
    device: options.Device = None,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Find where notes and beats begin: OUT/<recording>.csv.

    A recording may hold any music, at any length, sample rate and number of channels. The CSV has
    a row an onset: time and strength, and a name where the preset knows several. A picture, and
    the recording with clicks, stand beside it where asked for.
    """
    from kzoo import audio, listening
    from kzoo.cli.files import Job, Outcome, check_stdout, each_recording
    from kzoo.cli.presets import fetch
    from kzoo.engines import exported
    from kzoo.listening.onset_files import find_onsets
    from kzoo.pictures.images import figure
    from kzoo.pictures.onsets import draw_onsets

    opened = listening.check_preset(exported.opened(preset))
    wanted = {"png": plot, "wav": clicks}
    endings = ["csv", *(ending for ending, asked in wanted.items() if asked)]
    check_stdout(files, out, endings)
    if plot:
        figure(1, 1)

    def load():
        by_litert = isinstance(opened, exported.Exported)
        if not by_litert:
            fetch(preset, show=not quiet)
        with loading(opened, by_litert=by_litert, made=by_litert):
            detector = listening.OnsetDetector(
                preset, threshold=threshold, distance_seconds=distance_ms / 1000, device=device
            )

        def work(job: Job, progress) -> Outcome:
            line, warnings = find_onsets(
                detector, job.path, job.targets, draw=draw_onsets, progress=progress
            )
            return Outcome(f"{line} -> {', '.join(map(str, job.targets.values()))}", warnings)

        return work

    each_recording(
        files, out, places=lambda name: {ending: f"{name}.{ending}" for ending in endings},
        check=lambda job: audio.info(job.path), load=load, overwrite=overwrite, quiet=quiet,
    )  # fmt: skip
