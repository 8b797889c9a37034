"""The `kzoo` command. TensorFlow is imported by the verb that needs it, after its checks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kzoo import __version__
from kzoo.cli.terminal import INTERRUPTED, errors_to_exit_codes, one_line, say

ClickException = typer.BadParameter.__mro__[2]  # typer has its own copy of click's exceptions

app = typer.Typer(
    name="kzoo",
    help="Audio models in Keras: songs to stems, noise from speech, and the model to a phone.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
presets_app = typer.Typer(no_args_is_help=True, help="List, fetch and describe presets.")
app.add_typer(presets_app, name="presets")
data_app = typer.Typer(no_args_is_help=True, help="Check corpora, and prepare them for training.")
app.add_typer(data_app, name="data")

PresetOption = Annotated[
    str, typer.Option("-p", "--preset", help="A preset's name or folder (see kzoo presets list).")
]
DeviceOption = Annotated[
    str | None, typer.Option("--device", help="cpu, gpu or gpu:1; TensorFlow's choice by default.")
]
KindOption = Annotated[
    str | None,
    typer.Option(
        help="stems by default; musdb, pairs, sources, speech, csv, librimix, wsj0mix; solo."
    ),
]
SourcesOption = Annotated[
    str | None, typer.Option(help="vocals,accompaniment; by default those of the kind.")
]
MixtureOption = Annotated[
    str | None, typer.Option(help="Of pairs: the folder of the mixtures; by default noisy.")
]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="No progress bar, no report.")]
FilesArgument = Annotated[list[str], typer.Argument(help="Recordings; - reads one from stdin.")]
OverlapOption = Annotated[
    float, typer.Option(help="Share of a block faded into the next.", min=0, max=0.5)
]
StartOption = Annotated[float, typer.Option(help="Seconds to skip.", min=0)]
DurationOption = Annotated[float | None, typer.Option(help="Seconds to read.", min=0)]
FormatOption = Annotated[str, typer.Option(help="wav, flac, ogg or mp3.")]
BitDepthOption = Annotated[str, typer.Option(help="16, 24 or float32, where it applies.")]
ClipOption = Annotated[
    str, typer.Option(help="rescale all stems alike, or clamp, what exceeds full scale.")
]
TagsOption = Annotated[bool, typer.Option(help="Copy title, artist and the like.")]
SoundOption = Annotated[Path, typer.Option("-o", "--out", help="The sound: wav, flac, ogg or mp3.")]
DryOption = Annotated[bool, typer.Option("--dry", help="Without the echo the preset has learned.")]
OverwriteOption = Annotated[bool, typer.Option(help="Replace files that exist.")]


def main() -> None:
    """Entry point: mistakes become one line on stderr and a non-zero exit status."""
    with errors_to_exit_codes():
        try:
            status = app(standalone_mode=False)
        except typer.Abort:
            status = INTERRUPTED
        except ClickException as error:
            if message := error.format_message():  # none where the help has been printed instead
                say(f"kzoo: {one_line(message)} (--help tells more)")
            raise SystemExit(error.exit_code) from None
        if status == INTERRUPTED:  # what typer makes of Ctrl-C
            raise KeyboardInterrupt
        raise SystemExit(status or 0)


def _version(value: bool) -> None:
    if value:
        print(f"kzoo {__version__}")
        raise typer.Exit


@app.callback()
def options(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print it.")
    ] = False,
) -> None:
    """Nothing of its own: the options before the verb."""


@app.command()
def separate(
    files: FilesArgument,
    preset: PresetOption = "spleeter_2stems",
    out: Annotated[
        str, typer.Option("-o", "--out", help="Folder for OUT/<track>/<stem>; - is stdout.")
    ] = "out",
    two_stems: Annotated[
        str | None, typer.Option(help="One stem, and all others summed as no_<stem>.")
    ] = None,
    only: Annotated[
        str | None, typer.Option(help="Write this stem alone; with --two-stems also no_<stem>.")
    ] = None,
    overlap: OverlapOption = 0.0,
    mwf: Annotated[bool, typer.Option(help="Multichannel Wiener filter (twice the time).")] = False,
    consistent: Annotated[bool, typer.Option(help="Make the stems sum to the mixture.")] = False,
    start: StartOption = 0.0,
    duration: DurationOption = None,
    format: FormatOption = "wav",
    bit_depth: BitDepthOption = "16",
    clip: ClipOption = "rescale",
    tags: TagsOption = True,
    overwrite: OverwriteOption = False,
    device: DeviceOption = None,
    quiet: QuietOption = False,
) -> None:
    """Separate recordings into stems: OUT/<track>/<stem>.wav.

    Any length in constant memory, any rate and channel layout, in and out alike.
    """
    from kzoo.cli.separate import separate_files

    separate_files(
        files,
        preset=preset,
        out=out,
        two_stems=two_stems,
        only=only,
        output=_output(format, bit_depth, clip=clip, overwrite=overwrite, tags=tags),
        start_seconds=start,
        duration_seconds=duration,
        show=not quiet,
        options={"overlap": overlap, "mwf": mwf, "consistent": consistent, "device": device},
    )


@app.command()
def enhance(
    files: FilesArgument,
    preset: Annotated[
        str | None,
        typer.Option("-p", "--preset", help="A preset's name or folder; the best by default."),
    ] = None,
    out: Annotated[
        str, typer.Option("-o", "--out", help="Folder for OUT/<track>; - is stdout.")
    ] = "out",
    noise: Annotated[
        bool, typer.Option("--noise", help="Write what was taken away to OUT/noise/<track>.")
    ] = False,
    overlap: OverlapOption = 0.0,
    start: StartOption = 0.0,
    duration: DurationOption = None,
    format: FormatOption = "wav",
    bit_depth: BitDepthOption = "16",
    clip: ClipOption = "rescale",
    tags: TagsOption = True,
    overwrite: OverwriteOption = False,
    device: DeviceOption = None,
    quiet: QuietOption = False,
) -> None:
    """Take the noise from speech: OUT/<track>.wav.

    Any length in constant memory, any rate and channel layout, in and out alike.
    """
    from kzoo.cli.separate import enhance_files

    enhance_files(
        files,
        preset=preset,
        out=out,
        noise=noise,
        output=_output(format, bit_depth, clip=clip, overwrite=overwrite, tags=tags),
        start_seconds=start,
        duration_seconds=duration,
        show=not quiet,
        options={"overlap": overlap, "device": device},
    )


def _output(format: str, bit_depth: str, **others):
    from kzoo.separation import OutputOptions

    return OutputOptions(format=format.lower(), bit_depth=_depth(bit_depth), **others)


def _depth(bit_depth: str) -> int | str:
    return int(bit_depth) if bit_depth.isdigit() else bit_depth


@app.command()
def export(
    preset: PresetOption = "spleeter_2stems",
    to: Annotated[str, typer.Option("--to", help="tflite or saved_model.")] = "tflite",
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the artefact.")] = Path(
        "export_out"
    ),
    precision: Annotated[str, typer.Option(help="fp32 or fp16 (tflite).")] = "fp32",
    block_seconds: Annotated[
        float | None, typer.Option(help="Length of the static block; the model's own by default.")
    ] = None,
    sound: Annotated[
        Path | None, typer.Option(help="Recording on which the artefact is compared with Keras.")
    ] = None,
    allow_flex: Annotated[
        bool, typer.Option(help="Let TensorFlow operators in, which an app must then ship.")
    ] = False,
    overwrite: Annotated[bool, typer.Option(help="Replace an artefact that exists.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Write a preset as SavedModel or TFLite, run it there, and compare it with Keras."""
    from kzoo.cli.export import export_preset

    export_preset(
        preset, to, out, precision=precision, block_seconds=block_seconds, sound=sound,
        allow_flex=allow_flex, overwrite=overwrite, show=not quiet,
    )  # fmt: skip


