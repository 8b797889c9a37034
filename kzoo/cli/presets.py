"""The verbs of `kzoo presets`, and weights that are fetched with a progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import bar, quiet_tensorflow, say

if TYPE_CHECKING:
    from kzoo.presets import Preset

app = typer.Typer(no_args_is_help=True, help="List, fetch and describe presets.")


@app.command("list")
def list_all() -> None:
    """Name every preset, and whether its weights are here."""
    from kzoo import presets

    names = presets.list_presets()
    width = max(map(len, names))
    for name in names:
        here = "here" if presets.weights_path(name) else "to fetch"
        print(f"{name:{width}} {here:8} {presets.load_card(name)['summary']}")


@app.command()
def download(
    names: Annotated[list[str], typer.Argument(metavar="NAMES", help="Presets to fetch.")],
    quiet: options.Quiet = False,
) -> None:
    """Fetch, verify and convert weights; later runs need no network."""
    for name in names:
        say(f"{name}: {fetch(name, show=not quiet)}")


@app.command()
def info(
    name: Annotated[str, typer.Argument(metavar="PRESET", help="Name or folder of a preset.")],
) -> None:
    """Print a preset's card: what it is, licences, scores."""
    from kzoo import config, presets

    print(config.yaml_text(presets.load_card(name)), end="")


def fetch(preset: str | Preset, *, show: bool) -> Path:
    """Path of a preset's weights, which are fetched with a progress bar where they are not here."""
    from kzoo import presets

    preset = presets.open_preset(preset)
    if (here := preset.weights_path()) is not None:
        return here
    quiet_tensorflow()
    with bar(f"fetching {preset}", unit="bytes", show=show) as progress:
        return preset.download(progress=progress)
