"""The options that several verbs share, each once: spelling, range, and a sentence on what it does.

A flag that is off by default has no `--no-` form: it is left out.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Files = Annotated[
    list[str],
    typer.Argument(metavar="FILES", help="Recordings; - reads one from standard input."),
]
FilesUnlessLive = Annotated[
    list[str] | None,
    typer.Argument(metavar="FILES", help="Recordings; - reads one from standard input."),
]
Live = Annotated[
    str | None,
    typer.Option(
        "--live", metavar="DEVICE",
        help="Take sound as it comes, from a sound device by its name or number, or default; - "
        "takes raw PCM from standard input to standard output, 16 bits, one channel in and one out "
        "for each source. It wants a preset with a latency.",
    ),
]  # fmt: skip
Configuration = Annotated[
    Path, typer.Argument(metavar="CONFIG", help="A YAML file, such as those in configs/.")
]
Settings = Annotated[
    list[str] | None,
    typer.Argument(
        metavar="SECTION.KEY=VALUE",
        help="Values that replace those of the file, such as fit.epochs=1.",
    ),
]

Preset = Annotated[
    str,
    typer.Option(
        "-p", "--preset", metavar="PRESET",
        help="Name (see kzoo presets list) or folder of the model.",
    ),
]  # fmt: skip
PRESET = "spleeter_2stems"  # where neither a preset nor a method is named
PresetUnlessMethod = Annotated[
    str | None,
    typer.Option(
        "-p", "--preset", metavar="PRESET", show_default=PRESET,
        help="Name (see kzoo presets list) or folder of the model, or its exported .tflite; best, "
        "or best:drums,bass: the best one that is here for the stems asked for.",
    ),
]  # fmt: skip
Method = Annotated[
    str | None,
    typer.Option(
        metavar="METHOD",
        help="Separate by a method that needs no training: repet, repet_sim or repet_sim_librosa "
        "(vocals and accompaniment), hpss (harmonic and percussive), nmf or isa (a number of "
        "sources), fastica or auxiva (one source for each microphone).",
    ),
]
NSources = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Number of sources, of nmf and isa; of microphones, of fastica and auxiva: 2 by "
        "default; of presets that separate by clusters: as many as their card says.",
    ),
]
Components = Annotated[
    int | None,
    typer.Option(
        metavar="N",
        help="Parts of the spectrogram that isa (16 by default) and nmf (32) learn and group to "
        "sources; with --templates those of each source.",
    ),
]
Templates = Annotated[
    str | None,
    typer.Option(
        metavar="FOLDER",
        help="Solo recordings that nmf learns its sources from: FOLDER/<source>.wav or "
        "FOLDER/<track>/<source>.wav.",
    ),
]
Divergence = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="What nmf makes small: euclidean, kullback_leibler (by default) or itakura_saito.",
    ),
]
Margin = Annotated[
    float | None,
    typer.Option(
        metavar="FACTOR",
        help="How much louder than the other a part of hpss must be, by default 1; above it, what "
        "is neither is written as residual.",
    ),
]
Synthesiser = Annotated[
    str | None,
    typer.Option(
        "-p",
        "--preset",
        metavar="PRESET",
        help="Name or folder of a trained synthesiser, or its exported NAME_stream.tflite.",
    ),
]
Device = Annotated[
    str | None,
    typer.Option(
        "--device", metavar="DEVICE",
        help="cpu, gpu or gpu:1; by default a GPU where TensorFlow finds one.",
    ),
]  # fmt: skip

Engine = Annotated[
    str,
    typer.Option(
        metavar="ENGINE",
        help="tensorflow; litert, which starts without it, from a file that is made at the first "
        "time; or auto: litert where that file is there.",
    ),
]

Overlap = Annotated[
    float,
    typer.Option(
        metavar="SHARE", min=0, max=0.5,
        help="Share of each block that fades into the next one, from 0 to 0.5.",
    ),
]  # fmt: skip
Shifts = Annotated[
    int,
    typer.Option(
        metavar="N", min=0,
        help="Take the mean of N passes, in each of which the recording begins up to half a second "
        "later; N times as long.",
    ),
]  # fmt: skip
Mwf = Annotated[
    bool,
    typer.Option(
        "--mwf", help="Refine the stems by a multichannel Wiener filter; takes twice the time."
    ),
]
Start = Annotated[
    float, typer.Option(metavar="SECONDS", min=0, help="Skip so much of each recording.")
]
Duration = Annotated[
    float | None,
    typer.Option(metavar="SECONDS", min=0, help="Read no more than this; all by default."),
]

Format = Annotated[
    str, typer.Option(metavar="FORMAT", help="Format of the files: wav, flac, ogg or mp3.")
]
BitDepth = Annotated[
    str,
    typer.Option(metavar="DEPTH", help="16, 24 or float32, as far as the format has them."),
]
Clip = Annotated[
    str,
    typer.Option(
        metavar="WAY",
        help="What to do beyond full scale: rescale turns all files of a recording down by the "
        "same gain, clamp cuts the peaks.",
    ),
]
Tags = Annotated[
    bool, typer.Option("--tags/--no-tags", help="Copy title, artist and the like to the files.")
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace files that exist.")]
Quiet = Annotated[
    bool, typer.Option("-q", "--quiet", help="Show no progress and no summary, only warnings.")
]

Runner = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        help="Who does the work: local, this process; or by Apache Beam (kzoo[beam]) direct, the "
        "processors of this machine, flink, spark or dataflow.",
    ),
]
RunnerOptions = Annotated[
    list[str] | None,
    typer.Option(
        metavar="KEY=VALUE",
        help="An option of Beam, such as direct_num_workers=2, flink_master=HOST:8081, "
        "spark_master_url=URL, or project, region and temp_location of dataflow; repeatable.",
    ),
]

Kind = Annotated[
    str | None,
    typer.Option(
        metavar="KIND",
        help="How the corpus is laid out: stems, musdb, pairs, sources, speech, csv, librimix, "
        "wsj0mix, solo, or a published corpus by its name: dsd100, slakh, medleydb, moisesdb, "
        "ccmixter, mir1k, ikala, mass, quasi; by default stems, which knows these, too.",
    ),
]
Sources = Annotated[
    str | None,
    typer.Option(
        metavar="NAMES",
        help="Names with commas between them, such as vocals,accompaniment; by default those of "
        "the kind.",
    ),
]
Mixture = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="Folder of the mixtures in a corpus of pairs; by default noisy."
    ),
]
Subset = Annotated[
    str | None,
    typer.Option(
        metavar="NAME", help="train, validation, test or all, where the corpus has such parts."
    ),
]

PitchMethod = Annotated[
    str,
    typer.Option(
        metavar="METHOD",
        help="Pitch tracker: crepe_tiny, crepe_small, crepe_medium, crepe_large or crepe_full, the "
        "folder of another CREPE, or pyin.",
    ),
]
Sound = Annotated[
    Path,
    typer.Option(
        "-o", "--out", metavar="FILE", help="File for the sound: wav, flac, ogg or mp3."
    ),
]  # fmt: skip
Dry = Annotated[
    bool, typer.Option("--dry", help="Leave out the echo of the room that the preset has learned.")
]


def out(help: str, *, metavar: str = "FOLDER"):
    """The option -o, --out of a verb that says by `help` what it writes there."""
    return typer.Option("-o", "--out", metavar=metavar, help=help)


def names(text: str | None) -> list[str]:
    """The names of an option that has commas between them."""
    return [name for name in (text or "").split(",") if name]


def depth(bit_depth: str) -> int | str:
    """A bit depth as `audio.AudioWriter` takes it: 16, 24 or "float32"."""
    return int(bit_depth) if bit_depth.isdigit() else bit_depth
