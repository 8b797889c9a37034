"""Weights that are published as files of their own, one or several, each at its address.

A card lists them under `weights.files`, each a mapping with `url` and, where they are known,
`sha256` (whole, or the first digits that its publisher states), `size` in bytes, `target` (the
source whose network the file holds) and `inside` (the folder of an archive that is meant).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import shutil
import urllib.parse
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kzoo.files import file_sha256
from kzoo.presets import packages
from kzoo.presets.cache import cache_folder
from kzoo.presets.card import PresetError, Progress
from kzoo.presets.fetching import fetch, free_space_or_refuse


@contextlib.contextmanager
def fetched(
    card: Mapping[str, Any], *, progress: Progress | None = None
) -> Iterator[tuple[Path | dict[str, Path], dict[str, Any]]]:
    """What the card's converter reads, and where it came from; gone afterwards.

    That is a file, the folder of all files, or {target: file}. For one process at a time, as
    `Preset.download` sees to. Files that have arrived whole wait for those that have not, however
    often that is tried. A file of no known sha256 that cannot be converted is not kept.
    With KZOO_MIRROR set each is asked for there by the path of its address, and nowhere else.
    """
    files = card["weights"]["files"]
    folder = cache_folder() / "downloads" / key(files)
    free_space_or_refuse(folder, 2 * sum(file.get("size", 0) for file in files))
    paths = [_fetch(file, folder, progress) for file in files]
    origin = {
        "fetched": [file["url"] for file in files],
        "fetched_sha256": [file_sha256(path) for path in paths],
    }
    try:
        yield _as_read(files, paths, folder), origin
    except (PresetError, ValueError):
        for file, path in zip(files, paths, strict=True):
            if "sha256" not in file:
                path.unlink()
        raise
    shutil.rmtree(folder)


def key(files: list[Mapping[str, Any]]) -> str:
    """A name for these files together, of which other presets may need the same."""
    addresses = "\n".join(file["url"] for file in files)
    return hashlib.sha256(addresses.encode()).hexdigest()[:12]


def _fetch(file: Mapping[str, Any], folder: Path, progress: Progress | None) -> Path:
    url, sha256 = urllib.parse.urlsplit(file["url"]), file.get("sha256")
    path = folder / urllib.parse.unquote(url.path.rpartition("/")[2])
    if path.is_file():  # it waited for another
        return path
    address = url.geturl()
    if mirror := os.environ.get("KZOO_MIRROR"):
        address = mirror.rstrip("/") + url.path
    try:
        return fetch(address, path, sha256=sha256, size=file.get("size"), progress=progress)
    except PresetError as error:
        raise PresetError(f"{error}; KZOO_MIRROR names another place") from None


def _as_read(
    files: list[Mapping[str, Any]], paths: list[Path], folder: Path
) -> Path | dict[str, Path]:
    if all("target" in file for file in files):
        return {file["target"]: path for file, path in zip(files, paths, strict=True)}
    if len(files) > 1:
        return folder
    if "inside" not in files[0]:
        return paths[0]
    inside = folder / "unpacked"
    # Hidden files in archives are notes of file managers.
    wanted = re.compile(rf"(?:^|/){re.escape(files[0]['inside'])}/([^/.][^/]*)$")
    packages.unpack(paths[0], inside, wanted)
    return inside
