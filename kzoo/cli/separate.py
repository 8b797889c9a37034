"""The verb `separate`, and what it shares with `enhance`: recordings to one file a stem."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kzoo.cli import options
from kzoo.cli.live import play, refuse_both_or_none
from kzoo.cli.terminal import loading, say

if TYPE_CHECKING:
    from kzoo.presets import Preset
    from kzoo.separation import BlockSeparator, OutputOptions


def separate(
    files: options.FilesUnlessLive = None,
    preset: options.Preset = "spleeter_2stems",
    out: Annotated[
        str, options.out("Folder of the stems; - writes a single stem to standard output.")
    ] = "out",
    two_stems: Annotated[
        str | None,
        typer.Option(metavar="STEM", help="Write this stem, and the sum of all others as no_STEM."),
    ] = None,
    only: Annotated[
        str | None,
        typer.Option(metavar="STEM", help="Write this stem alone; with --two-stems also no_STEM."),
    ] = None,
    overlap: options.Overlap = 0.0,
    mwf: options.Mwf = False,
    consistent: Annotated[
        bool, typer.Option("--consistent", help="Make the stems sum to the recording.")
    ] = False,
    live: options.Live = None,
    start: options.Start = 0.0,
    duration: options.Duration = None,
    format: options.Format = "wav",
    bit_depth: options.BitDepth = "16",
    clip: options.Clip = "rescale",
    tags: options.Tags = True,
    overwrite: options.Overwrite = False,
    device: options.Device = None,
    engine: options.Engine = "auto",
    quiet: options.Quiet = False,
) -> None:
    """Separate recordings into stems: OUT/<track>/<stem>.wav.

    Recordings may have any length, sample rate and number of channels; their stems have the same,
    and the memory in use does not grow with the length.
    """
    from kzoo import presets
    from kzoo.engines import litert
    from kzoo.separation import ONE_IS_CONSISTENT, selection

    refuse_both_or_none(live, files, "separate")
    opened = presets.open_preset(preset)
    opened.refuse_untrained()
    stems = selection(opened.sources, two_stems=two_stems, only=only)
    if mwf:
        opened.refuse_mwf()
    litert.chosen(engine, opened, device=device, mwf=mwf, live=live is not None)
    if consistent and len(opened.sources) == 1:
        raise ValueError(ONE_IS_CONSISTENT.format(*opened.sources))
    if live is not None:
        if two_stems or consistent or mwf:
            raise ValueError("--live takes no --two-stems, --consistent or --mwf")
        play(opened, live, list(stems), device=device, engine=engine, quiet=quiet)
        return
    if out == "-" and (len(files) != 1 or len(stems) != 1):
        raise ValueError("stdout takes one stem of one recording: name it with --only")
    separate_each(
        files, out, stems=stems, place=lambda track, stem: f"{track}/{stem}", preset=opened,
        output=output_options(format, bit_depth, clip=clip, tags=tags, overwrite=overwrite),
        start=start, duration=duration, quiet=quiet, overlap=overlap, mwf=mwf,
        consistent=consistent, device=device, engine=engine,
    )  # fmt: skip


def output_options(format: str, bit_depth: str, **others: Any) -> OutputOptions:
    from kzoo.separation import OutputOptions

    return OutputOptions(format=format.lower(), bit_depth=options.depth(bit_depth), **others)


def separate_each(
    files: Sequence[str],
    out: str,
    *,
    stems: Mapping[str, Sequence[int] | None],
    place: Callable[[str, str], str],
    preset: Preset,
    output: OutputOptions,
    start: float,
    duration: float | None,
    quiet: bool,
    bandwidth_hz: float | None = None,
    **separator_options: Any,
) -> None:
    """The stems of each file to OUT/<place(track, stem)>, by one build of the model.

    bandwidth_hz: above it nothing is left, which is said of recordings that have more.
    """
    from kzoo import audio
    from kzoo.cli.files import Job, Outcome, each_recording
    from kzoo.separation import separate_file

    def places(track: str) -> dict[str, str]:
        return {stem: f"{place(track, stem)}.{output.format}" for stem in stems}

    def check(job: Job) -> None:
        with audio.AudioReader(
            job.path, start_seconds=start, duration_seconds=duration
        ) as reader:  # fmt: skip
            sample_rate, channels = reader.sample_rate, reader.channels
        for target in job.targets.values():
            audio.check_writable(
                target, sample_rate, channels, bit_depth=output.bit_depth, clip=output.clip
            )

    def load():
        separator = _separator(preset, quiet=quiet, **separator_options)
        for note in separator.notes:
            say(f"kzoo: {note}")

        def work(job: Job, progress) -> Outcome:
            report = separate_file(
                separator, job.path, job.targets, stems=stems, output=output, start_seconds=start,
                duration_seconds=duration, progress=progress,
            )  # fmt: skip
            notes = list(report.notes)
            if bandwidth_hz is not None and audio.info(job.path).sample_rate / 2 > bandwidth_hz:
                notes.append(f"nothing is left above {bandwidth_hz:g} Hz by this preset")
            folder = next(iter(report.files.values())).parent
            names = " ".join(str(path.relative_to(folder)) for path in report.files.values())
            return Outcome(f"{report.seconds:.1f} s -> {folder}: {names}", notes)

        return work

    each_recording(files, out, places=places, check=check, load=load, overwrite=output.overwrite,
                   quiet=quiet)  # fmt: skip


def _separator(
    preset: Preset,
    *,
    quiet: bool,
    engine: str,
    mwf: bool = False,
    device: str | None = None,
    **separator_options: Any,
) -> BlockSeparator:
    from kzoo import api
    from kzoo.cli.presets import fetch
    from kzoo.engines import litert

    fetch(preset, show=not quiet)
    graph = {"mwf": mwf, "device": device}
    by_litert = litert.chosen(engine, preset, **graph)
    with loading(preset, by_litert=by_litert, made=by_litert and litert.is_made(preset)):
        return api.Separator.from_preset(preset, engine=engine, **graph, **separator_options)