@app.command()
def evaluate(
    systems: Annotated[
        list[str] | None,
        typer.Argument(help="Presets, run folders, folders of estimates, baselines; or nothing."),
    ] = None,
    corpus: Annotated[
        Path,
        typer.Option(
            "--corpus",
            help="CORPUS/<track>/<source>.wav, MUSDB18's tree, CORPUS/{noisy,clean}/<track>.wav.",
        ),
    ] = ...,
    sources: Annotated[
        str | None, typer.Option(help="vocals,accompaniment; by default the first preset's.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("-o", "--out", help="Folder for a JSON a track, and the tables.")
    ] = None,
    subset: Annotated[str | None, typer.Option(help="train, test or all (of such a tree).")] = None,
    track: Annotated[list[str] | None, typer.Option(help="Only this track; repeatable.")] = None,
    start: Annotated[float, typer.Option(help="Seconds to skip in every track.", min=0)] = 0.0,
    duration: Annotated[float | None, typer.Option(help="Seconds to score.", min=0)] = None,
    baselines: Annotated[str, typer.Option(help="Of mixture,irm,ibm,wfm.")] = "mixture,irm",
    overlap: Annotated[float, typer.Option(help="As of kzoo separate.")] = 0.0,
    mwf: Annotated[bool, typer.Option(help="As of kzoo separate.")] = False,
    interchangeable: Annotated[
        bool, typer.Option(help="Sources in the best order of each track, as for speakers.")
    ] = False,
    measures: Annotated[
        str | None, typer.Option(help="separation or speech; by default what the corpus is.")
    ] = None,
    dnsmos: Annotated[
        Path | None, typer.Option(help="DNSMOS's sig_bak_ovr.onnx: its opinions of speech, too.")
    ] = None,
    jobs: Annotated[int, typer.Option("-j", "--jobs", help="Processes that score.", min=1)] = 1,
    quiet: QuietOption = False,
) -> None:
    """Score systems against true stems, next to the mixture and oracle masks.

    BSS Eval v4 as museval defines it, and SI-SDR in a column of its own, as is what it gains over
    the mixture's. Of speech in noise PESQ, STOI, SSNR, CSIG, CBAK and COVL instead, with SI-SDR.
    """
    from kzoo.cli.evaluate import evaluate_systems

    evaluate_systems(
        systems or [],
        corpus=corpus,
        sources=tuple(sources.split(",")) if sources else (),
        out=out,
        subset=subset,
        tracks=track or [],
        start_seconds=start,
        duration_seconds=duration,
        baselines=[name for name in baselines.split(",") if name],
        processes=jobs,
        measures=measures,
        dnsmos=dnsmos,
        options={"overlap": overlap, "mwf": mwf},
        interchangeable=interchangeable,
        show=not quiet,
    )


@app.command()
def train(
    configuration: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML; see configs/.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="In place of what the file says."),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("-o", "--out", help="Run folder; runs/<name of the configuration>."),
    ] = None,
    devices: Annotated[
        str | None, typer.Option(help="gpu:0,gpu:1 or cpu; by default every GPU, or the CPU.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Train a model; started again with the same folder, it goes on where it stopped.

    The folder is a preset: kzoo separate -p FOLDER, kzoo export -p FOLDER.
    """
    from kzoo.cli.train import train_configuration

    train_configuration(configuration, settings or [], out=out, devices=devices, show=not quiet)


@app.command()
def synthesize(
    controls: Annotated[Path, typer.Argument(help="CSV or JSON: time, f0_hz, loudness_db, h1...")],
    out: SoundOption,
    preset: Annotated[
        str | None, typer.Option("-p", "--preset", help="A trained synthesiser; none by default.")
    ] = None,
    dry: DryOption = False,
    sample_rate: Annotated[int, typer.Option(help="Hz; a preset has its own.", min=4000)] = 16000,
    harmonics: Annotated[int, typer.Option(help="Where the file gives none.", min=1)] = 30,
    slope: Annotated[float, typer.Option(help="dB an octave from harmonic to harmonic.")] = 9.0,
    noise: Annotated[float, typer.Option(help="dB of the noise beside the tone.")] = -40.0,
    bit_depth: BitDepthOption = "16",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Play controls: sinusoids plus noise, or a trained synthesiser; any length."""
    from kzoo.cli.synthesize import synthesize_file

    synthesize_file(
        controls, out, preset=preset, dry=dry, sample_rate=sample_rate, harmonics=harmonics,
        slope_db=slope, noise_db=noise, bit_depth=_depth(bit_depth), overwrite=overwrite,
        show=not quiet,
    )  # fmt: skip


@app.command()
def transfer(
    recording: Annotated[Path, typer.Argument(help="Of one voice or instrument.")],
    out: SoundOption,
    preset: Annotated[
        str | None,
        typer.Option("-p", "--preset", help="A trained synthesiser; by default the one that ships"),
    ] = None,
    octaves: Annotated[
        int | None, typer.Option(help="Up or down; by default to where the training was.")
    ] = None,
    match: Annotated[
        bool, typer.Option("--match/--no-match", help="Loudness as it was in the training.")
    ] = True,
    loudness_db: Annotated[float, typer.Option(help="Louder by this, match or none.")] = 0.0,
    gate: Annotated[
        float, typer.Option(help="Confidence of the pitch under which there is silence.")
    ] = 0.3,
    dry: DryOption = False,
    method: Annotated[
        str, typer.Option(help="crepe_tiny, crepe_full, a folder with a CREPE, or pyin.")
    ] = "crepe_tiny",
    input_rate: Annotated[
        bool, typer.Option("--input-rate", help="At the recording's rate, not the preset's.")
    ] = False,
    picture: Annotated[
        Path | None, typer.Option(help="A .png of what was heard, made of it, and played.")
    ] = None,
    bit_depth: BitDepthOption = "16",
    overwrite: OverwriteOption = False,
    quiet: QuietOption = False,
) -> None:
    """Play what a recording sings or plays by a trained synthesiser.

    Any length in constant memory, any rate and channel layout; the sound has one channel.
    """
    from kzoo.cli.transfer import transfer_file

    transfer_file(
        recording, out, preset=preset, octaves=octaves, match=match, loudness_db=loudness_db,
        gate=gate, dry=dry, method=method, input_rate=input_rate, picture=picture,
        bit_depth=_depth(bit_depth), overwrite=overwrite, show=not quiet,
    )  # fmt: skip


@app.command()
def pitch(
    files: Annotated[list[str], typer.Argument(help="Recordings of one voice or instrument.")],
    out: Annotated[
        str,
        typer.Option("-o", "--out", help="Folder for OUT/<recording>.csv and .png; - is stdout."),
    ] = "out",
    method: Annotated[
        str, typer.Option(help="crepe_tiny, crepe_full, a folder with a CREPE, or pyin.")
    ] = "crepe_tiny",
    hop_ms: Annotated[float, typer.Option(help="From frame to frame; 4 is DDSP's.")] = 4.0,
    fmin: Annotated[float | None, typer.Option(help="Lowest pitch in Hz.")] = None,
    fmax: Annotated[float | None, typer.Option(help="Highest pitch in Hz.")] = None,
    decoder: Annotated[
        str, typer.Option(help="viterbi, or local_average: frame by frame (CREPE).")
    ] = "viterbi",
    threshold: Annotated[
        float, typer.Option(help="Confidence under which f0_hz is 0 in the CSV.", min=0, max=1)
    ] = 0.0,
    plot: Annotated[bool, typer.Option("--plot/--no-plot", help="Draw a picture too.")] = True,
    overwrite: Annotated[bool, typer.Option(help="Replace files that exist.")] = False,
    quiet: QuietOption = False,
) -> None:
    """Follow the pitch of recordings: a CSV of f0 and confidence, and a picture.

    Any length in constant memory, any rate and channel layout.
    """
    from kzoo.cli.pitch import follow_files

    follow_files(
        files, out=out, method=method, hop_ms=hop_ms, fmin_hz=fmin, fmax_hz=fmax, decoder=decoder,
        threshold=threshold, plot=plot, overwrite=overwrite, show=not quiet,
    )  # fmt: skip


@app.command()
def demo(
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for everything.")] = Path("demo"),
    quiet: QuietOption = False,
) -> None:
    """A real song to stems, scores, a picture, and a TFLite file checked against Keras."""
    from kzoo.cli.demo import run

    run(out, show=not quiet)


@app.command()
def doctor() -> None:
    """What is installed here, and what each missing extra would add."""
    from kzoo.cli.doctor import describe_installation

    for line in describe_installation():
        print(line)


@app.command()
def models() -> None:
    """List the architectures."""
    from kzoo.models import list_models

    for name in list_models():
        print(name)


@data_app.command("check")
def data_check(
    path: Annotated[str, typer.Argument(help="Folders of stems, MUSDB18's tree, or shards.")],
    kind: KindOption = None,
    sources: SourcesOption = None,
    mixture: MixtureOption = None,
    subset: Annotated[str | None, typer.Option(help="train, test or all (of such a tree).")] = None,
    quiet: QuietOption = False,
) -> None:
    """Read every recording of a corpus: what is there, what is missing, what is broken."""
    from kzoo.cli.data import check

    check(
        path, kind=kind, sources=sources.split(",") if sources else [], mixture=mixture,
        subset=subset, show=not quiet,
    )  # fmt: skip


@data_app.command("prepare")
def data_prepare(
    path: Annotated[str, typer.Argument(help="A corpus; with --teacher a folder of recordings.")],
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the shards.")],
    kind: KindOption = None,
    sources: SourcesOption = None,
    mixture: MixtureOption = None,
    exclude: Annotated[list[str] | None, typer.Option(help="Not this track; repeatable.")] = None,
    sample_rate: Annotated[
        int | None, typer.Option(help="Hz; by default the lowest of the recordings.", min=1)
    ] = None,
    channels: Annotated[
        int | None, typer.Option(help="By default the most of the recordings.", min=1)
    ] = None,
    dtype: Annotated[str, typer.Option(help="int16 or float32.")] = "int16",
    licence: Annotated[str, typer.Option(help="Of the recordings, for the index.")] = "not stated",
    pitch: Annotated[
        str, typer.Option(help="Of kind solo: what follows it, as of kzoo pitch.")
    ] = "crepe_full",
    teacher: Annotated[
        str | None, typer.Option(help="A preset that separates recordings without stems.")
    ] = None,
    quiet: QuietOption = False,
) -> None:
    """Decode a corpus once, so that training needs no decoder. Interrupted, it goes on."""
    if kind == "solo":
        from kzoo.cli.data import prepare_solo

        prepare_solo(
            path, out, pitch=pitch, exclude=exclude or [], sample_rate=sample_rate or 16000,
            licence=licence, show=not quiet,
        )  # fmt: skip
        return
    from kzoo.cli.data import prepare

    prepare(
        path, out, kind=kind, sources=sources.split(",") if sources else [], mixture=mixture,
        exclude=exclude or [], sample_rate=sample_rate, channels=channels, dtype=dtype,
        licence=licence, teacher=teacher, show=not quiet,
    )  # fmt: skip


@data_app.command("mix")
def data_mix(
    configuration: Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML; see configs/.")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SECTION.KEY=VALUE]...", help="In place of what the file says."),
    ] = None,
    out: Annotated[Path, typer.Option("-o", "--out", help="Folder for the mixtures.")] = ...,
    quiet: QuietOption = False,
) -> None:
    """Write the test sets of a configuration, mixtures and true sources, for kzoo evaluate.

    Interrupted, it goes on.
    """
    from kzoo.cli.data import mix

    mix(configuration, settings or [], out, show=not quiet)


@presets_app.command("list")
def presets_list() -> None:
    """Name every preset, with what it does and whether its weights are here."""
    from kzoo import presets

    for name in presets.list_presets():
        here = "here" if presets.weights_path(name) else "to fetch"
        print(f"{name:24} {here:9} {presets.load_card(name)['summary']}")


@presets_app.command("download")
def presets_download(names: list[str], quiet: QuietOption = False) -> None:
    """Fetch, verify and convert weights, so that later runs need no network."""
    from kzoo.cli.presets import fetch

    for name in names:
        say(f"{name}: {fetch(name, show=not quiet)}")


@presets_app.command("info")
def presets_info(name: str) -> None:
    """Print the card of a preset: what it is, its licences, its scores."""
    import yaml

    from kzoo import presets

    print(yaml.safe_dump(presets.load_card(name), sort_keys=False, allow_unicode=True), end="")


if __name__ == "__main__":
    main()
