"""The verbs of `kzoo presets`, and weights that are fetched with a progress bar."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kzoo.cli import options
from kzoo.cli.conversion import convert
from kzoo.cli.terminal import bar, loading, quiet_tensorflow, say

if TYPE_CHECKING:
    from kzoo.presets import Preset

app = typer.Typer(no_args_is_help=True, help="List, fetch and describe presets.")


Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]


@app.command("list")
def list_all(
    task: Annotated[
        str | None, typer.Option(metavar="TASK", help="Only those for it, as separation or pitch.")
    ] = None,
    stems: Annotated[
        str | None,
        typer.Option(metavar="NAMES", help="Only those that give all of these, as vocals,drums."),
    ] = None,
    licence: Annotated[
        str | None, typer.Option(metavar="TEXT", help="Only weights under it, as MIT or Apache.")
    ] = None,
    everything: Annotated[
        bool,
        typer.Option("--all", help="Show those too that are no choice: parts of bags, and tests."),
    ] = False,
    as_json: Json = False,
) -> None:
    """Compare presets: stems, size, cost, quality, licence.

    They are grouped by what they are for and what they give, and the best is the first. Figures
    that kzoo measured and those of others have a column each. The state is that of the weights on
    this machine.
    """
    from kzoo.cli import shelf
    from kzoo.presets.shelf import entries

    found = entries(
        task=task, stems=options.names(stems) or (), licence=licence, unlisted=everything
    )
    if as_json:
        print(json.dumps([dataclasses.asdict(entry) for entry in found], indent=2))
        return
    if not found:
        raise ValueError("no preset is all of that; leave out --task, --stems or --licence")
    shelf.show(shelf.table(found))


@app.command()
def download(
    names: Annotated[list[str], typer.Argument(metavar="NAMES", help="Presets to fetch.")],
    litert: Annotated[
        bool,
        typer.Option(
            "--litert",
            help="Make the LiteRT file of each, too, which --engine auto then runs without waiting "
            "for TensorFlow.",
        ),
    ] = False,
    accept_licence: Annotated[
        bool,
        typer.Option(
            "--accept-licence",
            help="Accept the licences of weights whose use is restricted; it is remembered.",
        ),
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Fetch, verify and convert weights; later runs need no network."""
    for name in names:
        say(f"{name}: {fetch(name, show=not quiet, accept_licence=accept_licence)}")
        if litert:
            say(f"{name}: {_make_litert(name)}")


def _make_litert(name: str) -> Path:
    """The folder of what --engine auto runs a preset by, made where it is missing."""
    from kzoo import pitch_tracking, presets
    from kzoo.engines import folder, litert
    from kzoo.synthesis import player

    preset, form = presets.open_preset(name), {}
    if preset.task == "pitch":
        form = {"hop_length": pitch_tracking.check_request(name, hop_ms=4.0)}
    elif preset.task == "synthesis":
        form = {"frames": player.BLOCK_FRAMES}
    litert.chosen("litert", preset)
    with loading(preset, by_litert=True, made=litert.is_made(preset, **form)):
        if preset.task == "pitch":
            pitch_tracking.PitchTracker(name, engine="litert")
        elif preset.task == "synthesis":
            player.instrument(preset, engine="litert")
        elif preset.task == "listening":
            litert.listener(preset)
        else:
            litert.system(preset)
    return folder.place(preset, **form)


app.command()(convert)


@app.command()
def info(
    name: Annotated[str, typer.Argument(metavar="PRESET", help="Name or folder of a preset.")],
    as_json: Json = False,
) -> None:
    """Show a preset's card: what it is, licences, scores."""
    from kzoo import presets
    from kzoo.cli import shelf

    preset = presets.open_preset(name)
    if as_json:
        print(json.dumps({**preset.card, "state": preset.state}, indent=2, default=str))
    else:
        shelf.show(shelf.card(preset))


def fetch(preset: str | Preset, *, show: bool, accept_licence: bool = False) -> Path:
    """Path of a preset's weights, which are fetched with a progress bar where they are not here.

    TensorFlow is imported behind the fetching, which may fail.
    """
    from kzoo import presets

    preset = presets.open_preset(preset)
    if (here := preset.weights_path()) is not None:
        return here
    with bar(f"fetching {preset}", unit="bytes", show=show) as progress:
        return preset.download(
            progress=progress, accept_licence=accept_licence, arrived=quiet_tensorflow
        )
