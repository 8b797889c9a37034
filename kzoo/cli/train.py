"""The verb `train`: a YAML and what is said over it, to a run folder."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from kzoo import config
from kzoo.cli.terminal import quiet_tensorflow, say


def train_configuration(
    path: Path, settings: Sequence[str], *, out: Path | None, devices: str | None, show: bool
) -> None:
    """Train; prints a line an epoch on stderr, and where the preset lies on stdout.

    Ctrl-C loses no more than the epoch that was under way.
    """
    values = config.override(config.load_yaml(path), settings)
    name = values.setdefault("name", path.stem)
    folder = Path("runs") / str(name) if out is None else out
    quiet_tensorflow()
    from kzoo import training
    from kzoo.runtime import prepare_devices

    places = None
    if devices is not None:
        places = [prepare_devices(device.strip()) for device in devices.split(",")]
    else:
        prepare_devices()
    command = shlex.join(["kzoo", "train", str(path), *settings])
    try:
        training.train(
            values, folder, devices=places, say=say if show else _silent, command=command,
            verbose=1 if show and sys.stderr.isatty() else 0,
        )  # fmt: skip
    except KeyboardInterrupt:
        say(f"kzoo: interrupted; the same command goes on after the last whole epoch in {folder}")
        raise SystemExit(130) from None
    print(folder)


def _silent(line: str) -> None:
    """For --quiet."""
