"""The verb `train`: a YAML file, and settings that replace parts of it, to a run folder."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import quiet_tensorflow, say


def train(
    configuration: options.Configuration,
    settings: options.Settings = None,
    out: Annotated[
        Path | None,
        options.out("Folder of the run; by default runs/ and the configuration's name."),
    ] = None,
    devices: Annotated[
        str | None,
        typer.Option(
            metavar="DEVICES",
            help="gpu:0,gpu:1 or cpu; by default every GPU, or the CPU where there is none.",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run",
            help="Take no step and write nothing: print what would be trained, which of its data "
            "are here, and estimates of memory and time. Exit status 1 where data are missing.",
        ),
    ] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print what --dry-run finds as JSON.")
    ] = False,
    quiet: options.Quiet = False,
) -> None:
    """Train a model, or go on where training stopped.

    The same command with the same folder goes on after the last whole epoch; Ctrl-C loses no more
    than the epoch under way. The folder is a preset, for kzoo separate -p FOLDER and kzoo export
    -p FOLDER.
    """
    from kzoo import config

    values = config.override(config.load_yaml(configuration), settings or [])
    name = values.setdefault("name", configuration.stem)
    folder = Path("runs") / str(name) if out is None else out
    if as_json and not dry_run:
        raise config.ConfigError("--json is of --dry-run: give both, or neither")
    quiet_tensorflow()
    if dry_run:
        from kzoo.cli.dry_run import show

        show(values, folder, devices=devices, as_json=as_json)
        return
    from kzoo import training
    from kzoo.engines.tensorflow import prepare_devices

    places = None
    if devices is not None:
        places = [prepare_devices(device.strip()) for device in devices.split(",")]
    else:
        prepare_devices()
    command = shlex.join(["kzoo", "train", str(configuration), *(settings or [])])
    try:
        training.train(
            values, folder, devices=places, say=_silent if quiet else say, command=command,
            verbose=1 if not quiet and sys.stderr.isatty() else 0,
        )  # fmt: skip
    except KeyboardInterrupt:
        say(f"kzoo: interrupted; the same command goes on after the last whole epoch in {folder}")
        raise SystemExit(130) from None
    print(folder)


def _silent(line: str) -> None:
    """For --quiet."""
