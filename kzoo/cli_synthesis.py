"""The verbs of synthesisers, as `kzoo.cli` registers them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

BitDepthOption = Annotated[str, typer.Option(help="16, 24 or float32, where it applies.")]
OverwriteOption = Annotated[bool, typer.Option(help="Replace a file that exists.")]
QuietOption = Annotated[bool, typer.Option("-q", "--quiet", help="No progress bar, no report.")]
OutOption = Annotated[Path, typer.Option("-o", "--out", help="The sound: wav, flac, ogg or mp3.")]
DryOption = Annotated[bool, typer.Option("--dry", help="Without the echo the preset has learned.")]


def synthesize(
    controls: Annotated[Path, typer.Argument(help="CSV or JSON: time, f0_hz, loudness_db, h1...")],
    out: OutOption,
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
    from kzoo.synthesize_command import synthesize_file

    synthesize_file(
        controls, out, preset=preset, dry=dry, sample_rate=sample_rate, harmonics=harmonics,
        slope_db=slope, noise_db=noise, bit_depth=_depth(bit_depth), overwrite=overwrite,
        show=not quiet,
    )  # fmt: skip


def transfer(
    recording: Annotated[Path, typer.Argument(help="Of one voice or instrument.")],
    out: OutOption,
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
    from kzoo.transfer_command import transfer_file

    transfer_file(
        recording, out, preset=preset, octaves=octaves, match=match, loudness_db=loudness_db,
        gate=gate, dry=dry, method=method, input_rate=input_rate, picture=picture,
        bit_depth=_depth(bit_depth), overwrite=overwrite, show=not quiet,
    )  # fmt: skip


def _depth(bit_depth: str) -> int | str:
    return int(bit_depth) if bit_depth.isdigit() else bit_depth
