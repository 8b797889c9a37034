"""`kzoo presets convert`: a checkpoint of another framework becomes a preset."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from kzoo.cli import options
from kzoo.cli.terminal import quiet_tensorflow


def convert(
    files: Annotated[
        list[str],
        typer.Argument(
            metavar="FILES",
            help="A checkpoint, or the folder of a TensorFlow one. Of Open-Unmix a file a target: "
            "TARGET=FILE, or a file called after its target, as vocals-b62c91ce.pth is.",
        ),
    ],
    network: Annotated[
        str,
        typer.Option(
            "--as", metavar="MODEL",
            help="Whose weights they are: demucs, conv_tasnet, open_unmix, crepe, ...",
        ),
    ],
    out: Annotated[Path, options.out("Folder of the preset.")],
    option: Annotated[
        list[str],
        typer.Option(
            "--option", metavar="KEY=VALUE",
            help="What weights do not tell, once for each: sample_rate=44100, mask=relu. What is "
            "missing is named.",
        ),
    ] = [],  # noqa: B006 - typer makes a new one of it
    licence: Annotated[
        str, typer.Option(metavar="TEXT", help="Licence of the weights, kept in the card.")
    ] = "not stated",
) -> None:  # fmt: skip
    """Make a preset of a checkpoint of another framework.

    Nothing in the files is executed, and every weight must have its place. The preset is used by
    its folder, as in kzoo separate -p FOLDER.
    """
    from kzoo import config, convert

    config.named(convert.list_converters(), network, "converter")
    paths = _targets(files) if network == "open_unmix" else Path(files[0])
    if len(files) > 1 and not isinstance(paths, Mapping):
        raise ValueError(f"{network} is read from one file or folder; got {', '.join(files)}")
    for path in paths.values() if isinstance(paths, Mapping) else [paths]:
        if not path.exists():
            raise ValueError(f"{path}: there is no such file or folder")
    told = config.override({}, option)
    quiet_tensorflow()
    from kzoo.presets.converting import converted

    print(converted(network, paths, out, licence=licence, **told))


def _targets(files: list[str]) -> dict[str, Path]:
    """{target: path} of TARGET=FILE, or of files called after their target."""
    paths: dict[str, Path] = {}
    for given in files:
        target, equals, file = given.partition("=")
        path = Path(file if equals else given)
        target = target if equals else re.split(r"[-_.]", path.name)[0]
        if not target or target in paths:
            raise ValueError(f"{given}: expected TARGET=FILE, each target once")
        paths[target] = path
    return paths
