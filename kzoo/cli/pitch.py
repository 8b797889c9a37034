"""The verb `pitch`: a CSV and a picture for every recording, whole or not at all."""

from __future__ import annotations

import contextlib
import importlib.util
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import loading, say


def pitch(
    files: options.Files,
    out: Annotated[
        str,
        options.out("Folder of the CSV files and pictures; - writes one CSV to standard output."),
    ] = "out",
    method: options.PitchMethod = "crepe_tiny",
    hop_ms: Annotated[
        float, typer.Option(metavar="MS", help="Milliseconds from frame to frame; DDSP uses 4.")
    ] = 4.0,
    fmin: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Lowest pitch; by default the lowest of the method."),
    ] = None,
    fmax: Annotated[
        float | None,
        typer.Option(metavar="HZ", help="Highest pitch; by default the highest of the method."),
    ] = None,
    decoder: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            help="How CREPE's activations become a pitch: viterbi follows a path over time, "
            "local_average takes each frame by itself.",
        ),
    ] = "viterbi",
    threshold: Annotated[
        float,
        typer.Option(
            metavar="CONFIDENCE", min=0, max=1,
            help="Write f0_hz as 0 in frames whose confidence is below this.",
        ),
    ] = 0.0,
    plot: Annotated[bool, typer.Option("--plot/--no-plot", help="Draw a picture, too.")] = True,
    overwrite: options.Overwrite = False,
    engine: options.Engine = "auto",
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Track the pitch of recordings: OUT/<recording>.csv and .png.

    A recording holds one voice or instrument, at any length, sample rate and number of channels.
    The CSV has a row a frame: time, f0, confidence and level; the picture shows them over a
    spectrogram.
    """
    from kzoo import audio, pitch_tracking, presets
    from kzoo.cli.files import Job, Outcome, each_recording
    from kzoo.cli.presets import fetch
    from kzoo.engines import litert
    from kzoo.pictures.pitch import Overview
    from kzoo.pitch_tracking.files import follow_file

    tracking = {"hop_ms": hop_ms, "fmin_hz": fmin, "fmax_hz": fmax, "decoder": decoder}
    hop_length = pitch_tracking.check_request(method, **tracking)
    by_litert = pitch_tracking.uses_litert(method, hop_length, engine=engine)
    if out == "-" and len(files) != 1:
        raise ValueError(f"stdout takes one recording; got {len(files)}")
    endings = ["csv"]
    if plot and out != "-":
        if importlib.util.find_spec("matplotlib"):
            endings.append("png")
        else:
            say("no pictures: pip install 'kzoo[plot]' (--no-plot leaves out this line)")

    def check(job: Job) -> None:
        audio.info(job.path)

    def load():
        ready = contextlib.nullcontext()
        if method != pitch_tracking.PYIN:
            fetch(method, show=not quiet)
            made = by_litert and litert.is_made(presets.open_preset(method), hop_length=hop_length)
            ready = loading(f"{method} at this hop", by_litert=by_litert, made=made)
        with ready:
            tracker = pitch_tracking.PitchTracker(method, engine=engine, **tracking)

        def work(job: Job, progress) -> Outcome:
            line, warnings = follow_file(
                tracker, job.path, job.targets, threshold=threshold, progress=progress,
                picture=Overview() if "png" in job.targets else None,
            )  # fmt: skip
            return Outcome(f"{line} -> {', '.join(map(str, job.targets.values()))}", warnings)

        return work

    each_recording(
        files, out, places=lambda name: {ending: f"{name}.{ending}" for ending in endings},
        check=check, load=load, overwrite=overwrite, quiet=quiet,
    )  # fmt: skip
