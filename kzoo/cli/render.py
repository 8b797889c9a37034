"""The verb `kzoo data render`: a corpus of stems, and what is true of them, from MIDI files."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import bar, say


def render(
    midi: Annotated[
        list[Path],
        typer.Argument(metavar="MIDI...", help="MIDI files, and folders of them at any depth."),
    ],
    out: Annotated[Path, options.out("Folder of the corpus.")],
    soundfont: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Soundfont of General MIDI, .sf2 or .sf3; by default one in the usual places.",
        ),
    ] = None,
    versions: Annotated[
        int, typer.Option(metavar="N", min=1, help="Tracks made of each MIDI file.")
    ] = 1,
    seed: Annotated[
        int, typer.Option(metavar="N", min=0, help="Seed of the versions and of the split.")
    ] = 0,
    shares: Annotated[
        tuple[float, float, float],
        typer.Option(metavar="TRAIN VALIDATION TEST", help="Shares of the MIDI files."),
    ] = (0.8, 0.1, 0.1),
    sample_rate: Annotated[
        int, typer.Option(metavar="HZ", help="Rate of the stems, 8000 to 96000.")
    ] = 44100,
    tempo: Annotated[
        tuple[float, float],
        typer.Option(metavar="LOW HIGH", help="Range of the factor on the tempo; 1 1 keeps it."),
    ] = (0.9, 1.1),
    transpose: Annotated[
        tuple[int, int],
        typer.Option(
            metavar="LOW HIGH", help="Range of semitones, for all but the drums; 0 0 keeps the key."
        ),
    ] = (-2, 2),
    programs: Annotated[
        float,
        typer.Option(
            metavar="P", help="Probability that an instrument gives way to one alike; 0 keeps all."
        ),
    ] = 0.5,
    gain_db: Annotated[
        tuple[float, float],
        typer.Option(metavar="LOW HIGH", help="Range of each stem's gain in dB; 0 0 keeps it."),
    ] = (-3.0, 3.0),
    reverb_seconds: Annotated[
        tuple[float, float],
        typer.Option(
            metavar="LOW HIGH",
            help="Range of the time in which the room falls by 60 dB; 0 0 for no room.",
        ),
    ] = (0.1, 0.5),
    direct_db: Annotated[
        tuple[float, float],
        typer.Option(
            metavar="LOW HIGH", help="Range of each stem's direct sound over its reverberation."
        ),
    ] = (6.0, 18.0),
    jobs: Annotated[
        int, typer.Option("-j", "--jobs", metavar="N", min=1, help="Tracks made at one time.")
    ] = 1,
    quiet: options.Quiet = False,
) -> None:
    """Play MIDI files into a corpus of stems with their truth.

    The truth is notes, onsets, beats, f0 and instruments. It needs fluidsynth and a soundfont.
    Interrupted, the same command goes on. Exit status 1 tells that a file could not be rendered.
    """
    from kzoo.data import midi as rendering

    changes = rendering.Changes(
        tempo=tempo, transpose=transpose, programs=programs, gain_db=gain_db,
        reverb_seconds=reverb_seconds, direct_db=direct_db,
    )  # fmt: skip
    with bar(f"rendering {out}", unit="tracks", show=not quiet) as progress:
        rendered = rendering.render(
            midi, out, soundfont=soundfont, versions=versions, seed=seed, shares=shares,
            sample_rate=sample_rate, changes=changes, workers=jobs, progress=progress,
            say=lambda line: say(f"kzoo: {line}"),
            command=shlex.join(["kzoo", *sys.argv[1:]]),
        )  # fmt: skip
    if not quiet:
        counts = ", ".join(f"{count} {name}" for name, count in rendered.tracks.items())
        say(f"{out}: {counts}; {rendered.kept} of them were there already")
        for name, count in rendered.tracks.items():
            if not count and dict(zip(rendered.tracks, shares, strict=True))[name]:
                say(
                    f"kzoo: no MIDI file fell to {name}; more files, or another --seed, may fill it"
                )
    if rendered.failures:
        raise SystemExit(1)
