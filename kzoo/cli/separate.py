"""The verb `separate`, and what it shares with `enhance`: recordings to one file a stem."""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kzoo.cli import options
from kzoo.cli.live import play, refuse_both_or_none
from kzoo.cli.terminal import loading, say

if TYPE_CHECKING:
    from kzoo.classical import Method
    from kzoo.presets import Preset
    from kzoo.separation import BlockSeparator, OutputOptions

_PICTURE = "clusters.png"


def separate(
    files: options.FilesUnlessLive = None,
    preset: options.PresetUnlessMethod = None,
    method: options.Method = None,
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
    n_sources: options.NSources = None,
    components: options.Components = None,
    templates: options.Templates = None,
    divergence: options.Divergence = None,
    margin: options.Margin = None,
    overlap: options.Overlap = 0.0,
    shifts: options.Shifts = 0,
    mwf: options.Mwf = False,
    consistent: Annotated[
        bool, typer.Option("--consistent", help="Make the stems sum to the recording.")
    ] = False,
    plot: Annotated[
        bool,
        typer.Option(
            "--plot",
            help="Draw OUT/<track>/clusters.png: the embeddings that were clustered, and the "
            "masks; of presets that separate by clusters.",
        ),
    ] = False,
    live: options.Live = None,
    manifest: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Separate the recordings of a .csv or .jsonl: a path, and where wished an id, "
            "start and duration a row. Stems are OUT/<id>/<stem>.wav, each made once; what is "
            "damaged is listed in OUT/dead_letters.jsonl; interrupted, the same command goes on.",
        ),
    ] = None,
    runner: options.Runner = None,
    runner_option: options.RunnerOptions = None,
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
    from kzoo.engines import exported, litert
    from kzoo.presets.shelf import named_or_best
    from kzoo.separation import ONE_IS_CONSISTENT, selection

    if (runner or runner_option) and manifest is None:
        raise ValueError("--runner and --runner-option go with --manifest")
    if manifest is None:
        refuse_both_or_none(live, files, "separate")
    elif files or live or plot or out == "-":
        raise ValueError("--manifest takes no FILES, --live, --plot or -o -: it names recordings")
    by = _method(
        method,
        {"components": components, "templates": templates, "divergence": divergence,
         "margin": margin, **({"n_sources": n_sources} if method else {})},
        of_presets={"--preset": preset, "--overlap": overlap, "--shifts": shifts, "--mwf": mwf,
                    "--live": live, "--device": device, "--engine": engine != "auto",
                    "--plot": plot},
    )  # fmt: skip
    if by is None:
        asked = [stem for stem in (two_stems or only,) if stem]
        named = named_or_best(
            preset or options.PRESET, asked, say=lambda line: say(f"kzoo: {line}")
        )
        by = presets.open_preset(exported.opened(named))
        by.refuse_untrained()
        if n_sources is not None:
            by = by.with_n_sources(n_sources)
        if plot and not by.clusters:
            raise ValueError(f"--plot draws clusters, and preset {by} has none: leave it out")
    stems = selection(by.sources, two_stems=two_stems, only=only)
    if consistent and len(by.sources) == 1:
        raise ValueError(ONE_IS_CONSISTENT.format(*by.sources))
    graph = {}
    if method is None:
        if mwf:
            by.refuse_mwf()
        litert.chosen(engine, by, device=device, mwf=mwf, live=live is not None)
        graph = {
            "overlap": overlap,
            "shifts": shifts,
            "mwf": mwf,
            "device": device,
            "engine": engine,
        }
    if live is not None:
        if two_stems or consistent or mwf or shifts:
            raise ValueError("--live takes no --two-stems, --consistent, --mwf or --shifts")
        play(by, live, list(stems), device=device, engine=engine, quiet=quiet)
        return
    output = output_options(format, bit_depth, clip=clip, tags=tags, overwrite=overwrite)
    if manifest is not None:
        from kzoo.cli.manifest import separate_rows

        graph["consistent"] = consistent
        separate_rows(
            manifest, out, by=by, stems=stems, output=output, start=start, duration=duration,
            separators=functools.partial(separators, by, quiet=quiet, **graph), graph=graph,
            runner=runner, runner_options=runner_option or [], quiet=quiet,
        )  # fmt: skip
        return
    if out == "-" and (len(files) != 1 or len(stems) != 1):
        raise ValueError("stdout takes one stem of one recording: name it with --only")
    if out == "-" and plot:
        raise ValueError("stdout takes a stem and no picture: leave --plot out")
    separate_each(
        files, out, stems=stems, place=lambda track, stem: f"{track}/{stem}", by=by,
        output=output, start=start, duration=duration, quiet=quiet, plot=plot,
        consistent=consistent, **graph,
    )  # fmt: skip


