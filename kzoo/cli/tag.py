"""The verb `tag`: what is heard in every recording, on the terminal and as files."""

from __future__ import annotations

import importlib.util
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import loading


def tag(
    files: options.Files,
    preset: Annotated[
        str,
        typer.Option(
            "-p", "--preset", metavar="PRESET", help="Preset of a tagger, or its exported file."
        ),
    ] = "musicnn_msd",
    out: Annotated[
        str | None,
        options.out("Folder of a CSV for each recording: a row a window, a column a tag."),
    ] = None,
    top: Annotated[
        int, typer.Option(metavar="N", min=1, help="Number of tags to print.")
    ] = 5,
    threshold: Annotated[
        float,
        typer.Option(
            metavar="PROBABILITY", min=0, max=1,
            help="Print no tag whose mean probability is below this.",
        ),
    ] = 0.0,
    hop_seconds: Annotated[
        float | None,
        typer.Option(
            "--hop", metavar="SECONDS",
            help="Seconds from one window to the next; by default a window's length.",
        ),
    ] = None,
    embed: Annotated[
        bool, typer.Option("--embed", help="Write the windows' embeddings as .npy, too.")
    ] = False,
    plot: Annotated[bool, typer.Option("--plot", help="Draw the tags over time, too.")] = False,
    device: options.Device = None,
    engine: options.Engine = "auto",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Print what recordings sound like, likeliest tags first.

    Recordings have any length, sample rate and number of channels. With -o, OUT/<recording>.csv
    has the probability of every tag over time; --embed adds .npy, --plot adds .png.
    """
    from kzoo import audio, listening
    from kzoo.cli.files import Job, Outcome, each_recording
    from kzoo.cli.presets import fetch
    from kzoo.engines import exported, litert
    from kzoo.listening.files import hear_file
    from kzoo.pictures.names import draw_names

    opened = listening.check_preset(exported.opened(preset))
    by_litert = litert.chosen(engine, opened, device=device)
    if embed and isinstance(opened, exported.Exported):
        raise ValueError(
            f"{preset}: an exported file gives tags and no embeddings; leave --embed out"
        )
    if out is None and (embed or plot):
        option = "--embed" if embed else "--plot"
        raise ValueError(f"{option} writes files: name their folder by -o")
    if out == "-":
        raise ValueError("-o is a folder here; the tags are on standard output anyway")
    if plot and not importlib.util.find_spec("matplotlib"):
        raise ValueError("--plot needs a package: pip install 'kzoo[plot]'")
    wanted = {"csv": out is not None, "npy": embed, "png": plot}
    endings = [ending for ending, asked in wanted.items() if asked]

    def check(job: Job) -> None:
        audio.info(job.path)

    def load():
        if not isinstance(opened, exported.Exported):
            fetch(preset, show=not quiet)
        with loading(opened, by_litert=by_litert, made=by_litert and litert.is_made(opened)):
            listener = listening.Listener(
                preset, hop_seconds=hop_seconds, device=device, engine=engine
            )

        def work(job: Job, progress) -> Outcome:
            heard, warnings = hear_file(
                listener, job.path, job.targets, draw=draw_names, progress=progress
            )
            tags = ", ".join(f"{n} {p:.2f}" for n, p in heard.top(top, threshold=threshold))
            answer = f"{job.path.name}: {tags or f'no tag reaches {threshold:g}'}"
            written = ", ".join(map(str, job.targets.values()))
            return Outcome(f"-> {written}" if written else "", warnings, answer)

        return work

    each_recording(
        files, out or ".", places=lambda name: {ending: f"{name}.{ending}" for ending in endings},
        check=check, load=load, overwrite=overwrite, quiet=quiet,
    )  # fmt: skip
