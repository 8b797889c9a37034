"""The verb `generate`: sound drawn sample after sample by a trained network."""

from __future__ import annotations

import contextlib
import time
from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import loading
from kzoo.files import replacing


def generate(
    preset: Annotated[
        str,
        typer.Option(
            "-p", "--preset", metavar="PRESET",
            help="Name or folder of a generator, or its exported NAME_stream.tflite.",
        ),
    ],
    out: options.Sound,
    seconds: Annotated[
        float | None,
        typer.Option(
            metavar="S", help="Length of the sound; by default the condition's, or 5 without one."
        ),
    ] = None,
    prime: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Recording that the network hears first, and goes on."),
    ] = None,
    condition: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="What is played: CSV or JSON of time, f0_hz, loudness_db; of a vocoder a "
            "recording, or its mel bands as .npy; of a model that plays notes a MIDI file. With "
            "--prime it begins with that.",
        ),
    ] = None,
    speaker: Annotated[
        str | None, typer.Option(metavar="NAME", help="Which of the preset's voices speaks.")
    ] = None,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Another seed draws another sound.")
    ] = 0,
    temperature: Annotated[
        float,
        typer.Option(
            metavar="T", help="Below 1 the likely is drawn more often; 0 draws nothing else."
        ),
    ] = 1.0,
    top_k: Annotated[
        int | None, typer.Option(metavar="N", help="Draw from the N most likely codes alone.")
    ] = None,
    voices: Annotated[
        int,
        typer.Option(
            metavar="N", min=1, help="Draw so many sounds; several are written as OUT_1, OUT_2, ..."
        ),
    ] = 1,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="PNG of the first voice: spectrogram, entropy of the predictions."
        ),
    ] = None,
    bit_depth: options.BitDepth = "16",
    overwrite: options.Overwrite = False,
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Draw sound sample after sample by a trained network.

    The same seed draws the same sound. The memory in use does not grow with the length.
    """
    from kzoo import audio
    from kzoo.cli.files import Job, Outcome, each_job
    from kzoo.cli.transfer import check_picture
    from kzoo.engines.exported import Exported
    from kzoo.generation.composing import Composer, Stillness, generative

    opened = generative(preset)
    depth = options.depth(bit_depth)
    places = [out]
    if voices > 1:
        places = [out.with_stem(f"{out.stem}_{k}") for k in range(1, voices + 1)]
    targets = {f"voice {k}": place for k, place in enumerate(places, start=1)}
    targets |= {"picture": picture} if picture is not None else {}
    rate = opened.card["sample_rate"]

    def check(job: Job) -> None:
        for place in places:
            audio.check_writable(place, rate, 1, bit_depth=depth)
        if picture is not None:
            check_picture(picture)

    def load():
        file = isinstance(opened, Exported)
        with loading(opened, by_litert=file, made=file):
            composer = Composer(opened, voices=voices)

        def work(job: Job, progress) -> Outcome:
            begun, done, still = time.perf_counter(), 0, Stillness(rate, voices)
            blocks = composer.blocks(
                seconds, prime=prime, condition=condition, speaker=speaker, seed=seed,
                temperature=temperature, top_k=top_k,
            )  # fmt: skip
            watcher = None
            if picture is not None:
                from kzoo.pictures.generation import GenerationPicture

                watcher = GenerationPicture(rate)
            with contextlib.ExitStack() as stack:
                drawn = stack.enter_context(replacing(picture)) if picture is not None else None
                writers = [
                    stack.enter_context(
                        audio.AudioWriter(place, rate, 1, bit_depth=depth, overwrite=overwrite)
                    )
                    for place in places
                ]
                for block in blocks:
                    for writer, sound in zip(writers, block.samples, strict=True):
                        writer.write(sound[:, None])
                    still.hear(block.samples)
                    if watcher is not None:
                        watcher.hear(block.samples[0], block.entropies[0])
                    done += block.samples.shape[1]
                    progress(done / rate, seconds)
                if watcher is not None:
                    watcher.draw(drawn, f"drawn by {opened.card['name']}, seed {seed}")
            factor = voices * done / rate / (time.perf_counter() - begun)
            written = ", ".join(map(str, targets.values()))
            line = f"{done / rate:.1f} s, {factor:.2g} times as fast as it sounds -> {written}"
            return Outcome(line, still.lines())

        return work

    job = Job(Path(str(opened)), targets)
    each_job([job], check=check, load=load, overwrite=overwrite, quiet=quiet)
