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
    quiet_tensorflow()
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