def _method(
    name: str | None, given: Mapping[str, Any], *, of_presets: Mapping[str, Any]
) -> Method | None:
    """The method of that name, None for none; options of presets and of methods do not mix."""
    given = {option: value for option, value in given.items() if value is not None}
    if name is None:
        for option in given:
            raise ValueError(f"--{option.replace('_', '-')} is an option of --method")
        return None
    from kzoo import classical

    for flag, value in of_presets.items():
        if value:
            raise ValueError(f"{flag} is of presets; --method {name} has none of it: leave it out")
    return classical.method(name, **given)


def output_options(format: str, bit_depth: str, **others: Any) -> OutputOptions:
    from kzoo.separation import OutputOptions

    return OutputOptions(format=format.lower(), bit_depth=options.depth(bit_depth), **others)


def separate_each(
    files: Sequence[str],
    out: str,
    *,
    stems: Mapping[str, Sequence[int] | None],
    place: Callable[[str, str], str],
    by: Preset | Method,
    output: OutputOptions,
    start: float,
    duration: float | None,
    quiet: bool,
    plot: bool = False,
    bandwidth_hz: float | None = None,
    **separator_options: Any,
) -> None:
    """The stems of each file to OUT/<place(track, stem)>, by one build of a preset's model.

    plot: the clusters, too, by which they were separated.
    bandwidth_hz: above it nothing is left, which is said of recordings that have more.
    """
    from kzoo import audio
    from kzoo.cli.files import Job, Outcome, each_recording
    from kzoo.files import replacing
    from kzoo.presets import Preset
    from kzoo.separation import separate_file

    by_preset = isinstance(by, Preset)
    if plot:
        from kzoo.pictures.clusters import draw_clusters
        from kzoo.pictures.images import figure

        figure(1, 1)  # without matplotlib nothing is begun

    def places(track: str) -> dict[str, str]:
        picture = {_PICTURE: place(track, _PICTURE)} if plot else {}
        return {stem: f"{place(track, stem)}.{output.format}" for stem in stems} | picture

    def check(job: Job) -> None:
        with audio.AudioReader(
            job.path, start_seconds=start, duration_seconds=duration
        ) as reader:  # fmt: skip
            sample_rate, channels = reader.sample_rate, reader.channels
        if not by_preset:
            with _named(job.path):
                by.refuse(channels)
        for target in (job.targets[stem] for stem in stems):
            audio.check_writable(
                target, sample_rate, channels, bit_depth=output.bit_depth, clip=output.clip
            )

    def load():
        separator_for = separators(by, quiet=quiet, **separator_options)

        def work(job: Job, progress) -> Outcome:
            surveyed: list = []
            with _named(job.path):
                report = separate_file(
                    separator_for(job.path), job.path, job.targets, stems=stems, output=output,
                    start_seconds=start, duration_seconds=duration, progress=progress,
                    surveyed=surveyed.extend,
                )  # fmt: skip
            if plot and surveyed[0] is not None and surveyed[0].model is not None:
                with replacing(job.targets[_PICTURE]) as temporary:
                    draw_clusters(
                        surveyed[0].model,
                        separator_for(job.path).sources,
                        separator_for(job.path).system.sample_rate,
                        temporary,
                    )
            notes = list(report.notes)
            if bandwidth_hz is not None and audio.info(job.path).sample_rate / 2 > bandwidth_hz:
                notes.append(f"nothing is left above {bandwidth_hz:g} Hz by this preset")
            folder = next(iter(report.files.values())).parent
            names = " ".join(str(path.relative_to(folder)) for path in report.files.values())
            return Outcome(f"{report.seconds:.1f} s -> {folder}: {names}", notes)

        return work

    each_recording(files, out, places=places, check=check, load=load, overwrite=output.overwrite,
                   quiet=quiet)  # fmt: skip


@contextlib.contextmanager
def _named(path: Path) -> Iterator[None]:
    """A ValueError names the recording that it is about, as an AudioError does."""
    from kzoo.audio import AudioError

    try:
        yield
    except AudioError:
        raise
    except ValueError as error:
        raise ValueError(f"{path}: {error}") from error


def separators(
    by: Preset | Method, *, quiet: bool, **separator_options: Any
) -> Callable[[str | Path], BlockSeparator]:
    """What gives a recording its separator: one build of a preset's, or a method's own of each."""
    from kzoo import audio
    from kzoo.presets import Preset
    from kzoo.separation import BlockSeparator

    if isinstance(by, Preset):
        separator = _separator(by, quiet=quiet, **separator_options)
        for note in separator.notes:
            say(f"kzoo: {note}")
        return lambda path: separator

    def separator_for(path: str | Path) -> BlockSeparator:
        about = audio.info(path)
        by.refuse(about.channels)
        return BlockSeparator(by.system(about.sample_rate, about.channels), **separator_options)

    return separator_for


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
