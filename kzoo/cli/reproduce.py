"""The verb `reproduce`: how a training or a score is made again, and whether it still comes out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import quiet_tensorflow, say


def reproduce(
    what: Annotated[
        str,
        typer.Argument(
            metavar="CONFIG|PRESET", help="A YAML file of configs/, or a preset's name."
        ),
    ],
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="Run the short form on made sound, in seconds, and compare it with what is"
            " recorded; exit status 1 where it comes to something else.",
        ),
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Tell how results are made again, or check a short form.

    The short form of a configuration is a few steps on made sound, and that of a preset its SI-SDR
    on made sound. They say that training and running still do what they did, and not how good the
    results are.
    """
    is_file = Path(what).suffix in (".yaml", ".yml")
    if not quick:
        print("\n".join(_of_file(Path(what)) if is_file else _of_preset(what)))
        return
    quiet_tensorflow()
    from kzoo.cli import reproduction

    tell = (lambda line: None) if quiet else say
    if is_file:
        found = reproduction.train(Path(what), tell)
    else:
        found = reproduction.separate(what)
    failed = 0
    for name, (value, expected, tolerance) in found.items():
        apart = abs(value - expected)
        holds = apart <= tolerance  # False for NaN
        failed += not holds
        verdict = "as recorded" if holds else "NOT AS RECORDED"
        print(f"{what} {name}: {value:.6g}, recorded {expected:g} +- {tolerance:.2g}: {verdict}")
    if failed:
        raise SystemExit(1)


def _of_file(path: Path) -> list[str]:
    """The head of a configuration, which has commands, data and what is expected."""
    lines = path.read_text("utf-8").splitlines()
    head = [line.removeprefix("#").removeprefix(" ") for line in lines if line.startswith("#")]
    return [*head, f"kzoo train {path} --dry-run tells which of the data are here"]


def _of_preset(name: str) -> list[str]:
    from kzoo import config, presets

    card = presets.load_card(name)
    kept = {key: card[key] for key in ("trained", "weights", "scores", "expected") if key in card}
    return [config.yaml_text(kept).rstrip()]
