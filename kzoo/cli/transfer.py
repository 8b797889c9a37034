"""The verb `transfer`: a recording played by a trained synthesiser, whole or not at all."""

from __future__ import annotations

import contextlib
import importlib.util
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import loading
from kzoo.files import replacing

if TYPE_CHECKING:
    from kzoo.synthesis.transfer import Moved


def transfer(
    recording: Annotated[
        Path, typer.Argument(metavar="RECORDING", help="Recording of one voice or instrument.")
    ],
    out: options.Sound,
    preset: Annotated[
        str | None,
        typer.Option(
            "-p", "--preset", metavar="PRESET",
            help="Name or folder of a trained synthesiser, or its exported NAME_stream.tflite; by "
            "default the one that ships.",
        ),
    ] = None,
    octaves: Annotated[
        int | None,
        typer.Option(
            metavar="N",
            help="Move all notes by so many, up or down; by default to the training's range.",
        ),
    ] = None,
    match: Annotated[
        bool,
        typer.Option("--match/--no-match", help="Move the loudness to that of the training, too."),
    ] = True,
    loudness_db: Annotated[
        float, typer.Option(metavar="DB", help="Extra gain, applied with or without --match.")
    ] = 0.0,
    gate: Annotated[
        float,
        typer.Option(
            metavar="CONFIDENCE", help="Silence frames whose pitch confidence is below this."
        ),
    ] = 0.3,
    dry: options.Dry = False,
    method: options.PitchMethod = "crepe_tiny",
    input_rate: Annotated[
        bool,
        typer.Option(
            "--input-rate", help="Write at the recording's sample rate, not at the preset's."
        ),
    ] = False,
    picture: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="PNG of the recording, the controls made of it, and the sound."
        ),
    ] = None,
    bit_depth: options.BitDepth = "16",
    overwrite: options.Overwrite = False,
    engine: options.Engine = "auto",
    quiet: options.Quiet = False,
) -> None:  # fmt: skip
    """Play a recording by a trained synthesiser (timbre transfer).

    Recordings may have any length, sample rate and number of channels, and the memory in use does
    not grow with the length; the sound has one channel.
    """
    from kzoo import audio, pitch_tracking, presets
    from kzoo.cli.files import Job, Outcome, each_job
    from kzoo.cli.presets import fetch
    from kzoo.engines import exported, litert
    from kzoo.synthesis import player
    from kzoo.synthesis.transfer import TimbreTransfer, check_request

    wishes = {"octaves": octaves, "match": match, "loudness_db": loudness_db, "gate": gate}
    instrument = check_request(preset, method=method, **wishes)
    depth = options.depth(bit_depth)
    if picture is not None and isinstance(instrument, exported.Exported):
        raise ValueError(
            f"{picture}: shows what the network of a preset makes, and {instrument} gives its "
            "sound alone; leave the picture out, or name the preset"
        )
    by_network = method != pitch_tracking.PYIN
    # What may have a LiteRT file: {its name: (its preset, the form of the file)}.
    networks = {str(instrument): (instrument, {"frames": player.BLOCK_FRAMES})}
    if by_network:
        hop_length = pitch_tracking.check_request(method, hop_ms=4.0)  # that of DDSP
        networks[f"{method} at this hop"] = (
            presets.open_preset(method), {"hop_length": hop_length}
        )  # fmt: skip
    for network, form in networks.values():
        litert.chosen(engine, network, **form)

    def rate_of(info) -> int:
        return info.sample_rate if input_rate else instrument.card["sample_rate"]

    def check(job: Job) -> None:
        info = audio.info(job.path)
        audio.check_writable(out, rate_of(info), 1, bit_depth=depth)
        if picture is not None:
            check_picture(picture)

    def load():
        if by_network:
            fetch(method, show=not quiet)
        with contextlib.ExitStack() as ready:
            for what, (network, form) in networks.items():
                by_litert = litert.chosen(engine, network, **form)
                made = by_litert and litert.is_made(network, **form)
                ready.enter_context(loading(what, by_litert=by_litert, made=made))
            mover = TimbreTransfer(instrument, method=method, dry=dry, engine=engine, **wishes)

        def work(job: Job, progress) -> Outcome:
            watcher, moves = None, []
            if picture is not None:
                from kzoo.pictures.transfer import TransferPicture

                watcher = TransferPicture(mover.sample_rate, mover.hop_length)
            with contextlib.ExitStack() as stack:
                reader = stack.enter_context(audio.AudioReader(job.path))
                drawn = stack.enter_context(replacing(picture)) if picture is not None else None
                writer = stack.enter_context(
                    audio.AudioWriter(out, rate_of(reader), 1, bit_depth=depth, overwrite=overwrite)
                )
                for block in mover.stream(
                    reader.blocks(), reader.sample_rate, samples=reader.samples,
                    input_rate=input_rate, watcher=watcher, progress=progress, say=moves.append,
                ):  # fmt: skip
                    writer.write(block[:, None])
                line = _line(moves[0])
                if watcher is not None:
                    name = instrument.card["name"]
                    watcher.draw(drawn, f"{job.path.name}, played by {name}: {line}")
            written = ", ".join(map(str, job.targets.values()))
            return Outcome(f"{line} -> {written}", reader.warnings)

        return work

    targets = {"sound": out} if picture is None else {"sound": out, "picture": picture}
    each_job([Job(recording, targets)], check=check, load=load, overwrite=overwrite, quiet=quiet)


def _line(moved: Moved) -> str:
    before, after = moved.loudness_db
    return (
        f"{100 * moved.voiced:.0f} % of the frames have a pitch, {moved.octaves:+d} octaves, "
        f"median loudness {before:.0f} to {after:.0f} dB"
    )


def check_picture(picture: Path) -> None:
    """Raise ValueError for another format, ImportError where there is nothing to draw with."""
    if picture.suffix.lower() != ".png":
        raise ValueError(f"{picture}: a picture is a .png")
    if not importlib.util.find_spec("matplotlib"):
        raise ImportError("the picture needs matplotlib: pip install 'kzoo[plot]'")
