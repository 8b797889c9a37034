"""The verb `translate`: what recordings play, played by another domain."""

from __future__ import annotations

import contextlib
import importlib.util
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import loading

_STILL = 1e-4  # of a block's amplitudes, below whose deviation nothing sounds


def translate(
    files: options.Files,
    preset: Annotated[
        str,
        typer.Option("-p", "--preset", metavar="PRESET", help="Name or folder of a translator."),
    ],
    to: Annotated[
        str, typer.Option("--to", metavar="DOMAIN", help="Domain that plays, one of the preset's.")
    ],
    out: Annotated[
        str, options.out("Folder of the sounds; - writes one to standard output.")
    ] = "out",
    temperature: Annotated[
        float,
        typer.Option(
            metavar="T", min=0,
            help="How freely samples are drawn: 1 as the network says, 0 the likeliest alone.",
        ),
    ] = 1.0,
    top_k: Annotated[
        int | None,
        typer.Option("--top-k", metavar="K", min=1, help="Draw from the K likeliest codes alone."),
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Seed of what is drawn for each recording.")
    ] = 0,
    plot: Annotated[
        bool, typer.Option("--plot", help="Draw OUT/<track>.png: the recording and the sound.")
    ] = False,
    start: options.Start = 0.0,
    duration: options.Duration = None,
    format: options.Format = "wav",
    bit_depth: options.BitDepth = "16",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Play recordings as another domain would: OUT/<track>.wav.

    Recordings may have any length, sample rate and number of channels, and the memory in use does
    not grow with the length; the sound has one channel, at the preset's rate.
    """
    from kzoo import audio
    from kzoo.cli.files import Job, Outcome, each_recording
    from kzoo.files import replacing
    from kzoo.generation.translation import Translator, check_request

    opened = check_request(preset, to=to, temperature=temperature, top_k=top_k)
    depth, rate = options.depth(bit_depth), opened.card["sample_rate"]
    if out == "-" and (len(files) != 1 or plot):
        raise ValueError("stdout takes the sound of one recording, and no --plot")
    if plot and not importlib.util.find_spec("matplotlib"):
        raise ImportError("--plot needs matplotlib: pip install 'kzoo[plot]'")
    stretch = {"start_seconds": start, "duration_seconds": duration}

    def places(track: str) -> dict[str, str]:
        picture = {"picture": f"{track}.png"} if plot else {}
        return {"sound": f"{track}.{format.lower()}"} | picture

    def check(job: Job) -> None:
        with audio.AudioReader(job.path, **stretch):
            audio.check_writable(job.targets["sound"], rate, 1, bit_depth=depth)

    def load():
        with loading(opened, by_litert=False, made=False):
            translator = Translator(opened, to=to, temperature=temperature, top_k=top_k, seed=seed)

        def work(job: Job, progress) -> Outcome:
            watcher, loudest = None, 0.0
            with contextlib.ExitStack() as stack:
                reader = stack.enter_context(audio.AudioReader(job.path, **stretch))
                if plot:
                    from kzoo.pictures.translation import TranslationPicture

                    watcher = TranslationPicture(rate)
                    drawn = stack.enter_context(replacing(job.targets["picture"]))
                writer = stack.enter_context(
                    audio.AudioWriter(
                        job.targets["sound"], rate, 1, bit_depth=depth, overwrite=overwrite
                    )
                )
                for block in translator.stream(
                    reader.blocks(), reader.sample_rate, samples=reader.samples,
                    hear=watcher and watcher.hear, progress=progress,
                ):  # fmt: skip
                    writer.write(block[:, None])
                    loudest = max(loudest, float(block.std()))
                    if watcher:
                        watcher.sound(block)
                if watcher:
                    watcher.draw(drawn, f"{job.path.name}, played by {to} of {opened}")
            notes = list(reader.warnings)
            if loudest < _STILL:
                notes.append("what is played is silence, or one value: try another temperature")
            return Outcome(f"-> {', '.join(map(str, job.targets.values()))}", notes)

        return work

    each_recording(
        files, out, places=places, check=check, load=load, overwrite=overwrite, quiet=quiet
    )
